"""What is an object's body, and how far two are apart, where points of one hang at the other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.motion.bodies import bodies, body
from legs4d.motion.measures import measure
from legs4d.motion.tracks import Tracks

RNG = np.random.default_rng(3)


def ball(middle: tuple[float, float, float], radius: float, count: int) -> NDArray[np.float64]:
    points = RNG.normal(size=(count, 3))
    return np.array(middle) + points / np.linalg.norm(points, axis=1, keepdims=True) * radius


def tracks(*things: NDArray[np.float64]) -> Tracks:
    """That stand still for four frames; z is up."""
    points = tuple(np.repeat(thing[None], 4, axis=0) for thing in things)
    there = np.ones((4, len(things)), bool)
    return Tracks(tuple(range(len(things))), points, there, 12.0, np.array([0.0, 0, 1]), 0.0, np.zeros((0, 3)))


TRUNK = ball((0, 0, 1), 0.5, 2000)


def test_points_strung_out_to_another_thing_are_no_part_of_a_body_and_do_not_touch_it() -> None:
    string = np.linspace((0.7, 0, 1), (2.0, 0, 1), 12) + RNG.normal(scale=0.03, size=(12, 3))
    person = np.concatenate([TRUNK, string])
    kept = body(person)
    assert kept[:2000].mean() > 0.99 and not kept[2002:].any()
    gap = measure(tracks(ball((2, 0, 1), 0.15, 200), person)).gap[0, 0, 1]
    assert 3 < gap < 4.7  # sizes of the ball, 0.3: they are 4.5 apart, and the first points of the string stay


def test_a_hand_whose_arm_is_not_seen_is_a_part_of_the_body() -> None:
    hand = ball((1.2, 0, 1), 0.08, 80)
    assert body(np.concatenate([TRUNK, hand])).mean() > 0.99


def test_a_few_points_are_all_kept() -> None:
    assert body(RNG.normal(size=(20, 3))).all()


def test_points_below_the_floor_do_not_make_somebody_taller() -> None:
    below = np.stack([RNG.uniform(-1, 1, 60), RNG.uniform(-1, 1, 60), RNG.uniform(-3, 0, 60)], axis=1)
    of_trunk, of_both = (measure(tracks(points)).tall[0, 0] for points in (TRUNK, np.concatenate([TRUNK, below])))
    assert of_both == pytest.approx(of_trunk, rel=0.02)


def test_points_that_a_thing_takes_along_were_no_hand_before() -> None:
    hand = ball((0.6, 0, 1), 0.08, 60)
    taken = ball((0.75, 0, 1), 0.1, 20)
    frames = np.repeat(np.concatenate([TRUNK, hand, taken])[None], 10, axis=0)
    frames[4:, 2060:, 0] += np.linspace(0.5, 2, 6)[:, None]  # from frame 4 on they fly away
    kept = bodies(frames)
    assert all(2060 > some.max() >= 2050 for some in kept)
