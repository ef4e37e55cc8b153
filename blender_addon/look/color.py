"""The node group of colour: a point's captured colour as light, and what its layers make of it."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from .builder import Value, frame, mix_colors, node, output, shared, vector_math

GROUP = "4-LEGS: color"
VERSION = 6

SH_C0 = 0.28209479177387814
"""Value of the zeroth spherical harmonic: captured colour = 0.5 + SH_C0 · coefficient, sRGB-encoded."""

SRGB_KNOTS = 65
LUMINANCE = (0.2126, 0.7152, 0.0722)
TINT_SHARE = 0.85
"""How much of a fully highlighted point's colour is the layer's."""
GLOW = 0.35
"""Brightness that a tinted point has beyond its own: dark things light up, too."""
DIMMED = 0.55
"""Brightness of what is desaturated."""


def ensure() -> bpy.types.NodeTree:
    """The group: SH DC coefficients, the layers' tint and strongest weight, amounts of the look, to linear colour."""
    return shared(
        GROUP,
        VERSION,
        {"DC": "Vector", "Color": "Vector", "Strongest": "Float", "Tint": "Float", "Desaturate": "Float"},
        {"Color": "Vector"},
        lambda tree, given: {"Color": _color(tree, given)},
    )


def _color(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    with frame(tree, "Captured color, as light"):
        captured = _linear(tree, given("DC"))
        brightness = vector_math(tree, "DOT_PRODUCT", captured, LUMINANCE)
    with frame(tree, "Tinted by the layers"):
        tinted = vector_math(tree, "SCALE", given("Color"), Scale=brightness + GLOW)
        lit = mix_colors(tree, given("Strongest") * given("Tint") * TINT_SHARE, captured, tinted)
    with frame(tree, "Everything else without color"):
        grey = vector_math(tree, "SCALE", (DIMMED,) * 3, Scale=brightness)
        return mix_colors(tree, given("Desaturate") * (1.0 - given("Strongest")), lit, grey)


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
    values = np.where(knots <= 0.04045, knots / 12.92, ((knots + 0.055) / 1.055) ** 2.4)
    mapping.extend = "HORIZONTAL"
    points = mapping.curves[3].points
    for knot, value in zip(knots[1:-1], values[1:-1], strict=True):
        points.new(float(knot), float(value))
    for point in points:
        point.handle_type = "VECTOR"
    mapping.update()
