"""Metrics on masks small enough to count by hand."""

import numpy as np
import pytest

from legs4d.grounding.benchmark import Row, mean_of
from legs4d.grounding.masks import box_of
from legs4d.grounding.metrics import mask_accuracy, mask_iou, temporal_iou, volume_iou


def mask(*rows: str) -> np.ndarray:
    return np.array([[cell == "x" for cell in row] for row in rows])


LEFT, MIDDLE, NONE = mask("xx..", "xx.."), mask(".xx.", ".xx."), mask("....", "....")


def test_temporal_iou_counts_frames():
    found, true = dict.fromkeys(range(3, 9), LEFT), dict.fromkeys(range(5, 11), LEFT)
    assert temporal_iou(found, true) == 4 / 8
    assert temporal_iou({}, true) == 0
    assert temporal_iou({}, {}) == 1


def test_mask_iou_counts_pixels():
    assert mask_iou(LEFT, MIDDLE) == 2 / 6
    assert mask_iou(LEFT, NONE) == 0
    assert mask_iou(NONE, NONE) == 1


def test_volume_iou_sums_over_common_frames_and_divides_by_all():
    found = {1: LEFT, 2: LEFT, 3: LEFT}
    true = {2: LEFT, 3: MIDDLE, 4: LEFT, 5: LEFT}
    assert volume_iou(found, true) == pytest.approx((1 + 1 / 3) / 5)
    assert volume_iou({}, true) == 0
    assert volume_iou(true, true) == 1


def test_mask_accuracy_takes_a_missing_mask_as_empty():
    found, true = {1: LEFT, 2: LEFT}, {2: MIDDLE, 3: MIDDLE}
    # Wrong: 4 of 8 in frame 1, 4 in frame 2, 4 in frame 3.
    assert mask_accuracy(found, true) == 0.5
    assert mask_accuracy(true, true) == 1


def test_viou_levels_are_shares_of_rows():
    rows = [Row("a", camera, 1.0, viou, 1.0) for camera, viou in enumerate([0.2, 0.3, 0.4, 0.9])]
    mean = mean_of(rows)
    assert mean["viou"] == pytest.approx(0.45)
    assert (mean["viou@0.3"], mean["viou@0.5"]) == (0.5, 0.25)


def test_boxes_include_their_last_pixels():
    assert box_of(mask("....", ".x..", "..x.")) == (1, 1, 2, 2)
    assert box_of(NONE) is None
