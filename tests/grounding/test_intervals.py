"""From a curve to intervals: both ends included, found between the curve's own least and most."""

from dataclasses import replace

import numpy as np
import pytest

from legs4d.grounding.intervals import Interval, Thresholds, find_intervals, smooth, thresholds
from legs4d.language.calibration import CAPTIONS

CALIBRATION = replace(CAPTIONS, floor=0.2, contrast=0.15, enter=0.75, leave=0.5, name=0.4)


def curve(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_ends_are_included_and_the_peak_is_a_frame():
    found = find_intervals(curve(0.1, 0.8, 0.9, 0.7, 0.1, 0.1), Thresholds(0.6, 0.6))
    assert found == [Interval(1, 3, 2, found[0].score)]
    assert found[0].score == pytest.approx(0.8)


def test_the_peak_of_a_plateau_is_its_middle():
    (found,) = find_intervals(curve(0, 1.0, 0.995, 0.998, 0.7, 0), Thresholds(0.5, 0.5))
    assert found.peak == 2
    (found,) = find_intervals(curve(0, 0.8, 0.9, 0.8, 0), Thresholds(0.5, 0.5))
    assert found.peak == 2


def test_intervals_may_touch_both_ends_of_the_sequence():
    found = find_intervals(curve(1, 1, 0, 0, 1, 1), Thresholds(0.5, 0.5))
    assert [(i.start, i.end) for i in found] == [(0, 1), (4, 5)]


def test_hysteresis_bridges_a_dip_and_leaves_out_what_never_gets_strong():
    values = curve(0, 0.9, 0.6, 0.9, 0, 0.6, 0.6, 0.6, 0)
    assert [(i.start, i.end) for i in find_intervals(values, Thresholds(0.8, 0.5))] == [(1, 3)]


def test_one_frame_is_too_short_unless_there_is_only_one():
    assert find_intervals(curve(0, 1, 0), Thresholds(0.5, 0.5)) == []
    assert [(i.start, i.end) for i in find_intervals(curve(1), Thresholds(0.5, 0.5))] == [(0, 0)]


def test_smoothing_removes_single_frames_and_leaves_steps():
    assert smooth(curve(0, 0, 1, 0, 0, 1, 1, 1, 0, 1)).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert smooth(curve(0.4)).tolist() == [np.float32(0.4)]


def test_thresholds_lie_between_the_least_and_the_most():
    limits = thresholds(curve(0.4, 0.8, 0.8), CALIBRATION)
    assert limits is not None
    assert (limits.enter, limits.leave) == (pytest.approx(0.7), pytest.approx(0.6))


def test_a_prompt_that_reaches_the_floor_nowhere_does_not_happen():
    assert thresholds(curve(0.0, 0.19, 0.1), CALIBRATION) is None


def test_thresholds_are_never_below_the_floor():
    limits = thresholds(curve(0.0, 0.22, 0.22), CALIBRATION)
    assert limits == Thresholds(CALIBRATION.floor, CALIBRATION.floor)


def test_a_flat_curve_holds_throughout():
    values = curve(0.6, 0.58, 0.62, 0.6)
    limits = thresholds(values, CALIBRATION)
    assert limits is not None
    assert [(i.start, i.end) for i in find_intervals(values, limits)] == [(0, 3)]


def test_a_name_holds_wherever_it_is_in_sight():
    values = curve(0.5, 0.6, 0.9, 1.0, 0.3, 0.2)
    limits = thresholds(values, CALIBRATION, name=True)
    assert limits == Thresholds(0.4, 0.4)
    assert [(i.start, i.end) for i in find_intervals(values, limits)] == [(0, 3)]
    assert thresholds(values * np.float32(0.1), CALIBRATION, name=True) is None
