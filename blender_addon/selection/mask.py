"""The mask of a cloud: which of its points are selected, deleted, hidden. Attributes: files and undo keep it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from .. import names
from ..sequence import attributes

Array = np.ndarray[Any, Any]


def kept(cloud: bpy.types.PointCloud) -> Array | None:
    """[points] bool: neither deleted nor hidden; None where that is all of them."""
    found: Array | None = None
    for name in names.MASKS:
        if name in cloud.attributes:
            gone = attributes.read(cloud, name)
            found = gone if found is None else found | gone
    return None if found is None or not found.any() else ~found


def kept_of(clouds: Sequence[bpy.types.PointCloud]) -> slice | Array:
    """What is `kept` of several clouds, one after the other, to index their points by."""
    found = [kept(cloud) for cloud in clouds]
    if all(keep is None for keep in found):
        return slice(None)
    whole = [np.ones(len(cloud.points), bool) for cloud in clouds]
    return np.concatenate([every if keep is None else keep for every, keep in zip(whole, found, strict=True)])


def read(cloud: bpy.types.PointCloud, name: str) -> Array:
    """[points] bool of a mask or of the selection; all False where there is none."""
    if name not in cloud.attributes:
        return np.zeros(len(cloud.points), bool)
    return attributes.read(cloud, name).astype(bool, copy=False)


def write(cloud: bpy.types.PointCloud, name: str, values: Array) -> None:
    """Set a mask or the selection [points] bool; nothing is kept of one that is all False."""
    if values.any():
        attributes.write(cloud, name, "BOOLEAN", np.ascontiguousarray(values, bool))
    else:
        attributes.remove(cloud, name)


def dimmed(cloud: bpy.types.PointCloud, radiance: Array) -> Array:
    """[points, 4] `names.RADIANCE` with opacity 0 where the mask says so, changed in place."""
    keep = kept(cloud)
    if keep is not None:
        radiance[:, 3] *= keep
    return radiance
