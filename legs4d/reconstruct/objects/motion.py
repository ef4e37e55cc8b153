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
        device = current[0].device
        seen = torch.as_tensor(labels, device=device)
        found = predicted
        for row, number in enumerate(self.ids.tolist()):
            members = torch.as_tensor(np.flatnonzero(self.rows == row), device=device)
            views = np.flatnonzero((seen == number).sum(dim=(1, 2)).cpu().numpy() >= SHOWN)
            if not len(members) or not len(views):
                continue

            def inside(places: torch.Tensor, number: int = number, views: NDArray[np.int64] = views) -> float:
                return _inside(places, seen, number, views, cameras, near)

            means, quats = (values[members] for values in predicted)
            kept = inside(means)
            if kept + BETTER > 1:  # nothing is as much better
                continue
            choices = [(means, quats), (current[0][members], current[1][members])]
            middle = triangulated(labels == number, cameras, smallest=SHOWN, rounds=ROUNDS)
            if middle is not None:
                shift = (middle - np.median(means.cpu().numpy(), axis=0)).astype(np.float32)
                choices.append((means + torch.as_tensor(shift, device=device), quats))
            shares = [kept, *(inside(places) for places, _ in choices[1:])]
            best = int(np.argmax(shares))
            if shares[best] >= kept + BETTER:
                if found is predicted:
                    found = predicted[0].clone(), predicted[1].clone()
                found[0][members], found[1][members] = choices[best]
        return found


def _inside(
    places: torch.Tensor,
    labels: torch.Tensor,
    number: int,
    views: NDArray[np.int64],
    cameras: Cameras,
    near: float,
) -> float:
    """0..1, the share of points [K, 3] that lie where `labels` [C, H, W] have this number, on average over `views`."""
    pixel, seen = project(cameras.take(views), places, near)
    view = torch.as_tensor(views, device=places.device)[:, None]
    hit = ((labels[view, pixel[..., 1], pixel[..., 0]] == number) & seen).sum(dim=1)
    return float(np.mean(hit.cpu().numpy() / len(places)))
