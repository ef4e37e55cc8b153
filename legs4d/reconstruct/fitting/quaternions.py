"""Quaternions wxyz in few operations: on a GPU each costs the launch of a kernel, and a product written out has 28."""

from __future__ import annotations

from functools import cache

import torch

_PRODUCT = (  # of the 16 products a_i b_j, which make up w, x, y, z
    ((0, 0, 1), (1, 1, -1), (2, 2, -1), (3, 3, -1)),
    ((0, 1, 1), (1, 0, 1), (2, 3, 1), (3, 2, -1)),
    ((0, 2, 1), (1, 3, -1), (2, 0, 1), (3, 1, 1)),
    ((0, 3, 1), (1, 2, 1), (2, 1, -1), (3, 0, 1)),
)
_ROTATION = (  # of the 16 products q_i q_j of a unit quaternion, which make up the nine entries, row by row
    ((0, 0, 1), (1, 1, 1), (2, 2, -1), (3, 3, -1)),
    ((1, 2, 2), (0, 3, -2)),
    ((1, 3, 2), (0, 2, 2)),
    ((1, 2, 2), (0, 3, 2)),
    ((0, 0, 1), (1, 1, -1), (2, 2, 1), (3, 3, -1)),
    ((2, 3, 2), (0, 1, -2)),
    ((1, 3, 2), (0, 2, -2)),
    ((2, 3, 2), (0, 1, 2)),
    ((0, 0, 1), (1, 1, -1), (2, 2, -1), (3, 3, 1)),
)


def multiply(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Hamilton product of wxyz quaternions [..., 4]."""
    return _products(first, second) @ _matrix(_PRODUCT, first.dtype, first.device)


def rotation_matrices(quats: torch.Tensor) -> torch.Tensor:
    """[N, 3, 3] from [N, 4] wxyz quaternions of any length."""
    unit = torch.nn.functional.normalize(quats, dim=-1)
    return (_products(unit, unit) @ _matrix(_ROTATION, quats.dtype, quats.device)).reshape(-1, 3, 3)


def _products(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first[..., :, None] * second[..., None, :]).flatten(-2)


@cache
def _matrix(
    terms: tuple[tuple[tuple[int, int, int], ...], ...], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """[16, results] how much of each product is in each result."""
    matrix = torch.zeros(4, 4, len(terms), dtype=dtype)
    for result, parts in enumerate(terms):
        for i, j, sign in parts:
            matrix[i, j, result] = sign
    return matrix.reshape(16, len(terms)).to(device)
