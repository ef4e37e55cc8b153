"""Time: between captured frames, along an animator's curve, and what layers do when it changes."""

import bpy
import numpy as np
import pytest
from conftest import FRAMES, read

ROUNDED = 0.51 / 32767


def _slerp(a, b, share):
    """[N, 4] spherical interpolation of unit quaternions the shorter way, float64."""
    dot = np.einsum("ij,ij->i", a, b)
    b, dot = b * np.where(dot < 0, -1, 1)[:, None], np.abs(dot)
    angle = np.arccos(np.clip(dot, -1, 1))[:, None]
    sine = np.sin(angle)
    with np.errstate(divide="ignore", invalid="ignore"):
        blended = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / sine
    return np.where(sine > 1e-6, blended, a)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_between_frames_points_are_on_their_way(imported, truth, share):
    bpy.context.scene.frame_set(5, subframe=share)  # capture frames 4 and 5
    moving, a, b = imported.dynamic_object, 4, 5
    expected = (1 - share) * truth["means"][a] + share * truth["means"][b]
    np.testing.assert_allclose(read(moving, "position"), expected, atol=1e-6)
    turned = _slerp(truth["quats"][a].astype(float), truth["quats"][b].astype(float), share)
    found = read(moving, "rotation")
    angle = 2 * np.arccos(np.clip(np.abs(np.einsum("ij,ij->i", found, turned)), 0, 1))
    assert np.degrees(angle.max()) < 0.2
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    colors = (1 - share) * truth["colors"][a] + share * truth["colors"][b]
    np.testing.assert_allclose(read(moving, "radiance:base")[:, :3], colors, atol=8 * ROUNDED)


def test_relevancy_between_frames(asked, truth):
    bpy.context.scene.frame_set(5, subframe=0.5)
    expected = (truth["relevancy"][4] + truth["relevancy"][5]) / 2
    name = f"highlight:{asked.layers[0].layer_id}"
    np.testing.assert_allclose(read(asked.dynamic_object, name), expected, atol=1.1 / 255)


def test_velocity_keeps_its_unit_between_frames_and_follows_the_time_curve(imported, truth):
    from blender_addon.sequence import timing

    scene = bpy.context.scene
    scene.render.fps = 30
    expected = (truth["means"][5] - truth["means"][4]) * 30
    scene.frame_set(5, subframe=0.5)
    np.testing.assert_allclose(read(imported.dynamic_object, "velocity"), expected, atol=1e-4)
    timing.write(imported.empty, [1, 1 + 4 * (FRAMES - 1)], [0, FRAMES - 1])  # four times slower
    scene.frame_set(1 + 4 * 4 + 2)
    np.testing.assert_allclose(read(imported.dynamic_object, "velocity"), expected / 4, atol=1e-4)


def test_without_subframes_each_frame_is_held(imported, truth):
    imported.empty.legs4d.interpolate = False
    bpy.context.scene.frame_set(5, subframe=0.75)
    np.testing.assert_array_equal(read(imported.dynamic_object, "position"), truth["means"][4])


def test_what_is_born_between_two_frames_fades_in_where_it_is_born(addon, tmp_path):
    from blender_addon.cache.frames import Description, RunCache
    from blender_addon.sequence.player import Player

    cache = RunCache.create(tmp_path, Description("r", "r", "1", 2, 0, 2, 10.0))
    frame = {"quats": np.tile([1.0, 0, 0, 0], (2, 1)), "colors": np.zeros((2, 3))}
    cache.write_dynamic({"scales": np.ones((2, 3)), "opacities": np.full(2, 0.8), "born": [0, 1], "died": [0, 1]})
    cache.write_frame(0, frame | {"means": np.array([[1.0, 0, 0], [99, 99, 99]])})
    cache.write_frame(1, frame | {"means": np.array([[99.0, 99, 99], [2, 0, 0]])})
    cloud = bpy.data.pointclouds.new("two")
    cloud.resize(2)
    Player(cache)._show_frame(cloud, 0, 0.25, 10.0)
    item = bpy.data.objects.new("two", cloud)
    np.testing.assert_allclose(read(item, "position"), [[1, 0, 0], [2, 0, 0]])
    np.testing.assert_allclose(read(item, "radiance:base")[:, 3], [0.6, 0.2], atol=1e-6)
    assert not read(item, "velocity").any()


def test_the_way_between_two_rotations_is_slerps(addon):
    from blender_addon.sequence.player import turn_on

    rng = np.random.default_rng(5)
    start = rng.normal(size=(400, 4))
    axes = rng.normal(size=(400, 3))
    half = np.radians(rng.uniform(0, 15, (400, 1)))  # turns up to 30 degrees
    turn = np.hstack((np.cos(half), np.sin(half) * axes / np.linalg.norm(axes, axis=1, keepdims=True)))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    w, x, y, z = start.T
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]]).transpose(2, 0, 1)
    end = np.einsum("nij,nj->ni", left, turn) * rng.choice([-1, 1], (400, 1))
    for share in (0.2, 0.5, 0.9):
        found = start.astype(np.float32)
        turn_on(found, end.astype(np.float32), share)
        expected = _slerp(start, end, share)
        cosine = np.abs(np.einsum("ij,ij->i", found / np.linalg.norm(found, axis=1, keepdims=True), expected))
        assert np.degrees(2 * np.arccos(np.clip(cosine, 0, 1))).max() < 0.1
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=5e-5)


def test_a_time_curve_says_what_shows(imported, truth):
    from blender_addon.sequence import timing

    timing.write(imported.empty, [1, 5, 9, 20], [0, 4, 4, 0])  # forward, held, back
    for scene_frame, capture_frame in ((3, 2), (5, 4), (8, 4), (20, 0), (30, 0)):
        bpy.context.scene.frame_set(scene_frame)
        found = read(imported.dynamic_object, "position")
        np.testing.assert_allclose(found, truth["means"][capture_frame], atol=1e-5)
    assert timing.spans(imported.empty, 2, 3) == [(3, 4), (10, 14)]
    curve = timing.curve_of(imported.empty)
    curve.mute = True
    bpy.context.scene.frame_set(3)
    np.testing.assert_array_equal(read(imported.dynamic_object, "position"), truth["means"][2])


def test_layers_follow_the_time(asked, truth):
    from blender_addon import names
    from blender_addon.layers import curves, layers
    from blender_addon.sequence import timing

    (start, end, peak), *_ = truth["intervals"]
    layer_id = asked.layers[0].layer_id
    assert bpy.ops.legs4d.remap_time(speed=0.5) == {"FINISHED"}
    active, relevancy = (curves.find(asked.empty, names.curve_path(layer_id, name)) for name in ("active", "relevancy"))
    frames = range(1, 2 * FRAMES)
    held = [timing.capture_time(asked.empty, frame) for frame in frames if active.evaluate(frame) > 0.5]
    assert held[0] == pytest.approx(start) and held[-1] == pytest.approx(min(end + 0.5, FRAMES - 1))
    assert relevancy.evaluate(1 + 2 * peak) == pytest.approx(truth["curve"][peak], abs=1e-5)
    assert sorted(m.frame for m in bpy.context.scene.timeline_markers)[0] == 1 + 2 * start
    assert not layers.is_behind(asked)
    timing.curve_of(asked.empty).keyframe_points[1].co.x += 4
    assert layers.is_behind(asked)
    assert bpy.ops.legs4d.retime() == {"FINISHED"} and not layers.is_behind(asked)
    assert bpy.ops.legs4d.reset_time() == {"FINISHED"}
    assert timing.curve_of(asked.empty) is None
    assert sorted(m.frame for m in bpy.context.scene.timeline_markers) == [1 + start, 1 + end]


def test_moving_the_start_moves_keys_and_markers_but_no_edits(asked, truth):
    from blender_addon import names
    from blender_addon.layers import curves

    (start, end, _), *_ = truth["intervals"]
    asked.empty.legs4d.start_frame = 11
    assert sorted(m.frame for m in bpy.context.scene.timeline_markers) == [11 + start, 11 + end]
    active = curves.find(asked.empty, names.curve_path(asked.layers[0].layer_id, "active"))
    assert active.evaluate(11 + start) == 1.0 and active.evaluate(11 + start - 1) == 0.0
    for key in active.keyframe_points:
        key.co.y = 0.0
    asked.empty.legs4d.start_frame = 1
    assert max(key.co.y for key in active.keyframe_points) == 0.0


def test_a_frame_that_is_missing_on_the_way_is_said(imported, truth, tmp_path):
    from blender_addon.cache import storage
    from blender_addon.sequence import playback

    (storage.find(imported.empty).path / "frames" / "000005.block").unlink()
    bpy.context.scene.frame_set(5, subframe=0.5)
    assert "Frame 5" in playback.message(imported.empty)
    np.testing.assert_array_equal(read(imported.dynamic_object, "position"), truth["means"][4])
