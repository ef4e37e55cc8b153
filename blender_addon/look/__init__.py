"""How a sequence looks: a modifier, node group and material, built in code, that show it in Cycles and EEVEE."""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare, names
from ..layers import curves, layers, presets
from ..portable import look as formulas
from ..sequence.properties import LayerProperties, properties_of
from . import grade, lighting, points, scene, shape
from .points import GROUPS
from .scene import CLASSES, draw, prepare, problems

__all__ = ["CLASSES", "GROUPS", "MODIFIER", "draw", "follow_keys", "prepare", "problems", "remove", "scene", "sync"]

MODIFIER = "4-LEGS"
_SIGNATURE, _KEYED = "legs4d:layers", "legs4d:keyed"
"""Custom properties of the node group: what it was built for (a copy of it follows the original); and which settings of
layers are animated."""


def sync(empty: bpy.types.Object) -> None:
    """Makes both clouds of a sequence show its current layers and mode.

    Nodes are rebuilt only when the set or order of layers changed; else values are set, which is cheap.
    """
    its = properties_of(empty)
    if not (clouds := its.cloud_objects) or empty.library is not None or empty.override_library is not None:
        return  # another file's look is as it is there
    tree = _tree(empty, clouds)
    ids = [layer.layer_id for layer in its.layers]
    presets.ensure(empty, its.mode)
    lighting.ensure(empty)
    grades = [grade.Place(item.grade_id, item.where, item.source, item.handle) for item in its.grades]
    built = its.identity, its.shown_sh, its.shadows, ids, [place.signature for place in grades]
    signature = f"{formulas.VERSION}:{built}"
    if tree.get(_SIGNATURE) != signature:
        _remove_drivers(tree)
        for make in GROUPS:
            make()  # what a file of before has of them is brought up to date
        points.build(tree, ids, grades, its.shown_sh)
        for layer_id in ids:
            for socket, curve in (("Active", "active"), ("Strength", "strength")):
                _drive(tree.nodes[layer_id].inputs[socket], empty, names.curve_path(layer_id, curve))
        for place in grades:
            _drive_grade(tree.nodes[place.grade_id], empty, place.grade_id)
        for name, amount in points.amounts(tree).items():
            _drive(amount.outputs[0], empty, names.amount_path(name))
        for name in lighting.LIGHT if its.shadows else (lighting.REFLECT,):
            _drive(tree.nodes[points.lamp_node(name)].outputs[0], empty, names.amount_path(name))
        tree[_SIGNATURE] = signature
    shape.set_pixel_angle(tree, its.pixel_angle)
    shape.set_limits(tree, its.largest / max(clouds[0].matrix_world.median_scale, 1e-12), its.slenderness)
    points.set_detail(tree, its.detail)
    for item in its.grades:
        enabled: Any = tree.nodes[item.grade_id].inputs["Enabled"]
        if enabled.default_value != float(item.enabled):
            enabled.default_value = float(item.enabled)
    keyed = curves.animated_paths(empty, layers.LAYERS_PATH)
    for number, layer in enumerate(its.layers):
        _set_layer(tree, empty, number, layer, keyed)
    tree[_KEYED] = _signature_of(keyed)


def follow_keys(empty: bpy.types.Object) -> None:
    """`sync` where a layer's setting has become animated, or is so no more: Blender tells nobody of new keys."""
    tree = None if empty.library is not None else _known_tree(empty)
    if tree is not None and tree.get(_KEYED, "") != _signature_of(curves.animated_paths(empty, layers.LAYERS_PATH)):
        sync(empty)


def outdated(empty: bpy.types.Object) -> bool:
    """Whether its node group is of another version of the extension, and would misread what this one writes."""
    tree = _known_tree(empty)
    return tree is not None and not str(tree.get(_SIGNATURE, "")).startswith(f"{formulas.VERSION}:")


def remove(empty: bpy.types.Object) -> None:
    """Removes the modifiers, the node group and its drivers; the material stays for other sequences."""
    trees = set()
    for child in properties_of(empty).cloud_objects:
        modifier: Any = child.modifiers.get(MODIFIER)
        if modifier is not None:
            trees.add(modifier.node_group)
            child.modifiers.remove(modifier)
    for tree in trees:
        if tree is not None and not tree.users:
            bpy.data.node_groups.remove(tree)


def _known_tree(empty: bpy.types.Object) -> bpy.types.NodeTree | None:
    clouds = properties_of(empty).cloud_objects
    modifiers: list[Any] = [child.modifiers[MODIFIER] for child in clouds if MODIFIER in child.modifiers]
    return next((one.node_group for one in modifiers if one.node_group is not None), None)


def _tree(empty: bpy.types.Object, clouds: list[bpy.types.Object]) -> bpy.types.NodeTree:
    """The sequence's node group, on a modifier of each cloud; made where it is missing."""
    tree = _known_tree(empty)
    if tree is None:
        tree = bpy.data.node_groups.new(f"{MODIFIER} {empty.name}", "GeometryNodeTree")
        declare.put(tree, is_modifier=True)
    for child in clouds:
        modifier: Any = child.modifiers.get(MODIFIER) or child.modifiers.new(MODIFIER, "NODES")
        if modifier.node_group != tree:
            modifier.node_group = tree
        child.visible_shadow = properties_of(empty).shadows
    return tree


def _set_layer(
    tree: bpy.types.NodeTree, empty: bpy.types.Object, number: int, layer: LayerProperties, keyed: set[str]
) -> None:
    """A layer's settings: values, and drivers where they are animated."""
    step = tree.nodes[layer.layer_id]
    stands_out = layers.stands_out(properties_of(empty), layer)
    wanted: dict[str, tuple[str, Any]] = {
        "Threshold": ("threshold", layer.threshold),
        "Softness": ("softness", layer.softness),
        "Enabled": ("enabled", float(layer.enabled and stands_out)),
        "Tint": ("color", (*layer.color, 1.0)),
    }
    for name, (setting, value) in wanted.items():
        socket: Any = step.inputs[name]
        path = layers.setting_path(number, setting)
        if path in keyed and (name != "Enabled" or stands_out):
            _follow(tree, socket, empty, path, len(layer.color) if name == "Tint" else 0)
            continue
        _unfollow(tree, socket)
        now = tuple(socket.default_value) if name == "Tint" else socket.default_value
        if now != value:
            socket.default_value = value


def _drive_grade(made: bpy.types.Node, empty: bpy.types.Object, grade_id: str) -> None:
    for name in ("strength", *formulas.GRADE):
        path = names.grade_path(grade_id, name)
        if name in grade.VECTORS:
            for index in range(3):
                _drive(made.inputs[grade.socket_of(name)], empty, f"{path}[{index}]", index)
        else:
            _drive(made.inputs[grade.socket_of(name)], empty, path)


def _follow(tree: bpy.types.NodeTree, socket: Any, empty: bpy.types.Object, path: str, width: int) -> None:
    """Drive a socket by a setting; `width` of its components, 0 where it is a number."""
    _unfollow(tree, socket)
    for index in range(width):
        _drive(socket, empty, f"{path}[{index}]", index)
    if not width:
        _drive(socket, empty, path)


def _unfollow(tree: bpy.types.NodeTree, socket: Any) -> None:
    path = f"{socket.path_from_id()}.default_value"
    data = tree.animation_data
    for curve in [one for one in data.drivers if one.data_path == path] if data is not None else ():
        data.drivers.remove(curve)


def _signature_of(keyed: set[str]) -> str:
    return ",".join(sorted(keyed))


def _drive(socket: Any, empty: bpy.types.Object, path: str, index: int = -1) -> None:
    """What is animated comes from the parent empty's properties, without Python expressions."""
    driver = socket.driver_add("default_value", index).driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.type = "SINGLE_PROP"
    variable.targets[0].id = empty
    variable.targets[0].data_path = path


def _remove_drivers(tree: bpy.types.NodeTree) -> None:
    if tree.animation_data is not None:
        for curve in list(tree.animation_data.drivers):
            tree.animation_data.drivers.remove(curve)
