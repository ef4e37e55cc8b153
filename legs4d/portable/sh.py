"""View dependence: the real spherical harmonics of degrees 1 to 3, in 3DGS's order and sign, evaluated and rotated.

Order: by degree l, then m from -l to l. Sign: with the Condon-Shortley phase, so that degree 1 is (-y, z, -x) times
√(3/4π). Directions go from the camera to the Gaussian.
"""

from __future__ import annotations

from functools import cache
from math import pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A numpy array, or anything else that has arithmetic (a torch tensor)."""

COEFFICIENTS = (0, 3, 8, 15)
"""Number K of coefficients beyond degree 0, by degree."""


def degree_of(count: int) -> int:
    """The degree (0 to 3) that has this many coefficients beyond degree 0. Raises ValueError where none has."""
    return COEFFICIENTS.index(count)


def basis_columns(x: Array, y: Array, z: Array, degree: int) -> list[Array]:
    """The K = (degree + 1)² - 1 basis functions of degrees 1 to `degree` at unit vectors (x, y, z) of any shape."""
    columns: list[Array] = []
    if degree >= 1:
        c = sqrt(3 / (4 * pi))
        columns += [-c * y, c * z, -c * x]
    if degree >= 2:
        c = sqrt(15 / (4 * pi))
        xx, yy, zz = x * x, y * y, z * z
        columns += [c * x * y, -c * y * z, sqrt(5 / (16 * pi)) * (2 * zz - xx - yy), -c * x * z, c / 2 * (xx - yy)]
    if degree >= 3:
        a, b, c = sqrt(35 / (32 * pi)), sqrt(105 / (4 * pi)), sqrt(21 / (32 * pi))
        columns += [
            -a * y * (3 * xx - yy),
            b * x * y * z,
            -c * y * (4 * zz - xx - yy),
            sqrt(7 / (16 * pi)) * z * (2 * zz - 3 * xx - 3 * yy),
            -c * x * (4 * zz - xx - yy),
            b / 2 * z * (xx - yy),
            -a * x * (xx - 3 * yy),
        ]
    return columns


def sh_basis(directions: NDArray[Any], degree: int) -> NDArray[Any]:
    """`basis_columns` at unit vectors [..., 3] as one array [..., K]."""
    columns = basis_columns(directions[..., 0], directions[..., 1], directions[..., 2], degree)
    return np.stack(columns, axis=-1) if columns else np.empty((*directions.shape[:-1], 0), directions.dtype)


def basis_parity(count: int, axis: int) -> NDArray[np.float32]:
    """[K] -1 where a basis function changes its sign when this axis (0, 1, 2) is turned round, else 1."""
    probe = np.array([[0.36, 0.48, 0.8]])
    mirrored = probe * np.where(np.arange(3) == axis, -1, 1)
    degree = degree_of(count)
    return np.sign(sh_basis(probe, degree) * sh_basis(mirrored, degree))[0].astype(np.float32)


def rotate(sh_rest: NDArray[np.floating], rotation: NDArray[np.floating]) -> NDArray[np.float32]:
    """The coefficients [N, K, 3] of Gaussians turned by `rotation` R [3, 3]: what was seen along d, now along R d."""
    turned = np.empty(sh_rest.shape, np.float32)
    matrix = np.asarray(rotation, np.float64)
    for degree in range(1, degree_of(sh_rest.shape[1]) + 1):
        band = slice(degree**2 - 1, (degree + 1) ** 2 - 1)
        probes, inverse = _probes(degree)
        # Y(R d) = D(R) Y(d) holds for every d, so it is solved for D at as many directions as determine it.
        turn = sh_basis(probes @ matrix.T, degree)[:, band].T @ inverse
        turned[:, band] = np.einsum("ij,njc->nic", turn.astype(np.float32), sh_rest[:, band])
    return turned


@cache
def _probes(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions [P, 3] spread over the sphere, and the pseudo-inverse [P, 2·degree+1] of the band's values there."""
    index = np.arange(32) + 0.5
    z, around = 1 - 2 * index / 32, pi * (1 + sqrt(5)) * index
    radius = np.sqrt(1 - z * z)
    probes = np.stack([radius * np.cos(around), radius * np.sin(around), z], axis=1)
    return probes, np.linalg.pinv(sh_basis(probes, degree)[:, degree**2 - 1 :].T)
