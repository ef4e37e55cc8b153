"""Lenses, against their published formulas: what is undistorted is what a pinhole would have seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.lens import Lens, check_lens, lens_of, lens_of_matrix

WIDTH, HEIGHT = 320, 200
FOCAL, CENTER = (230.0, 228.0), (157.0, 104.0)
Array = NDArray[np.float64]
Bend = Callable[[Array, Array], tuple[Array, Array]]
"""Where a lens puts a point that is at (x, y) on the plane at distance 1, on its own such plane."""


def polynomial(k: tuple[float, ...], p: tuple[float, float] = (0, 0), below: tuple[float, ...] = ()) -> Bend:
    """Brown's model: radial powers, tangential terms (p1, p2) and, as in OpenCV, radial powers `below` the line."""

    def bend(x: Array, y: Array) -> tuple[Array, Array]:
        r2 = x * x + y * y
        above = 1 + sum(c * r2 ** (i + 1) for i, c in enumerate(k))
        factor = above / (1 + sum(c * r2 ** (i + 1) for i, c in enumerate(below)))
        dx = 2 * p[0] * x * y + p[1] * (r2 + 2 * x * x)
        dy = p[0] * (r2 + 2 * y * y) + 2 * p[1] * x * y
        return x * factor + dx, y * factor + dy

    return bend


def fisheye(inner: Bend) -> Bend:
    """The equidistant lens (radius = angle), and what `inner` then does."""

    def bend(x: Array, y: Array) -> tuple[Array, Array]:
        r = np.hypot(x, y)
        factor = np.where(r > 1e-9, np.arctan(r) / np.maximum(r, 1e-9), 1.0)
        return inner(x * factor, y * factor)

    return bend


def thin_prism(k: tuple[float, ...], p: tuple[float, float], s: tuple[float, float]) -> Bend:
    def bend(x: Array, y: Array) -> tuple[Array, Array]:
        r2 = x * x + y * y
        u, v = polynomial(k, p)(x, y)
        return u + s[0] * r2, v + s[1] * r2

    return bend


def fov(omega: float) -> Bend:
    """Devernay and Faugeras 2001."""

    def bend(x: Array, y: Array) -> tuple[Array, Array]:
        r = np.hypot(x, y)
        factor = np.where(r > 1e-9, np.arctan(2 * r * np.tan(omega / 2)) / omega / np.maximum(r, 1e-9), 1.0)
        return x * factor, y * factor

    return bend


def division(k: float) -> Bend:
    """Fitzgibbon 2001: undistorted = distorted / (1 + k r²), solved for the distorted radius."""

    def bend(x: Array, y: Array) -> tuple[Array, Array]:
        r = np.hypot(x, y)
        bent = np.where(r > 1e-9, (1 - np.sqrt(1 - 4 * k * r * r)) / np.maximum(2 * k * r, -np.inf), r)
        factor = np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1.0)
        return x * factor, y * factor

    return bend


def eucm(alpha: float, beta: float) -> Bend:
    """Khomutenko et al. 2016."""

    def bend(x: Array, y: Array) -> tuple[Array, Array]:
        below = alpha * np.sqrt(beta * (x * x + y * y) + 1) + 1 - alpha
        return x / below, y / below

    return bend


MODELS: dict[str, tuple[tuple[float, ...], Bend]] = {
    "SIMPLE_RADIAL": ((-0.12,), polynomial((-0.12,))),
    "RADIAL": ((0.15, -0.03), polynomial((0.15, -0.03))),
    "OPENCV": ((-0.2, 0.06, 0.002, -0.003), polynomial((-0.2, 0.06), (0.002, -0.003))),
    "FULL_OPENCV": (
        (-0.1, 0.05, 0.001, -0.002, 0.01, 0.12, 0.02, 0.005),
        polynomial((-0.1, 0.05, 0.01), (0.001, -0.002), (0.12, 0.02, 0.005)),
    ),
    "SIMPLE_DIVISION": ((-0.15,), division(-0.15)),
    "DIVISION": ((0.08,), division(0.08)),
    "FOV": ((0.9,), fov(0.9)),
    "EUCM": ((0.6, 1.1), eucm(0.6, 1.1)),
    "SIMPLE_FISHEYE": ((), fisheye(polynomial(()))),
    "FISHEYE": ((), fisheye(polynomial(()))),
    "SIMPLE_RADIAL_FISHEYE": ((0.06,), fisheye(polynomial((0.06,)))),
    "RADIAL_FISHEYE": ((0.06, -0.02), fisheye(polynomial((0.06, -0.02)))),
    "OPENCV_FISHEYE": ((0.05, -0.01, 0.004, -0.001), fisheye(polynomial((0.05, -0.01, 0.004, -0.001)))),
    "THIN_PRISM_FISHEYE": (
        (0.03, -0.01, 0.002, 0.001, 0.003, -0.001, 0.004, -0.003),
        fisheye(thin_prism((0.03, -0.01, 0.003, -0.001), (0.002, 0.001), (0.004, -0.003))),
    ),
}


def lens(model: str, coefficients: tuple[float, ...], focal: tuple[float, float] = FOCAL) -> Lens:
    one = model.startswith("SIMPLE_") or model in ("RADIAL", "RADIAL_FISHEYE")
    return Lens(model, WIDTH, HEIGHT, (focal[0], focal[0] if one else focal[1]), CENTER, coefficients)


@pytest.mark.parametrize("model", MODELS)
def test_a_point_lies_where_a_pinhole_sees_it(model: str) -> None:
    """3D points are projected by the published formula, and looked up in the undistorted picture of a ramp."""
    coefficients, bend = MODELS[model]
    one = lens(model, coefficients)
    assert not one.is_pinhole
    ramp = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1).astype(np.float32)
    found = one.undistort(ramp)
    k = one.intrinsics
    rng = np.random.default_rng(0)
    pixel = rng.uniform((2, 2), (WIDTH - 2, HEIGHT - 2), (500, 2))
    distance = rng.uniform(0.5, 9, 500)
    points = np.concatenate([(pixel - k[:2, 2]) / k[(0, 1), (0, 1)], np.ones((500, 1))], axis=1) * distance[:, None]
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    true = np.stack(bend(x, y), axis=-1) * one.focal + CENTER
    left, top = np.floor(pixel - 0.5).astype(int).T
    u, v = (pixel - 0.5 - np.stack([left, top], axis=-1)).T[:, :, None]
    above = found[top, left] * (1 - u) + found[top, left + 1] * u
    seen = above * (1 - v) + (found[top + 1, left] * (1 - u) + found[top + 1, left + 1] * u) * v
    assert np.abs(seen - true).max() < 0.05
    assert (true > 0).all() and (true < (WIDTH, HEIGHT)).all()  # every pixel of the pinhole's picture was seen


@pytest.mark.parametrize("model", MODELS)
def test_as_much_as_possible_is_kept(model: str) -> None:
    """Some border of the pinhole's picture touches the lens's border, or is as wide as is allowed."""
    one = lens(model, MODELS[model][0])
    k = one.intrinsics
    x, y = np.meshgrid(np.linspace(0, WIDTH, 41), np.linspace(0, HEIGHT, 41))
    rays = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(x)], axis=-1).reshape(-1, 3)
    places = one.project(rays)
    assert places.min() > -1 and (places < (WIDTH + 1, HEIGHT + 1)).all()
    left = np.abs(np.concatenate([places.min(axis=0), (WIDTH, HEIGHT) - places.max(axis=0)]))
    assert left.min() < 0.5


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "SIMPLE_DIVISION", "FOV"])
def test_without_distortion_a_lens_is_a_pinhole(model: str) -> None:
    one = lens(model, (0.0,) * len(MODELS[model][0]))
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    assert one.is_pinhole and one.undistort(picture) is picture
    assert one.intrinsics[0, 0] == FOCAL[0]
    assert lens("EUCM", (0.0, 1.3)).is_pinhole


def test_the_model_decides_and_not_the_coefficients() -> None:
    assert not lens("OPENCV_FISHEYE", (0, 0, 0, 0)).is_pinhole
    with pytest.raises(DatasetError, match=r"is of model PINHOLE, which has no k1, and says k1 = 0\.1"):
        lens_of("PINHOLE", WIDTH, HEIGHT, FOCAL, CENTER, {"k1": 0.1}, "x")
    assert lens_of("OPENCV", WIDTH, HEIGHT, FOCAL, CENTER, {"k1": 0.1, "k3": 0.2}, "x").model == "FULL_OPENCV"
    for panorama in ("EQUIRECTANGULAR", "SPHERICAL"):
        with pytest.raises(DatasetError, match="is a panorama"):
            lens_of(panorama, WIDTH, HEIGHT, FOCAL, CENTER, {}, "x")
    with pytest.raises(DatasetError, match="has a camera of model 'ORTHOPHOTO'"):
        lens_of("ORTHOPHOTO", WIDTH, HEIGHT, FOCAL, CENTER, {}, "x")


def test_half_a_turn_of_fisheye_becomes_what_a_pinhole_can_show() -> None:
    """A full circle of 180° and more: at most 60° to each side are kept, and nothing of it is empty."""
    wide = Lens("OPENCV_FISHEYE", 400, 400, (127.0, 127.0), (200, 200), (0.0, 0.0, 0.0, 0.0))
    k = wide.intrinsics
    assert np.degrees(np.arctan(200 / k[0, 0])) == pytest.approx(60, abs=0.1)


def test_masks_keep_their_values() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (HEIGHT, WIDTH), np.uint8) * 50
    assert set(np.unique(lens("OPENCV", MODELS["OPENCV"][0]).undistort(labels, nearest=True))) <= set(range(0, 250, 50))


def test_a_smaller_picture_has_the_same_lens() -> None:
    whole = lens("OPENCV", MODELS["OPENCV"][0])
    half = whole.resized(WIDTH // 2, HEIGHT // 2)
    np.testing.assert_allclose(half.intrinsics[:2] * 2, whole.intrinsics[:2], rtol=1e-6)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lens("OPENCV", (np.nan, 0, 0, 0)), "not a finite number"),
        (lens("OPENCV", (0, 0, 0, 0), (0.0, 1.0)), "focal lengths are 0 and 1 pixels"),
        (lens("RADIAL", (-900.0, 0)), "shows no pinhole's picture"),
        (Lens("FOV", WIDTH, HEIGHT, FOCAL, (-5, 10), (0.5,)), "principal point"),
    ],
)
def test_impossible_lenses(bad: Lens, says: str) -> None:
    with pytest.raises(DatasetError, match=f"camera 3: .*{says}"):
        check_lens(bad, "camera 3")


def test_matrices_with_a_skew_are_refused() -> None:
    with pytest.raises(DatasetError, match="have a skew of 20"):
        lens_of_matrix(None, WIDTH, HEIGHT, np.array([[200.0, 20, 160], [0, 200, 100], [0, 0, 1]]), [], "x")
    with pytest.raises(DatasetError, match="has 5 coefficients of distortion, a lens of model RADIAL 2"):
        lens_of_matrix("RADIAL", WIDTH, HEIGHT, np.diag([200.0, 200, 1]), [0.1, 0, 0, 0, 0.3], "x")
