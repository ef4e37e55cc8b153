"""Up is at right angles to the horizon that all cameras share, however far down they look."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.portable.up import find_up

TILTED = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
"""[3, 3] another set of world axes; its last row is up in them."""


def camera(yaw: float, pitch: float, roll: float = 0.0, up: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """[4, 4] world-to-camera at the origin, angles in degrees; pitch > 0 looks down, roll turns about the view."""
    axes = np.eye(3)[[0, 1, 2]] if up is None else up
    yaw, pitch, roll = np.radians([yaw, pitch, roll])
    ahead = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(ahead, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, down, ahead]) @ axes
    return matrix


def degrees(found: NDArray[np.float64], true: NDArray[np.float64] | tuple[float, ...]) -> float:
    return float(np.degrees(np.arccos(np.clip(found @ np.asarray(true), -1, 1))))


@pytest.mark.parametrize("arc", [360, 120, 30])
@pytest.mark.parametrize("pitch", [0, 30, 60, -20])
def test_cameras_that_look_down_do_not_make_it_lean(arc: float, pitch: float) -> None:
    cameras = np.stack([camera(yaw, pitch, up=TILTED) for yaw in np.linspace(0, arc, 12, endpoint=False)])
    assert degrees(find_up(cameras), TILTED[2]) < 1e-3


def test_looking_straight_down_up_is_where_they_come_from() -> None:
    cameras = np.stack([camera(yaw, 89.99) for yaw in range(0, 360, 30)])
    assert degrees(find_up(cameras), (0, 0, 1)) < 0.1


def test_hands_that_shake_move_it_little() -> None:
    rng = np.random.default_rng(0)
    cameras = np.stack([camera(yaw, 25 + 5 * rng.normal(), 3 * rng.normal()) for yaw in range(0, 180, 3)])
    assert degrees(find_up(cameras), (0, 0, 1)) < 1.5


def test_cameras_side_by_side_have_their_own_upward_axis() -> None:
    cameras = np.stack([camera(yaw, 20, roll) for yaw, roll in zip((0, 0.5, 1, 1.5), (1, -1, 1, -1), strict=True)])
    up = find_up(cameras)
    mean = -cameras[:, 1, :3].mean(axis=0)
    assert degrees(up, mean / np.linalg.norm(mean)) < 1  # nothing else is known of the world
    assert degrees(find_up(cameras[:1]), -cameras[0, 1, :3]) < 1e-3


def test_a_camera_on_its_side_does_not_turn_the_world() -> None:
    upright = [camera(yaw, 10) for yaw in range(0, 360, 60)]
    cameras = np.stack([*upright, *(camera(yaw, 10, 90) for yaw in range(30, 360, 120))])
    assert degrees(find_up(cameras), (0, 0, 1)) < 20


def test_length_is_one_and_part_of_a_matrix_will_do() -> None:
    cameras = np.stack([camera(yaw, 45) for yaw in (0, 100, 200)])
    assert np.linalg.norm(find_up(cameras)) == pytest.approx(1)
    assert np.array_equal(find_up(cameras[:, :3]), find_up(cameras))
