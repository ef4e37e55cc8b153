"""Control nodes that bend a run in time, as they are stored, and what lies between two stored frames.

A Gaussian is carried by the few nodes it is bound to (embedded deformation: Sumner, Schmid and Pauly 2007; in time as
in SC-GS, Huang et al. 2024): x ↦ Σ_k w_k (R_k (x - p_k) + p_k + t_k). Between two frames the nodes turn and move at
constant speed, and Gaussians follow them from both ends, each the less the farther in time; so a wheel that turns goes
round instead of cutting the corner, and every stored frame is met exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.portable.turns import multiply

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
        means, quats, follows = _carried(start, end, nodes, first, share)
        between = between.replace(
            means=np.where(follows[:, None], means, between.means),
            quats=np.where(follows[:, None], quats, between.quats),
        )
    return concatenate(between, loose) if len(loose) else between


def _straight(now: Gaussians, then: Gaussians, share: float) -> Gaussians:
    def mixed(name: str) -> NDArray[np.float32]:
        one, other = getattr(now, name), getattr(then, name)
        return (one + np.float32(share) * (other - one)).astype(np.float32)

    return now.replace(
        means=mixed("means"),
        quats=_turned(now.quats, then.quats, share),
        scales=np.exp((1 - share) * _log(now.scales) + share * _log(then.scales)).astype(np.float32),
        opacities=mixed("opacities"),
        colors=mixed("colors"),
        sh_rest=None if now.sh_rest is None or then.sh_rest is None else mixed("sh_rest"),
    )


def _log(scales: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(scales.astype(np.float64), 1e-12))


def _carried(
    now: Gaussians, then: Gaussians, nodes: Nodes, frame: int, share: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Means and quats of what nodes carry, seen from both ends and mixed; and which Gaussians they carry."""
    before, after = nodes.pose[frame].astype(np.float64), nodes.pose[frame + 1].astype(np.float64)
    middle = np.empty_like(before)
    middle[:, :3] = before[:, :3] + share * (after[:, :3] - before[:, :3])
    middle[:, 3:] = _turned(before[:, 3:], after[:, 3:], share)
    from_now = _follow(now, nodes, before, middle)
    from_then = _follow(then, nodes, after, middle)
    means = (1 - share) * from_now[0] + share * from_then[0]
    quats = _turned(from_now[1], from_then[1], share)
    follows: NDArray[np.bool_] = np.any(nodes.weight > 0, axis=1)
    return means.astype(np.float32), quats.astype(np.float32), follows


def _follow(
    gaussians: Gaussians, nodes: Nodes, start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(means [n,3], quats [n,4]) of Gaussians when their nodes go from the poses `start` to `end`, both [K, 7]."""
    turn = _rotation(end[:, 3:]) * _rotation(start[:, 3:]).inv()
    matrices, quats = turn.as_matrix(), turn.as_quat(scalar_first=True)
    means = gaussians.means.astype(np.float64)
    moved, turned = np.zeros_like(means), np.zeros((len(means), 4))
    for column in range(nodes.index.shape[1]):
        which, weight = nodes.index[:, column], nodes.weight[:, column, None].astype(np.float64)
        local = means - start[which, :3]
        moved += weight * (np.einsum("nij,nj->ni", matrices[which], local) + end[which, :3])
        # Of the two quaternions of a turn the one on the side of the others.
        same = np.where((quats[which] * turned).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        turned += weight * same * quats[which]
    length = np.linalg.norm(turned, axis=1, keepdims=True)
    turned = np.where(length > 0, turned / np.maximum(length, 1e-12), [1.0, 0, 0, 0])
    return moved, multiply(turned, gaussians.quats.astype(np.float64))


def _turned(one: NDArray[np.floating], other: NDArray[np.floating], share: float) -> NDArray[np.float32]:
    """Quaternions wxyz on the way from one to the other, at constant speed."""
    if not len(one):
        return np.asarray(one, np.float32)
    first = _rotation(one)
    way = (first.inv() * _rotation(other)).as_rotvec()
    return (first * Rotation.from_rotvec(share * way)).as_quat(scalar_first=True).astype(np.float32)


def _rotation(quats: NDArray[np.floating]) -> Rotation:
    return Rotation.from_quat(np.asarray(quats, np.float64), scalar_first=True)
