"""Depth Anything V2 (Yang et al. 2024), run by transformers: disparity of single pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from legs4d.priors.published import open_model

REPOSITORY = "depth-anything/Depth-Anything-V2-Small-hf"
SHORTER_SIDE = 518
"""Pixels that the network was made for; both sides become multiples of its patches."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DepthAnything:
    """See `protocols.DepthPrior`. Each frame of a video has its own scale and shift.

    Args:
        folder: as published: config.json, model.safetensors.
        device: where to compute.
        shorter_side: pixels to which pictures are brought.
    """

    def __init__(self, folder: Path, device: torch.device, shorter_side: int = SHORTER_SIDE) -> None:
        self._model = open_model(
            "transformers", "DepthAnythingForDepthEstimation", folder, device, REPOSITORY, role="depth"
        )
        self._device, self._side = device, shorter_side
        self._patch = int(self._model.config.patch_size)
        self._mean, self._std = (torch.tensor(v, device=device)[:, None, None] for v in (_MEAN, _STD))

    @torch.no_grad()
    def disparity(self, pictures: NDArray[np.float32], masks: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """[T, H, W] ≥ 0 of [T, H, W, 3]; masks tell it nothing."""
        height, width = pictures.shape[1:3]
        scale = self._side / min(height, width)
        rows, columns = (max(1, round(side * scale / self._patch)) * self._patch for side in (height, width))
        found = []
        for picture in pictures:
            values = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device).permute(2, 0, 1)[None]
            values = interpolate(values, size=(rows, columns), mode="bicubic", align_corners=False, antialias=True)
            told = self._model(pixel_values=((values - self._mean) / self._std).to(self._model.dtype))
            depth = interpolate(told.predicted_depth[:, None].float(), size=(height, width), mode="bilinear")
            found.append(depth[0, 0].clamp(min=0).cpu().numpy())
        return np.stack(found) if found else np.zeros((0, height, width), np.float32)
