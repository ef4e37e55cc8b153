"""The node group of grades: what an artist makes of the captured colour, before the layers' look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy

from .. import names
from ..portable import look
from .builder import Nodes, Value, frame, math, node, output, shared, vector_math

GROUP = "4-LEGS: grade"
VECTORS = ("lift", "gamma", "gain")


def ensure() -> bpy.types.NodeTree:
    """The group: a linear colour and how much of it is graded, the grade's values, to the graded colour."""
    values = {socket_of(name): "Vector" if name in VECTORS else "Float" for name in look.GRADE}
    return shared(
        GROUP,
        look.VERSION,
        {"Color": "Vector", "Weight": "Float", "Strength": "Float", "Enabled": "Float", **values},
        {"Color": "Vector"},
        lambda tree, given: {"Color": _graded(tree, given)},
    )


def socket_of(name: str) -> str:
    """What the group calls the input of one of the grade's values."""
    return name.capitalize()


@dataclass(frozen=True)
class Place:
    """Where a grade shows.

    Attributes:
        grade_id: whose.
        where: "ALL", "LAYER", "SELECTION" or "RAMP".
        source: id of the layer, whose node is in the tree already; or the name that the selection is kept under.
        handle: the object along whose z, from 0 to 1, a ramp grows.
    """

    grade_id: str
    where: str
    source: str
    handle: bpy.types.Object | None

    @property
    def signature(self) -> tuple[str, str, str, str]:
        """Another one when nodes have to be built anew."""
        return self.grade_id, self.where, self.source, self.handle.name_full if self.handle is not None else ""


def weight_of(tree: bpy.types.NodeTree, place: Place) -> Value | float:
    """How much of each point is graded, before the grade's strength."""
    if place.where == "LAYER" and place.source in tree.nodes:
        return output(tree.nodes[place.source], "Weight")
    if place.where == "SELECTION":
        name = names.selection_attribute(place.source)
        return output(node(tree, "GeometryNodeInputNamedAttribute", {0: name}, data_type="FLOAT"))
    if place.where == "RAMP" and place.handle is not None:
        info = node(tree, "GeometryNodeObjectInfo", {"Object": place.handle}, transform_space="RELATIVE")
        back = node(tree, "FunctionNodeInvertMatrix", {0: output(info, "Transform")})
        here = output(node(tree, "GeometryNodeInputPosition"))
        along = node(tree, "FunctionNodeTransformPoint", {0: here, 1: output(back)})
        height = output(node(tree, "ShaderNodeSeparateXYZ", {0: output(along)}), 2)
        share = output(node(tree, "ShaderNodeClamp", {0: height, 1: 0.0, 2: 1.0}))
        is_there = math(tree, "GREATER_THAN", vector_math(tree, "LENGTH", output(info, "Scale")), 0.0)
        return share * is_there * output(back, "Invertible")  # nowhere, where there is no arrow or it is flat
    return 1.0 if place.where == "ALL" else 0.0


def _graded(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    grade = look.Grade(**{name: given(socket_of(name)) for name in look.GRADE})
    with frame(tree, "Exposure, hue, saturation, lift, gamma, gain"):
        weight = given("Weight") * given("Strength") * given("Enabled")
        graded: Value = look.graded(Nodes(tree), given("Color"), weight, grade)
    return graded
