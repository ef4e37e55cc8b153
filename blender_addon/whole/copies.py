"""Copies of sequences: each has points, a look, keys and layers of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy

from .. import look, names
from ..layers import curves
from ..sequence import nodes
from ..sequence.properties import cloud_of, properties_of
from ..sequence.sequence import Sequence, new_identity


def settle(found: Iterable[Sequence]) -> list[tuple[Sequence, Sequence]]:
    """Make sequences that a person duplicated their own; returns each of those and what it was made of."""
    known: dict[str, Sequence] = {}
    made = []
    for shown in sorted(found, key=lambda one: one.empty.session_uid):
        if shown.empty.library is not None or shown.empty.override_library is not None:
            continue
        its = shown.its
        if not its.identity:  # a file of before
            _identify(shown, new_identity())
        if its.identity in known:
            original = known[its.identity]
            _become_own(shown, original)
            made.append((shown, original))
        known[shown.its.identity] = shown
    return made


def copy(shown: Sequence, collections: Iterable[bpy.types.Collection]) -> Sequence:
    """A copy of a sequence that is its own in everything, in these collections."""
    empty = _local(shown.empty.copy())
    for collection in collections:
        collection.objects.link(empty)
    made = Sequence(empty)
    _become_own(made, shown)
    return made


def _become_own(shown: Sequence, original: Sequence) -> None:
    empty = shown.empty
    if not shown.objects:  # the empty alone was duplicated
        for child in original.objects:
            twin = _local(child.copy())
            twin.parent = empty
            for collection in empty.users_collection:
                collection.objects.link(twin)
    if not nodes.of(shown):
        _own_nodes(empty, original)
    for node in nodes.of(shown):
        _own_animation(node)
    for child in shown.objects:
        if child.data is not None and (child.data.users > 1 or child.data.library is not None):
            child.data = child.data.copy()
    _own_animation(empty)
    _own_ramps(empty, original)
    _identify(shown, new_identity())
    _own_look(shown)
    _own_layers(shown)
    look.sync(empty)


def _local(item: bpy.types.Object) -> bpy.types.Object:
    """A copy of an overridden object is an override, too."""
    if item.override_library is not None:
        item.make_local(clear_liboverride=True)
    return item


def _identify(shown: Sequence, identity: str) -> None:
    arrows = [grade.handle for grade in shown.its.grades if grade.handle is not None]
    for part in (shown.empty, *shown.objects, *arrows):
        properties_of(part).identity = identity


def _own_animation(empty: bpy.types.Object) -> None:
    """Keys of its own, also those that were pushed down."""
    data: Any = empty.animation_data
    if data is None:
        return
    for holder in (data, *(strip for track in data.nla_tracks for strip in track.strips)):
        if holder.action is not None and holder.action.users > 1:
            slot = holder.action_slot.identifier if holder.action_slot is not None else ""
            holder.action = holder.action.copy()
            holder.action_slot = next((one for one in holder.action.slots if one.identifier == slot), None)


def _own_ramps(empty: bpy.types.Object, original: Sequence) -> None:
    """Arrows of its own, with their keys; what was duplicated along with it is that already."""
    for grade, known in zip(properties_of(empty).grades, original.its.grades, strict=True):
        if grade.handle is None or grade.handle != known.handle:
            continue
        twin = _local(grade.handle.copy())
        if twin.parent == original.empty:
            twin.parent = empty
        _own_animation(twin)
        for collection in empty.users_collection:
            collection.objects.link(twin)
        grade.handle = twin


def _own_nodes(empty: bpy.types.Object, original: Sequence) -> None:
    """Nodes of its own, in the collections of the original's."""
    for node in nodes.of(original):
        twin = _local(node.copy())
        twin.parent = empty
        for collection in node.users_collection:
            collection.objects.link(twin)


def _own_look(shown: Sequence) -> None:
    own: bpy.types.NodeTree | None = None
    for child in shown.objects:
        modifier: Any = child.modifiers.get(look.MODIFIER)
        if modifier is None or modifier.node_group is None:
            continue
        own = own or modifier.node_group.copy()
        modifier.node_group = own
    if own is not None:
        own.name = f"{look.MODIFIER} {shown.empty.name}"


def _own_layers(shown: Sequence) -> None:
    """Ids of their own, which name attributes, properties and curves; markers stay the original's."""
    empty = shown.empty
    for layer in shown.layers:
        old, new = layer.layer_id, names.new_layer_id()
        for curve in names.CURVES:
            before, after = names.curve_property(old, curve), names.curve_property(new, curve)
            if before in empty.keys():  # noqa: SIM118  # an object is no mapping
                says = empty.id_properties_ui(before).as_dict()
                empty[after] = empty[before]
                empty.id_properties_ui(after).update(**says)
                del empty[before]
            curves.move(empty, {names.curve_path(old, curve): names.curve_path(new, curve)})
        for cloud in map(cloud_of, shown.objects):
            attribute: Any = cloud.attributes.get(names.layer_attribute(old))
            if attribute is not None:
                attribute.name = names.layer_attribute(new)
        for grade in shown.its.grades:
            if grade.source == old:
                grade.source = new
        layer.layer_id = new
        layer.markers.clear()
