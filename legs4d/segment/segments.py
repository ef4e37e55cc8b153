"""The segments of a run: which Gaussians each has, how large it is, and which segment it is a part of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.names import plain_name
from legs4d.gaussians.store.run import Run
from legs4d.portable.pointing import quantiles

GROUP = "segments"


@dataclass(frozen=True)
class Segments:
    """S segments of G Gaussians: those with an id, then the loose ones of each frame, padded to as many as a frame has.

    Attributes:
        members: [G, S] 0..1, how much of a Gaussian belongs to each.
        parent: [S] int32, the smallest segment that a segment is a part of, -1 for none.
        scale: [S] float32, 2·‖standard deviation‖ of the members' places, scene units.
        mass: [G] float32, pixels of the masks' pictures that each Gaussian fills; 0 for what none shows.
        names: S, "" for one that has none.
        made: JSON: from which masks, how.
    """

    members: scipy.sparse.csc_array
    parent: NDArray[np.int32]
    scale: NDArray[np.float32]
    mass: NDArray[np.float32]
    names: tuple[str, ...]
    made: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def count(self) -> int:
        """G."""
        return len(self.mass)

    def of(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The Gaussians of a segment, and how much of each belongs to it."""
        part = slice(self.members.indptr[number], self.members.indptr[number + 1])
        return self.members.indices[part], self.members.data[part].astype(np.float32)

    def weights(self, number: int) -> NDArray[np.float32]:
        """[G] 0..1 of one segment."""
        index, weight = self.of(number)
        full = np.zeros(self.count, np.float32)
        full[index] = weight
        return full

    @property
    def quantile(self) -> NDArray[np.float32]:
        """[S] 0..1, the share of the other segments that are smaller."""
        return quantiles(self.scale)

    def chain(self, number: int) -> list[int]:
        """A segment, what it is a part of, and so on."""
        found = [number]
        while (above := int(self.parent[found[-1]])) >= 0:
            found.append(above)
        return found

    def pixels(self) -> NDArray[np.float32]:
        """[S] pixels that a segment's Gaussians fill, over all pictures."""
        return np.asarray(self.members.T @ self.mass, np.float32)


def slots_of(run: Run, frame: int) -> NDArray[np.int64]:
    """The places among G of a frame's Gaussians, in the order of `Run.frame`."""
    ids = np.arange(run.num_gaussians, dtype=np.int64)
    if not run.has_loose:
        return ids
    first = run.num_gaussians + frame * run.max_loose
    return np.concatenate([ids, np.arange(first, first + run.count(frame) - run.num_gaussians)])


def num_slots(run: Run) -> int:
    """G of a run."""
    return run.num_gaussians + (run.num_frames * run.max_loose if run.has_loose else 0)


def write_segments(run: Run, segments: Segments) -> None:
    """Store the segments of a run, in place of those that it has; the caller holds its lock."""
    if segments.count != num_slots(run):
        raise ValueError(f"segments of {segments.count} Gaussians, the run has {num_slots(run)}")
    arrays = {
        "parent": segments.parent.astype(np.int32),
        "scale": segments.scale.astype(np.float32),
        "mass": segments.mass.astype(np.float32),
        "start": segments.members.indptr.astype(np.int64),
        "index": segments.members.indices.astype(np.int32),
        "weight": segments.members.data.astype(np.float16),
    }
    run.write_attached(GROUP, arrays, {"names": list(segments.names), "made": segments.made})


def read_segments(run: Run) -> Segments:
    """The segments of a run. Raises RunError where it has none."""
    found = run.read_attached(GROUP)
    if found is None:
        raise RunError(
            "has no segments yet", where=str(run.path), fix="make them by `legs4d segments RUN --masks SOURCE`"
        )
    arrays, attributes = found
    count, number = len(arrays["mass"]), len(arrays["parent"])
    members = scipy.sparse.csc_array(
        (arrays["weight"].astype(np.float32), arrays["index"], arrays["start"]), shape=(count, number)
    )
    return Segments(
        members,
        arrays["parent"],
        arrays["scale"],
        arrays["mass"],
        tuple(attributes["names"]),
        dict(attributes["made"]),
    )


def has_segments(run: Run) -> bool:
    """Whether segments were made of this run."""
    return run.read_attached(GROUP) is not None


def name_segment(run: Run, number: int, name: str) -> Segments:
    """Give a segment a name; the caller holds the run's lock. Raises RunError: there is no such segment, or see
    `names.plain_name`."""
    segments = read_segments(run)
    if not 0 <= number < len(segments):
        raise RunError(
            f"has no segment {number}: it has {len(segments)}, counted from 0",
            where=str(run.path),
            fix="see `legs4d segments RUN --list`",
        )
    plain = plain_name(name, f"segment {number}")
    named = replace(segments, names=(*segments.names[:number], plain, *segments.names[number + 1 :]))
    write_segments(run, named)
    return named
