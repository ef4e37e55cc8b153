"""Adam in one kernel a group, with step sizes that may lie on the device: a captured graph then follows a schedule.

PyTorch's kernel is called by name: `torch.optim` would import its compiler, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-15
"""As Kerbl et al.: gradients of single Gaussians are tiny."""
LARGE = 65_536
"""Numbers from which on a tensor is worth a kernel of its own."""


@dataclass
class Moments:
    """Of one tensor: both moments, and how many steps were taken."""

    first: torch.Tensor
    second: torch.Tensor
    steps: torch.Tensor

    @classmethod
    def of(cls, value: torch.Tensor) -> Moments:
        return cls(torch.zeros_like(value), torch.zeros_like(value), torch.zeros((), device=value.device))


def step_group(values: list[torch.Tensor], moments: list[Moments], rate: float | torch.Tensor) -> None:
    """Move leaf tensors that have a gradient, all with one step size (a number, or [] on their device); clears it."""
    pulled = [(value, m) for value, m in zip(values, moments, strict=True) if value.grad is not None]
    if not pulled:
        return
    gradients: list[torch.Tensor] = []
    for value, m in pulled:
        assert value.grad is not None
        gradients.append(value.grad)
        m.steps += 1
    large = pulled[0][0].is_cuda and len(pulled) == 1 and pulled[0][0].numel() > LARGE
    with torch.no_grad():
        if large:
            from legs4d.reconstruct.fitting.adam_cuda import step_large

            value, m = pulled[0]
            if not isinstance(rate, torch.Tensor):  # filled there: a copy waits for the device
                rate = torch.full((), rate, device=value.device)
            step_large(value, gradients[0], m.first, m.second, m.steps, rate, (BETA1, BETA2), EPSILON)
        else:
            _step_together(pulled, gradients, rate)
    for value in values:
        value.grad = None


def _step_together(
    pulled: list[tuple[torch.Tensor, Moments]], gradients: list[torch.Tensor], rate: float | torch.Tensor
) -> None:
    torch._fused_adam_(
        [value for value, _ in pulled],
        gradients,
        [m.first for _, m in pulled],
        [m.second for _, m in pulled],
        [],
        [m.steps for _, m in pulled],
        lr=rate,
        beta1=BETA1,
        beta2=BETA2,
        weight_decay=0.0,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )
