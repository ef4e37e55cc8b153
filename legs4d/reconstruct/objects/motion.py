"""Objects that masks tell apart, while they are followed: what is one object holds together and nothing else with it,
and one that leaps farther than its pictures overlap is looked for where its masks are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.objects.centers import triangulated
from legs4d.reconstruct.objects.votes import elected, votes_of
from legs4d.reconstruct.views import project
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Sequence

SHOWN = 4
"""Pixels of a view, at the size of the reconstruction, from which an object is there."""
BETTER = 0.1
"""Share of an object's Gaussians that have to come to lie in its masks, before it is begun elsewhere than where it
would go at constant velocity."""
ROUNDS = 4
"""In which rays through masks that do not agree with the others count less."""


@dataclass(frozen=True)
class TrackedObjects:
    """The moving Gaussians of a run by the object that they are.

    Attributes:
        ids: [K] of the masks.
        rows: [M] int64 position in `ids` of each moving Gaussian's object, -1 for none.
    """

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, run: Run, sequence: Sequence) -> TrackedObjects | None:
        """As the object masks of the first frame tell; None where these show nothing of what moves."""
        labels = sequence.objects("train", 0)
        if labels is None:
            return None
        ids = np.setdiff1d(np.unique(labels), [0]).astype(np.int64)
        if not len(ids):
            return None
        gaussians = run.frame(0)
        votes = votes_of(gaussians, sequence.cameras("train", 0), labels, ids, run.info["near"])
        rows = elected(votes, gaussians.is_foreground)[run.num_static : run.num_gaussians]
        return cls(ids, rows) if (rows >= 0).any() else None

    def begin(
        self,
        current: tuple[torch.Tensor, torch.Tensor],
        predicted: tuple[torch.Tensor, torch.Tensor],
        labels: NDArray[np.uint8],
        cameras: Cameras,
        near: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where to look first for every Gaussian: at constant velocity, or where its object's masks are.

        An object goes on at constant velocity unless it lies better in its masks where it was, or, as a whole, about
        the point at which the rays through their centres meet.

        Args:
            current, predicted: (means [M, 3], unit quats [M, 4]) of the last frame, and at constant velocity.
            labels: [C, H, W] ids in the frame that is to be found.
            near: scene units, as in `render`.

        Returns:
            (means [M, 3], unit quats [M, 4]), on the device of `current`.
        """
        means, quats = (values.cpu().numpy().copy() for values in predicted)
        last = tuple(values.cpu().numpy() for values in current)
        changed = False
        for row, number in enumerate(self.ids.tolist()):
            members = np.flatnonzero(self.rows == row)
            masks = labels == number
            if not len(members) or not (masks.sum(axis=(1, 2)) >= SHOWN).any():
                continue
            begun = means[members]
            choices = [(begun, quats[members]), (last[0][members], last[1][members])]
            middle = triangulated(masks, cameras, smallest=SHOWN, rounds=ROUNDS)
            if middle is not None:
                choices.append((begun + (middle - np.median(begun, axis=0)).astype(np.float32), quats[members]))
            shares = [_inside(places, masks, cameras, near) for places, _ in choices]
            best = int(np.argmax(shares))
            if shares[best] >= shares[0] + BETTER:
                means[members], quats[members] = choices[best]
                changed = True
        if not changed:
            return predicted
        device = current[0].device
        return torch.as_tensor(means, device=device), torch.as_tensor(quats, device=device)


def _inside(places: NDArray[np.float32], masks: NDArray[np.bool_], cameras: Cameras, near: float) -> float:
    """0..1, the share of points [K, 3] that lie in the masks [C, H, W], on average over the views that have one."""
    pixel, seen = (values.numpy() for values in project(cameras, torch.from_numpy(places), near))
    views = np.flatnonzero(masks.sum(axis=(1, 2)) >= SHOWN)
    hit = [(masks[view][pixel[view, :, 1], pixel[view, :, 0]] & seen[view]).mean() for view in views]
    return float(np.mean(hit))
