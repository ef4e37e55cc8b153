"""What a person does to a part of a sequence is done to all of it: selecting, hiding, parenting, deleting."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..sequence.properties import properties_of
from ..sequence.sequence import Sequence, lock

_selected: dict[int, bool] = {}
"""By session id of the parent empty: whether the whole was selected when it was last looked at."""
_hidden: dict[int, tuple[bool, bool, bool]] = {}
"""The same, and whether the empty was hidden: by its eye, in viewports, in renders."""
_known: set[str] = set()
"""Identities of sequences that this session has seen whole."""
_places: dict[int, Matrix] = {}
"""By session id of the parent empty: where its clouds last were, all alike, in its axes."""
NEARLY = 1e-5
TOGETHER = 1e-4
"""Scene units, and of a turn: clouds nearer to each other are in one place."""


def forget() -> None:
    """Another file was loaded."""
    _selected.clear()
    _hidden.clear()
    _known.clear()
    _places.clear()


def hold_together(shown: Sequence) -> None:
    """Put clouds back where all of them were, when one has left the others: Set Origin moves each to its own middle."""
    if shown.locked or not shown.objects:
        return
    places = [child.matrix_parent_inverse @ child.matrix_basis for child in shown.objects]
    values = [np.array(place) for place in places]
    before = _places.get(shown.empty.session_uid)
    if all(np.allclose(one, values[0], rtol=1e-3, atol=TOGETHER) for one in values):
        _places[shown.empty.session_uid] = places[0]
    elif before is not None:
        for child in shown.objects:
            child.matrix_parent_inverse = before @ child.matrix_basis.inverted_safe()


def follow(shown: Sequence, view_layer: bpy.types.ViewLayer) -> None:
    """Let the clouds follow what was done to the empty, and all parts what was selected of one."""
    its = shown.its
    _known.add(its.identity)
    parts = [shown.empty, *shown.objects]
    if not its.as_one or any(part.mode != "OBJECT" for part in parts) or shown.locked:
        return
    for child in shown.objects:
        locked: Any = child.lock_location
        if not all(locked):
            lock(child)
    _follow_hiding(shown, view_layer)
    _follow_selection(shown, [part for part in parts if part.name in view_layer.objects], view_layer)


def _follow_selection(shown: Sequence, parts: list[bpy.types.Object], view_layer: bpy.types.ViewLayer) -> None:
    seen = [part for part in parts if part.visible_get(view_layer=view_layer)]
    states = [part.select_get(view_layer=view_layer) for part in seen]
    if any(states) and not all(states):
        # A click on a part of a whole that is selected leaves that alone selected, and active: it takes nothing out.
        left = [part for part, state in zip(seen, states, strict=True) if state]
        clicked = left == [view_layer.objects.active]
        wanted = clicked or not _selected.get(shown.empty.session_uid, False)
        for part in seen:
            part.select_set(wanted, view_layer=view_layer)
        states = [wanted]
    _selected[shown.empty.session_uid] = any(states)


def _follow_hiding(shown: Sequence, view_layer: bpy.types.ViewLayer) -> None:
    """What the empty's eye, screen and camera say goes for all; each cloud may be hidden on its own afterwards."""
    empty = shown.empty
    here = empty.name in view_layer.objects
    now = (here and empty.hide_get(view_layer=view_layer), empty.hide_viewport, empty.hide_render)
    before = _hidden.get(empty.session_uid, now)
    _hidden[empty.session_uid] = now
    for child in shown.objects:
        if now[0] != before[0] and child.name in view_layer.objects:
            child.hide_set(now[0], view_layer=view_layer)
        if now[1] != before[1]:
            child.hide_viewport = now[1]
        if now[2] != before[2]:
            child.hide_render = now[2]


def rejoin(scene: bpy.types.Scene) -> None:
    """Clouds that were parented to something else come back to their empty, which follows it; without an empty they
    are deleted as it was, and so are arrows of its grades."""
    astray = [item for item in scene.objects if item.type in ("POINTCLOUD", "EMPTY") and _is_astray(item)]
    if not astray:
        return
    empties = {properties_of(item).identity: item for item in bpy.data.objects if _is_whole(item)}
    for item in astray:
        identity = properties_of(item).identity
        empty = empties.get(identity)
        if empty is not None and empty.users_scene:
            if item.type == "POINTCLOUD":
                _put_back(item, empty)
        elif identity in _known:
            cloud: Any = item.data
            bpy.data.objects.remove(item)
            if cloud is not None and not cloud.users:
                bpy.data.pointclouds.remove(cloud)


def _is_whole(item: bpy.types.Object) -> bool:
    """Whether it is a sequence's empty, also while a file is baked, where it is none for a moment."""
    return item.type == "EMPTY" and bool(properties_of(item).identity) and properties_of(item).role != "RAMP"


def _is_astray(item: bpy.types.Object) -> bool:
    its = properties_of(item)
    if its.role in ("NONE", "SEQUENCE") or not its.identity or item.library is not None:
        return False
    if its.role == "RAMP":  # another object may carry it
        return item.parent is None
    return item.parent is None or properties_of(item.parent).identity != its.identity


def _put_back(item: bpy.types.Object, empty: bpy.types.Object) -> None:
    """Where it stands, it stays."""
    world = item.matrix_world.copy()
    item.parent = empty
    inverse = empty.matrix_world.inverted_safe() @ world @ item.matrix_basis.inverted_safe()
    exact = np.allclose(np.array(inverse), np.eye(4), atol=NEARLY)
    item.matrix_parent_inverse = Matrix.Identity(4) if exact else inverse
