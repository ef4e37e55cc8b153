"""Where a prompt holds in space: boxes around the Gaussians that take part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import Grounding

REACH = 4.0
"""Gaussians belong together when they are nearer than this many times the median distance to the nearest other (or
their median standard deviation, where that is more)."""

CLUSTER_SHARE = 0.1
"""Of what takes part, by opacity: a group with less than this is taken for strays. The ball of the basketball clip is
one group with over 95 % of its Gaussians; floaters that share its features are groups of one to five."""

TRIM = 0.01
"""Share of the weight left out at either end of an axis, against strays that touch their group."""

_TOUCHING = 1.8
"""Cells at most this far apart (in cells) touch: also at their corners, √3."""

_SAMPLES = 2000
"""Gaussians that tell the usual distance to the nearest other."""

SPREAD = 1.0
"""Standard deviations (the longest, their median) that a box reaches beyond the centres: where Gaussians are still half
opaque."""


class Axes(StrEnum):
    """Along what a box lies: the scene's axes, or those along which its contents spread most and least."""

    world = "world"
    own = "own"


@dataclass(frozen=True)
class Box:
    """A box in the scene.

    Attributes:
        center: [3] scene units.
        axes: [3, 3] float32, rows are its unit directions, right-handed; the identity for an axis-aligned box.
        half_sizes: [3] along these, scene units, ≥ 0.
        count: Gaussians in it that take part.
    """

    center: NDArray[np.float32]
    axes: NDArray[np.float32]
    half_sizes: NDArray[np.float32]
    count: int

    @property
    def corners(self) -> NDArray[np.float32]:
        """[8, 3]."""
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), np.float32).reshape(3, 8).T
        return np.asarray(self.center + (signs * self.half_sizes) @ self.axes, np.float32)

    @property
    def radius(self) -> float:
        """Half its diagonal, scene units."""
        return float(np.linalg.norm(self.half_sizes))

    def to_json(self) -> dict[str, Any]:
        """{center [3], axes [3][3], size [3] (whole edges), count}."""
        return {
            "center": self.center.tolist(),
            "axes": self.axes.tolist(),
            "size": (2 * self.half_sizes).tolist(),
            "count": self.count,
        }


def boxes_of(run: Run, grounding: Grounding, axes: Axes = Axes.world) -> dict[int, list[Box]]:
    """Frame → boxes, largest group first, for every frame of the prompt's intervals.

    A frame is left out when nothing in it takes part: a prompt may hold of what no camera sees just then.
    """
    found: dict[int, list[Box]] = {}
    for frame in range(run.num_frames):
        part = grounding.part(frame)
        if part.any() and (boxes := boxes_around(run.frame(frame).take(part), axes)):
            found[frame] = boxes
    return found


def box_around_all(boxes: list[Box]) -> Box:
    """One axis-aligned box around several, at least one."""
    corners = np.concatenate([box.corners for box in boxes])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Box((low + high) / 2, np.eye(3, dtype=np.float32), (high - low) / 2, sum(box.count for box in boxes))


def boxes_around(gaussians: Gaussians, axes: Axes = Axes.world) -> list[Box]:
    """Boxes around the groups that Gaussians stand in, largest first; strays are left out.

    Args:
        gaussians: those that take part, numpy; those of opacity 0 are not there.

    Returns:
        One box for each group of Gaussians that touch (`REACH`) and have `CLUSTER_SHARE` of the opacity; none when no
        Gaussian is there. When everything is scattered, one box around all of it.
    """
    there = gaussians.take(gaussians.opacities > 0)
    if not len(there):
        return []
    group = _groups(there)
    weight = np.bincount(group, weights=there.opacities)
    large = np.flatnonzero(weight >= CLUSTER_SHARE * weight.sum())
    if not len(large):
        return [_box(there, axes)]
    return [_box(there.take(group == which), axes) for which in large[np.argsort(-weight[large], kind="stable")]]


def _groups(gaussians: Gaussians) -> NDArray[np.int32]:
    """[N] the number of each Gaussian's group: those linked by steps of about the reach.

    Over cells of half the reach, as pairs of Gaussians may be too many: one frame of a big scene has 300,000 of them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if len(gaussians) == 1:
        return np.zeros(1, np.int32)
    edge = _reach(gaussians) / 2
    cells, cell_of = np.unique(np.floor(gaussians.means / edge).astype(np.int64), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(_TOUCHING, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    return connected_components(links, directed=False)[1][cell_of.ravel()]


def _reach(gaussians: Gaussians) -> float:
    """Distance at which Gaussians belong together, scene units, > 0."""
    from scipy.spatial import cKDTree

    some = gaussians.means[:: -(-len(gaussians) // _SAMPLES)]
    nearest = cKDTree(gaussians.means).query(some, k=2)[0][:, 1]
    size = float(np.median(gaussians.scales.max(axis=1)))
    return REACH * max(float(np.median(nearest)), size, float(np.finfo(np.float32).tiny))


def _box(gaussians: Gaussians, axes: Axes) -> Box:
    directions = _own_axes(gaussians) if axes is Axes.own else np.eye(3, dtype=np.float32)
    places = gaussians.means @ directions.T
    low = np.array([_quantile(places[:, axis], gaussians.opacities, TRIM) for axis in range(3)])
    high = np.array([_quantile(places[:, axis], gaussians.opacities, 1 - TRIM) for axis in range(3)])
    reach = SPREAD * np.median(gaussians.scales.max(axis=1))
    center, half = (low + high) / 2, (high - low) / 2 + reach
    return Box((center @ directions).astype(np.float32), directions, half.astype(np.float32), len(gaussians))


def _own_axes(gaussians: Gaussians) -> NDArray[np.float32]:
    """[3, 3] principal directions of the centres, longest first, right-handed."""
    weight = gaussians.opacities / gaussians.opacities.sum()
    offset = gaussians.means - weight @ gaussians.means
    directions = np.linalg.eigh((offset * weight[:, None]).T @ offset)[1].T[::-1]
    directions[2] = np.cross(directions[0], directions[1])
    return directions.astype(np.float32)


def _quantile(values: NDArray[np.float32], weight: NDArray[np.float32], share: float) -> float:
    """The value below which `share` of the weight lies."""
    order = np.argsort(values)
    mass = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(mass, share * mass[-1])])
