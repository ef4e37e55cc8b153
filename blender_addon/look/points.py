"""The node groups that turn a sequence's points into soft ellipsoids in the colours its layers give them.

A sequence's own group holds what is its own: a node per layer, the amounts of its look, its detail. The rest is in
groups that all sequences of the file share, so that a new layer means a handful of new nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import bpy

from .. import names
from ..portable import look
from . import color, grade, lighting, material, outline, rays, shape
from .builder import Nodes, Value, arrange, constant, frame, group, math, node, output, put, shared, socket, vector_math
from .color import amounts_of, socket_of

LAYER_GROUP, SPLATS_GROUP = "4-LEGS: layer", "4-LEGS: splats"

LIMITS = ("Largest", "Slenderness")
AMOUNT_NODE, LAMP_NODE, DETAIL_NODE = "Amount", "Light", "Viewport detail"


def build(
    tree: bpy.types.NodeTree, layer_ids: Sequence[str], grades: Sequence[grade.Place] = (), num_sh: int = 0
) -> None:
    """Writes the sequence's node group: one `LAYER_GROUP` node per layer and one of `grade` per grade, named by their
    ids, before `SPLATS_GROUP`.

    Args:
        grades: where each shows.
        num_sh: SH coefficients beyond degree 0 that its points have.
    """
    tree.nodes.clear()
    if not tree.interface.items_tree:
        socket(tree, "Geometry", "Geometry")
        socket(tree, "Geometry", "Geometry", "OUTPUT")
    source = output(node(tree, "NodeGroupInput"), "Geometry")
    with frame(tree, "Prompt layers"):
        strongest, weights, tints = _layers(tree, layer_ids)
    with frame(tree, "Look"):
        shares = {socket_of(name): output(made) for name, made in _add_amounts(tree).items()}
        detail = _value(tree, DETAIL_NODE, 1.0)
        angle = _value(tree, shape.PIXEL_ANGLE_NODE, 0.0)
        largest = _value(tree, shape.LARGEST_NODE, shape.NO_LIMIT)
        slenderness = _value(tree, shape.SLENDERNESS_NODE, shape.NO_LIMIT)
        light_by = {socket_of(name): _value(tree, lamp_node(name), 0.0) for name in lighting.LIGHT}
    view: dict[str, Value] = {}
    if num_sh:
        with frame(tree, "View"):
            view["View"] = output(group(tree, rays.ensure(num_sh), {}))
    with frame(tree, "Captured color, graded"):
        light = group(tree, color.ensure_light(), view)
        captured = output(light, "Color")
        for place in grades:
            weight = grade.weight_of(tree, place)
            made = group(tree, grade.ensure(), {"Color": captured, "Weight": weight})
            made.name = made.label = place.grade_id
            captured = output(made, "Color")
    inputs = {"Geometry": source, "Strongest": strongest, "Weights": weights, "Tints": tints, **shares, **light_by}
    inputs |= {"Captured": captured, "Opacity": output(light, "Opacity")}
    splats = group(
        tree,
        _splats_group(),
        inputs | {"Detail": detail, "Pixel Angle": angle, "Largest": largest, "Slenderness": slenderness},
    )
    node(tree, "NodeGroupOutput", {0: output(splats)})
    arrange(tree)


def amounts(tree: bpy.types.NodeTree) -> dict[str, bpy.types.Node]:
    """The Value nodes of the look's amounts, to be driven."""
    return {name: tree.nodes[f"{AMOUNT_NODE}: {name}"] for name in look.AMOUNTS}


def lamp_node(name: str) -> str:
    """The Value node of one of `lighting.LIGHT`."""
    return f"{LAMP_NODE}: {name}"


def set_detail(tree: bpy.types.NodeTree, share: float) -> None:
    """Sets the share of the points, the most important first, that viewports show."""
    constant(tree, DETAIL_NODE, share)


def _splats_group() -> bpy.types.NodeTree:
    """The file's one group from points, with what their layers say, to ellipsoids."""
    lamps = map(socket_of, lighting.LIGHT)
    shares = map(socket_of, look.AMOUNTS)
    numbers = ("Strongest", "Weights", *shares, *lamps, "Opacity", "Detail", "Pixel Angle", *LIMITS)
    return shared(
        SPLATS_GROUP,
        look.VERSION,
        {"Geometry": "Geometry", "Tints": "Vector", "Captured": "Vector", **dict.fromkeys(numbers, "Float")},
        {"Geometry": "Geometry"},
        lambda tree, given: {"Geometry": _splats(tree, given)},
    )


def _splats(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> Value:
    with frame(tree, "Fewer points in viewports"):
        source = _fewer(tree, given("Geometry"), given("Detail"))
    with frame(tree, "Color and opacity"):
        opacity, strongest = given("Opacity"), given("Strongest")
        shares = {name: given(name) for name in map(socket_of, look.AMOUNTS)}
        tint = look.tint(Nodes(tree), look.Combined(strongest, given("Weights"), given("Tints")))
        shown = output(
            group(
                tree, color.ensure(), {"Captured": given("Captured"), "Color": tint, "Strongest": strongest, **shares}
            )
        )
        visible = look.opacity(Nodes(tree), opacity, strongest, amounts_of(given))
        marked = material.marked(tree, source, shown, visible)
    with frame(tree, "Light"):
        back = vector_math(tree, "SCALE", shape.from_camera(tree), Scale=-1.0)
        reflect, gap = given(socket_of(lighting.REFLECT)), given(socket_of(lighting.GAP))
        marked = lighting.marked(tree, marked, back, reflect, gap)
    with frame(tree, "Outline"):
        edge = look.outline_opacity(opacity, strongest, amounts_of(given))
        around = group(tree, outline.ensure(), {"Geometry": source, "Color": tint, "Opacity": edge})
        none_or_some = math(tree, "GREATER_THAN", given("Outline"), 0.0)  # where there is none it costs nothing
        outlines = node(tree, "GeometryNodeSwitch", {0: none_or_some, 2: output(around)}, input_type="GEOMETRY")
        both = node(tree, "GeometryNodeJoinGeometry")
        for part in (marked, output(outlines)):
            put(tree, part, both.inputs[0])
    with frame(tree, "Ellipsoids"):
        stored = output(node(tree, "GeometryNodeInputNamedAttribute", {0: material.LOOK}, data_type="FLOAT_COLOR"))
        seen = output(node(tree, "FunctionNodeSeparateColor", {0: stored}), "Alpha")
        shapes = group(
            tree,
            shape.ensure(),
            {
                "Geometry": _stripped(tree, output(both)),
                "Opacity": seen,
                **{name: given(name) for name in ("Pixel Angle", *LIMITS)},
            },
        )
    return output(shapes)


def _value(tree: bpy.types.NodeTree, name: str, number: float) -> Value:
    made = node(tree, "ShaderNodeValue", name=name, label=name)
    made.outputs[0].default_value = number
    return output(made)


def _fewer(tree: bpy.types.NodeTree, points: Value, detail: Value) -> Value:
    """All points in renders; in viewports those important enough, before anything is worked out for the others."""
    rank = node(tree, "GeometryNodeInputNamedAttribute", {0: names.RANK}, data_type="FLOAT")
    surplus = math(tree, "GREATER_THAN", output(rank), detail)
    kept = node(tree, "GeometryNodeDeleteGeometry", {"Geometry": points, "Selection": surplus}, domain="POINT")
    viewport = output(node(tree, "GeometryNodeIsViewport"))
    return output(node(tree, "GeometryNodeSwitch", {0: viewport, 1: points, 2: output(kept)}, input_type="GEOMETRY"))


def _stripped(tree: bpy.types.NodeTree, marked: Value) -> Value:
    """In viewports, points without what nothing reads from here on: copying it to instances takes a third of the time.

    Renders keep it all, for people's own materials, and `velocity` for motion blur.
    """
    lean = marked
    for name in (f"{names.RADIANCE.partition(':')[0]}:*", names.VELOCITY, names.RANK, f"{names.HIGHLIGHT}*"):
        lean = output(
            node(tree, "GeometryNodeRemoveAttribute", {"Geometry": lean, "Pattern Mode": "Wildcard", "Name": name})
        )
    viewport = output(node(tree, "GeometryNodeIsViewport"))
    return output(node(tree, "GeometryNodeSwitch", {0: viewport, 1: marked, 2: lean}, input_type="GEOMETRY"))


def _layers(tree: bpy.types.NodeTree, layer_ids: Sequence[str]) -> tuple[Value, Value, Value]:
    """Strongest weight of a point's layers, the sum of their weights, and the weighted sum of their colours."""
    layer_group = _layer_group()
    zero = output(node(tree, "ShaderNodeValue"))
    zero.socket.default_value = 0.0
    running: tuple[Value, ...] = (zero, zero, output(node(tree, "ShaderNodeCombineXYZ")))
    for layer_id in layer_ids:
        stored = node(tree, "GeometryNodeInputNamedAttribute", {0: names.layer_attribute(layer_id)}, data_type="FLOAT")
        step = group(tree, layer_group, {})
        step.name = step.label = layer_id
        for place, value in zip(("Strongest", "Weights", "Tints"), running, strict=True):
            put(tree, value, step.inputs[place])
        put(tree, output(stored), step.inputs["Level"])
        running = tuple(output(step, place) for place in ("Strongest", "Weights", "Tints"))
    return running[0], running[1], running[2]


def _layer_group() -> bpy.types.NodeTree:
    """The file's one group that adds a layer to what came before it."""
    running = {"Strongest": "Float", "Weights": "Float", "Tints": "Vector"}
    numbers = ("Level", "Threshold", "Softness", "Enabled", "Active", "Strength")
    return shared(
        LAYER_GROUP,
        look.VERSION,
        {**running, **dict.fromkeys(numbers, "Float"), "Tint": "Color"},
        {**running, "Weight": "Float"},
        _add_layer,
    )


def _add_layer(tree: bpy.types.NodeTree, given: Callable[[str], Value]) -> dict[str, Value]:
    on = Nodes(tree)
    with frame(tree, "Relevancy above the threshold, times the curves"):
        factors = (given(name) for name in ("Enabled", "Active", "Strength"))
        relevancy = math(tree, "FLOORED_MODULO", given("Level"), 256.0) * (1 / 255)  # see `names.layer_attribute`
        weight = look.weight(on, relevancy, given("Threshold"), given("Softness"), *factors)
    with frame(tree, "Added to the layers before"):
        before = look.Combined(given("Strongest"), given("Weights"), given("Tints"))
        after = look.combine(on, before, weight, given("Tint"))
    return {"Strongest": after.strongest, "Weights": after.weights, "Tints": after.tints, "Weight": weight}


def _add_amounts(tree: bpy.types.NodeTree) -> dict[str, bpy.types.Node]:
    for name in look.AMOUNTS:
        made = node(tree, "ShaderNodeValue")
        made.name = made.label = f"{AMOUNT_NODE}: {name}"
    return amounts(tree)


GROUPS: tuple[Callable[[], object], ...] = (
    lambda: material.ensure(material.SOLID),
    lambda: material.ensure(material.FLAT),
    color.ensure,
    color.ensure_light,
    grade.ensure,
    outline.ensure,
    shape.ensure,
    _splats_group,
    _layer_group,
)
"""Makers of what all sequences share, in an order in which each finds what it uses: a piece of work each."""
