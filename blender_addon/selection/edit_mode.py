"""Blender's own edit mode on a sequence's points: what it selects is selected; what it removes is deleted, as a mask.

Every point of a run has a number. After points were removed, the cloud gets all of them again, from the cache, with
those that were missing deleted: so the run stays whole and frames that come later fit. Points that were moved go back
to where the run has them, and copies go: a run's points are where its frames say.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from .. import declare, names
from ..cache import storage
from ..cache.frames import CacheError
from ..sequence import attributes, handlers, playback, player, sequence
from ..sequence.properties import cloud_of
from ..sequence.sequence import Sequence
from ..ui.operators import NeedsSequence
from . import mask, selecting

Array = np.ndarray[Any, Any]

MODE = "EDIT"
_edited: set[int] = set()
"""Session ids of the parents whose points are, or were a moment ago, in edit mode."""
_keys: list[tuple[Any, Any]] = []


class LEGS4D_OT_edit_points(NeedsSequence, bpy.types.Operator):
    """Edit the points with Blender's own tools; Tab ends it, and what was deleted stays away in every frame"""

    bl_idname = "legs4d.edit_points"
    bl_label = "Edit Mode"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In object mode, where the active object is the sequence, and it has points that every frame has."""
        item = context.active_object
        if item is None or item.mode != "OBJECT" or not super().poll(context):
            return False
        shown = sequence.meant(context)
        if item not in (shown.empty, *shown.objects):
            cls.poll_message_set(f"Select '{shown.empty.name}' first")
            return False
        return any(_reachable(context, child) for child in selecting.lasting(shown))

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """An empty has no edit mode: its clouds have."""
        layer: Any = context.view_layer
        clouds = [child for child in selecting.lasting(sequence.meant(context)) if _reachable(context, child)]
        for child in clouds:
            child.select_set(True)
        if layer.objects.active not in clouds:
            layer.objects.active = clouds[0]
        bpy.ops.object.mode_set(mode="EDIT")
        return {"FINISHED"}


def register() -> None:
    """Add the handler and the key."""
    handlers.add(_HANDLERS)
    config = declare.windows().keyconfigs.addon
    if config is not None:  # there is a window
        keymap: Any = config.keymaps.new(name="Object Non-modal", space_type="EMPTY")
        _keys.append((keymap, keymap.keymap_items.new(LEGS4D_OT_edit_points.bl_idname, "TAB", "PRESS")))


def unregister() -> None:
    """Remove the handler, found by name, and the key."""
    handlers.remove(_HANDLERS)
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()
    _edited.clear()


def adopt(shown: Sequence) -> bool:
    """Give clouds that lost or got points in edit mode all of theirs again, the lost ones deleted; whether any did."""
    found = False
    counts = ((shown.static_object, shown.its.num_static), (shown.dynamic_object, shown.its.num_dynamic))
    for child, count in counts:
        cloud = cloud_of(child) if child is not None else None
        if cloud is not None and len(cloud.points) != count and names.IDENTITY in cloud.attributes:
            _restore(cloud, count)
            found = True
    return found


def renew(shown: Sequence) -> None:
    """Have what no frame changes written anew: places that were moved by hand go back to the run's."""
    for child in (shown.static_object, shown.dynamic_object):
        if child is not None:
            cloud_of(child).pop(sequence.FILLED, None)
    playback.refresh(shown.empty)


def _restore(cloud: bpy.types.PointCloud, count: int) -> None:
    there = attributes.read(cloud, names.IDENTITY)
    deleted = np.ones(count, bool)
    deleted[there[(there >= 0) & (there < count)]] = False
    kept = {}
    for name in (
        *names.MASKS,
        *(item.name for item in cloud.attributes if item.name.startswith(f"{names.SELECTION}:")),
    ):
        if name in cloud.attributes:
            values = attributes.read(cloud, name)
            kept[name] = np.zeros(count, values.dtype)
            kept[name][there] = values
    cloud.resize(count)
    attributes.write(cloud, names.IDENTITY, "INT", np.arange(count, dtype=np.int32))
    for name, values in kept.items():
        attributes.write(cloud, name, "BOOLEAN" if values.dtype == bool else "FLOAT", values)
    mask.write(cloud, names.DELETED, mask.read(cloud, names.DELETED) | deleted)
    attributes.remove(cloud, names.SELECTED)
    cloud.pop(sequence.FILLED, None)
    player.forget_static(cloud)


def _reachable(context: bpy.types.Context, child: bpy.types.Object) -> bool:
    return child.name in context.view_layer.objects and child.visible_get() and not child.hide_select


def _has_all(shown: Sequence) -> bool:
    try:
        return storage.find(shown.empty).has_constants()
    except CacheError:
        return False


@persistent
def _legs4d_edited(scene: bpy.types.Scene, *_: Any) -> None:
    for shown in sequence.find(scene):
        uid = shown.empty.session_uid
        edited = [child for child in shown.objects if child.mode == MODE]
        for child in edited:
            playback.notice(child)
        if edited:
            _edited.add(uid)
        elif uid in _edited:
            _edited.discard(uid)
            if _has_all(shown):  # else playback says what is missing, and the cloud stays as it was edited
                adopt(shown)
                renew(shown)


CLASSES = (LEGS4D_OT_edit_points,)
_HANDLERS = (("depsgraph_update_post", _legs4d_edited),)
