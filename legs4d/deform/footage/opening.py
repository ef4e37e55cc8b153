"""The moments that a fit begins with: those in which silhouettes agree best on the whole of a moving thing.

What most silhouettes of all times agree on is a thing's body, without its limbs. Gaussians that grow out of it to be
limbs may lie in the body while their limb is elsewhere, and never find back. So a fit begins with a few moments in a
row, in which limbs hardly move and are part of the hull, and takes up the others from there on, as D-NeRF does from the
first (Pumarola et al. 2021, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.footage.pictures import BLANK, Pictures
from legs4d.errors import DatasetError
from legs4d.progress import go_on
from legs4d.reconstruct.initialise import visual_hull
from legs4d.reconstruct.views import project
from legs4d.scene.stage import Stage

CANDIDATES = 16
"""Moments that are compared, at most."""
FEWEST = 10
"""Pictures that a hull is made of."""
AGREEMENT = 0.8
"""Share of them in whose silhouettes a point of the hull lies."""
WIDELY = 0.5
"""Of the most pictures that show any point of the hull, those that show each."""
POINTS = 6_000
"""Of each hull that is compared."""
SIDE = 100
"""Pixels of pictures' longer side at which silhouettes are compared: what is covered depends on how close one looks."""
CELL = 2
"""Pixels of these: cells in which it is looked whether a silhouette has points."""


@dataclass(frozen=True)
class Opening:
    """Where a fit begins.

    Attributes:
        order: [F] int64, all pictures in the order in which they are taken up.
        count: how many it begins with, the first of them.
        covered: share of the first ten's silhouettes that their hull covers.
    """

    order: NDArray[np.int64]
    count: int
    covered: float


def find_opening(
    pictures: Pictures, stage: Stage, share: float, check: Callable[..., object] = go_on
) -> Opening | None:
    """The moments in a row whose silhouettes their own hull covers best; None where there are too few to tell.

    Args:
        share: of all pictures, how many a fit begins with; not fewer than ten.
        check: called every few pictures; what it raises ends the work.
    """
    times = pictures.times.cpu().numpy()
    count = max(FEWEST, round(share * len(times)))
    if not pictures.see_through or count >= len(times) or len(np.unique(times)) < 2 * FEWEST:
        return None
    found: list[Opening] = []
    for middle in np.linspace(times.min(), times.max(), min(CANDIDATES, len(times) // FEWEST) + 2)[1:-1]:
        order = np.argsort(np.abs(times - middle), kind="stable").astype(np.int64)
        found.append(Opening(order, count, _covered(pictures, order[:FEWEST], stage, check)))
    return max(found, key=lambda opening: opening.covered)


def _covered(pictures: Pictures, which: NDArray[np.int64], stage: Stage, check: Callable[..., object]) -> float:
    """Mean share of these pictures' silhouettes that the hull of all of them covers."""
    cameras, device = pictures.table.cameras.take(which), pictures.images.device
    cameras = cameras.scaled(min(1.0, SIDE / max(cameras.width, cameras.height)))
    alphas = pictures.images[torch.as_tensor(which, device=device), ..., 3].to(torch.float32) / 255
    masks = torch.nn.functional.adaptive_avg_pool2d(alphas, (cameras.height, cameras.width))
    try:
        hull = visual_hull(masks, cameras, stage, POINTS, AGREEMENT, check, WIDELY)
    except DatasetError:
        return 0
    wide, high = -(-cameras.width // CELL), -(-cameras.height // CELL)
    pixel, seen = project(cameras, hull, stage.near)
    shares = []
    for number, mask in enumerate(masks):
        shown = torch.zeros(high, wide, dtype=torch.bool, device=device)
        at = pixel[number][seen[number]] // CELL
        shown[at[:, 1], at[:, 0]] = True
        full = torch.nn.functional.avg_pool2d(mask[None], CELL, ceil_mode=True)[0] > 0.5
        if float(mask.mean()) > BLANK:
            shares.append(float((shown & full).sum() / full.sum().clamp(min=1)))
    return float(np.mean(shares)) if shares else 0
