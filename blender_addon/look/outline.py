"""The node group of outlines: larger points behind those that the layers name."""

from __future__ import annotations

import bpy

from .. import names
from ..portable import look
from . import material
from .builder import Nodes, Value, frame, math, node, output, shared, vector_math
from .shape import from_camera

GROUP = "4-LEGS: outline"


def ensure() -> bpy.types.NodeTree:
    """The group: points, the layers' mean tint and how opaque each point's outline is, to points marked as `LOOK`."""
    return shared(
        GROUP,
        look.VERSION,
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
        offset, wider = look.outline_shape(Nodes(tree), away, vector_math(tree, "LENGTH", away))
        farther = node(tree, "GeometryNodeSetPosition", {"Geometry": colored, "Offset": offset})
        stored = output(node(tree, "GeometryNodeInputNamedAttribute", {0: names.SCALE}, data_type="FLOAT_VECTOR"))
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
