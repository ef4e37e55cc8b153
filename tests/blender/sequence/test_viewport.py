"""What the viewport draws of a sequence: captured colours, the layers' highlight, and nothing that cannot be seen."""

import bpy
import numpy as np
import pytest
from conftest import PROMPT

SH_C0 = 0.28209479177387814
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@pytest.fixture
def highlighted(imported, until, truth):
    """The sequence with a layer for PROMPT, at its peak, threshold 0.5 without softness."""
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    layer = imported.layers[0]
    layer.threshold, layer.softness, layer.color = 0.5, 0.0, (0.0, 0.0, 1.0)
    bpy.context.scene.frame_set(truth["intervals"][0][2] + 1)
    return imported


def _drawn(sequence, child):
    from blender_addon.sequence import viewport

    return viewport.shown_points(sequence, child, bpy.context.scene.frame_current_final)


def _linear(encoded):
    encoded = np.clip(encoded, 0, 1)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def test_points_have_the_captured_colours_and_places(imported, truth):
    positions, colors, radii = _drawn(imported, imported.static_object)
    visible = truth["static_opacities"] > 0.1
    np.testing.assert_array_equal(positions, truth["static_means"][visible])
    np.testing.assert_allclose(colors, _linear(0.5 + SH_C0 * truth["static_colors"][visible]), atol=2e-3)
    np.testing.assert_allclose(radii, np.median(truth["static_scales"][visible], axis=1))


def test_what_the_prompt_names_is_tinted_and_the_rest_is_not(highlighted, truth):
    peak = truth["intervals"][0][2]
    named = truth["relevancy"][peak] >= 0.5
    assert named.any()
    _, colors, _ = _drawn(highlighted, highlighted.dynamic_object)
    captured = _linear(0.5 + SH_C0 * truth["colors"][peak])
    tinted = 0.15 * captured + 0.85 * np.outer(captured @ LUMINANCE + 0.35, (0, 0, 1))
    np.testing.assert_allclose(colors, np.where(named[:, None], tinted, captured), atol=4e-3)
    still = _drawn(highlighted, highlighted.static_object)[1]
    untouched = truth["static_relevancy"] < 0.5
    expected = _linear(0.5 + SH_C0 * truth["static_colors"])
    np.testing.assert_allclose(still[untouched], expected[untouched], atol=2e-3)


def test_isolate_draws_only_what_the_prompt_names(highlighted, truth):
    highlighted.empty.legs4d.mode = "ISOLATE"
    named = truth["relevancy"][truth["intervals"][0][2]] >= 0.5
    assert len(_drawn(highlighted, highlighted.dynamic_object)[0]) == named.sum()


def test_desaturate_takes_the_colour_out_of_the_rest(highlighted, truth):
    highlighted.empty.legs4d.mode = "DESATURATE"
    colors = _drawn(highlighted, highlighted.static_object)[1]
    grey = colors[truth["static_relevancy"] < 0.5]
    np.testing.assert_allclose(grey, np.repeat(grey[:, :1], 3, axis=1), atol=1e-6)


def test_as_captured_shows_no_highlight(highlighted, truth):
    highlighted.empty.legs4d.mode = "NONE"
    colors = _drawn(highlighted, highlighted.dynamic_object)[1]
    np.testing.assert_allclose(colors, _linear(0.5 + SH_C0 * truth["colors"][truth["intervals"][0][2]]), atol=3e-3)


def test_splats_or_points_is_a_switch_for_viewports_only(imported):
    children = (imported.static_object, imported.dynamic_object)
    for choice, seen in (("SPLATS", True), ("POINTS", False)):
        imported.empty.legs4d.viewport = choice
        assert [child.modifiers["4-LEGS"].show_viewport for child in children] == [seen, seen]
        assert all(child.modifiers["4-LEGS"].show_render for child in children)


def test_the_version_changes_exactly_when_points_do(imported):
    from blender_addon.sequence import playback

    before = playback.version(imported.dynamic_object), playback.version(imported.static_object)
    bpy.context.scene.frame_set(bpy.context.scene.frame_current + 1)
    assert playback.version(imported.dynamic_object) != before[0]
    assert playback.version(imported.static_object) == before[1]
