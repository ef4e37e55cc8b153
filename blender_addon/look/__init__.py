"""How a sequence looks: a modifier, node group and material, built in code, that show it in Cycles and EEVEE."""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare, names
from ..layers import layers, presets
from ..portable import look as formulas
from ..sequence.properties import LayerProperties, properties_of
from . import grade, points, scene, shape
from .points import GROUPS
from .scene import CLASSES, draw, prepare, problems

__all__ = ["CLASSES", "GROUPS", "MODIFIER", "draw", "prepare", "problems", "remove", "scene", "sync"]

MODIFIER = "4-LEGS"
_SIGNATURE = "legs4d:layers"


def sync(empty: bpy.types.Object) -> None:
    """Makes both clouds of a sequence show its current layers and mode.

    Nodes are rebuilt only when the set or order of layers changed; else values are set, which is cheap.
    """
    its = properties_of(empty)
    if not (clouds := its.cloud_objects):
        return
    tree = _tree(empty, clouds)
    ids = [layer.layer_id for layer in its.layers]
    presets.ensure(empty, its.mode)
    grades = [(item.grade_id, item.where, item.source) for item in its.grades]
    signature = f"{formulas.VERSION}:{its.num_sh}:{','.join(ids)}:{grades}"
    if tree.get(_SIGNATURE) != signature:
        _remove_drivers(tree)
        points.build(tree, ids, grades, its.num_sh)
        for layer_id in ids:
            for socket, curve in (("Active", "active"), ("Strength", "strength")):
                _drive(tree.nodes[layer_id].inputs[socket], empty, names.curve_path(layer_id, curve))
        for grade_id, _, _ in grades:
            _drive_grade(tree.nodes[grade_id], empty, grade_id)
        for name, amount in points.amounts(tree).items():
            _drive(amount.outputs[0], empty, names.amount_path(name))
        tree[_SIGNATURE] = signature
    shape.set_pixel_angle(tree, its.pixel_angle)
    shape.set_limits(tree, its.largest / max(empty.matrix_world.median_scale, 1e-12), its.slenderness)
    points.set_detail(tree, its.detail)
    for item in its.grades:
        enabled: Any = tree.nodes[item.grade_id].inputs["Enabled"]
        if enabled.default_value != float(item.enabled):
            enabled.default_value = float(item.enabled)
    for layer in its.layers:
        _set_layer(tree.nodes[layer.layer_id], layer, layers.is_shown(its, layer))


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


def _tree(empty: bpy.types.Object, clouds: list[bpy.types.Object]) -> bpy.types.NodeTree:
    """The sequence's node group, on a modifier of each cloud; made where it is missing."""
    modifiers: list[Any] = [child.modifiers[MODIFIER] for child in clouds if MODIFIER in child.modifiers]
    found = [one.node_group for one in modifiers]
    tree = next((one for one in found if one is not None), None)
    if tree is None:
        tree = bpy.data.node_groups.new(f"{MODIFIER} {empty.name}", "GeometryNodeTree")
        declare.put(tree, is_modifier=True)
    for child in clouds:
        modifier: Any = child.modifiers.get(MODIFIER) or child.modifiers.new(MODIFIER, "NODES")
        if modifier.node_group != tree:
            modifier.node_group = tree
        child.visible_shadow = False
    return tree


def _set_layer(step: bpy.types.Node, layer: LayerProperties, shown: bool) -> None:
    wanted = {
        "Threshold": layer.threshold,
        "Softness": layer.softness,
        "Enabled": float(shown),
        "Tint": (*layer.color, 1.0),
    }
    for name, value in wanted.items():
        socket: Any = step.inputs[name]
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


def _drive(socket: Any, empty: bpy.types.Object, path: str, index: int = -1) -> None:
    """What is animated comes from the parent empty's custom properties, without Python expressions."""
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
