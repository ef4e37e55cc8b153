"""MoveNet multipose (Google 2021): up to six people in a picture, with 17 joints each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.priors.graphs.opened import open_network
from legs4d.priors.picture_crops import as_tensor, clipped, crop, grown, intersections_over_unions, squares
from legs4d.priors.protocols import People

JOINTS = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip"),
    *("left knee", "right knee", "left ankle", "right ankle"),
)
LONGER_SIDE = 416
"""Pixels of the network's input, of which both sides are multiples of 32."""
_STEP = 32
LEAST_SCORE = 0.2
_AROUND = 1.3
"""A box is looked at in a square this many times its longer side."""


class MoveNet:
    """See `protocols.PeoplePrior`.

    Args:
        path: of the converted weights.
        device: where to compute.
        least_score: people less sure are left out.
    """

    def __init__(self, path: Path, device: torch.device, least_score: float = LEAST_SCORE) -> None:
        self._network = open_network(path, device, "MoveNet", 1, 1)
        self._device, self.least_score = device, least_score

    def people(self, picture: NDArray[np.float32], boxes: NDArray[np.float32] | None = None) -> People:
        """Who is in a picture [H, W, 3]; with boxes [N, 4], who fits each best."""
        values = as_tensor(picture, self._device)
        height, width = picture.shape[:2]
        if boxes is None:
            whole = np.array([0, 0, width, height], np.float32)
            found = self._look(values, whole)
            return _people(found[found[:, 55] >= self.least_score], width, height)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise Legs4dError(f"boxes are {boxes.shape}", where="people", fix="give [N, 4]")
        best = []
        for box, around in zip(boxes, squares(grown(boxes, 0.0), _AROUND), strict=True):
            found = self._look(values, around)
            overlap = intersections_over_unions(found[:, [52, 51, 54, 53]], box[None])[:, 0]
            best.append(found[int(np.argmax(overlap * (found[:, 55] > 0)))])
        return _people(np.stack(best) if best else np.zeros((0, 56), np.float32), width, height)

    def _look(self, picture: torch.Tensor, box: NDArray[np.float32]) -> NDArray[np.float32]:
        """[6, 56]: y, x and score of 17 joints; top, left, bottom, right; score. Pixels of the picture."""
        across, down = float(box[2] - box[0]), float(box[3] - box[1])
        scale = LONGER_SIDE / max(across, down)
        width, height = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in (across, down))
        values = crop(picture, box, height, width).permute(0, 2, 3, 1) * 255
        found = self._network(values.round().to(torch.int32))[0][0].cpu().numpy()
        found[:, :51:3] = found[:, :51:3] * down + box[1]
        found[:, 1:51:3] = found[:, 1:51:3] * across + box[0]
        found[:, [51, 53]] = found[:, [51, 53]] * down + box[1]
        found[:, [52, 54]] = found[:, [52, 54]] * across + box[0]
        return found


def _people(found: NDArray[np.float32], width: int, height: int) -> People:
    joints = found[:, :51].reshape(-1, 17, 3)
    boxes = clipped(found[:, [52, 51, 54, 53]], width, height)
    return People(boxes, found[:, 55], np.ascontiguousarray(joints[..., [1, 0]]), joints[..., 2], JOINTS)
