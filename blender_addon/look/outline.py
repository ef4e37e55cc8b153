"""The node group of outlines: larger points behind those that the layers name."""

from __future__ import annotations

import bpy

from .. import names
from . import material
from .builder import Value, frame, math, node, output, shared, vector_math
from .shape import from_camera

GROUP = "4-LEGS: outline"
VERSION = 6

OUTLINE_SPREAD = 0.004
"""What is added to each standard deviation, as a share of the distance to the camera."""
OUTLINE_PUSH = 1.01
"""How much farther than their points outlines lie, so that those cover them."""


def ensure() -> bpy.types.NodeTree:
    """The group: points, the layers' mean tint and how opaque each point's outline is, to points marked as `LOOK`."""
    return shared(
        GROUP,
        VERSION,
        {"Geometry": "Geometry", "Color": "Vector", "Opacity": "Float"},
        {"Geometry": "Geometry"},
        lambda tree, given: {"Geometry": _outlines(tree, given("Geometry"), given("Color"), given("Opacity"))},
    )


def _outlines(tree: bpy.types.NodeTree, points: Value, tint: Value, opacity: Value) -> Value:
    with frame(tree, "Named points in the layers' color"):
        unnamed = math(tree, "LESS_THAN", opacity, material.LEAST_ALPHA)
        named = node(tree, "GeometryNodeDeleteGeometry", {"Geometry": points, "Selection": unnamed}, domain="POINT")
        colored = material.marked(tree, output(named), tint, opacity)
    with frame(tree, "Farther away and larger"):
        away = from_camera(tree)
        offset = vector_math(tree, "SCALE", away, Scale=OUTLINE_PUSH - 1.0)
        farther = node(tree, "GeometryNodeSetPosition", {"Geometry": colored, "Offset": offset})
        stored = output(node(tree, "GeometryNodeInputNamedAttribute", {0: names.SCALE}, data_type="FLOAT_VECTOR"))
        wider = vector_math(tree, "LENGTH", away) * OUTLINE_SPREAD
        spread = node(tree, "ShaderNodeCombineXYZ", {0: wider, 1: wider, 2: wider})
        grown = node(
            tree,
            "GeometryNodeStoreNamedAttribute",
            {
                "Geometry": output(farther),
                "Name": names.SCALE,
                "Value": vector_math(tree, "ADD", stored, output(spread)),
            },
            data_type="FLOAT_VECTOR",
            domain="POINT",
        )
    return output(grown)
