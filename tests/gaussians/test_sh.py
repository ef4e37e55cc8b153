"""Spherical harmonics against scipy's complex ones, and rotations against looking from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from legs4d.gaussians.sh import COEFFICIENTS, evaluate, rotate, sh_basis

RNG = np.random.default_rng(5)


def directions(count: int = 50) -> NDArray[np.float64]:
    vectors = RNG.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def real_harmonics(towards: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """[P, K]: √2 times the imaginary (m < 0) or real part of scipy's, which have the Condon-Shortley phase."""
    polar, around = np.arccos(towards[:, 2]), np.arctan2(towards[:, 1], towards[:, 0])
    columns = []
    for l in range(1, degree + 1):  # noqa: E741 - the field's letter
        for m in range(-l, l + 1):
            value = sph_harm_y(l, abs(m), polar, around)
            columns.append(value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_basis_is_that_of_the_books(degree: int) -> None:
    towards = directions()
    np.testing.assert_allclose(sh_basis(towards, degree), real_harmonics(towards, degree), atol=1e-12)
    np.testing.assert_allclose(sh_basis(torch.as_tensor(towards), degree), real_harmonics(towards, degree), atol=1e-12)


def test_degree_one_has_the_signs_of_3dgs() -> None:
    c = 0.4886025119029199
    np.testing.assert_allclose(sh_basis(np.eye(3), 1), [[0, 0, -c], [-c, 0, 0], [0, c, 0]], atol=1e-15)


def test_colours_are_the_sum_over_the_basis() -> None:
    colors, rest, towards = RNG.standard_normal((7, 3)), RNG.standard_normal((7, 15, 3)), directions(7)
    expected = 0.5 + 0.28209479177387814 * colors + np.einsum("nk,nkc->nc", real_harmonics(towards, 3), rest)
    np.testing.assert_allclose(evaluate(colors, rest, towards), expected, atol=1e-12)
    as_tensors = evaluate(torch.as_tensor(colors), torch.as_tensor(rest), torch.as_tensor(np.stack([towards] * 2)))
    np.testing.assert_allclose(as_tensors, [expected] * 2, atol=1e-12)
    np.testing.assert_allclose(evaluate(colors, None, towards), 0.5 + 0.28209479177387814 * colors)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_what_is_turned_looks_the_same_from_a_turned_place(degree: int) -> None:
    rest = RNG.standard_normal((20, COEFFICIENTS[degree], 3)).astype(np.float32)
    towards, turn = directions(20), Rotation.random(rng=RNG).as_matrix()
    before = evaluate(np.zeros((20, 3)), rest, towards)
    after = evaluate(np.zeros((20, 3)), rotate(rest, turn), towards @ turn.T)
    np.testing.assert_allclose(after, before, atol=2e-6)
