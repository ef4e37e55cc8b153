"""Adam (Kingma & Ba 2015), for sets of Gaussians that grow and shrink; on CUDA its steps may be captured in a graph.

torch.optim's would do, but its first use imports torch's compiler, ten seconds on a laptop, and its state would have to
be cut and pasted from outside.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from legs4d.reconstruct.fitting.adam_group import BETA1, BETA2, EPSILON, Moments, step_group


class Adam:
    """Optimises named leaf tensors in place.

    Attributes:
        values: name → leaf tensor; the dictionary given, so that whoever replaces a tensor in it replaces it here.
        rates: name → step size; one that is a tensor [] is read on its device.
    """

    def __init__(self, values: dict[str, torch.Tensor], rates: Mapping[str, float | torch.Tensor]) -> None:
        self.values = values
        self.rates = dict(rates)
        self._steps = 0
        self._moments = {name: Moments.of(value.detach()) for name, value in values.items()}

    def step(self) -> None:
        """Move every tensor that has a gradient; clears the gradients."""
        for name, rate in self.rates.items():
            if isinstance(rate, torch.Tensor) and name in self.values:
                step_group([self.values[name]], [self._moments[name]], rate)
        self._step_at_once()

    def restart(self) -> None:
        """As if no step had been taken; nothing is put elsewhere in memory."""
        self._steps = 0
        for moments in self._moments.values():
            for tensor in (moments.first, moments.second, moments.steps):
                tensor.zero_()

    def _step_at_once(self) -> None:
        """Those whose step size is a number."""
        self._steps += 1
        # One correction for all: a Gaussian added later takes smaller first steps, which does it no harm.
        correction = (1 - BETA2**self._steps) ** 0.5 / (1 - BETA1**self._steps)
        pulls = {name: value.grad for name, value in self.values.items() if value.grad is not None}
        if not pulls:
            return
        names, gradients = list(pulls), list(pulls.values())
        values = [self.values[name] for name in names]
        first = [self._moments[name].first for name in names]
        second = [self._moments[name].second for name in names]
        # All tensors at once: on a GPU small ones cost the launch of a kernel, not the work.
        with torch.no_grad():
            torch._foreach_lerp_(first, gradients, 1 - BETA1)
            torch._foreach_mul_(second, BETA2)
            torch._foreach_addcmul_(second, gradients, gradients, value=1 - BETA2)
            scale = torch._foreach_sqrt(second)
            torch._foreach_add_(scale, EPSILON)
            torch._foreach_addcdiv_(values, first, scale, [-float(self.rates[name]) * correction for name in names])
        for value in values:
            value.grad = None

    def edit(self, keep: torch.Tensor, added: int) -> None:
        """Keep the moments of the rows at `keep` (indices or mask), and start `added` new rows at zero.

        Where as many rows come of it as there were, nothing is put elsewhere in memory.
        """
        for moments in self._moments.values():
            first, second = (
                torch.cat([moment[keep], moment.new_zeros(added, *moment.shape[1:])])
                for moment in (moments.first, moments.second)
            )
            if len(first) == len(moments.first):
                moments.first.copy_(first)
                moments.second.copy_(second)
            else:
                moments.first, moments.second = first, second
