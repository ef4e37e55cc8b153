"""Sequences from linked libraries: Blender writes no points into another file's clouds, so this file has copies."""

from __future__ import annotations

from typing import Any

import bpy
from mathutils import Matrix

from ..sequence.sequence import Sequence, everywhere

_lent: dict[int, bpy.types.PointCloud] = {}
"""By session id of an object: the library's cloud whose place a copy has taken."""
_COPY = "legs4d:of_library"


def own_points(shown: Sequence) -> None:
    """Give a sequence's clouds points that can be written, where they are another file's."""
    for child in shown.objects:
        cloud: Any = child.data
        if cloud.library is None:
            continue
        copy = cloud.copy()
        copy[_COPY] = True
        _lent[child.session_uid] = cloud
        child.data = copy


def give_back() -> None:
    """Before the file is saved: copies of another file's points have no place in it."""
    for _, shown in everywhere():
        for child in shown.objects:
            cloud = _lent.pop(child.session_uid, None)
            if cloud is not None:
                copy: Any = child.data
                child.data = cloud
                if not copy.users:
                    bpy.data.pointclouds.remove(copy)


def forget() -> None:
    """After another file was loaded."""
    _lent.clear()
    for cloud in [one for one in bpy.data.pointclouds if one.get(_COPY) and not one.users]:
        bpy.data.pointclouds.remove(cloud)


def instances(scene: bpy.types.Scene, empty: bpy.types.Object) -> list[Matrix]:
    """Where instances in a scene show a sequence's collection: what takes its own place in the world there."""
    found = []
    for item in scene.objects:
        if item.type != "EMPTY" or item.instance_type != "COLLECTION" or item.instance_collection is None:
            continue
        if item.visible_get() and any(one == empty for one in item.instance_collection.all_objects):
            offset: Any = -item.instance_collection.instance_offset
            found.append(item.matrix_world @ Matrix.Translation(offset))
    return found


def instancer(scene: bpy.types.Scene, empty: bpy.types.Object) -> bpy.types.Object | None:
    """The object that shows a sequence's collection as an instance in a scene; None where the scene has it itself."""
    if empty.name in scene.objects and scene.objects[empty.name] == empty:
        return None
    for item in scene.objects:
        collection = item.instance_collection if item.instance_type == "COLLECTION" else None
        if collection is not None and any(one == empty for one in collection.all_objects):
            return item
    return None


def make_local(scene: bpy.types.Scene, shown: Sequence) -> Sequence:
    """A copy of a linked, overridden or instanced sequence takes its place: it can be edited."""
    from . import copies

    source, shows = shown.empty, instancer(scene, shown.empty)
    world = source.matrix_world.copy()
    if shows is not None and shows.instance_collection is not None:
        offset = shows.instance_collection.instance_offset
        world.translation -= offset
        world = shows.matrix_world @ world
    made = copies.copy(shown, [scene.collection])
    made.empty.parent = None
    made.empty.matrix_world = world
    if shows is not None:
        shows.instance_type = "NONE"
    else:
        _leave(scene, [source, *shown.objects])
    return made


def _leave(scene: bpy.types.Scene, parts: list[bpy.types.Object]) -> None:
    """Take linked or overridden objects out of a scene: out of its own collections, or with the one they are in."""
    local = [scene.collection, *scene.collection.children_recursive]
    for item in parts:
        for collection in [one for one in item.users_collection if one in local]:
            if collection.library is None and collection.override_library is None:
                collection.objects.unlink(item)
                continue
            for above in local:
                if above.library is None and any(one == collection for one in above.children):
                    above.children.unlink(collection)
