"""Adam (Kingma & Ba 2015), for sets of Gaussians that grow and shrink.

torch.optim's would do, but its first use imports torch's compiler, ten seconds on a laptop, and its state would have to
be cut and pasted from outside.
"""

from __future__ import annotations

import torch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-15
"""Kerbl et al.'s epsilon: gradients of single Gaussians are tiny."""


class Adam:
    """Optimises named leaf tensors in place.

    Attributes:
        values: name → leaf tensor; the dictionary given, so that whoever replaces a tensor in it replaces it here.
        rates: name → step size.
    """

    def __init__(self, values: dict[str, torch.Tensor], rates: dict[str, float]) -> None:
        self.values = values
        self.rates = rates
        self._steps = 0
        self._first = {name: torch.zeros_like(value) for name, value in values.items()}
        self._second = {name: torch.zeros_like(value) for name, value in values.items()}

    def step(self) -> None:
        """Move every tensor that has a gradient; clears the gradients."""
        self._steps += 1
        # One correction for all: a Gaussian added later takes smaller first steps, which does it no harm.
        correction = (1 - BETA2**self._steps) ** 0.5 / (1 - BETA1**self._steps)
        pulls = {name: value.grad for name, value in self.values.items() if value.grad is not None}
        if not pulls:
            return
        names, gradients = list(pulls), list(pulls.values())
        values = [self.values[name] for name in names]
        first, second = [self._first[name] for name in names], [self._second[name] for name in names]
        # All tensors at once: on a GPU small ones cost the launch of a kernel, not the work.
        with torch.no_grad():
            torch._foreach_lerp_(first, gradients, 1 - BETA1)
            torch._foreach_mul_(second, BETA2)
            torch._foreach_addcmul_(second, gradients, gradients, value=1 - BETA2)
            scale = torch._foreach_sqrt(second)
            torch._foreach_add_(scale, EPSILON)
            torch._foreach_addcdiv_(values, first, scale, [-self.rates[name] * correction for name in names])
        for value in values:
            value.grad = None

    def edit(self, keep: torch.Tensor, added: int) -> None:
        """Keep the moments of the rows at `keep` (indices or mask), and start `added` new rows at zero."""
        for moments in (self._first, self._second):
            for name, moment in moments.items():
                moments[name] = torch.cat([moment[keep], moment.new_zeros(added, *moment.shape[1:])])
