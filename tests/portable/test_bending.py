"""What hangs on control nodes, and the file that says how they bend an object."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from legs4d.portable.bending import bound, follow
from legs4d.portable.motion_file import BendFile, MotionFile, MotionFileError, read, write

LINE = np.array([[x, 0.0, 0.0] for x in range(6)], np.float32)
STILL = [1.0, 0.0, 0.0, 0.0]


def poses(places: Any, turns: Any) -> Any:
    return np.concatenate([places, turns], axis=1)


def test_points_follow_the_nodes_nearest_to_them_the_nearer_the_more() -> None:
    index, weight = bound(np.array([[2, 0, 0], [2.5, 9, 0], [-7, 0, 0]]), LINE)
    assert index.shape == weight.shape == (3, 4)
    assert index[0, 0] == 2 and {*index[0, 1:3].tolist()} == {1, 3} and weight[0, 1] == weight[0, 2] < weight[0, 0]
    # Nodes in the row's middle have neighbours 1, 1 and 2 away: d² / 2 r² is 9 / 32 a unit of d².
    assert weight[0, 1] / weight[0, 0] == pytest.approx(np.exp(-9 / 32), rel=1e-5)
    assert {*index[1, :2].tolist()} == {2, 3} and index[2].tolist() == [0, 1, 2, 3]
    assert weight.sum(axis=1) == pytest.approx(1)
    alone, whole = bound(LINE, LINE[:1])
    assert alone.tolist() == [[0]] * 6 and whole.tolist() == [[1.0]] * 6


@pytest.mark.parametrize("gap", [0.0, 1e-30])
def test_nodes_in_one_place_share(gap: float) -> None:
    together = np.array([[gap * number, 0, 0] for number in range(5)], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        _, weight = bound(LINE, together)
        assert weight == pytest.approx(0.25)
        index, weight = bound(
            np.array([[0, 0, 0], [10, 0, 0], [1e6, 0, 0]]), np.concatenate([together, np.add(LINE, [9.5, 0, 0])])
        )
    assert weight.sum(axis=1) == pytest.approx(1)
    assert index[0].max() < 5 and weight[0] == pytest.approx(0.25) and index[1:].min() >= 5


def test_what_follows_one_node_turns_about_it_and_between_two_it_is_between() -> None:
    quarter: list[float] = [0.5**0.5, 0, 0, 0.5**0.5]  # about z
    start = poses([[1, 0, 0], [3, 0, 0]], [STILL, STILL])
    end = poses([[1, 0, 1], [3, 0, 0]], [quarter, STILL])
    index = np.array([[0, 1], [0, 1], [1, 0]], np.int32)
    weight = np.array([[1, 0], [0.5, 0.5], [1, 0]], np.float32)
    means, quats = follow(np.array([[2, 0, 0]] * 3), np.tile(STILL, (3, 1)), index, weight, start, end)
    np.testing.assert_allclose(means, np.array([[1, 1, 1], [1.5, 0.5, 0.5], [2, 0, 0]]), atol=1e-6)
    eighth: list[float] = [float(np.cos(np.pi / 8)), 0, 0, float(np.sin(np.pi / 8))]
    np.testing.assert_allclose(quats, np.array([quarter, eighth, STILL]), atol=1e-6)
    # Of a turn either quaternion says the same.
    other = poses(end[:, :3], -end[:, 3:])
    other[1, 3:] *= -1
    quiet = np.tile(STILL, (3, 1))
    one, same = (follow(LINE[:3], quiet, index, weight, start, to)[0] for to in (end, other))
    np.testing.assert_allclose(one, same, atol=1e-6)


def bending() -> MotionFile:
    frames = 3
    bends = np.tile(np.array([0.0, 0, 0, *STILL]), (frames, len(LINE), 1))
    bends[1, 2] = [0.1, 0, 0.2, 0.6, 0.8, 0, 0]
    turns = np.tile(STILL, (frames, 1))
    return MotionFile(np.zeros((frames, 3)), turns, np.ones(3), 12.0, "rope", BendFile(LINE.astype(float), bends))


def test_a_motion_that_bends_is_read_as_it_was_written() -> None:
    found, told = read(write(bending())), bending()
    assert found.bend is not None and told.bend is not None and (found.fps, found.name) == (12.0, "rope")
    np.testing.assert_allclose(found.bend.rest, told.bend.rest)
    np.testing.assert_allclose(found.bend.bends, told.bend.bends)
    np.testing.assert_allclose(found.bend.poses(1)[2], [2.1, 0, 0.2, 0.6, 0.8, 0, 0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 1}, '"nodes" is unknown'),
        ({"version": 3}, '"version" is not 1 or 2'),
        ({"nodes": []}, '"nodes" is no list'),
        ({"nodes": [[0, 0]] * 6}, '"nodes" number 0 is not 3 numbers'),
        ({"nodes": [[1e30, 0, 0]] * 6}, '"nodes" number 0 is beyond 1e'),
        ({"nodes": [[0, 0, 0]] * 5}, '"bend" of frame 0 is not of 5 nodes'),
        ({"bend": [[0] * 7] * 6}, '"bend" of frame 1 is no quaternion'),
        ({"bend": [[0] * 6] * 6}, '"bend" of frame 1 is not 7 numbers'),
        ({"bend": [[0, 0, 0, 1e200, 0, 0, 0]] * 6}, '"bend" of frame 1 is beyond'),
        ({"bend": None}, '"bend" of frame 1 is not of 6 nodes'),
        ({"bent": 1}, 'frame 1 has something else than "turn" and "move" and "bend"'),
    ],
)
def test_what_bends_in_no_way_is_told(change: dict[str, Any], says: str) -> None:
    told = json.loads(write(bending()))
    of_frame = {name: value for name, value in change.items() if name.startswith("ben")}
    told["frames"][1].update(of_frame)
    told.update({name: value for name, value in change.items() if name not in of_frame})
    with pytest.raises(MotionFileError, match=says):
        read(json.dumps(told).encode())
