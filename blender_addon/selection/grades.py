"""Grades of a sequence: what they are, their values at a frame, and the colours that they make.

Values are custom properties of the parent empty that drive the node group: keyframes on them are all an animator needs,
and files show them without the add-on.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .. import declare, names
from ..layers import curves, layers
from ..portable import look
from ..portable.look import GRADE, NUMPY, Grade
from ..sequence import attributes, highlighter
from ..sequence.properties import GradeProperties, properties_of
from ..sequence.sequence import Sequence
from . import selecting

Array = np.ndarray[Any, Any]

STRENGTH = "strength"
_DEFAULTS: dict[str, Any] = {STRENGTH: 1.0, **{name: getattr(Grade(), name) for name in GRADE}}
_SAYS = {STRENGTH: "How far the grade is followed", **GRADE}
_LIMITS = {
    STRENGTH: (0.0, 1.0),
    "exposure": (-10.0, 10.0),
    "hue": (-np.pi, np.pi),
    "saturation": (0.0, 4.0),
    "lift": (-1.0, 1.0),
    "gamma": (0.05, 8.0),
    "gain": (0.0, 8.0),
}
_SUBTYPES = {STRENGTH: "FACTOR", "hue": "ANGLE"}


@dataclass(frozen=True)
class Graded:
    """A grade at one frame.

    Attributes:
        where, source: see `GradeProperties`.
        strength: 0..1; 0 where it is disabled.
        grade: its values.
        ramp: a of 0..1 as a · (x, y, z, 1) is, in the points' axes; of a ramp alone.
    """

    where: str
    source: str
    strength: float
    grade: Grade
    ramp: tuple[float, float, float, float] | None = None


def add(shown: Sequence, where: str, layer_id: str = "") -> str:
    """A new grade that changes nothing yet; returns its id.

    Args:
        where: "ALL", "LAYER", "SELECTION": what is selected now, kept under the grade's id; or "RAMP": along an arrow
            that is made, from the bottom to the top of the points.
    """
    its = shown.its
    made = its.grades.add()
    made.grade_id = made.name = names.new_layer_id()
    made.where, made.source = where, layer_id if where == "LAYER" else made.grade_id
    layer = layers.find(shown, layer_id)
    made.label = {"ALL": "Everything", "SELECTION": "Selection", "RAMP": "Ramp"}.get(where) or (
        layers.title(layer) if layer else ""
    )
    its.active_grade = len(its.grades) - 1
    for name, value in _DEFAULTS.items():
        prop = names.grade_property(made.grade_id, name)
        low, high = _LIMITS[name]
        kind = _SUBTYPES.get(name, "NONE")
        declare.custom(shown.empty, prop, value, _SAYS[name], min=low, max=high, subtype=kind)
    if where == "SELECTION":
        selecting.keep_as(shown, made.source)
    if where == "RAMP":
        made.handle = _arrow(shown)
    return str(made.grade_id)


def remove(shown: Sequence, grade_id: str) -> None:
    """Remove a grade with its values, keyframes and what it kept of a selection."""
    its = shown.its
    index = next((i for i, grade in enumerate(its.grades) if grade.grade_id == grade_id), None)
    if index is None:
        return
    for name, value in _DEFAULTS.items():
        for component in range(3 if isinstance(value, tuple) else 1):
            curves.remove(shown.empty, names.grade_path(grade_id, name), component)
        shown.empty.pop(names.grade_property(grade_id, name), None)
    if its.grades[index].where == "SELECTION":
        selecting.forget(shown, its.grades[index].source)
    if its.grades[index].handle is not None:
        bpy.data.objects.remove(its.grades[index].handle)
    its.grades.remove(index)
    its.active_grade = min(its.active_grade, max(len(its.grades) - 1, 0))


def at(shown: Sequence, scene_frame: float) -> tuple[Graded, ...]:
    """Those that show at a scene frame, in their order."""
    found = []
    for item in shown.its.grades:
        strength = _value(shown.empty, item, STRENGTH, scene_frame) if item.enabled else 0.0
        if strength > 0.0:
            values = {name: _value(shown.empty, item, name, scene_frame) for name in GRADE}
            ramp = _ramp(shown, item.handle) if item.where == "RAMP" else None
            found.append(Graded(item.where, item.source, min(strength, 1.0), Grade(**values), ramp))
    return tuple(found)


def colored(
    shown: Sequence,
    cloud: bpy.types.PointCloud,
    scene_frame: float,
    colors: Array,
    chosen: slice | Array = slice(None),
    grades: Several[Graded] | None = None,
) -> Array:
    """Linear colours [K, 3] of these points of a cloud under the sequence's grades.

    Args:
        grades: `at` this frame, for who has it already.
    """
    for one in at(shown, scene_frame) if grades is None else grades:
        weight = _weights(shown, cloud, scene_frame, one, chosen, len(colors))
        other = np.flatnonzero(weight > 0.0)
        if len(other) == len(colors):
            colors = look.graded(NUMPY, colors, weight, one.grade).astype(np.float32)
        elif len(other):
            colors = colors.copy()
            colors[other] = look.graded(NUMPY, colors[other], weight[other], one.grade)
    return colors


def _weights(
    shown: Sequence, cloud: bpy.types.PointCloud, scene_frame: float, one: Graded, chosen: slice | Array, count: int
) -> Array:
    if one.where == "SELECTION":
        name = names.selection_attribute(one.source)
        found = attributes.read(cloud, name)[chosen] if name in cloud.attributes else np.zeros(count, np.float32)
    elif one.where == "LAYER":
        found = highlighter.weight_of(shown, cloud, scene_frame, one.source, chosen, count)
    elif one.ramp is not None:
        row = np.array(one.ramp, np.float32)
        found = np.clip(attributes.read(cloud, names.POSITION)[chosen] @ row[:3] + row[3], 0.0, 1.0)
    else:
        found = np.ones(count, np.float32)
    return np.asarray(found * np.float32(one.strength), np.float32)


def _ramp(shown: Sequence, handle: bpy.types.Object | None) -> tuple[float, float, float, float]:
    """The row that says how far along the handle's z, from 0 to 1, a point lies; nowhere where there is none."""
    if handle is None or handle.matrix_world.determinant() == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    row = (handle.matrix_world.inverted() @ shown.to_world)[2]
    return row[0], row[1], row[2], row[3]


def _arrow(shown: Sequence) -> bpy.types.Object:
    """An arrow from the bottom to the top of the points, which goes with them."""
    corners = np.array([child.matrix_world @ Vector(corner) for child in shown.objects for corner in child.bound_box])
    low, high = corners.min(axis=0), corners.max(axis=0)
    made = bpy.data.objects.new(f"{shown.empty.name} ramp", None)
    made.empty_display_type, made.empty_display_size = "SINGLE_ARROW", 1.0
    properties_of(made).role, properties_of(made).identity = "RAMP", shown.its.identity  # it goes with the sequence
    for collection in shown.empty.users_collection:
        collection.objects.link(made)
    height = max(float(high[2] - low[2]), 1e-3)
    made.parent, made.matrix_parent_inverse = shown.empty, shown.empty.matrix_world.inverted_safe()
    made.location, made.scale = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]), (height,) * 3
    return made


def _value(empty: bpy.types.Object, item: GradeProperties, name: str, scene_frame: float) -> Any:
    prop = names.grade_property(item.grade_id, name)
    if not isinstance(_DEFAULTS[name], tuple):
        return curves.value(empty, prop, scene_frame)
    return tuple(curves.value(empty, prop, scene_frame, index) for index in range(3))
