"""Exports a sequence over a range of frames: pictures, compositing layers, Gaussians, and what was found when."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .. import engine, names
from ..layers import curves, layers
from ..portable.ply.writer import ply_parts
from ..portable.splats import SplatFileError, Splats
from ..portable.spz_writer import spz_bytes
from ..sequence import playback
from ..sequence.properties import properties_of
from ..sequence.rendering import COMPOSITOR_ENGINES, Job, RenderProblem
from ..sequence.sequence import Sequence
from . import cut_list, gaussians, mattes, movie, passes

PICTURES = (".png", ".exr", "masks", "movie")
"""Kinds for which something is rendered."""
GAUSSIANS: dict[str, Callable[[Splats], bytes]] = {
    ".ply": lambda splats: b"".join(ply_parts(splats)),
    ".spz": lambda splats: spz_bytes(splats),
}
"""Kinds that hold a frame's Gaussians; .spz has no place for a highlight, which has to be baked into the colours."""


@dataclass(frozen=True)
class Wanted:
    """What to export.

    Attributes:
        folder: for all files.
        template: file names without ending, a format string of `frame`, `name`, `scene` and `camera`.
        frames: of the scene.
        kinds: of ".png", ".exr", "masks" (a grey PNG per mask), ".ply", ".spz": files of each frame; "movie".
        intervals: whether to write the JSON.
        cuts: whether to write the cut list (needs a backend).
        overwrite: write frames again that are there.
        depth: bits of EXR values, "16" or "32".
        baked: whether Gaussians carry their highlight in their colours; else as an attribute, where the format has any.
        codec: of the movie, a key of `movie.CODECS`.
    """

    folder: Path
    template: str
    frames: tuple[int, ...]
    kinds: tuple[str, ...]
    intervals: bool
    cuts: bool = False
    overwrite: bool = True
    depth: str = "32"
    baked: bool = False
    codec: str = "H264"


class Export(Job):
    """Runs an export; see `rendering.Job` for how."""

    def __init__(
        self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, shown: Sequence, wanted: Wanted
    ) -> None:
        super().__init__(scene, view_layer, wanted.folder, len(wanted.frames) if wanted.kinds else 0)
        self.shown, self.wanted = shown, wanted
        self.renders = bool(set(PICTURES) & set(wanted.kinds))
        self._passes: passes.Passes | None = None

    def begin(self) -> None:
        """Checks names, camera and engine."""
        scene = self.original
        if not self.wanted.frames:
            raise RenderProblem("The frame range is empty; choose another one.")
        if not self.wanted.kinds and not self.wanted.intervals and not self.wanted.cuts:
            raise RenderProblem("Nothing is chosen; turn on PNG, EXR, PLY or JSON.")
        if self.renders and scene.camera is None:
            raise RenderProblem("The scene has no camera; add one, or export Gaussians and JSON only.")
        if self.renders and scene.render.engine not in (*COMPOSITOR_ENGINES, engine.ENGINE):
            raise RenderProblem(f"{scene.render.engine} cannot show splats; choose 4-LEGS splats, Cycles or EEVEE.")
        if self.shown.deleted:
            raise RenderProblem(f"{self.shown.deleted}.")
        first, last = self._stem(self.wanted.frames[0]), self._stem(self.wanted.frames[-1])
        if first == last and len(self.wanted.frames) > 1:
            raise RenderProblem(f"The name '{self.wanted.template}' is the same for every frame; put {{frame}} in it.")

    def set_up(self) -> None:
        """The copy renders PNG, and beside it what the passes are asked for."""
        scene = self.scene
        scene.render.image_settings.media_type = "IMAGE"
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGBA" if scene.render.film_transparent else "RGB"
        if not {".exr", "masks"} & set(self.wanted.kinds):
            return
        self._passes = passes.find(self, scene.view_layers[self.layer_name], self.shown)
        if ".exr" in self.wanted.kinds:
            passes.write_layers(self, self._passes, "layers", self.wanted.depth)
        if "masks" in self.wanted.kinds:
            passes.write_masks(self, self._passes)

    def remaining(self) -> Iterator[int]:
        """Frames of the scene whose files are not all there."""
        for frame in self.wanted.frames if self.wanted.kinds else ():
            if self.wanted.overwrite or not all(target.exists() for target in self._targets(frame)):
                yield frame

    def aim(self, item: int) -> None:
        """Shows a frame."""
        self.scene.frame_set(item)
        for weight in layers.weights(self.shown, item):
            for made in self._passes.materials if self._passes else ():
                if weight.layer_id in made.node_tree.nodes:
                    mattes.set_weight(made, weight)
        self.scene.render.filepath = str(self.image)

    def store(self, item: int) -> None:
        """Gives a frame's finished files their names."""
        for kind, write in GAUSSIANS.items():
            if kind in self.wanted.kinds:
                part = self.scratch / f"points{kind}"
                try:
                    part.write_bytes(write(gaussians.read(self.shown, item, baked=self.wanted.baked)))
                except SplatFileError as error:
                    raise RenderProblem(f"{self._target(item, kind).name}: {error}") from error
                os.replace(part, self._target(item, kind))
        if not self.renders:
            return
        if not self.image.exists():
            raise RenderProblem(f"Blender rendered no picture of frame {item}; see its log.")
        if ".exr" in self.wanted.kinds:
            os.replace(self.scratch / "layers.exr", self._target(item, ".exr"))
        for name in self._mask_names():
            os.replace(self.scratch / f"{passes.MASK_FILES}{name}.png", self._mask_target(item, name))
        if "movie" in self.wanted.kinds:
            shutil.copyfile(self.image, self._movie_frame(item))
        if ".png" in self.wanted.kinds:
            os.replace(self.image, self._target(item, ".png"))
        else:
            self.image.unlink()

    def finish(self) -> None:
        """Writes what is of all frames: the movie, the JSON, the cut list."""
        name = self.shown.empty.name
        if "movie" in self.wanted.kinds:
            part = movie.write(self, [self._movie_frame(frame) for frame in self.wanted.frames], self.wanted.codec)
            os.replace(part, self.folder / f"{name}{part.suffix}")
        if self.wanted.intervals:
            part = self.scratch / "intervals.json"
            part.write_text(json.dumps(self._found(), indent=1))
            os.replace(part, self.folder / f"{name}_intervals.json")
        if self.wanted.cuts:
            part = self.scratch / "cuts.otio"
            part.write_text(cut_list.text(self.original, self.shown, self._pictures()))
            os.replace(part, self.folder / f"{name}_cuts.otio")

    def close(self) -> None:
        """Also has the points show the user's own frame again: they are shared with the copy."""
        super().close()
        playback.refresh(self.shown.empty)

    def _stem(self, frame: int) -> str:
        camera = self.original.camera.name if self.original.camera else "no camera"
        fields = {"frame": frame, "name": self.shown.empty.name, "scene": self.original.name, "camera": camera}
        try:
            return self.wanted.template.format(**fields)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise RenderProblem(
                f"The name '{self.wanted.template}' cannot be filled in ({error}); it may use {known}."
            ) from error

    def _target(self, frame: int, kind: str) -> Path:
        path = self.folder / f"{self._stem(frame)}{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _targets(self, frame: int) -> Iterator[Path]:
        """All files of a frame. A movie is of all frames, so that each has to be rendered."""
        for kind in self.wanted.kinds:
            if kind == "masks":
                yield from (self._mask_target(frame, name) for name in self._mask_names())
            else:
                yield self._movie_frame(frame) if kind == "movie" else self._target(frame, kind)

    def _mask_names(self) -> list[str]:
        wanted = "masks" in self.wanted.kinds
        return list(passes.mask_names(self.scene, self.shown).values()) if wanted else []

    def _mask_target(self, frame: int, name: str) -> Path:
        """A mask's file; its name has no characters that file systems refuse."""
        plain = "".join(c if c.isalnum() or c in " -_" else "_" for c in name)
        return self._target(frame, f" {plain}.png")

    def _movie_frame(self, frame: int) -> Path:
        return self.scratch / f"movie{frame:06d}.png"

    def _pictures(self) -> cut_list.Pictures:
        """Where the exported pictures are, for the cut list."""
        first, last = self.wanted.frames[0], self.wanted.frames[-1]
        kind = ".exr" if ".exr" in self.wanted.kinds else ".png"
        return cut_list.Pictures(self.folder, [self._target(frame, kind).name for frame in (first, last)], first, last)

    def _found(self) -> dict[str, Any]:
        """Prompts, intervals in capture frames and scene frames, and the curves over the exported frames."""
        empty, fps = self.shown.empty, self.original.render.fps / self.original.render.fps_base
        found = []
        for layer in self.shown.layers:
            spans = [
                {
                    "start": start,
                    "end": end,
                    "peak": peak,
                    "score": score,
                    "scene_start": self.shown.scene_frame(start),
                    "scene_end": self.shown.scene_frame(end),
                }
                for start, end, peak, score in layers.intervals(layer)
            ]
            sampled = {
                curve: [
                    curves.value(empty, names.curve_property(layer.layer_id, curve), frame)
                    for frame in self.wanted.frames
                ]
                for curve in names.CURVES
            }
            found.append({"prompt": layer.prompt, "id": layer.layer_id, "intervals": spans, "curves": sampled})
        return {
            "sequence": empty.name,
            "run": properties_of(empty).run,
            "fps": fps,
            "frames": list(self.wanted.frames),
            "layers": found,
        }
