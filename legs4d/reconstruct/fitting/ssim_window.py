"""The window and constants of SSIM (Wang et al. 2004), for images in 0..1."""

from __future__ import annotations

import torch

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def ssim_window(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """[SSIM_WINDOW] samples of a Gaussian, summing to 1; the window is their outer product."""
    offsets = torch.arange(SSIM_WINDOW, dtype=dtype, device=device) - SSIM_WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    return window / window.sum()
