"""An orbit goes round its centre, an arc up and down before it, upright."""

import numpy as np

from legs4d.scene.camera import Cameras
from legs4d.scene.paths import arc, orbit


def test_orbit_looks_at_the_centre_from_above_and_stands_upright() -> None:
    intrinsics = np.array([[[50, 0, 31], [0, 52, 22], [0, 0, 1]]], np.float32)
    like = Cameras(np.eye(4, dtype=np.float32)[None], intrinsics, 64, 48, (0,))
    center, down = np.array([1.0, 2.0, 3.0], np.float32), np.array([0.0, 1.0, 0.0], np.float32)
    cameras = orbit(center, 2.5, down, 8, like, elevation=30.0)
    np.testing.assert_allclose(np.linalg.norm(cameras.centers - center, axis=1), 2.5, rtol=1e-5)
    # 30 degrees above, and y points down.
    np.testing.assert_allclose((cameras.centers - center) @ down, -2.5 * np.sin(np.radians(30)), rtol=1e-5)
    in_camera = np.einsum("cij,j->ci", cameras.world_to_camera[:, :3, :3], center) + cameras.world_to_camera[:, :3, 3]
    np.testing.assert_allclose(in_camera, np.tile([0, 0, 2.5], (8, 1)), atol=1e-5)
    rotations = cameras.world_to_camera[:, :3, :3]
    np.testing.assert_allclose(np.linalg.det(rotations), 1, rtol=1e-5)
    assert (rotations[:, 1] @ down > 0.5).all()  # the image's downward axis points down
    np.testing.assert_allclose(rotations[:, 0] @ down, 0, atol=1e-6)  # and its rows are level


def test_arc_rises_and_sinks_before_the_front() -> None:
    intrinsics = np.array([[[50, 0, 31], [0, 52, 22], [0, 0, 1]]], np.float32)
    like = Cameras(np.eye(4, dtype=np.float32)[None], intrinsics, 64, 48, (0,))
    center, down = np.array([1.0, 2.0, 3.0], np.float32), np.array([0.0, 1.0, 0.0], np.float32)
    cameras = arc(center, 2.0, down, np.array([3.0, -1.0, 4.0]), 4, like)
    out = (cameras.centers - center) / 2.0
    high, level = np.sin(np.radians(75)), np.cos(np.radians(75))
    np.testing.assert_allclose(-out @ down, [0, high, 0, -high], atol=1e-6)
    # always on the side of (3, ·, 4)
    np.testing.assert_allclose(out[:, [0, 2]], np.outer([1, level, 1, level], [0.6, 0.8]), atol=1e-6)
    rotations = cameras.world_to_camera[:, :3, :3]
    np.testing.assert_allclose(rotations[:, 0] @ down, 0, atol=1e-6)  # rows are level
    np.testing.assert_allclose(np.linalg.det(rotations), 1, rtol=1e-5)
    assert (rotations[:, 1] @ down > 0.2).all()
