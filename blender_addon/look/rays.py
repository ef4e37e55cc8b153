"""The node groups of view dependence: spherical harmonics along the ray from the active camera to each point.

In renders that is the ray to the point; viewports show what the active camera sees, from wherever they look.
"""

from __future__ import annotations

from typing import Any

import bpy

from .. import names
from ..portable.sh import basis_columns, degree_of
from ..portable.values import SH_C0
from .builder import Value, frame, node, output, shared, vector_math
from .shape import from_camera

GROUP = "4-LEGS: view dependence"
VERSION = 1


def ensure(count: int) -> bpy.types.NodeTree:
    """The group of so many coefficients (3, 8 or 15): what the view adds to a point's SH DC coefficients."""
    return shared(f"{GROUP} {degree_of(count)}", VERSION, {}, {"DC": "Vector"}, lambda tree, _: _added(tree, count))


def _added(tree: bpy.types.NodeTree, count: int) -> dict[str, Value]:
    with frame(tree, "From the camera to the point"):
        ray = vector_math(tree, "NORMALIZE", from_camera(tree))
        split = node(tree, "ShaderNodeSeparateXYZ", {0: ray})
    with frame(tree, "Harmonics"):
        columns: Any = basis_columns  # a formula: it takes values of nodes as well as arrays
        basis = columns(*(output(split, axis) for axis in range(3)), degree_of(count))
    with frame(tree, "Coefficients"):
        total = None
        for index, value in enumerate(basis):
            name = names.sh_attribute(index)
            stored = output(node(tree, "GeometryNodeInputNamedAttribute", {0: name}, data_type="FLOAT_VECTOR"))
            part = vector_math(tree, "SCALE", stored, Scale=value)
            total = part if total is None else vector_math(tree, "ADD", total, part)
        return {"DC": vector_math(tree, "SCALE", total, Scale=1.0 / SH_C0)}
