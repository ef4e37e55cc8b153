"""A thing as an object of its own: a copy of the sequence with nothing else, its origin in the thing's middle."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .. import declare, names
from ..layers import curves
from ..selection import edits, mask, selecting
from ..sequence import attributes, nodes
from ..sequence.properties import cloud_of
from ..sequence.sequence import Sequence
from ..whole import copies

Array = np.ndarray[Any, Any]


def separate(shown: Sequence, name: str) -> Generator[float, None, Sequence]:
    """What is selected as a sequence of its own, deleted from this one; both play the run, which is untouched.

    In pieces: yields the share that is done.

    Its origin goes to its middle, unless something else than its transforms says where it is: see `is_led`.

    Args:
        name: of the new object.
    """
    made = copies.copy(shown, shown.empty.users_collection)
    made.empty.name = name
    for child in made.objects:
        child.name = f"{name} {names.ROLES[_role(child)]}"
    for one in list(made.its.selections):
        if one.source == "FILE":
            selecting.forget(made, one.name)
    made.its.selections.clear()
    yield 0.3
    middle = _middle(shown)
    edits.remove(made, names.DELETED, others=True)
    yield 0.6
    edits.remove(shown, names.DELETED)
    yield 0.9
    if middle is not None and not is_led(made.empty):
        put_origin(made, middle)
    return made


def is_led(empty: bpy.types.Object) -> bool:
    """Whether keys, drivers or constraints place an object: they would put another origin where the old one was."""
    animated = curves.animated_paths(empty, "")
    return bool(empty.constraints) or any(path.startswith(("location", "rotation", "scale")) for path in animated)


def put_origin(shown: Sequence, place: Vector) -> None:
    """Turn and scale the sequence about a place in its clouds' axes from now on; nothing moves.

    The clouds' parent inverse has the difference: frames that arrive are in the run's axes, as they are.
    """
    inverses = [(child, child.matrix_parent_inverse.copy()) for child in (*shown.objects, *nodes.of(shown))]
    offset = declare.triple((inverses[0][1] @ place if inverses else place)[:])
    shown.empty.matrix_basis = shown.empty.matrix_basis @ Matrix.Translation(offset)
    for child, inverse in inverses:
        child.matrix_parent_inverse = Matrix.Translation(offset).inverted() @ inverse


def _middle(shown: Sequence) -> Vector | None:
    """Of the selected points at this frame, by their medians: what floats beside a thing does not move it."""
    found = []
    for child in shown.objects:
        cloud = cloud_of(child)
        chosen = mask.read(cloud, names.SELECTED)
        if chosen.any():
            found.append(attributes.read(cloud, names.POSITION)[chosen])
    if not found:
        return None
    places = np.concatenate(found)
    low, high = np.quantile(places, [0.02, 0.98], axis=0)
    return Vector(((low + high) / 2).tolist())


def _role(child: Any) -> str:
    return str(child.legs4d.role)
