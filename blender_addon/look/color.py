"""The node group of colour: a point's captured colour as light, and what its layers make of it."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from ..portable import look
from ..portable.values import SH_C0
from .builder import Nodes, Value, frame, node, output, shared, vector_math

GROUP = "4-LEGS: color"
SRGB_KNOTS = 65


def ensure() -> bpy.types.NodeTree:
    """The group: SH DC coefficients, the layers' tint and strongest weight, amounts of the look, to linear colour."""
    return shared(
        GROUP,
        look.VERSION,
        {"DC": "Vector", "Color": "Vector", **dict.fromkeys(("Strongest", *map(socket_of, look.AMOUNTS)), "Float")},
        {"Color": "Vector"},
        lambda tree, given: {"Color": _color(tree, given)},
    )


def socket_of(amount: str) -> str:
    """What node groups call the input of one of the look's amounts."""
    return amount.capitalize()


def amounts_of(given: Callable[[str], Value]) -> look.Amounts:
    """The amounts that a node group is given."""
    return look.Amounts(**{name: given(socket_of(name)) for name in look.AMOUNTS})


def _color(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    with frame(tree, "Captured color, as light"):
        captured = _linear(tree, given("DC"))
    with frame(tree, "Under the layers"):
        shown: Value = look.colored(Nodes(tree), captured, given("Strongest"), given("Color"), amounts_of(given))
    return shown


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
