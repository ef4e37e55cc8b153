"""Lamps on splats, in Cycles and EEVEE: as far as is asked, a Gaussian's colour is what it reflects, not what it emits.

What faces the light is a Gaussian's flattest side: surfaces are made of Gaussians that lie flat in them (Jiang et al.,
GaussianShader, 2024, take the shortest axis for the normal, too). Which of its two sides is the outer one the camera
says, that sees it. The captured light stays in the colours; nothing takes it out.
"""

from __future__ import annotations

from collections.abc import Mapping

import bpy

from .. import declare, names
from .builder import Value, math, node, output, vector_math, with_color

NORMAL = "legs4d:normal"
"""Attribute of the instances: the normal times how far lamps light the point, and how far off its shadows begin, times
−1: where nobody stored it, materials read 0, 0, 0 and 1."""

REFLECT, GAP = "reflect", "shadow_gap"
LIGHT: Mapping[str, str] = {
    REFLECT: "How far lamps light the splats: 0 shows the captured light alone, 1 that of the scene's lamps alone. "
    "Cycles and EEVEE",
    GAP: "Splats throw no shadow on what is nearer than this, in scene units: surfaces are made of many that overlap. "
    "Cycles",
}
"""Custom properties of the parent empty → what they say."""
DEFAULTS: Mapping[str, float] = {REFLECT: 0.0, GAP: 0.1}


def ensure(empty: bpy.types.Object) -> None:
    """Give the empty the properties that it lacks."""
    for name, says in LIGHT.items():
        key = names.amount_property(name)
        if empty.get(key) is None:
            limits = {"max": 1.0, "subtype": "FACTOR"} if name == REFLECT else {"soft_max": 10.0, "subtype": "DISTANCE"}
            declare.custom(empty, key, DEFAULTS[name], says, min=0.0, **limits)


def marked(tree: bpy.types.NodeTree, points: Value, to_camera: Value, reflect: Value, gap: Value) -> Value:
    """The points with `NORMAL`, where shadows or lamps make use of it.

    Args:
        to_camera: from the point, in the points' axes.
        reflect: 0..1.
        gap: in scene units; 0 where splats throw no shadows.
    """
    rotation = output(node(tree, "GeometryNodeInputNamedAttribute", {0: names.ROTATION}, data_type="QUATERNION"))
    scale = output(node(tree, "GeometryNodeInputNamedAttribute", {0: names.SCALE}, data_type="FLOAT_VECTOR"))
    flattest = _shortest_axis(tree, scale)
    turned = output(node(tree, "FunctionNodeRotateVector", {0: flattest, 1: rotation}))
    side = math(tree, "SIGN", vector_math(tree, "DOT_PRODUCT", turned, to_camera))
    viewport = output(node(tree, "GeometryNodeIsViewport"))  # whose instances turn what they carry themselves
    normal = node(tree, "GeometryNodeSwitch", {0: viewport, 1: turned, 2: flattest}, input_type="VECTOR")
    toward = vector_math(tree, "SCALE", output(normal), Scale=side * reflect)
    stored = with_color(tree, points, NORMAL, toward, gap * -1.0)
    used = math(tree, "GREATER_THAN", math(tree, "MAXIMUM", reflect, gap), 0.0)
    return output(node(tree, "GeometryNodeSwitch", {0: used, 1: points, 2: stored}, input_type="GEOMETRY"))


def _shortest_axis(tree: bpy.types.NodeTree, scale: Value) -> Value:
    """The unit vector along the smallest component."""
    split = node(tree, "ShaderNodeSeparateXYZ", {0: scale})
    x, y, z = (output(split, axis) for axis in range(3))
    is_x = 1.0 - math(tree, "GREATER_THAN", x, math(tree, "MINIMUM", y, z))
    is_y = math(tree, "LESS_THAN", y, z) * (1.0 - is_x)
    return output(node(tree, "ShaderNodeCombineXYZ", {0: is_x, 1: is_y, 2: 1.0 - is_x - is_y}))


def shaded(tree: bpy.types.NodeTree, color: Value, glow: Value, attribute_type: str) -> tuple[Value, Value]:
    """In a material: the surface that glows and reflects as `NORMAL` says, and 1 for rays that have it as a shadow.

    Args:
        color: what shows; `glow` its emission.
        attribute_type: where the attribute is: "INSTANCER" or "GEOMETRY".
    """
    attribute = node(tree, "ShaderNodeAttribute", attribute_type=attribute_type, attribute_name=NORMAL)
    local = output(attribute, "Vector")
    world = node(
        tree, "ShaderNodeVectorTransform", {0: local}, vector_type="NORMAL", convert_from="OBJECT", convert_to="WORLD"
    )
    normal = vector_math(tree, "NORMALIZE", output(world))
    reflects = node(tree, "ShaderNodeBsdfDiffuse", {"Color": color, "Normal": normal})
    share = math(tree, "MINIMUM", vector_math(tree, "LENGTH", local), 1.0)
    surface = output(node(tree, "ShaderNodeMixShader", {0: share, 1: glow, 2: output(reflects)}))
    path = node(tree, "ShaderNodeLightPath")
    near = math(tree, "LESS_THAN", output(path, "Ray Length"), output(attribute, "Alpha") * -1.0)
    return surface, 1.0 - near * output(path, "Is Shadow Ray")
