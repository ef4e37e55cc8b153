"""Small tensors of fixed numbers, each moved to a device once: moving one stops a GPU until it has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

Numbers = Sequence[float] | Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]]


def constant(values: Numbers, device: torch.device) -> Tensor:
    """As `torch.tensor`; shared, not to be written to."""
    return _moved(_frozen(values), device)


def indices(names: Sequence[str], of: tuple[str, ...], device: torch.device) -> Tensor:
    """Where names are in a tuple of them: [n] int64, shared."""
    return _moved(tuple(of.index(name) for name in names), device)


def is_one_of(values: Tensor, names: Sequence[str], of: tuple[str, ...]) -> Tensor:
    """bool, whether indices are those of some names."""
    return torch.isin(values, indices(names, of, values.device))


def _frozen(values: object) -> object:
    return tuple(_frozen(value) for value in values) if isinstance(values, list | tuple) else values


@lru_cache(maxsize=1024)
def _moved(values: object, device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)
