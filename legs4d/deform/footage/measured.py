"""What measured depths say before a fit: points to start from, and how near to the cameras something is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.footage.pictures import Pictures
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import NEAR_QUANTILE, Stage

LOOKED_AT = 60
"""Pictures whose depths are looked at, spread over time."""
ENOUGH = 0.25
"""Of the points that are wanted, those that have to be measured for a start from them alone."""


def nearer(stage: Stage, pictures: Pictures) -> Stage:
    """The stage with its near plane before what was measured."""
    assert pictures.depths is not None
    some = pictures.depths[torch.as_tensor(_measured(pictures), device=pictures.depths.device)]
    away = some[some > 0].to(torch.float32).cpu().numpy() * pictures.depth_unit
    return replace(stage, near=min(stage.near, 0.8 * float(np.quantile(away, NEAR_QUANTILE))))


def measured_points(pictures: Pictures, count: int) -> InitialPoints | None:
    """About `count` of the measured places, from pictures of all times, in the colours of these pictures; None where
    too few were measured to start from."""
    assert pictures.depths is not None
    chance = np.random.default_rng(0)
    chosen = _measured(pictures)
    cameras = pictures.table.cameras
    positions, colors = [], []
    for which in chosen.tolist():
        away = pictures.depths[which].to(torch.float32).cpu().numpy() * pictures.depth_unit
        rows, columns = np.nonzero(away)
        some = chance.permutation(len(rows))[: -(-count // len(chosen))]
        rows, columns = rows[some], columns[some]
        k, pose = (table[which].astype(np.float64) for table in (cameras.intrinsics, cameras.world_to_camera))
        z = away[rows, columns].astype(np.float64)
        rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1) @ np.linalg.inv(k).T
        positions.append((rays * z[:, None] - pose[:3, 3]) @ pose[:3, :3])
        image = pictures.images[which].cpu().numpy()
        colors.append(image[rows, columns, :3] / 255)
    places = np.concatenate(positions).astype(np.float32)
    if len(places) < ENOUGH * count:
        return None
    return InitialPoints(places, np.concatenate(colors).astype(np.float32), np.zeros(len(places), np.bool_))


def _measured(pictures: Pictures) -> NDArray[np.int64]:
    """Which pictures are looked at: of those in which something was measured."""
    assert pictures.depths is not None
    known = np.array([bool((depth > 0).any()) for depth in pictures.depths]).nonzero()[0]
    return known[np.unique(np.linspace(0, len(known) - 1, LOOKED_AT).round().astype(int))]
