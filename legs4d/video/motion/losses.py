"""DreamScene4D's losses on crops."""

from __future__ import annotations

import torch


def balanced(error: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[] Σ e² m / Σ m + Σ e² (1 − m) / Σ (1 − m): inside and outside of a mask count alike, however small it is.

    Args:
        error: [..., D] what was drawn less what was filmed; mask: [...] 0..1.
    """
    squared, outside = error.square(), 1 - mask

    def mean(weight: torch.Tensor) -> torch.Tensor:
        return (squared * weight[..., None]).sum() / weight.sum().clamp(min=1e-6)

    return mean(mask) + mean(outside)
