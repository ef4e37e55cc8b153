"""How much work footage gets follows its pixels, and what it costs follows its frames."""

from __future__ import annotations

import pytest

from legs4d.config import FULL_FIRST_FRAME, Preset, ReconstructSettings
from legs4d.scene.checks import size_notes

PRESETS: list[Preset] = ["quick", "full"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_quarter_of_the_real_clip_gets_all_that_a_preset_has(preset: Preset):
    settings = ReconstructSettings().with_preset(preset)
    suited = settings.suited(27 * 160 * 90)
    for name in ("first_frame", "refinement"):
        before, after = getattr(settings, name), getattr(suited, name)
        assert after == before.model_copy(update={"enough_pixels": 1}), name


def test_gaussians_follow_the_pixels_and_steps_their_square_root():
    quick = ReconstructSettings()
    small, smaller = quick.suited(4 * 48 * 32), quick.suited(48 * 32)
    assert small.first_frame.densify.max_gaussians == 4 * smaller.first_frame.densify.max_gaussians == 48 * 32
    assert small.first_frame.steps == 2 * smaller.first_frame.steps == 160
    assert small.tracking == quick.tracking  # how far a thing goes is no matter of pixels
    # As many rounds of densification, though there are fewer steps.
    assert small.first_frame.steps // small.first_frame.densify.every == 10 == 500 // 50


def test_the_least_footage_still_surrounds_a_scene():
    least = ReconstructSettings().suited(2 * 16 * 16).first_frame
    assert least.num_foreground == least.num_background == 64 and least.densify.max_gaussians == 128
    # What was asked for is never raised.
    few = ReconstructSettings().first_frame.model_copy(update={"num_foreground": 20}).suited(512)
    assert few.num_foreground == 20


def test_suiting_twice_is_suiting_once_and_one_pixel_is_enough_when_asked():
    once = ReconstructSettings().suited(6144)
    assert once.suited(6144) == once
    asked = FULL_FIRST_FRAME.model_copy(update={"enough_pixels": 1})
    assert asked.suited(512) == asked


def test_a_result_of_few_pixels_says_that_it_is_not_to_be_trusted():
    (note,) = size_notes(24, 16)
    assert "24×16" in note and "--scale" in note
    assert size_notes(48, 36) == [] == size_notes(160, 90)
