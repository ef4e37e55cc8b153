"""Muon (Jordan et al. 2024), as `torch.optim.Muon` with `match_rms_adamw`, for many small matrices at once.

torch's goes through them one by one, which took 31 ms a step of the tiny encoder's, as much as all the rest (H100).
Those of several shapes go together, see `rooms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose iteration drives singular values towards 1; Jordan's."""
ITERATIONS = 5
MOMENTUM = 0.95
RMS = 0.2
"""Of AdamW's steps, about, per unit of rate: what Muon's are scaled to (Liu et al. 2025, section 2.2)."""
WASTE = 8
"""The most times that a matrix may be larger than it has to be, see `rooms`."""


class Muon(torch.optim.Optimizer):
    """Steps along the nearest orthogonal matrices to the momentum's.

    Args:
        groups: of parameters: matrices, or weights of convolutions [out, in, k, k], taken as matrices [out, in · k²].
        lr: learning rate, as AdamW's.
        weight_decay: decoupled.
        dtype: of the iteration; None is `fast_dtype`.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """See `torch.optim.Optimizer`; takes no closure."""
        assert closure is None
        for group in self.param_groups:
            values = [value for value in group["params"] if value.grad is not None]
            for value in values:
                if not self.state[value]:
                    self.state[value]["momentum"] = torch.zeros_like(value)
            momenta = [self.state[value]["momentum"] for value in values]
            gradients = [value.grad for value in values]
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
            torch._foreach_mul_(values, 1 - group["lr"] * group["weight_decay"])
            flat = [_flat(value) for value in ahead]
            for room, which in rooms([tuple(matrix.shape) for matrix in flat]).items():
                wide = flat[0].new_zeros(len(which), *room)
                torch._foreach_copy_(_filled(wide, [flat[i] for i in which]), [flat[i] for i in which])
                turned = _filled(orthogonal(wide, self.dtype or fast_dtype(wide.device)), [flat[i] for i in which])
                some = [values[i] for i in which]
                steps = [
                    _as(value, step) * (RMS * max(step.shape) ** 0.5) for value, step in zip(some, turned, strict=True)
                ]
                torch._foreach_add_(some, steps, alpha=-group["lr"])


def rooms(shapes: list[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """Sizes of matrices, and which of some smaller ones go through the iteration as such, filled up with zeros.

    Zeros stay zeros and change nothing else; many small products of their own would cost more than larger ones.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(shapes)), key=lambda i: (-shapes[i][0] * shapes[i][1], i)):
        rows, columns = shapes[index]
        fits = (room for room in found if room[0] >= rows and room[1] >= columns)
        room = next((room for room in fits if room[0] * room[1] <= WASTE * rows * columns), (rows, columns))
        found.setdefault(room, []).append(index)
    return found


def _filled(wide: Tensor, matrices: list[Tensor]) -> list[Tensor]:
    """The corners of [N, m, n] that the matrices lie in."""
    return [one[: matrix.shape[0], : matrix.shape[1]] for one, matrix in zip(wide, matrices, strict=True)]


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU; most CPUs emulate it, and take a hundred times as long as with float32."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """[N, m, n], m ≤ n, with singular values from 0.7 to 1.2 in place of theirs: Newton and Schulz's iteration."""
    x = matrices.to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def _flat(weight: Tensor) -> Tensor:
    matrix = weight.flatten(1)
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _as(weight: Tensor, matrix: Tensor) -> Tensor:
    """A `_flat` matrix in a weight's shape."""
    turned = weight.flatten(1).shape != matrix.shape
    return (matrix.T if turned else matrix).reshape(weight.shape)
