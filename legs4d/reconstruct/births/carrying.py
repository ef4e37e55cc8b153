"""How places on moving things get from frame to frame: with the tracked Gaussians around them, as one rigid body."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.executor import default_threads
from legs4d.gaussians.formats.placing import quaternions, unbroken
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.rigid import fit_robustly
from legs4d.reconstruct.fitting.quaternions import multiply

NEIGHBOURS = 48
"""Tracked Gaussians that carry a place together: enough for most of a limb, so that a few that drifted off do not
count."""


@dataclass(frozen=True)
class Carried:
    """Where B places are in T frames, seen from the frame that each began in: x → rotation · x + translation.

    Attributes:
        rotation: [T, B, 3, 3]; translation: [T, B, 3]; turn: [T, B, 4] the rotation as a quaternion, wxyz. Float32.
    """

    rotation: torch.Tensor
    translation: torch.Tensor
    turn: torch.Tensor

    @classmethod
    def nothing(cls, num_frames: int) -> Carried:
        """No places."""
        return cls(torch.zeros(num_frames, 0, 3, 3), torch.zeros(num_frames, 0, 3), torch.zeros(num_frames, 0, 4))

    def take(self, frames: list[int], device: torch.device) -> Carried:
        """In these frames alone, on a device."""
        return Carried(*(part[frames].to(device) for part in (self.rotation, self.translation, self.turn)))

    def place(self, points: torch.Tensor, frame: int) -> torch.Tensor:
        """[B, 3] where the points [B, 3] are in a frame; differentiable."""
        return torch.einsum("bij,bj->bi", self.rotation[frame], points) + self.translation[frame]

    def at(self, gaussians: Gaussians, frame: int) -> Gaussians:
        """B Gaussians (torch) in a frame; differentiable."""
        means = self.place(gaussians.means, frame)
        return gaussians.replace(means=means, quats=multiply(self.turn[frame], gaussians.quats))


def joined(parts: list[Carried]) -> Carried:
    """Of several sets of places, one after the other."""
    return Carried(*(torch.cat([getattr(p, n) for p in parts], dim=1) for n in ("rotation", "translation", "turn")))


def carry_along(
    points: NDArray[np.float32],
    rows: NDArray[np.int64],
    start: NDArray[np.float32],
    means: Iterable[NDArray[np.float32]],
    of: NDArray[np.int64],
) -> Carried:
    """Where points [B, 3] of a frame are in all frames, if they move as what is around them does.

    Args:
        rows: [B] the object that each point is of, -1 for none.
        start: [M, 3] the tracked Gaussians in the points' frame; means: the same in each of T frames.
        of: [M] the object of each of these; only those of the point's own carry it, where there are any.
    """
    count = min(NEIGHBOURS, len(of))
    near = np.zeros((len(points), count), np.int64)
    for row in np.unique(rows):
        here = np.flatnonzero(rows == row)
        able = np.flatnonzero(of == row)
        able = able if len(able) >= count else np.arange(len(of))
        near[here] = able[cKDTree(start[able]).query(points[here], k=count)[1].reshape(len(here), count)]
    source = start[near]

    def way(there: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        fit = fit_robustly(source, there[near])
        return fit.rotation.astype(np.float32), fit.translation.astype(np.float32)

    threads, left = default_threads(), iter(means)
    ways: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(left, threads)):
            ways += pool.map(way, some)
    frames = len(ways)
    rotation, translation = (np.stack(part) for part in zip(*ways, strict=True))
    turn = quaternions(rotation.reshape(-1, 3, 3)).reshape(frames, len(points), 4).astype(np.float32)
    return Carried(*(torch.from_numpy(part) for part in (rotation, translation, unbroken(turn))))
