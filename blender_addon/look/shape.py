"""The geometry that carries a Gaussian: a mesh as large as the Gaussian is visible, with coordinates of its own.

In the viewport it is an instanced icosahedron around the ellipsoid, right from everywhere. In renders it is a flat
hexagon through the ellipsoid's middle, turned to the active camera: where a ray meets it is where the Gaussian is
densest along the ray. So Gaussians are composited in the rasteriser's order, a ray meets each once, and all of them are
one mesh, in which Cycles finds its way several times faster than among instances.
"""

from __future__ import annotations

import math as numbers
from collections.abc import Callable

import bpy

from .. import names
from . import material
from .builder import Value, constant, frame, math, node, output, put, shared, vector_math

HEXAGON_ROUNDNESS = numbers.sqrt(3) / 2
ICOSAHEDRON_ROUNDNESS = 0.7946544722917661
"""Radius of what fits inside the mesh of circumradius 1: the mesh has to reach around the Gaussian's visible edge."""

PIXEL_VARIANCE = 0.3
"""What the rasteriser adds to a Gaussian's picture, in pixels² of the cameras it was trained with."""

GROUP = "4-LEGS: ellipsoids"
VERSION = 7
"""Raised when the tree below changes, so that files made before are brought up to date."""

PIXEL_ANGLE_NODE = "Pixel angle"
"""The sequence's own Value node that feeds the group."""
LARGEST_NODE, SLENDERNESS_NODE = "Viewport largest", "Viewport slenderness"
"""Likewise: the limits of `NO_LIMIT` and below that viewports cut standard deviations to."""
NO_LIMIT = 1e9


def ensure() -> bpy.types.NodeTree:
    """The group: points with `names.SCALE` and `names.ROTATION`, wherever they are opaque enough, to shapes."""
    return shared(
        GROUP,
        VERSION,
        {"Geometry": "Geometry", **dict.fromkeys(("Opacity", "Pixel Angle", "Largest", "Slenderness"), "Float")},
        {"Geometry": "Geometry"},
        lambda tree, given: {"Geometry": _ellipsoids(tree, given)},
    )


def _ellipsoids(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    points, opacity, angle = given("Geometry"), given("Opacity"), given("Pixel Angle")
    with frame(tree, "Size and rotation, as trained"):
        rotation = output(node(tree, "GeometryNodeInputNamedAttribute", {0: names.ROTATION}, data_type="QUATERNION"))
        camera = _camera(tree)
        here = output(node(tree, "GeometryNodeInputPosition"))
        to_camera = vector_math(tree, "SUBTRACT", output(camera, "Location"), here)
        stored = output(node(tree, "GeometryNodeInputNamedAttribute", {0: names.SCALE}, data_type="FLOAT_VECTOR"))
        cut = _limited(tree, stored, given("Largest"), given("Slenderness"))
        spread = _as_trained(tree, _either(tree, "VECTOR", cut, stored), to_camera, output(camera, "Rotation"), angle)
        visible = vector_math(tree, "SCALE", spread, Scale=material.reach(tree, opacity))
    with frame(tree, "Instances: solid in viewports, flat in renders"):
        instances = node(
            tree,
            "GeometryNodeInstanceOnPoints",
            {
                "Points": points,
                "Selection": math(tree, "GREATER_THAN", opacity, material.LEAST_ALPHA),
                "Instance": _either(tree, "GEOMETRY", _icosahedron(tree), _hexagon(tree)),
                "Rotation": rotation,
                "Scale": vector_math(tree, "SCALE", visible, Scale=1 / ICOSAHEDRON_ROUNDNESS),
            },
        )
    with frame(tree, "Renders: turned to where rays meet them, one mesh"):
        flat = vector_math(tree, "SCALE", visible, Scale=1 / HEXAGON_ROUNDNESS)
        turned = node(
            tree,
            "GeometryNodeSetInstanceTransform",
            {"Instances": output(instances), "Transform": _facing(tree, rotation, flat, to_camera)},
        )
        one_mesh = output(node(tree, "GeometryNodeRealizeInstances", {0: output(turned)}))
        return _either(tree, "GEOMETRY", output(instances), one_mesh)


def _camera(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The active camera, in the points' own axes."""
    active = output(node(tree, "GeometryNodeInputActiveCamera"))
    return node(tree, "GeometryNodeObjectInfo", {"Object": active}, transform_space="RELATIVE")


def from_camera(tree: bpy.types.NodeTree) -> Value:
    """The vector from the active camera to the point, in the points' own axes."""
    here = output(node(tree, "GeometryNodeInputPosition"))
    return vector_math(tree, "SUBTRACT", here, output(_camera(tree), "Location"))


def set_limits(tree: bpy.types.NodeTree, largest: float, slenderness: float) -> None:
    """Sets the limits of standard deviations in viewports; 0 is none."""
    constant(tree, LARGEST_NODE, largest or NO_LIMIT)
    constant(tree, SLENDERNESS_NODE, slenderness or NO_LIMIT)


def set_pixel_angle(tree: bpy.types.NodeTree, radians: float) -> None:
    """Sets the angle that a pixel of the training cameras saw; 0 shows Gaussians as sharp as they are stored."""
    constant(tree, PIXEL_ANGLE_NODE, radians)


def _either(tree: bpy.types.NodeTree, kind: str, in_viewport: Value, in_render: Value) -> Value:
    viewport = output(node(tree, "GeometryNodeIsViewport"))
    return output(node(tree, "GeometryNodeSwitch", {0: viewport, 1: in_render, 2: in_viewport}, input_type=kind))


def _limited(tree: bpy.types.NodeTree, stored: Value, largest: Value, slenderness: Value) -> Value:
    """Standard deviations cut to a length, and to so many times the middle one."""
    cut = vector_math(tree, "MINIMUM", stored, _repeated(tree, largest))
    split = node(tree, "ShaderNodeSeparateXYZ", {0: cut})
    x, y, z = (output(split, axis) for axis in range(3))
    longer = math(tree, "MINIMUM", math(tree, "MAXIMUM", x, y), z)
    middle = math(tree, "MAXIMUM", math(tree, "MINIMUM", x, y), longer)
    return vector_math(tree, "MINIMUM", cut, _repeated(tree, middle * slenderness))


def _as_trained(
    tree: bpy.types.NodeTree, stored: Value, to_camera: Value, camera_rotation: Value, angle: Value
) -> Value:
    """Standard deviations with the rasteriser's blur of a pixel, at the point's distance along the camera's axis.

    Gaussians are trained under that blur; without it there are gaps between the small ones.
    """
    axis = node(tree, "FunctionNodeRotateVector", {0: (0.0, 0.0, 1.0), 1: camera_rotation})
    depth = math(tree, "MAXIMUM", vector_math(tree, "DOT_PRODUCT", to_camera, output(axis)), 0.0)
    blur = depth * angle * numbers.sqrt(PIXEL_VARIANCE)
    variance = vector_math(tree, "MULTIPLY", stored, stored)
    widened = vector_math(tree, "ADD", variance, _repeated(tree, blur * blur))
    return vector_math(tree, "POWER", widened, (0.5, 0.5, 0.5))


def _repeated(tree: bpy.types.NodeTree, value: Value) -> Value:
    return output(node(tree, "ShaderNodeCombineXYZ", {0: value, 1: value, 2: value}))


def _facing(tree: bpy.types.NodeTree, rotation: Value, size: Value, to_camera: Value) -> Value:
    """Transform of a flat instance into the plane, conjugate to the view, in which the Gaussian is densest along rays.

    In the Gaussian's own space, where it is round, that plane is the one across the view.
    """
    back = output(node(tree, "FunctionNodeInvertRotation", {0: rotation}))
    unturned = output(node(tree, "FunctionNodeRotateVector", {0: to_camera, 1: back}))
    view = vector_math(tree, "DIVIDE", unturned, size)
    across = output(node(tree, "FunctionNodeAlignRotationToVector", {"Vector": view}, axis="Z", pivot_axis="AUTO"))
    position = output(node(tree, "GeometryNodeInputPosition"))
    placed = node(tree, "FunctionNodeCombineTransform", {0: position, 1: rotation, 2: size})
    turned = node(tree, "FunctionNodeCombineTransform")
    put(tree, across, turned.inputs["Rotation"])
    return output(node(tree, "FunctionNodeMatrixMultiply", {0: output(placed), 1: output(turned)}))


def _icosahedron(tree: bpy.types.NodeTree) -> Value:
    sphere = node(tree, "GeometryNodeMeshIcoSphere", {"Radius": 1.0, "Subdivisions": 1})
    return _with_coordinates(tree, output(sphere), ICOSAHEDRON_ROUNDNESS, material.SOLID)


def _hexagon(tree: bpy.types.NodeTree) -> Value:
    made = node(tree, "GeometryNodeMeshCircle", {"Vertices": 6, "Radius": 1.0}, fill_type="NGON")
    return _with_coordinates(tree, output(made), HEXAGON_ROUNDNESS, material.FLAT)


def _with_coordinates(tree: bpy.types.NodeTree, mesh: Value, roundness: float, shading: material.Shading) -> Value:
    """The mesh with the material and its own coordinates, 1 at the Gaussian's visible edge."""
    position = output(node(tree, "GeometryNodeInputPosition"))
    local = node(
        tree,
        "GeometryNodeStoreNamedAttribute",
        {
            "Geometry": mesh,
            "Name": material.LOCAL,
            "Value": vector_math(tree, "SCALE", position, Scale=1 / roundness),
        },
        data_type="FLOAT_VECTOR",
        domain="POINT",
    )
    return output(
        node(tree, "GeometryNodeSetMaterial", {"Geometry": output(local), "Material": material.ensure(shading)})
    )
