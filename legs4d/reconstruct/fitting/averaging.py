"""The mean of where an optimisation has been lately (Polyak and Juditsky 1992).

Each step looks at a few cameras, so the steps wander about the best answer; their mean is nearer to it.
"""

from __future__ import annotations

import torch


class RunningMean:
    """An exponentially fading mean of named tensors.

    Attributes:
        values: name → mean; None before anything was added, and always where nothing is to be kept.
    """

    values: dict[str, torch.Tensor] | None

    def __init__(self, kept: float) -> None:
        """`kept`: the share of itself that the mean keeps when something is added; 0 for no mean at all."""
        self.kept = kept
        self.values = None

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Move the mean towards these values."""
        if self.kept == 0:
            return
        now = {name: value.detach() for name, value in values.items()}
        if self.values is None:
            self.values = {name: value.clone() for name, value in now.items()}
        else:
            torch._foreach_lerp_(list(self.values.values()), list(now.values()), 1 - self.kept)
