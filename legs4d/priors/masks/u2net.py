"""U²-Net, small (Qin et al. 2020): which pixels belong to the main thing in a crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.graphs.opened import open_network
from legs4d.priors.picture_crops import as_tensor, clipped, crop, grown, put_back

SIDE = 320
"""Pixels of the network's input."""
CONTEXT = 0.25
"""Of a box's width and height, added around it: the thing has to stand out against something."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FAINT = 0.5
"""A crop whose surest pixel is below this has no main thing: stretched to 0..1, noise would become one."""


class U2net:
    """See `protocols.MasksPrior`.

    Args:
        path: of the converted weights.
        device: where to compute.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._network = open_network(path, device, "U²-Net", 1, 1)
        self._device = device
        self._mean, self._std = (torch.tensor(v, device=device)[None, :, None, None] for v in (_MEAN, _STD))

    def masks(self, picture: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, H, W], 0..1."""
        height, width = picture.shape[:2]
        values = as_tensor(picture, self._device)
        found = [self._mask(values, box) for box in clipped(grown(boxes, CONTEXT), width, height)]
        return np.stack(found) if found else np.zeros((0, height, width), np.float32)

    def _mask(self, picture: torch.Tensor, box: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = picture.shape[2:]
        if (box[2:] - box[:2]).min() < 1:
            return np.zeros((height, width), np.float32)
        values = crop(picture, box, SIDE, SIDE)
        values = values / values.max().clamp(min=1e-6)
        mask = self._network((values - self._mean) / self._std)[0][0, 0]
        low, high = mask.min(), mask.max()
        if float(high) >= _FAINT:
            mask = (mask - low) / (high - low).clamp(min=1e-6)
        return put_back(mask, box, height, width)
