"""What backpropagation leaves for densification, whichever engine rendered."""

from __future__ import annotations

import torch


class ScreenGradient:
    """How much the loss pulls at the projected centres; what densification looks at. Filled by `backward()`.

    Attributes:
        norm: [N] float32, sum over cameras of ‖∂loss/∂(projected centre)‖, per pixel.
        seen: [N] int32, in how many cameras the Gaussian reached the image.
    """

    norm: torch.Tensor
    seen: torch.Tensor


class SummedGradient(ScreenGradient):
    """Of cameras that were rendered one by one; those that no gradient reached have none."""

    def __init__(self, each: list[ScreenGradient]) -> None:
        self._each = each

    @property
    def norm(self) -> torch.Tensor:  # type: ignore[override]
        return torch.stack([part.norm for part in self._each if hasattr(part, "norm")]).sum(dim=0)

    @property
    def seen(self) -> torch.Tensor:  # type: ignore[override]
        return torch.stack([part.seen for part in self._each if hasattr(part, "seen")]).sum(dim=0).to(torch.int32)
