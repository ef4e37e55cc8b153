"""What objects do, from paths whose truth is written here by hand: 30 frames, z up, metres."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.motion.flight import Freedom, find_flights
from legs4d.motion.handling import grip
from legs4d.motion.measures import measure, poses_of
from legs4d.motion.recognise import recognise
from legs4d.motion.recognised import Recognised
from legs4d.motion.rules import RULES
from legs4d.motion.tracks import Tracks
from legs4d.motion.turning import find_hinge

UP = np.array([0.0, 0.0, 1.0])
FRAMES = 30
T = np.arange(FRAMES, dtype=float)
RNG = np.random.default_rng(0)
SPHERE = RNG.normal(size=(60, 3))
SPHERE /= np.linalg.norm(SPHERE, axis=1, keepdims=True)
BALL = 0.15 * SPHERE
BODY = np.concatenate([SPHERE * [0.2, 0.2, 0.85] + [0, 0, 0.85]])
JITTER = 0.002


def about_z(angles: NDArray) -> NDArray:
    c, s, zero, one = np.cos(angles), np.sin(angles), 0 * angles, 0 * angles + 1
    return np.stack([np.stack([c, -s, zero], -1), np.stack([s, c, zero], -1), np.stack([zero, zero, one], -1)], -2)


def moved(shape: NDArray, places: NDArray, turns: NDArray | None = None) -> NDArray:
    """[T, n, 3], with what a reconstruction strays by."""
    turned = np.einsum("tij,nj->tni", about_z(0 * T) if turns is None else turns, shape)
    return turned + places[:, None] + RNG.normal(scale=JITTER, size=(FRAMES, len(shape), 3))


def seen(*things: NDArray, scenery: NDArray | None = None) -> Tracks:
    rows, there = tuple(range(len(things))), np.ones((FRAMES, len(things)), bool)
    return Tracks(rows, things, there, 30.0, UP, 0.0, np.zeros((0, 3)) if scenery is None else scenery)


def when(found: Recognised, action: str, who: int = 0) -> list[int]:
    """Frames in which it is likely."""
    return np.flatnonzero(found.sure.get(action, np.zeros((FRAMES, who + 1)))[:, who] >= 0.5).tolist()


def path(*places: tuple[float, float, float]) -> NDArray:
    return np.array(places, float)


THROWN = np.stack(
    [
        np.where(T < 8, 0.35, np.where(T < 22, 0.35 + 0.2 * (T - 8), 3.15)),
        0 * T,
        np.where(T < 8, 1.3, np.where(T < 22, 1.3 + 0.07 * (T - 8) - 0.005 * (T - 8) ** 2, 1.3)),
    ],
    axis=1,
)
"""In hands at x = 0.35 up to frame 8, then 14 frames of a parabola, then in hands at 3.15."""


def test_a_flight_begins_where_its_parabola_does_and_ends_where_something_touches() -> None:
    free = (T >= 10) & (T <= 20)
    known = Freedom(free, free | True, (~free).astype(float), ~free)
    flights = find_flights(THROWN, known, UP, 0.3, 0.1, (0.0, 1.25), 3)
    assert len(flights) == 1
    assert (flights[0].start, flights[0].end) == (8, 20)
    assert flights[0].error < 1e-6 and flights[0].pull == pytest.approx(2 * 0.005 / 0.3)


def test_a_stretch_that_is_seen_to_be_free_for_a_moment_alone_is_lengthened_to_the_whole_parabola() -> None:
    free = (T >= 14) & (T <= 16)
    known = Freedom(free, free | True, np.zeros(FRAMES), ~free)
    flights = find_flights(THROWN, known, UP, 0.3, 0.1, (0.4, 1.25), 8)
    assert [(flight.start, flight.end) for flight in flights] == [(8, 22)]  # where it is let go, and where it arrives


def test_a_ball_is_held_thrown_flies_and_is_caught() -> None:
    people = moved(BODY, np.tile(path((0, 0, 0)), (FRAMES, 1))), moved(BODY, np.tile(path((3.5, 0, 0)), (FRAMES, 1)))
    found = recognise(seen(moved(BALL, THROWN), *people), lambda row: "being" if row else "thing")
    assert when(found, "fly") == list(range(9, 22))  # in frame 8 it is still where the hands are
    assert when(found, "held") == [*range(9), *range(22, 30)]
    assert when(found, "hold", 1) == list(range(9)) and when(found, "hold", 2) == list(range(22, 30))
    assert when(found, "throw", 1)[-1] in (8, 9) and len(when(found, "throw", 1)) <= 5
    assert 22 in when(found, "catch", 2) and not when(found, "catch", 1)
    assert (found.other["held"][:8, 0] == 1).all() and (found.other["held"][22:, 0] == 2).all()
    for absent in ("fall", "rise", "bounce", "roll", "spin", "open", "topple"):
        assert not when(found, absent), absent


def handled() -> tuple[NDArray, NDArray, NDArray]:
    """A ball that somebody raises (0..7), hardly moves (8, 9) and throws (10..13), that flies (14..21), is caught
    (22..24) and is then lowered; and both people, each with a hand that is at the ball as long as he has it."""
    ahead = np.concatenate([np.zeros(10), [0.08, 0.12, 0.16, 0.2], np.full(8, 0.2), [0.1, 0.05, 0.05], np.zeros(5)])
    up = np.concatenate([np.full(8, 0.1), [0.05, 0.05], np.full(4, 0.0), 0.08 - 0.02 * np.arange(8), np.zeros(3)])
    steps = np.stack([ahead, 0 * T, np.concatenate([up, np.full(5, -0.1)])], axis=1)
    ball = np.array([0.35, 0, 1.0]) + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)[:-1]])
    hands = ball[np.minimum(T, 14).astype(int)], ball[np.maximum(T, 22).astype(int)]
    feet = path((0, 0, 0)), path((3.2, 0, 0))
    people = [
        np.concatenate([moved(BODY, np.tile(foot, (FRAMES, 1))), moved(BALL * 1.1, hand)], axis=1)
        for foot, hand in zip(feet, hands, strict=True)
    ]
    return moved(BALL, ball), people[0], people[1]


def test_a_throw_begins_where_a_thing_was_slowest_and_a_catch_ends_where_it_is_moved_on() -> None:
    found = recognise(seen(*handled()), lambda row: "being" if row else "thing")
    assert 8 <= when(found, "throw", 1)[0] <= 10 and 13 <= when(found, "throw", 1)[-1] <= 15
    assert 22 in when(found, "catch", 2) and 23 <= when(found, "catch", 2)[-1] <= 25


def test_who_stays_near_what_he_let_go_does_not_move_along_with_it() -> None:
    slip = measure(seen(*handled())).slip[:, 0]
    assert (slip[1:13, 1] < 0.05).all()  # in his hands
    assert slip[15, 1] == pytest.approx(np.hypot(0.2, 0.06) / 0.3, rel=0.15)  # sizes a frame; his hand stands still
    assert (slip[[0, 29]] == [[np.inf, 0, 0]]).all()  # of a single step nothing is said
    speed = np.array([1.0, 1.0, 1.0, 0.0])
    sure = grip(np.array([[0.0], [RULES.slips], [2 * RULES.slips], [0.0]]), speed, RULES)
    assert sure[:, 0].tolist() == [1, 1, 0, 1]


def test_a_door_that_is_taken_for_somebody_does_not_make_people_tall() -> None:
    people = [moved(BODY, np.tile(path((x, 0, 0)), (FRAMES, 1))) for x in (0, 3.5)]
    grid = np.stack(np.meshgrid(np.linspace(0, 3, 10), [0.0], np.linspace(0.05, 5, 20)), -1).reshape(-1, 3)
    door = moved(grid, np.tile(path((1, 4, 0)), (FRAMES, 1)), about_z(np.clip(T - 8, 0, 10) * 0.1))
    found = recognise(seen(moved(BALL, THROWN), *people, door), lambda row: "being" if row else "thing")
    alone = recognise(seen(moved(BALL, THROWN), *people), lambda row: "being" if row else "thing")
    assert when(found, "fly") == when(alone, "fly")  # with the gravity of people of five metres, it would be carried
    assert found.sure["open"][:, 3].max() > 0.4  # without a wall nobody knows whether it opens or closes


def test_hands_too_thin_to_be_seen_hold_and_what_is_carried_evenly_does_not_fly() -> None:
    near = path((-0.05, 0, 0)), path((3.55, 0, 0))  # their bodies end before the ball by more than what touches
    people = tuple(moved(BODY, np.tile(place, (FRAMES, 1))) for place in near)
    lost = THROWN.copy()
    lost[14] = lost[13]  # and the ball is not followed for a frame
    found = recognise(seen(moved(BALL, lost), *people), lambda row: "being" if row else "thing")
    assert abs(when(found, "fly")[0] - 8) <= 1 and abs(when(found, "fly")[-1] - 21) <= 1
    assert set(range(7)) <= set(when(found, "hold", 1)) and set(range(23, 30)) <= set(when(found, "hold", 2))
    assert when(found, "throw", 1) and when(found, "catch", 2)
    walk = np.stack([0.1 * T, 0 * T, 0 * T], axis=1)
    carried = walk + np.array([0.42, 0, 1.2])
    found = recognise(seen(moved(BALL, carried), moved(BODY, walk)), lambda row: "being" if row else "thing")
    assert not when(found, "fly")


def test_what_nobody_held_and_goes_straight_down_falls() -> None:
    drop = np.stack([0 * T, 0 * T, np.where(T < 6, 2.0, np.maximum(2.0 - 0.005 * (T - 6) ** 2, 0.15))], axis=1)
    found = recognise(seen(moved(BALL, drop)), lambda row: "thing")
    assert set(range(12, 23)) <= set(when(found, "fall")) and not when(found, "fly")


def test_a_door_opens_where_its_free_edge_leaves_the_wall_and_closes_where_it_comes_back() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 0.9, 10), [0.0], np.linspace(0.05, 1.9, 10)), -1).reshape(-1, 3)
    aside = np.array([0.95, 0, 0])
    wall = np.concatenate([grid + aside, grid - aside])
    angle = np.clip(T - 8, 0, 10) * 0.1
    for turned, action, other in ((angle, "open", "close"), (1.0 - angle, "close", "open")):
        door = moved(grid, np.zeros((FRAMES, 3)), about_z(turned))
        hinge = find_hinge(door, poses_of(door), 1.5, wall, 0.3)
        assert hinge is not None and abs(hinge.axis @ UP) > 0.99 and hinge.error < 0.01
        assert np.linalg.norm(hinge.point[:2]) < 0.03 and np.ptp(hinge.angle) == pytest.approx(1.0, abs=0.03)
        found = recognise(seen(moved(grid, np.zeros((FRAMES, 3)), about_z(turned)), scenery=wall), lambda row: "thing")
        assert set(range(9, 18)) <= set(when(found, action)) <= set(range(7, 20)) and not when(found, other)
        assert not when(found, "spin")


def test_what_strays_while_it_turns_about_an_axis_a_little_beside_is_no_door() -> None:
    box = np.clip(SPHERE, -0.5, 0.5) * 0.5 + [0.26, 0, 0.5]
    strays = np.cumsum(RNG.normal(scale=0.016, size=(FRAMES, len(box), 3)), axis=0)
    turning = moved(box, np.zeros((FRAMES, 3)), about_z(np.clip(T - 8, 0, 12) * 0.1)) + strays
    size = float(measure(seen(turning)).size[0])
    hinge = find_hinge(turning, poses_of(turning), size, np.zeros((0, 3)), 0.3)
    assert hinge is not None and hinge.beside > 0.2 and hinge.beside / 3 < hinge.error < 0.12
    found = recognise(seen(turning), lambda row: "thing")
    assert "open" not in found.sure and "close" not in found.sure


def test_a_box_spins_about_itself_while_it_turns() -> None:
    box = np.clip(SPHERE, -0.5, 0.5) * 0.5
    turned = np.clip(T - 10, 0, 10) * 0.2
    found = recognise(seen(moved(box, np.tile(path((0, 0, 0.9)), (FRAMES, 1)), about_z(turned))), lambda row: "thing")
    assert set(range(11, 20)) <= set(when(found, "spin")) <= set(range(9, 23))
    assert not any(when(found, action) for action in ("open", "close", "fly", "roll", "slide"))


def test_balls_roll_boxes_slide_and_what_the_floor_throws_back_bounces() -> None:
    along = np.stack([0.04 * T, 0 * T, 0 * T + 0.15], axis=1)
    c, s = np.cos(0.04 * T / 0.15), np.sin(0.04 * T / 0.15)
    rolling = np.stack(
        [np.stack([c, 0 * T, s], -1), np.stack([0 * T, 0 * T + 1, 0 * T], -1), np.stack([-s, 0 * T, c], -1)], -2
    )
    hop = np.stack([0.02 * T, 0 * T, 0.15 + 0.6 * np.abs(np.sin(np.pi * T / 10))], axis=1)
    far = np.array([0, 5.0, 0])
    found = recognise(
        seen(moved(BALL, along, rolling), moved(BALL, along + far), moved(BALL, hop + 2 * far)), lambda row: "thing"
    )
    assert len(when(found, "roll", 0)) > 25 and not when(found, "slide", 0)
    assert len(when(found, "slide", 1)) > 25 and not when(found, "roll", 1)
    assert len(when(found, "bounce", 2)) >= 18 and not when(found, "fly", 2)


def test_people_walk_run_jump_and_stand() -> None:
    place = np.stack([0.04 * T, 0 * T, 0 * T], axis=1)
    jump = np.stack([0 * T, 0 * T, np.clip(0.5 - 0.012 * (T - 15) ** 2, 0, None)], axis=1)
    far = np.array([0, 5.0, 0])
    people = (
        moved(BODY, place),
        moved(BODY, 2.2 * place + far),
        moved(BODY, jump + 2 * far),
        moved(BODY, 0 * place + 3 * far),
    )
    found = recognise(seen(*people), lambda row: "being")
    assert len(when(found, "walk", 0)) > 25 and len(when(found, "run", 1)) > 25
    assert set(range(11, 20)) <= set(when(found, "jump", 2)) <= set(range(8, 23))
    assert len(when(found, "still", 3)) > 25 and not when(found, "still", 0)


def test_nothing_is_said_of_a_single_frame_or_of_nobody() -> None:
    one = Tracks((0,), (moved(BALL, THROWN)[:1],), np.ones((1, 1), bool), 30.0, UP, 0.0, np.zeros((0, 3)))
    assert not recognise(one).sure
    assert not recognise(seen()).sure
