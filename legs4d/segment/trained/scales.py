"""How large masks are in space, and how a size becomes a gate on features (SAGA, sections 3.2 and 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

LEAST_INSIDE = 5
"""Of the 3 × 3 pixels around one that have to be in a mask for it to be inside of it, and not on its edge."""


def eroded(masks: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[R, height, width] bool: masks [R, h, w] at another size, without their edges."""
    larger = torch.nn.functional.interpolate(
        masks[:, None].float(), size=(height, width), mode="bilinear", align_corners=False
    )
    around = torch.nn.functional.conv2d(larger, torch.ones(1, 1, 3, 3, device=masks.device), padding=1)
    return around[:, 0] >= LEAST_INSIDE


def mask_scales(
    masks: torch.Tensor, depth: torch.Tensor, alpha: torch.Tensor, intrinsics: NDArray[np.floating]
) -> torch.Tensor:
    """[R] 2·‖standard deviation‖ of the places that masks show, scene units; NaN of fewer than 2 pixels.

    Args:
        masks: [R, H, W] bool, `eroded`.
        depth: [H, W] sum of weight times camera z; alpha: [H, W] sum of weights: depth is divided by it, which the
            original leaves out.
        intrinsics: [3, 3].
    """
    height, width = depth.shape
    z = (depth / alpha.clamp(min=1e-6)).double()
    x = (torch.arange(width, device=depth.device) + 0.5 - float(intrinsics[0, 2])) / float(intrinsics[0, 0])
    y = (torch.arange(height, device=depth.device) + 0.5 - float(intrinsics[1, 2])) / float(intrinsics[1, 1])
    places = torch.stack([x.double()[None] * z, y.double()[:, None] * z, z], -1)
    found = [2 * places[mask].std(dim=0).norm() if int(mask.sum()) > 1 else z.new_tensor(np.nan) for mask in masks]
    return torch.stack(found) if found else z.new_zeros(0)


@dataclass(frozen=True)
class Quantiles:
    """A map of sizes to 0..1 that makes those of all masks uniform; between two the mean of both sides' ranks.

    Attributes:
        sorted: [Q] sizes, ascending.
    """

    sorted: NDArray[np.float64]

    @classmethod
    def of(cls, scales: NDArray[np.floating], most: int = 1000) -> Quantiles:
        """Of all masks' sizes; those that are no numbers do not count."""
        known = np.asarray(scales, np.float64)[np.isfinite(scales)]
        count = min(most, len(known))
        return cls(np.quantile(known, np.linspace(0, 1, count)) if count else np.zeros(1))

    def __call__(self, scales: NDArray[np.floating]) -> NDArray[np.float64]:
        """0..1 of any sizes."""
        asked, known = np.asarray(scales, np.float64), self.sorted
        if len(known) < 2:
            return (asked >= known[0]).astype(np.float64)
        ranks = np.linspace(0, 1, len(known))
        below = np.interp(asked, known, ranks)
        above = np.interp(-asked, -known[::-1], -ranks[::-1])
        return np.asarray(0.5 * (below - above))
