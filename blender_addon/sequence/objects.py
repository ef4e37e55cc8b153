"""The things in a run as Empties: whatever is parented to one goes where the ball goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np

from ..layers import curves
from . import hanging
from .hanging import OBJECT
from .sequence import Sequence

TABLE = "objects"
"""In the cache: pose [T,O,7], scale [T,O], visible [T,O], names (bytes of JSON), ids [O]."""
THERE = "legs4d_there"
"""Custom property of an Empty: whether the thing is there in a frame, keyed."""
DISPLAY_SIZE = 0.2
"""Of an Empty, in sizes of its object."""
NUMBER = "legs4d_number"
"""Custom property: the number by which the backend takes it, as `legs4d info` tells it."""
_GROUP = "4-LEGS object"


def add_objects(shown: Sequence, table: Mapping[str, np.ndarray[Any, Any]]) -> list[bpy.types.Object]:
    """An Empty an object, below the sequence's, with its place, turn and size keyed in every frame of the capture.

    Args:
        table: what the cache keeps of the objects that `open` told of; empty where it told of none.
    """
    if "pose" not in table:
        return []
    frames = [float(shown.scene_frame(frame)) for frame in range(len(table["pose"]))]
    return [_add(shown, number, name, frames, table) for number, name in enumerate(names_of(table))]


def names_of(table: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    """What the objects of a table are called; empty of those without a name."""
    return [str(name) for name in json.loads(bytes(np.asarray(table["names"], np.uint8)))]


def objects_of(shown: Sequence) -> list[bpy.types.Object]:
    """The Empties of a sequence's things, in the run's order; those that were deleted are not there."""
    found = [child for child in shown.empty.children if child.get(NUMBER) is not None]
    return sorted(found, key=lambda child: int(child[OBJECT]))


def call(empty: bpy.types.Object, name: str) -> None:
    """Give a thing's Empty the name that the run has for it; one without a name is called by its number."""
    assert empty.parent is not None
    empty.name = name or f"{empty.parent.name} object {empty[OBJECT]}"


def _add(
    shown: Sequence, number: int, name: str, frames: list[float], table: Mapping[str, np.ndarray[Any, Any]]
) -> bpy.types.Object:
    empty = bpy.data.objects.new("object", None)
    for collection in shown.empty.users_collection:
        collection.objects.link(empty)
    hanging.hang(shown, empty)
    empty.rotation_mode = "QUATERNION"
    empty.empty_display_type, empty.empty_display_size = "ARROWS", DISPLAY_SIZE
    empty[OBJECT], empty[THERE] = number, 1.0
    empty[NUMBER] = int(table["ids"][number]) if "ids" in table else number  # caches of older versions have none
    call(empty, name)
    pose, scale = np.asarray(table["pose"])[:, number], np.asarray(table["scale"])[:, number]
    there = np.asarray(table["visible"])[:, number].astype(np.float32)
    for path, values in (("location", pose[:, :3]), ("rotation_quaternion", pose[:, 3:])):
        for index in range(values.shape[1]):
            curves.write(empty, path, frames, values[:, index], "LINEAR", _GROUP, index)
    for index in range(3):
        curves.write(empty, "scale", frames, scale, "LINEAR", _GROUP, index)
    curves.write(empty, f'["{THERE}"]', frames, there, "CONSTANT", _GROUP)
    return empty
