"""The materials of soft ellipsoids: each shows its colour with the opacity of a Gaussian seen along the ray.

A shape (see `shape`) knows its own coordinates, in which the Gaussian is round and its visible edge, `reach` standard
deviations away, is at 1. The value at the ray's closest approach, which is what splatting composites, is then
exp(-(reach · distance)² / 2): exact for parallel rays, no sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from . import lighting
from .builder import Value, arrange, cycles_of, math, node, output, vector_math, with_color

VERSION = 5
"""Raised when the trees below change, so that files made before are brought up to date."""

LOOK, LOCAL = "legs4d:look", "legs4d:local"
"""Attributes of the instances: shown colour (linear) with opacity; and the mesh's own coordinates."""

LEAST_ALPHA, MOST_ALPHA = 1 / 64, 0.999
"""What counts as a contribution. The rasteriser counts from 1/255: the haze below 1/64 costs a third of the time here
and changes the picture by 0.1 dB."""


@dataclass(frozen=True)
class Shading:
    """How a shape's Gaussian is found.

    Attributes:
        name: of the material.
        attribute_type: where `LOOK` is: "INSTANCER" or "GEOMETRY".
        is_flat: whether the mesh lies where the Gaussian is densest along the ray; else it is around it.
    """

    name: str
    attribute_type: str
    is_flat: bool


SOLID = Shading("4-LEGS splats in the viewport", "INSTANCER", is_flat=False)
FLAT = Shading("4-LEGS splats", "GEOMETRY", is_flat=True)


def reach(tree: bpy.types.NodeTree, opacity: Value) -> Value:
    """Standard deviations at which a Gaussian of this opacity drops below `LEAST_ALPHA`; 0 if it never is above."""
    ratio = math(tree, "MAXIMUM", opacity / LEAST_ALPHA, 1.0)
    return math(tree, "SQRT", math(tree, "LOGARITHM", ratio, 2.718281828) * 2.0)


def ensure(shading: Shading) -> bpy.types.Material:
    """The file's one material of this shading, made or brought up to date."""
    material: bpy.types.Material | None = bpy.data.materials.get(shading.name)
    if material is not None and material.get("legs4d:version") == VERSION:
        return material
    material = material or bpy.data.materials.new(shading.name)
    material.surface_render_method = "DITHERED"
    material.use_backface_culling = not shading.is_flat
    cycles_of(material).emission_sampling = "NONE"  # hundreds of thousands of tiny lamps would be slow
    _build(material.node_tree, shading)
    material["legs4d:version"] = VERSION
    return material


def _build(tree: bpy.types.NodeTree, shading: Shading) -> None:
    tree.nodes.clear()
    look = node(tree, "ShaderNodeAttribute", attribute_type=shading.attribute_type, attribute_name=LOOK)
    glow = node(tree, "ShaderNodeEmission", {"Color": output(look, "Color"), "Strength": 1.0})
    clear = node(tree, "ShaderNodeBsdfTransparent")
    surface, there = lighting.shaded(tree, output(look, "Color"), output(glow), shading.attribute_type)
    share = alpha(tree, output(look, "Alpha"), shading) * there
    mixed = node(tree, "ShaderNodeMixShader", {0: share, 1: clear.outputs[0], 2: surface})
    node(tree, "ShaderNodeOutputMaterial", {"Surface": mixed.outputs[0]})
    arrange(tree)


def alpha(tree: bpy.types.NodeTree, opacity: Value, shading: Shading) -> Value:
    """Opacity of the Gaussian along the ray that hit this point of its mesh; 0 where the ray leaves it."""
    local = node(tree, "ShaderNodeAttribute", attribute_type="GEOMETRY", attribute_name=LOCAL)
    point = output(local, "Vector")
    squared = vector_math(tree, "DOT_PRODUCT", point, point)
    if not shading.is_flat:
        ahead = vector_math(tree, "DOT_PRODUCT", point, _local_direction(tree))
        squared = squared - ahead * ahead
    edge = reach(tree, opacity)
    value = opacity * math(tree, "EXPONENT", squared * edge * edge * -0.5)
    counts = math(tree, "GREATER_THAN", value, LEAST_ALPHA)
    if not shading.is_flat:
        counts = counts * (1.0 - output(node(tree, "ShaderNodeNewGeometry"), "Backfacing"))
    return math(tree, "MINIMUM", value, MOST_ALPHA) * counts


def _local_direction(tree: bpy.types.NodeTree) -> Value:
    """The ray's direction in the instance's own coordinates, of length 1."""
    incoming = node(
        tree,
        "ShaderNodeVectorTransform",
        {0: output(node(tree, "ShaderNodeNewGeometry"), "Incoming")},
        vector_type="VECTOR",
        convert_from="WORLD",
        convert_to="OBJECT",
    )
    return vector_math(tree, "NORMALIZE", output(incoming))


def marked(tree: bpy.types.NodeTree, points: Value, color: Value, opacity: Value) -> Value:
    """The points with what their instances show, as `LOOK`."""
    return with_color(tree, points, LOOK, color, opacity)
