"""Static Gaussians that reach behind what hides them: cut, where frames that show more of them contradict them.

The first frame says nothing of what something hides in it, so that a Gaussian which shows at the edge of a closed door
may reach across the whole doorway. Once that is open, no colour and no shape suits both the edge and the hole. Of
pieces, each can suit what it shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.reconstruct.births.evidence import Evidence
from legs4d.reconstruct.births.seeds import BEHIND
from legs4d.reconstruct.births.spans import SHOWN, TWICE, WRONG
from legs4d.reconstruct.fitting.quaternions import rotation_matrices
from legs4d.reconstruct.views import look_up
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

PIECE = 0.015
"""Standard deviation of a piece along what is cut, as a share of the stage's radius."""
LONG = 2.0
"""Times as long as a piece of it, from which a Gaussian is cut."""
STEP = 1.5
"""Between two pieces, in their standard deviations: close enough for one surface."""
CLEAREST = 1e-4
"""What passes an opaque Gaussian at its middle."""
REACH = 3.0
"""Standard deviations within which a Gaussian shows."""


@dataclass(frozen=True)
class Shown:
    """What a frame says of the background, all [C, H, W].

    Attributes:
        cameras: C views.
        open: bool, nothing that moves hides it here; lacking: bool, it is not explained (`seeds.lacking`).
        depth: camera z of what does not move, nan where there is none.
    """

    cameras: Cameras
    open: NDArray[np.bool_]
    lacking: NDArray[np.bool_]
    depth: NDArray[np.float32]


def torn(evidence: list[Evidence], rows: slice) -> NDArray[np.bool_]:
    """[K] bool: one frame bears a Gaussian out, and another, in which it fills more, contradicts it."""
    mass, off = (np.stack([getattr(one, name)[rows] for one in evidence]) for name in ("mass", "wrong"))
    told, contradicted = mass > SHOWN, off > WRONG * mass
    right, wrong = (np.where(told & said, mass, 0).max(axis=0) for said in (~contradicted, contradicted))
    return (right > 0) & (wrong > right)


def pieces(
    gaussians: Gaussians, which: NDArray[np.bool_], shown: list[Shown], stage: Stage, most: int
) -> tuple[NDArray[np.bool_], Gaussians]:
    """Cut those of N Gaussians (numpy) that are `which` [N], and long, into short ones.

    Args:
        shown: frames that tell which pieces are right.
        most: pieces that there may be; what has more than are left stays whole.

    Returns:
        ([N] bool, those that were cut; the pieces of all of these that show, and that pictures do not contradict).
    """
    length = PIECE * stage.radius
    cut, found = np.zeros(len(gaussians), np.bool_), [gaussians.take(np.zeros(0, np.int64))]
    for one in np.flatnonzero(which & (gaussians.scales.max(axis=1) > LONG * length)):
        parts = _pieces_of(gaussians.take(np.array([one])), shown, length, stage.near, most)
        if parts is not None:
            cut[one] = True
            found.append(parts)
            most -= len(parts)
    return cut, concatenate(*found)


def _pieces_of(found: Gaussians, shown: list[Shown], length: float, near: float, most: int) -> Gaussians | None:
    """Those of a Gaussian, cut along its axes one after the other; None where there would be more than `most`."""
    while (long := found.scales.max(axis=1, initial=0) > LONG * length).any():
        found = concatenate(found.take(~long), _cut(found.take(long), length))
        found = found.take(_borne_out(found, shown, near))
        if len(found) > most:
            return None
    return found


def _borne_out(gaussians: Gaussians, shown: list[Shown], near: float) -> NDArray[np.bool_]:
    """[N] bool: some view shows it, and most views of `TWICE` frames do not contradict it."""
    points = torch.from_numpy(gaussians.means)
    at_all, against = np.zeros(len(gaussians), np.bool_), np.zeros(len(gaussians), np.int64)
    for frame in shown:
        told = np.stack([frame.open, frame.lacking, frame.depth], axis=-1, dtype=np.float32)
        values, seen = (part.numpy() for part in look_up(torch.from_numpy(told), frame.cameras, points, near))
        pose = frame.cameras.world_to_camera
        distance = gaussians.means @ pose[:, 2, :3].T + pose[:, 2, 3]
        shows = seen & (values[..., 0] > 0) & (BEHIND * values[..., 2] > distance.T)
        at_all |= shows.any(axis=0)
        wrong = shows & (values[..., 1] > 0)
        against += 2 * wrong.sum(axis=0) > shows.sum(axis=0)
    return at_all & (against < TWICE)


def _cut(gaussians: Gaussians, length: float) -> Gaussians:
    """Each Gaussian as a row of shorter ones along its longest axis."""
    count = np.arange(len(gaussians))
    axis = gaussians.scales.argmax(axis=1)
    reach = gaussians.scales[count, axis]
    side = (REACH * reach / (STEP * length)).astype(np.int64)
    of = np.repeat(count, 2 * side + 1)
    number = np.concatenate([np.arange(-one, one + 1, dtype=np.float32) for one in side])
    places = STEP * length * number
    direction = rotation_matrices(torch.from_numpy(gaussians.quats)).numpy()[count, :, axis]
    found = gaussians.take(of)
    scales = found.scales.copy()
    scales[np.arange(len(of)), axis[of]] = length
    # Where they overlap, pieces together are as opaque as the whole was there.
    whole = found.opacities * np.exp(-0.5 * (places / reach[of]) ** 2)
    return found.replace(
        means=found.means + places[:, None] * direction[of],
        scales=scales,
        opacities=(1 - (1 - whole).clip(min=CLEAREST) ** (STEP / np.sqrt(2 * np.pi))).astype(np.float32),
    )
