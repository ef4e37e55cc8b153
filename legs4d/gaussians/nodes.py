"""Control nodes that bend a run in time, as they are stored, and what lies between two stored frames: see
`portable.between`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.portable.between import carried, turn_on

GROUP = "nodes"
SAME_TIME = 1e-6
"""Share of a frame that is none."""


@dataclass(frozen=True)
class Nodes:
    """K nodes over T frames, and what is bound to them.

    Attributes:
        rest: [K, 3] float32, where they are at rest, scene units.
        pose: [T, K, 7] float32: position in the frame, and a unit quaternion wxyz that turns what is bound.
        index: [N + M, B] int32, the nodes of each Gaussian with an id; -1 for none.
        weight: [N + M, B] float32, ≥ 0, summing to 1; 0 for none.
    """

    rest: NDArray[np.float32]
    pose: NDArray[np.float32]
    index: NDArray[np.int32]
    weight: NDArray[np.float32]


def write_nodes(run: Run, nodes: Nodes) -> None:
    """Store the nodes of a run, in place of those that it has; the caller holds its lock.

    Raises:
        ValueError: arrays do not fit each other or the run.
        RunError: they cannot be written, or are not finite.
    """
    count, bound = len(nodes.rest), nodes.index.shape[1:]
    expected = {
        "rest": (count, 3),
        "pose": (run.num_frames, count, 7),
        "index": (run.num_gaussians, *bound),
        "weight": (run.num_gaussians, *bound),
    }
    for name, shape in expected.items():
        if getattr(nodes, name).shape != shape:
            raise ValueError(f"{name}: shape {getattr(nodes, name).shape}, expected {shape}")
    if nodes.index.size and not -1 <= nodes.index.min() <= nodes.index.max() < count:
        raise ValueError(f"index: {nodes.index.min()} to {nodes.index.max()}, expected -1 to {count - 1}")
    run.write_attached(GROUP, {name: getattr(nodes, name) for name in expected}, {})


def read_nodes(run: Run) -> Nodes | None:
    """The nodes of a run, None where no deformation made it."""
    found = run.read_attached(GROUP)
    return None if found is None else Nodes(**found[0])


def frame_between(run: Run, moment: float, nodes: Nodes | None = None) -> Gaussians:
    """All Gaussians of a run at a time between its frames, in the order of `Run.frame`.

    Args:
        moment: in frames, from 0; clamped to the run.
        nodes: those of the run, where they are read already.

    Returns:
        What has nodes follows them; other Gaussians with an id go straight, turning at constant speed. Those without an
        id are those of the nearest frame.

    Raises:
        RunError: a frame is not there.
    """
    moment = min(max(moment, 0.0), run.num_frames - 1.0)
    first = math.floor(moment + SAME_TIME)
    share = max(moment - first, 0.0)
    now = run.frame(first)
    if share < SAME_TIME:
        return now
    then, ids = run.frame(first + 1), run.num_gaussians
    loose = (then if share > 0.5 else now).take(slice(ids, None))
    start, end = now.take(slice(ids)), then.take(slice(ids))
    nodes = nodes or read_nodes(run)
    between = _straight(start, end, share)
    if nodes is not None:
        means, quats = carried(
            (start.means, start.quats),
            (end.means, end.quats),
            (nodes.index, nodes.weight),
            (nodes.pose[first], nodes.pose[first + 1]),
            share,
        )
        follows = np.any(nodes.weight > 0, axis=1)[:, None]
        between = between.replace(
            means=np.where(follows, means, between.means).astype(np.float32),
            quats=np.where(follows, quats, between.quats).astype(np.float32),
        )
    return concatenate(between, loose) if len(loose) else between


def _straight(now: Gaussians, then: Gaussians, share: float) -> Gaussians:
    def mixed(name: str) -> NDArray[np.float32]:
        one, other = getattr(now, name), getattr(then, name)
        return (one + np.float32(share) * (other - one)).astype(np.float32)

    return now.replace(
        means=mixed("means"),
        quats=turn_on(now.quats, then.quats, share).astype(np.float32),
        scales=np.exp((1 - share) * _log(now.scales) + share * _log(then.scales)).astype(np.float32),
        opacities=mixed("opacities"),
        colors=mixed("colors"),
        sh_rest=None if now.sh_rest is None or then.sh_rest is None else mixed("sh_rest"),
    )


def _log(scales: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(scales.astype(np.float64), 1e-12))
