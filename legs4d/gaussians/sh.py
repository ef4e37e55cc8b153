"""View dependence in numpy and torch: what the real spherical harmonics of `portable.sh` give along directions.

Degree 0 is `SH_C0`, kept apart as `Gaussians.colors`; `sh_rest` has the degrees from 1 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from legs4d.gaussians.gaussians import SH_C0
from legs4d.portable.sh import COEFFICIENTS, basis_columns, degree_of, rotate

__all__ = ["COEFFICIENTS", "degree_of", "evaluate", "rotate", "sh_basis"]

Array = Any
"""A numpy array or a torch tensor."""


def sh_basis(directions: Array, degree: int) -> Array:
    """Values of the basis functions of degrees 1 to `degree`.

    Args:
        directions: [..., 3] unit vectors, numpy or torch.
        degree: 0 to 3.

    Returns:
        [..., K], K = (degree + 1)² - 1, of the kind and dtype of `directions`.
    """
    columns = basis_columns(directions[..., 0], directions[..., 1], directions[..., 2], degree)
    if isinstance(directions, np.ndarray):
        return np.stack(columns, axis=-1) if columns else np.empty((*directions.shape[:-1], 0), directions.dtype)
    import torch

    return torch.stack(columns, dim=-1) if columns else directions.new_empty((*directions.shape[:-1], 0))


def evaluate(colors: Array, sh_rest: Array | None, directions: Array) -> Array:
    """RGB as seen along `directions`, not clamped (3DGS's renderers clamp it at 0 from below).

    Args:
        colors: [..., N, 3] SH DC coefficients.
        sh_rest: [..., N, K, 3], K one of 0, 3, 8, 15; None: the same from everywhere.
        directions: [..., N, 3] unit vectors from the camera to each Gaussian. Leading axes broadcast.

    Returns:
        [..., N, 3].
    """
    base = 0.5 + SH_C0 * colors
    if sh_rest is None or sh_rest.shape[-2] == 0:
        return base
    basis = sh_basis(directions, degree_of(sh_rest.shape[-2]))
    return base + (basis[..., None, :] @ sh_rest)[..., 0, :]
