"""Camera paths do what their files say, and say what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import read_camera_path

LIKE = Cameras(
    np.eye(4, dtype=np.float32)[None], np.array([[[50, 0, 32], [0, 50, 24], [0, 0, 1]]], np.float32), 64, 48, (7,)
)


def write(folder: Path, **content: Any) -> Path:
    path = folder / "path.json"
    path.write_text(json.dumps(content))
    return path


def look(at: int, position: tuple, target: tuple = (0, 0, 0), **more: Any) -> dict[str, Any]:
    return {"at": at, "position": position, "target": target, **more}


def seen_at(cameras: Cameras, point: tuple) -> NDArray:
    """Pixel (x, y) of a point, and its depth."""
    p = cameras.world_to_camera[0] @ np.array([*point, 1.0])
    pixel = cameras.intrinsics[0] @ p[:3]
    return np.array([*(pixel[:2] / pixel[2]), p[2]])


def test_keyframes_look_at_their_target_upright(tmp_path: Path) -> None:
    path = read_camera_path(
        write(tmp_path, w=200, h=100, fov=90, keyframes=[look(0, (0, 0, -4)), look(2, (4, 0, 0), frame=10)]), 11
    )
    assert [shot.frame for shot in path.shots] == [0, 5, 10]
    first, _, last = (shot.cameras for shot in path.shots)
    assert (first.width, first.height) == (200, 100)
    np.testing.assert_allclose(seen_at(first, (0, 0, 0)), [100, 50, 4], atol=1e-4)
    np.testing.assert_allclose(seen_at(last, (0, 0, 0)), [100, 50, 4], atol=1e-4)
    # 45 degrees above the middle is the upper border; up is -y by default.
    np.testing.assert_allclose(seen_at(first, (0, -4, 0)), [100, 0, 4], atol=1e-4)
    np.testing.assert_allclose(seen_at(last, (0, -4, 0)), [100, 0, 4], atol=1e-4)
    assert path.near is None


def test_what_is_between_keyframes_is_smooth(tmp_path: Path) -> None:
    keys = [look(0, (0, 0, -4)), look(10, (2, 0, -4), (2, 0, 0)), look(30, (6, 0, -4), (6, 0, 0), fov=20)]
    path = read_camera_path(write(tmp_path, keyframes=keys, fov=60), 31, LIKE)
    centers = np.concatenate([shot.cameras.centers for shot in path.shots])
    np.testing.assert_allclose(centers[[0, 10, 30]], [[0, 0, -4], [2, 0, -4], [6, 0, -4]], atol=1e-5)
    np.testing.assert_allclose(centers[:, 0], np.arange(31) / 5, atol=1e-4)  # evenly spaced keys: even speed
    height = [48 / shot.cameras.intrinsics[0, 1, 1] / 2 for shot in path.shots]
    np.testing.assert_allclose(np.degrees(2 * np.arctan(height))[[0, 10, 20, 30]], [60, 60, 40, 20], rtol=1e-5)


def test_every_picture_may_have_its_own_camera(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[2, 3] = 3
    given = [{"w2c": pose.tolist(), "k": [[80, 0, 30], [0, 80, 20], [0, 0, 1]], "frame": 4}, {"w2c": pose.tolist()}]
    path = read_camera_path(write(tmp_path, cameras=given, near=0.5), 5, LIKE)
    assert [shot.frame for shot in path.shots] == [4, 1] and path.near == 0.5
    np.testing.assert_allclose(seen_at(path.shots[0].cameras, (0, 0, 0)), [30, 20, 3])
    np.testing.assert_allclose(path.shots[1].cameras.intrinsics, LIKE.intrinsics, rtol=1e-6)  # field of view of LIKE


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, 'give either "keyframes" or "cameras"'),
        ({"keyframes": []}, "keyframes: List should have at least 1 item"),
        ({"keyframes": [{"at": 0}]}, 'keyframe 0: has not one pose; give "position" and "target"'),
        ({"keyframes": [look(0, (0, 0, 1)), look(0, (0, 0, 2))]}, "let `at` ascend"),
        ({"keyframes": [look(3, (0, 0, 1))]}, "begin at 0"),
        ({"keyframes": [look(0, (0, -4, 0))]}, "looks along its own `up`"),
        ({"keyframes": [look(0, (0, 0, 1), fov=180)]}, "fov: Input should be less than 180"),
        ({"keyframes": [look(0, (0, 0, 1), frames=3)]}, "frames: Extra inputs are not permitted"),
        ({"keyframes": [look(0, (0, 0, 1)), look(5, (0, 0, 2))]}, "shows frame 4, the run has frames 0 to 3"),
        ({"cameras": [{"w2c": np.diag([2, 1, 1, 1]).tolist()}]}, "picture 0: the pose is not a rotation"),
        ({"cameras": [{"w2c": [[1]]}]}, "is no camera path"),
        ({"w": 0, "cameras": [{"w2c": np.eye(4).tolist()}]}, "w: Input should be greater than 0"),
    ],
)
def test_files_that_are_no_path(tmp_path: Path, content: dict, says: str) -> None:
    with pytest.raises(Legs4dError) as error:
        read_camera_path(write(tmp_path, **content), 4, LIKE)
    assert says in str(error.value)


def test_what_a_run_without_cameras_cannot_tell(tmp_path: Path) -> None:
    keys = [look(0, (0, 0, -4))]
    with pytest.raises(Legs4dError, match="does not tell the size"):
        read_camera_path(write(tmp_path, keyframes=keys), 1)
    with pytest.raises(Legs4dError, match="does not tell the field of view"):
        read_camera_path(write(tmp_path, w=8, h=8, keyframes=keys), 1)
    with pytest.raises(Legs4dError, match="cannot be read"):
        read_camera_path(tmp_path / "none.json", 1)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(Legs4dError, match="is no camera path"):
        read_camera_path(tmp_path / "x.json", 1)
