"""NanoDet (RangiLyu 2020): boxes of 80 kinds of things. Generalised focal loss tells box sides as distributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.boxes.coco_names import COCO_NAMES
from legs4d.priors.graphs.opened import open_network
from legs4d.priors.picture_crops import as_tensor, clipped, crop, without_overlaps
from legs4d.priors.protocols import NamedBoxes

SIDE = 416
"""Pixels of the network's input."""
STRIDES = (8, 16, 32)
"""Pixels between the centres that boxes are told from, of each pair of outputs."""
_BINS = 11
"""Of the distribution of a side's distance, in strides: 0 to 10."""
_MEAN, _STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
"""Of blue, green, red in 0..255."""
LEAST_SCORE = 0.3
MOST_OVERLAP = 0.6
"""IoU from which two boxes of one kind are one thing."""


class NanoDet:
    """See `protocols.BoxesPrior`.

    Args:
        path: of the converted weights.
        device: where to compute.
        least_score: boxes less sure are left out.
    """

    def __init__(self, path: Path, device: torch.device, least_score: float = LEAST_SCORE) -> None:
        self._network = open_network(path, device, "NanoDet", 1, 2 * len(STRIDES))
        self._device, self.least_score = device, least_score
        self._mean, self._std = (torch.tensor(v, device=device)[None, :, None, None] for v in (_MEAN, _STD))

    def boxes(self, picture: NDArray[np.float32]) -> NamedBoxes:
        """What is found in a picture [H, W, 3]."""
        height, width = picture.shape[:2]
        side = max(height, width)  # a square keeps the shape of things; what is added is black
        values = crop(as_tensor(picture, self._device), np.array([0, 0, side, side], np.float32), SIDE, SIDE)
        found = self._network((values.flip(1) * 255 - self._mean) / self._std)
        scores, boxes = self._decode(found)
        best = scores.max(axis=1)
        kept = np.flatnonzero(best >= self.least_score)
        kinds = scores[kept].argmax(axis=1)
        places = clipped(boxes[kept] * (side / SIDE), width, height)
        kept_again = without_overlaps(places, best[kept], kinds, MOST_OVERLAP)
        names = tuple(COCO_NAMES[kinds[i]] for i in kept_again)
        return NamedBoxes(places[kept_again], best[kept][kept_again].astype(np.float32), names)

    @staticmethod
    def _decode(found: list[torch.Tensor]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores [A, 80] and boxes [A, 4] in pixels of the input, from the outputs in any order."""
        by_shape = {tuple(value.shape[1:]): value[0] for value in found}
        scores, boxes = [], []
        for stride in STRIDES:
            cells = SIDE // stride
            scores.append(by_shape[cells * cells, len(COCO_NAMES)])
            shares = by_shape[cells * cells, 4 * _BINS].reshape(-1, 4, _BINS).softmax(dim=-1)
            reach = (shares * torch.arange(_BINS, device=shares.device)).sum(dim=-1) * stride
            middles = (torch.arange(cells, device=shares.device) + 0.5) * stride
            y, x = (axis.reshape(-1) for axis in torch.meshgrid(middles, middles, indexing="ij"))
            boxes.append(torch.stack([x - reach[:, 0], y - reach[:, 1], x + reach[:, 2], y + reach[:, 3]], dim=1))
        return torch.cat(scores).cpu().numpy(), torch.cat(boxes).cpu().numpy()
