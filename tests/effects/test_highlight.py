"""What a prompt names keeps its colour and is tinted; the rest turns grey and dark."""

import numpy as np
import pytest

from legs4d.effects.highlight import HighlightStyle, fade, highlight

STYLE = HighlightStyle(tint=(1.0, 0.5, 0.0), tint_amount=0.5, desaturate=1.0, dim=0.5)
RED = np.array([[0.8, 0.2, 0.2]], np.float32)


def test_the_highlighted_part_is_pulled_half_way_to_the_tint():
    np.testing.assert_allclose(highlight(RED, np.ones(1, np.float32), style=STYLE), [[0.9, 0.35, 0.1]], atol=1e-6)


def test_the_rest_is_its_grey_at_half_brightness():
    grey = 0.299 * 0.8 + 0.587 * 0.2 + 0.114 * 0.2
    np.testing.assert_allclose(highlight(RED, np.zeros(1, np.float32), style=STYLE), [[grey / 2] * 3], atol=1e-6)


def test_a_half_covered_pixel_is_half_of_each():
    both = [highlight(RED, np.full(1, m, np.float32), style=STYLE) for m in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(both[1], (both[0] + both[2]) / 2, atol=1e-6)


def test_no_effect_is_the_picture_clamped():
    picture = np.array([[1.2, -0.1, 0.4]], np.float32)
    np.testing.assert_allclose(highlight(picture, np.ones(1, np.float32), amount=0.0), [[1, 0, 0.4]], atol=1e-7)


def test_the_effect_fades_around_what_holds():
    holds = np.zeros(12, bool)
    holds[5:7] = True
    assert fade(holds, 3).tolist() == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0, 0])
    assert fade(np.zeros(4, bool)).tolist() == [0, 0, 0, 0]
