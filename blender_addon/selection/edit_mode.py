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

from .. import names
from ..cache import storage
from ..cache.frames import CacheError
from ..sequence import attributes, handlers, playback, player, sequence
from ..sequence.properties import cloud_of
from ..sequence.sequence import Sequence
from . import mask

Array = np.ndarray[Any, Any]

MODE = "EDIT"
_edited: set[int] = set()
"""Session ids of the parents whose points are, or were a moment ago, in edit mode."""


def register() -> None:
    """Add the handler."""
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Remove the handler, found by name."""
    handlers.remove(_HANDLERS)
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


def _has_all(shown: Sequence) -> bool:
    try:
        return storage.find(shown.empty).has_constants()
    except CacheError:
        return False


@persistent
def _legs4d_edited(scene: bpy.types.Scene, *_: Any) -> None:
    for shown in sequence.find(scene):
        uid = shown.empty.session_uid
        if any(child.mode == MODE for child in shown.objects):
            _edited.add(uid)
        elif uid in _edited:
            _edited.discard(uid)
            if _has_all(shown):  # else playback says what is missing, and the cloud stays as it was edited
                adopt(shown)
                renew(shown)


_HANDLERS = (("depsgraph_update_post", _legs4d_edited),)
