"""The things in a run: their names, and where they are in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.names import plain_name
from legs4d.gaussians.store.run import Run

GROUP = "objects"


@dataclass(frozen=True)
class Objects:
    """O objects over T frames; object i is what `Run.object_ids` calls i.

    Attributes:
        names: O, "" for one that has none.
        pose: [T, O, 7] float32, world from object: translation in scene units, then a unit quaternion wxyz.
        scale: [T, O] float32, > 0, of the object about its origin.
        visible: [T, O] bool, whether it is there.
        ids: O, what people call them by: the numbers in the object masks that they come from; 0, 1, … where empty.
    """

    names: tuple[str, ...]
    pose: NDArray[np.float32]
    scale: NDArray[np.float32]
    visible: NDArray[np.bool_]
    ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(len(self.names))))

    def __len__(self) -> int:
        return len(self.names)

    def table(self) -> list[dict[str, Any]]:
        """[{id, name, frames}] for people and programs; frames: first and last in which it is there, or none."""
        there = [np.flatnonzero(self.visible[:, i]) for i in range(len(self))]
        frames = [[int(when[0]), int(when[-1])] if len(when) else None for when in there]
        return [{"id": i, "name": n, "frames": f} for i, n, f in zip(self.ids, self.names, frames, strict=True)]


def write_objects(run: Run, objects: Objects) -> None:
    """Store the objects of a run, in place of those that it has; the caller holds its lock.

    Raises:
        ValueError: arrays do not fit each other or the run's frames.
        RunError: they cannot be written, or are not finite.
    """
    frames, count = run.num_frames, len(objects)
    shapes = {"pose": (frames, count, 7), "scale": (frames, count), "visible": (frames, count)}
    for name, shape in shapes.items():
        if getattr(objects, name).shape != shape:
            raise ValueError(f"{name}: shape {getattr(objects, name).shape}, expected {shape}")
    arrays = {
        "pose": np.asarray(objects.pose, np.float32),
        "scale": np.asarray(objects.scale, np.float32),
        "visible": np.asarray(objects.visible, np.bool_),
    }
    run.write_attached(GROUP, arrays, {"names": list(objects.names), "ids": list(objects.ids)})


def read_objects(run: Run) -> Objects | None:
    """The objects of a run, None where it has none told."""
    found = run.read_attached(GROUP)
    if found is None:
        return None
    arrays, attributes = found
    ids = tuple(int(number) for number in attributes.get("ids", ()))
    return Objects(tuple(attributes["names"]), arrays["pose"], arrays["scale"], arrays["visible"], ids)


def name_object(run: Run, number: int, name: str) -> Objects:
    """Give an object, by its id, a name; the caller holds the run's lock.

    Raises:
        RunError: see `check_name`.
    """
    objects = check_name(run, number, name)
    row = objects.ids.index(number)
    named = replace(objects, names=(*objects.names[:row], name.strip(), *objects.names[row + 1 :]))
    write_objects(run, named)
    return named


def check_name(run: Run, number: int, name: str) -> Objects:
    """The objects of a run, one of which may have this name.

    Raises:
        RunError: the run has no such object, or see `names.plain_name`.
    """
    objects = read_objects(run)
    if objects is None or number not in objects.ids:
        have = "no objects" if not objects else f"objects {', '.join(map(str, objects.ids))}"
        fix = "see `legs4d info RUN`" if objects else "train it with object masks, see `legs4d objects --help`"
        raise RunError(f"has no object {number}: it has {have}", where=str(run.path), fix=fix)
    plain_name(name, f"object {number}")
    return objects
