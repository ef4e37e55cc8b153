"""The node groups of colour: a point's captured colour as light, and what its layers make of it."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from .. import names
from ..portable import look
from ..portable.values import SH_C0
from .builder import Nodes, Value, frame, node, output, shared, vector_math

GROUP, LIGHT_GROUP = "4-LEGS: color", "4-LEGS: captured light"
SRGB_KNOTS = 65


def ensure() -> bpy.types.NodeTree:
    """The group: a linear colour, the layers' tint and strongest weight, amounts of the look, to linear colour."""
    return shared(
        GROUP,
        look.VERSION,
        {
            "Captured": "Vector",
            "Color": "Vector",
            **dict.fromkeys(("Strongest", *map(socket_of, look.AMOUNTS)), "Float"),
        },
        {"Color": "Vector"},
        lambda tree, given: {"Color": _color(tree, given)},
    )


def ensure_light() -> bpy.types.NodeTree:
    """The group: what the view adds to a point's SH DC coefficients, to its captured colour, linear, and opacity."""
    return shared(LIGHT_GROUP, look.VERSION, {"View": "Vector"}, {"Color": "Vector", "Opacity": "Float"}, _captured)


def socket_of(amount: str) -> str:
    """What node groups call the input of one of the look's amounts."""
    return amount.capitalize()


def amounts_of(given: Callable[[str], Value]) -> look.Amounts:
    """The amounts that a node group is given."""
    return look.Amounts(**{name: given(socket_of(name)) for name in look.AMOUNTS})


def _color(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    with frame(tree, "Under the layers"):
        shown: Value = look.colored(
            Nodes(tree), given("Captured"), given("Strongest"), given("Color"), amounts_of(given)
        )
    return shown


def _captured(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> dict[str, Value]:
    with frame(tree, "Captured color, as light"):
        stored = node(tree, "GeometryNodeInputNamedAttribute", {0: names.RADIANCE}, data_type="FLOAT_COLOR")
        split = node(tree, "FunctionNodeSeparateColor", {0: output(stored)})
        dc = output(node(tree, "ShaderNodeCombineXYZ", {i: split.outputs[i] for i in range(3)}))
        color = _linear(tree, vector_math(tree, "ADD", dc, given("View")))
    return {"Color": color, "Opacity": output(split, "Alpha")}


def _linear(tree: bpy.types.NodeTree, dc: Value) -> Value:
    """Scene linear colour of SH DC coefficients: the sRGB curve undone, so that Standard shows the captured colour."""
    encoded = vector_math(tree, "MULTIPLY_ADD", dc, (SH_C0,) * 3, (0.5,) * 3)
    curve = node(tree, "ShaderNodeRGBCurve", {"Color": encoded})
    curve.name = curve.label = "sRGB to linear"
    _follow_srgb(curve.mapping)
    return output(curve)


def _follow_srgb(mapping: bpy.types.CurveMapping) -> None:
    """Shape the curve of all channels as IEC 61966-2-1 decodes: straight pieces, shorter where it is dark.

    A third of the time of power functions per point, and off by less than a tenth of an 8-bit step.
    """
    knots = np.linspace(0.0, 1.0, SRGB_KNOTS) ** 1.5
    values = look.NUMPY.linear(knots)
    mapping.extend = "HORIZONTAL"
    points = mapping.curves[3].points
    for knot, value in zip(knots[1:-1], values[1:-1], strict=True):
        points.new(float(knot), float(value))
    for point in points:
        point.handle_type = "VECTOR"
    mapping.update()
