"""The node group of grades: what an artist makes of the captured colour, before the layers' look."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from .. import names
from ..portable import look
from .builder import Nodes, Value, frame, node, output, shared

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


def weight_of(tree: bpy.types.NodeTree, where: str, source: str) -> Value | float:
    """How much of each point is graded, before the grade's strength.

    Args:
        where: "ALL", "LAYER" or "SELECTION".
        source: id of the layer, whose node is in the tree already; or the name that the selection is kept under.
    """
    if where == "LAYER" and source in tree.nodes:
        return output(tree.nodes[source], "Weight")
    if where == "SELECTION":
        name = names.selection_attribute(source)
        return output(node(tree, "GeometryNodeInputNamedAttribute", {0: name}, data_type="FLOAT"))
    return 1.0 if where == "ALL" else 0.0


def _graded(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    grade = look.Grade(**{name: given(socket_of(name)) for name in look.GRADE})
    with frame(tree, "Exposure, hue, saturation, lift, gamma, gain"):
        weight = given("Weight") * given("Strength") * given("Enabled")
        graded: Value = look.graded(Nodes(tree), given("Color"), weight, grade)
    return graded
