"""Bake to native: a `.blend` that plays and renders without the add-on, for render farms.

Its points come from a folder of PLY files beside it, one per frame, read by Blender's own Import PLY node; the node
groups and the layers' F-curves are those of the file it was baked from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import engine, look, names
from ..cache.blocks import MOST_SH
from ..cache.missing import missing
from ..engine.properties import settings_of
from ..look.builder import arrange, math, node, output, socket
from ..portable.ply.writer import table_parts
from ..selection import mask
from ..sequence import attributes, highlighter, nodes, timing
from ..sequence.properties import cloud_of, properties_of
from ..sequence.rendering import Job, RenderProblem
from ..sequence.sequence import Sequence
from .settings import KeyedSettings

POINTS_FOLDER = "_points"
STATIC, LOOSE = "static", "loose_"
"""A file's name, and how those of points of single frames begin."""
TREE = "4-LEGS points from files"
READER = "4-LEGS points"
"""The modifier that reads the files."""

COLUMNS = {
    names.POSITION: ("x", "y", "z"),
    names.SCALE: ("scale_x", "scale_y", "scale_z"),
    names.ROTATION: ("rotation_w", "rotation_x", "rotation_y", "rotation_z"),
    names.RADIANCE: ("dc_r", "dc_g", "dc_b", "opacity"),
    names.VELOCITY: ("velocity_x", "velocity_y", "velocity_z"),
}
"""Attributes of several numbers → their properties in the files; those of one number keep their names."""


class Bake(Job):
    """Writes the points of each frame, then the file; see `rendering.Job` for how.

    Args:
        shown: the sequence.
        target: the `.blend` to write, replaced if it is there.
    """

    renders = False

    def __init__(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, shown: Sequence, target: Path) -> None:
        self.frames = range(scene.frame_start, scene.frame_end + 1)
        self.target, self.points = target, target.with_name(f"{target.stem}{POINTS_FOLDER}")
        super().__init__(scene, view_layer, self.points, len(self.frames))
        self.shown = shown
        self._settings = KeyedSettings(shown)
        self._bends = nodes.are_used(shown)

    def begin(self) -> None:
        """Checks that there is something to bake and that it does not write over its own source."""
        if self.shown.deleted:
            raise RenderProblem(f"{self.shown.deleted}.")
        if not settings_of(self.original).render_missing:
            clocks = [timing.clock(self.original, frame) for frame in self.frames]
            if problem := missing(self.shown, clocks):
                raise RenderProblem(problem)
        if bpy.data.filepath and self.target.resolve() == Path(bpy.data.filepath).resolve():
            raise RenderProblem("This file itself would be replaced; choose another name.")

    def set_up(self) -> None:
        """Writes the points that no frame changes."""
        if self.shown.static_object is not None and not self._bends:
            self._write(STATIC, cloud_of(self.shown.static_object))

    def remaining(self) -> Iterator[int]:
        """Every frame of the scene."""
        yield from self.frames

    def aim(self, item: int) -> None:
        """Shows a frame."""
        self.scene.frame_set(item)

    def store(self, item: int) -> None:
        """Writes its moving points, and those that it alone has."""
        layer: Any = self.scene.view_layers[self.layer_name]
        self._settings.note(timing.clock(self.original, item), layer.depsgraph)
        number = f"{item - self.frames[0]:06d}"
        if self.shown.static_object is not None and self._bends:
            self._write(f"{STATIC}{number}", cloud_of(self.shown.static_object))
        if self.shown.dynamic_object is not None:
            self._write(number, cloud_of(self.shown.dynamic_object))
        if self.shown.loose_object is not None:
            self._write(f"{LOOSE}{number}", cloud_of(self.shown.loose_object))

    def finish(self) -> None:
        """Saves the file."""
        self.close()  # the copy of the scene must not be in it
        with self._native():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            bpy.ops.wm.save_as_mainfile(filepath=str(self.target), copy=True, check_existing=False)

    def _write(self, name: str, cloud: bpy.types.PointCloud) -> None:
        part = self.scratch / "points.ply"
        kept = [names.selection_attribute(one.source) for one in self.shown.its.grades if one.where == "SELECTION"]
        _write_ply(part, cloud, [layer.layer_id for layer in self.shown.layers], kept)
        os.replace(part, self.points / f"{name}.ply")

    @contextmanager
    def _native(self) -> Iterator[None]:
        """The file as it is to be saved: clouds that read files, and nothing that the add-on would take for its own."""
        undo: list[Any] = []
        made: list[bpy.types.ID] = []
        try:
            self._settings.make_native(undo)
            for child in self.shown.objects:
                self._make_native(child, undo, made)
            _set(undo, self.shown.its, "role", "NONE")
            for scene in bpy.data.scenes:
                if scene.render.engine == engine.ENGINE:
                    _set(undo, scene.render, "engine", "CYCLES")
                    look.prepare(scene)
            yield
        finally:
            for restore in reversed(undo):
                restore()
            bpy.data.batch_remove(made)

    def _make_native(self, child: bpy.types.Object, undo: list[Any], made: list[bpy.types.ID]) -> None:
        """Gives a cloud the reader in the place of its points; notes how to go back."""
        role, count = properties_of(child).role, self.shown.its.num_sh
        begin = f"//{self.points.name}/{LOOSE if role == 'LOOSE' else ''}"
        if role == "STATIC" and self._bends:
            begin += STATIC
        if role == "STATIC" and not self._bends:
            tree = _reader(f"{begin}{STATIC}.ply", count)
        else:
            frames_per_clock = 1.0 / timing.clock(self.original, 1.0)
            tree = _reader(begin, count, self.frames[0], len(self.frames), frames_per_clock)
        cloud = bpy.data.pointclouds.new(f"{child.name} from files")
        made += [tree, cloud]
        _set(undo, child, "data", cloud)
        _set(undo, child, "display_type", "TEXTURED")
        _set(undo, properties_of(child), "role", "NONE")
        shows: Any = child.modifiers.get(look.MODIFIER)
        if shows is not None:
            _set(undo, shows, "show_viewport", True)
            _set(undo, shows, "show_render", True)
        reader: Any = child.modifiers.new(READER, "NODES")
        reader.node_group = tree
        child.modifiers.move(len(child.modifiers) - 1, 0)
        undo.append(lambda: child.modifiers.remove(child.modifiers[READER]))


def _set(undo: list[Any], owner: Any, name: str, value: Any) -> None:
    before = getattr(owner, name)
    setattr(owner, name, value)
    undo.append(lambda: setattr(owner, name, before))


def _write_ply(path: Path, cloud: bpy.types.PointCloud, layers: list[str], selections: list[str]) -> None:
    columns = {part: values for name, parts in COLUMNS.items() for part, values in _split(cloud, name, parts)}
    for name, kind in names.optional_attributes(MOST_SH, True).items():
        if name in cloud.attributes:
            parts = _parts(name) if kind == "FLOAT_VECTOR" else (name,)
            columns |= dict(_split(cloud, name, parts))
    for layer_id in layers:
        levels = highlighter.levels_of(cloud, layer_id)
        assert levels is not None  # it was written with the frame
        columns[names.layer_attribute(layer_id)] = levels.astype(np.float32)
    columns |= {name: attributes.read(cloud, name) for name in selections if name in cloud.attributes}
    keep = mask.kept(cloud)
    if keep is not None:
        columns = {name: values[keep] for name, values in columns.items()}
    path.write_bytes(b"".join(table_parts(columns)))


def _split(cloud: bpy.types.PointCloud, name: str, parts: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    values = attributes.read(cloud, name).reshape(-1, len(parts))
    yield from ((part, values[:, place]) for place, part in enumerate(parts))


def _parts(name: str) -> tuple[str, ...]:
    """What the numbers of a vector are called in the files."""
    return tuple(f"{name.replace(':', '_')}_{axis}" for axis in "xyz")


def _reader(
    path: str, num_sh: int, first: int | None = None, count: int = 1, frames_per_clock: float = 1.0
) -> bpy.types.NodeTree:
    """A node group that reads a file, or the frame's file of `count` whose names begin so, from scene frame `first`.

    Args:
        num_sh: SH coefficients that the files have.
        frames_per_clock: see `_frame_path`.
    """
    tree = bpy.data.node_groups.new(TREE, "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        socket(tree, "Geometry", "Geometry", direction)
    file = node(tree, "GeometryNodeImportPLY")
    if first is None:  # as a text, which Blender does not take for a path: it would turn a path to where it saved from
        named: bpy.types.NodeSocket = output(node(tree, "FunctionNodeInputString", string=path)).socket
    else:
        named = _frame_path(tree, path, first, count, frames_per_clock)
    tree.links.new(named, file.inputs["Path"])
    points = node(tree, "GeometryNodeMeshToPoints", {"Mesh": output(file), "Radius": 0.0})
    geometry = output(points)
    for name, kind, value in _attributes(tree, num_sh):
        stored = node(
            tree,
            "GeometryNodeStoreNamedAttribute",
            {"Geometry": geometry, "Name": name, "Value": value},
            data_type=kind,
            domain="POINT",
        )
        geometry = output(stored)
    node(tree, "NodeGroupOutput", {0: geometry})
    arrange(tree)
    return tree


def _frame_path(
    tree: bpy.types.NodeTree, folder: str, first: int, count: int, frames_per_clock: float
) -> bpy.types.NodeSocket:
    """The path of the scene frame's file: before the first the first, after the last the last.

    Args:
        frames_per_clock: scene frames in one as F-curves count: other than 1 under time stretching.
    """
    frame = output(node(tree, "GeometryNodeInputSceneTime"), "Frame")
    if frames_per_clock != 1.0:
        frame = frame * frames_per_clock + 1e-3
    index = math(tree, "MINIMUM", math(tree, "MAXIMUM", math(tree, "FLOOR", frame - float(first)), 0.0), count - 1.0)
    whole = node(tree, "FunctionNodeFloatToInt", {0: index})
    text = node(tree, "FunctionNodeFormatString")
    text.format_items.new("INT", "frame")
    text.inputs["Format"].default_value = f"{folder}{{:06}}.ply"
    tree.links.new(whole.outputs[0], text.inputs["frame"])
    return text.outputs[0]


def _attributes(tree: bpy.types.NodeTree, num_sh: int) -> Iterator[tuple[str, str, Any]]:
    """(attribute, node data type, value) of those that the files hold number by number."""

    def number(name: str) -> Any:
        return output(node(tree, "GeometryNodeInputNamedAttribute", {0: name}, data_type="FLOAT"))

    vectors = {name: COLUMNS[name] for name in (names.SCALE, names.VELOCITY)}
    vectors |= {name: _parts(name) for name in map(names.sh_attribute, range(num_sh))}
    for name, parts in vectors.items():
        yield name, "FLOAT_VECTOR", output(node(tree, "ShaderNodeCombineXYZ", dict(enumerate(map(number, parts)))))
    turned = node(tree, "FunctionNodeQuaternionToRotation", dict(enumerate(map(number, COLUMNS[names.ROTATION]))))
    yield names.ROTATION, "QUATERNION", output(turned)
    color = node(tree, "FunctionNodeCombineColor", dict(enumerate(map(number, COLUMNS[names.RADIANCE]))))
    yield names.RADIANCE, "FLOAT_COLOR", output(color)
