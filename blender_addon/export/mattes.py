"""Mattes and depth of soft ellipsoids: rendered like the picture, with numbers in the place of colours.

A matte is what its layer's weights composite to, so it has the picture's own soft edges and occlusion. Cycles' own AOV
and depth passes take the first surface a ray meets, which for splats is the outermost haze.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from .. import names
from ..layers.layers import Weight
from ..look import material as splats
from ..look.builder import Value, arrange, cycles_of, math, node, output

PER_PASS = 3
"""Red, green and blue carry one quantity each."""

DEPTH, COVERAGE, HIGHLIGHT = "depth", "coverage", "highlight"


@dataclass(frozen=True)
class Channel:
    """Where a quantity is: which matte pass, and its colour channel (0..2)."""

    number: int
    channel: int


def channels(quantities: list[str]) -> dict[str, Channel]:
    """Spreads quantities (`DEPTH`, `COVERAGE`, `HIGHLIGHT`, layer ids) over passes."""
    return {quantity: Channel(i // PER_PASS, i % PER_PASS) for i, quantity in enumerate(quantities)}


def build(quantities: list[str]) -> bpy.types.Material:
    """A material that shows up to `PER_PASS` quantities as red, green and blue. Things that are no splats are black."""
    made = bpy.data.materials.new("4-LEGS mattes")
    made.surface_render_method = "DITHERED"
    cycles_of(made).emission_sampling = "NONE"
    tree = made.node_tree
    tree.nodes.clear()
    look = node(tree, "ShaderNodeAttribute", attribute_type="GEOMETRY", attribute_name=splats.LOOK)
    opacity = output(look, "Alpha")
    solid = math(tree, "LESS_THAN", opacity, splats.LEAST_ALPHA)
    alpha = math(tree, "MAXIMUM", splats.alpha(tree, opacity, splats.FLAT) * (1.0 - solid), solid)
    values = [_quantity(tree, quantity, solid) for quantity in quantities]
    color = node(tree, "ShaderNodeCombineXYZ", dict(enumerate(values)))
    glow = node(tree, "ShaderNodeEmission", {"Color": output(color), "Strength": 1.0})
    clear = node(tree, "ShaderNodeBsdfTransparent")
    mixed = node(tree, "ShaderNodeMixShader", {0: alpha, 1: clear.outputs[0], 2: glow.outputs[0]})
    node(tree, "ShaderNodeOutputMaterial", {"Surface": mixed.outputs[0]})
    arrange(tree)
    return made


def set_weight(made: bpy.types.Material, weight: Weight) -> None:
    """Sets how a layer shows at the frame to be rendered."""
    step: Any = made.node_tree.nodes[weight.layer_id]
    softness = max(weight.softness, 1e-4)
    step.inputs["From Min"].default_value = 255 * (weight.threshold - softness)
    step.inputs["From Max"].default_value = 255 * (weight.threshold + softness)
    step.inputs["To Max"].default_value = weight.weight


def _quantity(tree: bpy.types.NodeTree, quantity: str, solid: Value) -> Value | float:
    if quantity == COVERAGE:
        return 1.0
    if quantity == DEPTH:
        return output(node(tree, "ShaderNodeCameraData"), "View Z Depth")
    if quantity == HIGHLIGHT:
        strongest = node(tree, "ShaderNodeAttribute", attribute_type="GEOMETRY", attribute_name=names.HIGHLIGHT)
        return output(strongest, "Factor") * (1.0 - solid)
    stored = node(
        tree, "ShaderNodeAttribute", attribute_type="GEOMETRY", attribute_name=names.layer_attribute(quantity)
    )
    level = math(tree, "FLOORED_MODULO", output(stored, "Factor"), 256.0)  # see `names.layer_attribute`
    step = node(tree, "ShaderNodeMapRange", {"Value": level}, interpolation_type="SMOOTHSTEP")
    step.name = step.label = quantity
    return output(step, "Result") * (1.0 - solid)
