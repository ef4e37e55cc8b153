"""What was found when, for the JSON: intervals on both clocks, and the layers' curves over the exported frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from .. import names
from ..layers import curves, layers
from ..sequence import timing
from ..sequence.properties import properties_of
from ..sequence.sequence import Sequence

Curves = dict[tuple[str, str], float]
"""(layer id, one of `names.CURVES`) → its value at a frame."""


class Found:
    """Collects the curves of a sequence's layers frame by frame, as they were evaluated."""

    def __init__(self, shown: Sequence) -> None:
        self._shown = shown
        self.seen: dict[int, Curves] = {}

    def see(self, frame: int, looks: Sequence, at: float) -> None:
        """Note a frame; `looks` is the sequence as it was evaluated for it, or told ahead for where F-curves stand."""
        self.seen[frame] = {
            (str(layer.layer_id), curve): curves.value(looks.empty, names.curve_property(layer.layer_id, curve), at)
            for layer in self._shown.layers
            for curve in names.CURVES
        }

    def told(self, scene: bpy.types.Scene, frames: tuple[int, ...], masks: Mapping[str, str]) -> dict[str, Any]:
        """The JSON's content.

        Args:
            masks: layer id → the name of its mask in files.
        """
        for frame in frames:
            if frame not in self.seen:
                self.see(frame, self._shown, timing.clock(scene, frame))
        return {
            "sequence": self._shown.empty.name,
            "run": properties_of(self._shown.empty).run,
            "fps": scene.render.fps / scene.render.fps_base,
            "frames": list(frames),
            "layers": [
                {
                    "prompt": layer.prompt,
                    "id": layer.layer_id,
                    "mask": masks.get(layer.layer_id, ""),
                    "intervals": [self._interval(scene, *interval) for interval in layers.intervals(layer)],
                    "curves": {
                        curve: [self.seen[frame][layer.layer_id, curve] for frame in frames] for curve in names.CURVES
                    },
                }
                for layer in self._shown.layers
            ],
        }

    def _interval(self, scene: bpy.types.Scene, start: int, end: int, peak: int, score: float) -> dict[str, Any]:
        """In capture frames, and in the scene's, which files are numbered by."""
        spans = timing.spans(self._shown.empty, start, end)
        first, last = (spans[0][0], spans[0][1]) if spans else map(self._shown.scene_frame, (start, end))
        return {
            "start": start,
            "end": end,
            "peak": peak,
            "score": score,
            "scene_start": timing.frame_at(scene, first),
            "scene_end": timing.frame_at(scene, last),
        }
