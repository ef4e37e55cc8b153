"""Exports a sequence over a range of frames: pictures, compositing layers, Gaussians, and what was found when."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import attributes, curves, layers, names, playback
from ..rendering import COMPOSITOR_ENGINES, Job, RenderProblem
from ..sequence import Sequence
from . import mattes
from .ply import write_ply

FAR = 1e10
"""Depth where nothing is, as Blender's own depth pass has it."""

LEAST_COVERAGE = 1e-3
"""Below this share of a pixel, its depth says nothing."""


@dataclass(frozen=True)
class Wanted:
    """What to export.

    Attributes:
        folder: for all files.
        template: file names without ending, a format string of `frame`, `name`, `scene` and `camera`.
        frames: of the scene.
        kinds: of ".png", ".exr", ".ply"; one file of each per frame.
        intervals: whether to write the JSON.
        overwrite: write frames again that are there.
    """

    folder: Path
    template: str
    frames: tuple[int, ...]
    kinds: tuple[str, ...]
    intervals: bool
    overwrite: bool = True


class Export(Job):
    """Runs an export; see `rendering.Job` for how."""

    def __init__(
        self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, shown: Sequence, wanted: Wanted
    ) -> None:
        super().__init__(scene, view_layer, wanted.folder, len(wanted.frames) if wanted.kinds else 0)
        self.shown, self.wanted = shown, wanted
        self.renders = bool({".png", ".exr"} & set(wanted.kinds))
        self._materials: list[bpy.types.Material] = []

    def begin(self) -> None:
        """Checks names, camera and engine."""
        scene = self.original
        if not self.wanted.frames:
            raise RenderProblem("The frame range is empty; choose another one.")
        if not self.wanted.kinds and not self.wanted.intervals:
            raise RenderProblem("Nothing is chosen; turn on PNG, EXR, PLY or JSON.")
        if self.renders and scene.camera is None:
            raise RenderProblem("The scene has no camera; add one, or export PLY and JSON only.")
        if self.renders and scene.render.engine not in COMPOSITOR_ENGINES:
            raise RenderProblem(f"{scene.render.engine} cannot show splats; choose Cycles or EEVEE.")
        if self.shown.deleted:
            raise RenderProblem(f"{self.shown.deleted}.")
        first, last = self._stem(self.wanted.frames[0]), self._stem(self.wanted.frames[-1])
        if first == last and len(self.wanted.frames) > 1:
            raise RenderProblem(f"The name '{self.wanted.template}' is the same for every frame; put {{frame}} in it.")

    def set_up(self) -> None:
        """The copy renders PNG, and for EXR the matte passes beside it."""
        scene = self.scene
        scene.render.image_settings.media_type = "IMAGE"
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGBA" if scene.render.film_transparent else "RGB"
        if ".exr" in self.wanted.kinds:
            self._set_up_layers()

    def remaining(self) -> Iterator[int]:
        """Frames of the scene whose files are not all there."""
        for frame in self.wanted.frames if self.wanted.kinds else ():
            if self.wanted.overwrite or not all(self._target(frame, kind).exists() for kind in self.wanted.kinds):
                yield frame

    def aim(self, item: int) -> None:
        """Shows a frame."""
        self.scene.frame_set(item)
        for weight in layers.weights(self.shown, item):
            for made in self._materials:
                if weight.layer_id in made.node_tree.nodes:
                    mattes.set_weight(made, weight)
        self.scene.render.filepath = str(self.image)

    def store(self, item: int) -> None:
        """Gives a frame's finished files their names."""
        if ".ply" in self.wanted.kinds:
            self._write_gaussians(self.scratch / "points.ply")
            os.replace(self.scratch / "points.ply", self._target(item, ".ply"))
        if not self.renders:
            return
        if not self.image.exists():
            raise RenderProblem(f"Blender rendered no picture of frame {item}; see its log.")
        if ".exr" in self.wanted.kinds:
            os.replace(self.scratch / "layers.exr", self._target(item, ".exr"))
        if ".png" in self.wanted.kinds:
            os.replace(self.image, self._target(item, ".png"))
        else:
            self.image.unlink()

    def finish(self) -> None:
        """Writes the JSON."""
        if self.wanted.intervals:
            part = self.scratch / "intervals.json"
            part.write_text(json.dumps(self._found(), indent=1))
            os.replace(part, self.folder / f"{self.shown.empty.name}_intervals.json")

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

    # Compositing layers

    def _set_up_layers(self) -> None:
        scene = self.scene
        extra = [mattes.DEPTH] if scene.render.film_transparent else [mattes.DEPTH, mattes.COVERAGE]
        places = mattes.channels(extra + [layer.layer_id for layer in self.shown.layers])
        picture = scene.view_layers[self.layer_name]
        passes = [
            self._matte_pass(picture, places, number) for number in range(1 + max(p.number for p in places.values()))
        ]
        tree, source, files = self.passes_to_files(picture)
        files.file_name = "layers"
        files.format.media_type, files.format.color_depth, files.format.exr_codec = "MULTI_LAYER_IMAGE", "32", "ZIP"

        def write(name: str, kind: str, value: bpy.types.NodeSocket) -> None:
            files.file_output_items.new(kind, name)
            tree.links.new(value, files.inputs[name])

        sources = []
        for layer in passes:
            rendered, split = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeSeparateColor")
            rendered.scene, rendered.layer = scene, layer.name
            tree.links.new(rendered.outputs["Image"], split.inputs[0])
            sources.append(split)

        def value(quantity: str) -> bpy.types.NodeSocket:
            return sources[places[quantity].number].outputs[places[quantity].channel]

        write("Combined", "RGBA", source.outputs["Image"])
        covered = value(mattes.COVERAGE) if mattes.COVERAGE in places else sources[0].outputs["Alpha"]
        write("Depth", "FLOAT", _mean_depth(tree, value(mattes.DEPTH), covered))
        for name, layer_id in matte_names(self.shown).items():
            write(name, "FLOAT", value(layer_id))

    def _matte_pass(
        self, picture: bpy.types.ViewLayer, places: dict[str, mattes.Channel], number: int
    ) -> bpy.types.ViewLayer:
        """A view layer of the copy that shows some quantities; it sees what the picture's layer sees."""
        made = self.made(mattes.build([quantity for quantity, place in places.items() if place.number == number]))
        self._materials.append(made)
        layer = self.scene.view_layers.new(f"4-LEGS mattes {number + 1}")
        _same_collections(picture.layer_collection, layer.layer_collection)
        black = self.made(bpy.data.worlds.new("4-LEGS black"))
        black.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.0
        layer.material_override, layer.world_override = made, black
        return layer

    # Data

    def _write_gaussians(self, path: Path) -> None:
        wanted = (names.POSITION, names.RADIANCE, names.SCALE, names.ROTATION, names.HIGHLIGHT)
        parts = [[attributes.read(cloud, name) for cloud in self.shown.clouds] for name in wanted]
        write_ply(path, *(np.concatenate(part) for part in parts))

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
            "run": empty.legs4d.run,
            "fps": fps,
            "frames": list(self.wanted.frames),
            "layers": found,
        }


def matte_names(shown: Sequence) -> dict[str, str]:
    """EXR layer name → layer id. A dot would split the name, and OpenEXR wants names short and different."""
    found: dict[str, str] = {}
    for layer in shown.layers:
        name = base = f"Matte {layer.prompt.replace('.', ' ').strip()}"[:56]
        number = 1
        while name in found:
            number += 1
            name = f"{base} {number}"
        found[name] = layer.layer_id
    return found


def _mean_depth(
    tree: bpy.types.NodeTree, depth: bpy.types.NodeSocket, covered: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """Expected depth: the composited one divided by the pixel's coverage; `FAR` where next to nothing is."""

    def calculate(operation: str, first: Any, second: Any) -> bpy.types.NodeSocket:
        made = tree.nodes.new("ShaderNodeMath")
        made.operation = operation
        for place, operand in enumerate((first, second)):
            if isinstance(operand, bpy.types.NodeSocket):
                tree.links.new(operand, made.inputs[place])
            else:
                made.inputs[place].default_value = operand
        return made.outputs[0]

    mean = calculate("DIVIDE", depth, calculate("MAXIMUM", covered, LEAST_COVERAGE))
    empty = calculate("LESS_THAN", covered, LEAST_COVERAGE)
    return calculate("ADD", mean, calculate("MULTIPLY", empty, FAR))


def _same_collections(one: bpy.types.LayerCollection, other: bpy.types.LayerCollection) -> None:
    """Gives a new view layer another's excluded, held-out and indirect collections."""
    other.exclude, other.holdout, other.indirect_only = one.exclude, one.holdout, one.indirect_only
    for mine, its in zip(one.children, other.children, strict=True):
        _same_collections(mine, its)
