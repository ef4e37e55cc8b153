"""The node groups that turn a sequence's points into soft ellipsoids in the colours its layers give them."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from .. import names
from . import material
from .builder import Value, arrange, math, mix_colors, node, output, put, socket, vector_math
from .shape import ellipsoids, from_camera

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

LAYER_GROUP = "4-LEGS layer"
VERSION = 5
"""Raised when the trees below change, so that files made before are brought up to date."""

AMOUNT_NODE, DETAIL_NODE = "Amount", "Viewport detail"
OUTLINE_SPREAD = 0.004
"""Of outlines: what is added to each standard deviation, as a share of the distance to the camera."""
OUTLINE_PUSH = 1.01
"""How much farther than their points outlines lie, so that those cover them."""


def build(tree: bpy.types.NodeTree, layer_ids: Sequence[str]) -> None:
    """Writes the sequence's node group: one `LAYER_GROUP` node per layer, named by its id, then colour and shape."""
    tree.nodes.clear()
    if not tree.interface.items_tree:
        socket(tree, "Geometry", "Geometry")
        socket(tree, "Geometry", "Geometry", "OUTPUT")
    source = _fewer(tree, output(node(tree, "NodeGroupInput"), "Geometry"))
    strongest, weights, tints = _layers(tree, layer_ids)
    dc, opacity = _radiance(tree)
    shares = {name: output(made) for name, made in _add_amounts(tree).items()}
    captured = _linear(tree, dc)
    tint = vector_math(tree, "SCALE", tints, Scale=1.0 / math(tree, "MAXIMUM", weights, 1e-4))
    shown = _highlighted(tree, captured, tint, strongest, shares)
    kept = mix(tree, shares["isolate"], 1.0, strongest)
    marked = _marked(tree, source, shown, opacity * kept)
    outlines = _outlines(tree, source, tint, opacity * strongest * shares["outline"], shares["outline"])
    both = node(tree, "GeometryNodeJoinGeometry")
    for part in (marked, outlines):
        put(tree, part, both.inputs[0])
    stored = output(node(tree, "GeometryNodeInputNamedAttribute", {0: material.LOOK}, data_type="FLOAT_COLOR"))
    seen = output(node(tree, "FunctionNodeSeparateColor", {0: stored}), "Alpha")
    instances = ellipsoids(tree, _stripped(tree, output(both), layer_ids), seen)
    node(tree, "NodeGroupOutput", {0: instances})
    arrange(tree)


def amounts(tree: bpy.types.NodeTree) -> dict[str, bpy.types.Node]:
    """The Value nodes of `names.AMOUNTS`, to be driven."""
    return {name: tree.nodes[f"{AMOUNT_NODE}: {name}"] for name in names.AMOUNTS}


def set_detail(tree: bpy.types.NodeTree, share: float) -> None:
    """Sets the share of the points, the most important first, that viewports show."""
    socket_ = tree.nodes[DETAIL_NODE].outputs[0]
    if abs(socket_.default_value - share) > 1e-6:
        socket_.default_value = share


def _fewer(tree: bpy.types.NodeTree, points: Value) -> Value:
    """All points in renders; in viewports those important enough, before anything is worked out for the others."""
    detail = node(tree, "ShaderNodeValue")
    detail.name = detail.label = DETAIL_NODE
    detail.outputs[0].default_value = 1.0
    rank = node(tree, "GeometryNodeInputNamedAttribute", {0: names.RANK}, data_type="FLOAT")
    surplus = math(tree, "GREATER_THAN", output(rank), output(detail))
    kept = node(tree, "GeometryNodeDeleteGeometry", {"Geometry": points, "Selection": surplus}, domain="POINT")
    viewport = output(node(tree, "GeometryNodeIsViewport"))
    return output(node(tree, "GeometryNodeSwitch", {0: viewport, 1: points, 2: output(kept)}, input_type="GEOMETRY"))


def _stripped(tree: bpy.types.NodeTree, marked: Value, layer_ids: Sequence[str]) -> Value:
    """In viewports, points without what nothing reads from here on: copying it to instances takes a third of the time.

    Renders keep it all, for people's own materials, and `velocity` for motion blur.
    """
    lean = marked
    for name in (names.RADIANCE, names.VELOCITY, names.HIGHLIGHT, names.RANK, *map(names.layer_attribute, layer_ids)):
        lean = output(node(tree, "GeometryNodeRemoveAttribute", {"Geometry": lean, "Name": name}))
    viewport = output(node(tree, "GeometryNodeIsViewport"))
    return output(node(tree, "GeometryNodeSwitch", {0: viewport, 1: marked, 2: lean}, input_type="GEOMETRY"))


def mix(tree: bpy.types.NodeTree, share: object, first: object, second: object) -> Value:
    """Numbers mixed: `first` where `share` is 0."""
    return output(node(tree, "ShaderNodeMix", {0: share, 2: first, 3: second}, data_type="FLOAT"))


def _layers(tree: bpy.types.NodeTree, layer_ids: Sequence[str]) -> tuple[Value, Value, Value]:
    """Strongest weight of a point's layers, the sum of their weights, and the weighted sum of their colours."""
    group = _layer_group()
    zero = output(node(tree, "ShaderNodeValue"))
    zero.socket.default_value = 0.0
    running: tuple[Value, ...] = (zero, zero, output(node(tree, "ShaderNodeCombineXYZ")))
    for layer_id in layer_ids:
        stored = node(tree, "GeometryNodeInputNamedAttribute", {0: names.layer_attribute(layer_id)}, data_type="FLOAT")
        step = node(tree, "GeometryNodeGroup", node_tree=group)
        step.name = step.label = layer_id
        for place, value in zip(("Strongest", "Weights", "Tints"), running, strict=True):
            put(tree, value, step.inputs[place])
        put(tree, output(stored), step.inputs["Relevancy"])
        running = tuple(output(step, place) for place in ("Strongest", "Weights", "Tints"))
    return running[0], running[1], running[2]


def _layer_group() -> bpy.types.NodeTree:
    """The file's one group that adds a layer to what came before it."""
    tree = bpy.data.node_groups.get(LAYER_GROUP)
    if tree is not None and tree.get("legs4d:version") == VERSION:
        return tree
    tree = tree or bpy.data.node_groups.new(LAYER_GROUP, "GeometryNodeTree")
    tree.nodes.clear()
    tree.interface.clear()
    for name, kind in (("Strongest", "Float"), ("Weights", "Float"), ("Tints", "Vector")):
        socket(tree, name, kind)
        socket(tree, name, kind, "OUTPUT")
    for name in ("Relevancy", "Threshold", "Softness", "Enabled", "Active", "Strength"):
        socket(tree, name, "Float", min_value=0.0, max_value=1.0)
    socket(tree, "Tint", "Color")
    given = node(tree, "NodeGroupInput")
    threshold, softness = output(given, "Threshold"), math(tree, "MAXIMUM", output(given, "Softness"), 1e-4)
    step = node(
        tree,
        "ShaderNodeMapRange",
        {0: output(given, "Relevancy"), 1: threshold - softness, 2: threshold + softness},
        interpolation_type="SMOOTHSTEP",
    )
    weight = output(step)
    for name in ("Enabled", "Active", "Strength"):
        weight = weight * output(given, name)
    colored = vector_math(tree, "SCALE", output(given, "Tint"), Scale=weight)
    results = {
        "Strongest": math(tree, "MAXIMUM", output(given, "Strongest"), weight),
        "Weights": output(given, "Weights") + weight,
        "Tints": vector_math(tree, "ADD", output(given, "Tints"), colored),
    }
    node(tree, "NodeGroupOutput", dict(results))
    arrange(tree)
    tree["legs4d:version"] = VERSION
    return tree


def _radiance(tree: bpy.types.NodeTree) -> tuple[Value, Value]:
    """SH DC coefficients and opacity."""
    stored = node(tree, "GeometryNodeInputNamedAttribute", {0: names.RADIANCE}, data_type="FLOAT_COLOR")
    split = node(tree, "FunctionNodeSeparateColor", {0: output(stored)})
    dc = node(tree, "ShaderNodeCombineXYZ", {i: split.outputs[i] for i in range(3)})
    return output(dc), output(split, "Alpha")


def _add_amounts(tree: bpy.types.NodeTree) -> dict[str, bpy.types.Node]:
    for name in names.AMOUNTS:
        made = node(tree, "ShaderNodeValue")
        made.name = made.label = f"{AMOUNT_NODE}: {name}"
    return amounts(tree)


def _outlines(tree: bpy.types.NodeTree, points: Value, tint: Value, opacity: Value, amount: Value) -> Value:
    """Larger points of the layers' colour behind those that they name; nothing, at no cost, where the amount is 0."""
    unnamed = math(tree, "LESS_THAN", opacity, material.LEAST_ALPHA)
    named = node(tree, "GeometryNodeDeleteGeometry", {"Geometry": points, "Selection": unnamed}, domain="POINT")
    colored = _marked(tree, output(named), tint, opacity)
    away = from_camera(tree)
    farther = node(
        tree,
        "GeometryNodeSetPosition",
        {"Geometry": colored, "Offset": vector_math(tree, "SCALE", away, Scale=OUTLINE_PUSH - 1.0)},
    )
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
    wanted = math(tree, "GREATER_THAN", amount, 0.0)
    return output(node(tree, "GeometryNodeSwitch", {0: wanted, 2: output(grown)}, input_type="GEOMETRY"))


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


def _highlighted(
    tree: bpy.types.NodeTree, captured: Value, tint: Value, strongest: Value, shares: dict[str, Value]
) -> Value:
    """Linear colour that a point shows."""
    brightness = vector_math(tree, "DOT_PRODUCT", captured, LUMINANCE)
    tinted = vector_math(tree, "SCALE", tint, Scale=brightness + GLOW)
    grey = vector_math(tree, "SCALE", (DIMMED,) * 3, Scale=brightness)
    lit = mix_colors(tree, strongest * shares["tint"] * TINT_SHARE, captured, tinted)
    return mix_colors(tree, shares["desaturate"] * (1.0 - strongest), lit, grey)


def _marked(tree: bpy.types.NodeTree, points: Value, color: Value, opacity: Value) -> Value:
    """The points with what their instances show, as `material.LOOK`."""
    split = node(tree, "ShaderNodeSeparateXYZ", {0: color})
    look = node(tree, "FunctionNodeCombineColor", {**{i: split.outputs[i] for i in range(3)}, "Alpha": opacity})
    marked = node(
        tree,
        "GeometryNodeStoreNamedAttribute",
        {"Geometry": points, "Name": material.LOOK, "Value": output(look)},
        data_type="FLOAT_COLOR",
        domain="POINT",
    )
    return output(marked)
