"""What was found, as a cut list for editing programs: the backend writes it, with the OpenTimelineIO library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from .. import engine, wire
from ..engine.service import PictureFailed
from ..layers import layers
from ..sequence import timing
from ..sequence.rendering import RenderProblem
from ..sequence.sequence import Sequence


@dataclass(frozen=True)
class Pictures:
    """The pictures that the cuts are cut from.

    Attributes:
        folder: where they are.
        names: file names of the first and the last.
        first, last: their scene frames.
    """

    folder: Path
    names: list[str]
    first: int
    last: int


def text(scene: bpy.types.Scene, shown: Sequence, pictures: Pictures) -> str:
    """The cut list (.otio) of all layers' intervals, in scene frames, over pictures that are or will be exported.

    RenderProblem without a backend.
    """
    cuts = []
    for layer in shown.layers:
        for start, end, peak, score in layers.intervals(layer):
            for first, last in timing.spans(shown.empty, start, end):
                first, last = (timing.frame_at(scene, edge) for edge in (first, last))
                first, last = max(first, pictures.first), min(last, pictures.last)
                if first <= last:
                    middle = min(max(timing.frame_at(scene, shown.scene_frame(peak)), first), last)
                    cuts.append(
                        {"name": layer.prompt, "start": first, "end": last, "peak": middle, "score": float(score)}
                    )
    body = {
        "name": shown.empty.name,
        "fps": scene.render.fps / scene.render.fps_base,
        "folder": pictures.folder.resolve().as_uri(),
        "pictures": pictures.names,
        "first": pictures.first,
        "last": pictures.last,
        "cuts": sorted(cuts, key=lambda cut: (cut["start"], cut["end"])),
    }
    try:
        return str(engine.ask(wire.Kind.CUT_LIST, body).body["otio"])
    except PictureFailed as failure:
        raise RenderProblem(f"The cut list needs a backend: {failure}") from failure
