"""Effects as animation: each leaves ordinary Blender objects and keys that do what the effect says."""

import bpy
import numpy as np
import pytest
from conftest import FRAMES, PROMPT
from mathutils import Vector


@pytest.fixture
def asked(asked, truth):
    """The sequence with PROMPT answered and a camera in the scene."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Main", bpy.data.cameras.new("Main"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (0.0, -8.0, 1.0), (np.pi / 2, 0, 0)
    scene.camera = camera
    asked.layers[0].threshold, asked.layers[0].softness = 0.5, 0.0
    bpy.context.view_layer.update()
    return asked


def _middle(truth, frame):
    """Where the library's answer says the action is: Blender's axes."""
    named = truth["relevancy"][frame] >= 0.5
    weights = truth["opacities"][frame][named]
    x, y, z = np.average(truth["means"][frame][named], axis=0, weights=weights)
    return np.array([x, z, -y])


def _seen(camera, point):
    """Where a camera sees a point, in 0..1 from the lower left."""
    from bpy_extras.object_utils import world_to_camera_view

    return world_to_camera_view(bpy.context.scene, camera, Vector(point))


def _cameras_shown():
    scene, found = bpy.context.scene, {}
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        found[frame] = scene.camera.name
    return found


def test_bullet_time_holds_the_peak_and_goes_around_it(asked, truth):
    (start, end, peak), *_ = truth["intervals"]
    assert bpy.ops.legs4d.bullet_time(frames=20, angle=np.pi) == {"FINISHED"}
    scene, stop = bpy.context.scene, 1 + peak
    assert scene.frame_end == FRAMES + 20
    camera = bpy.data.objects[f"Bullet time: {PROMPT}"]
    from blender_addon.sequence import attributes

    directions = []
    for frame in (stop, stop + 10, stop + 20):
        scene.frame_set(frame)
        found = attributes.read(asked.dynamic_object.data, "position")
        np.testing.assert_allclose(found, truth["means"][peak], atol=1e-4)
        middle = _middle(truth, peak)
        assert tuple(_seen(camera, middle))[:2] == pytest.approx((0.5, 0.5), abs=1e-3)
        directions.append(np.array(camera.matrix_world.translation) - middle)
    lengths = [np.linalg.norm(d) for d in directions]
    assert lengths == pytest.approx([lengths[0]] * 3, rel=1e-4)
    np.testing.assert_allclose(directions[0][:2], -directions[2][:2], atol=1e-3)  # half a turn
    shown = _cameras_shown()
    assert [shown[f] for f in (1, stop - 1, stop, stop + 20, stop + 21)] == [
        "Main",
        "Main",
        camera.name,
        camera.name,
        "Main",
    ]
    scene.frame_set(FRAMES + 20)
    last = attributes.read(asked.dynamic_object.data, "position")
    np.testing.assert_allclose(last, truth["means"][FRAMES - 1], atol=1e-4)
    markers = sorted(m.frame for m in scene.timeline_markers if m.camera is None)
    assert markers == [1 + start, 1 + end + 20]


def test_zoom_follows_the_action(asked, truth):
    (start, end, _), *_ = truth["intervals"]
    assert bpy.ops.legs4d.zoom(ramp=3, fill=0.4) == {"FINISHED"}
    scene, camera = bpy.context.scene, bpy.data.objects[f"Zoom: {PROMPT}"]
    for frame in range(start, end + 1):
        scene.frame_set(1 + frame)
        x, y, _ = _seen(camera, _middle(truth, frame))
        assert (x, y) == pytest.approx((0.5, 0.5), abs=0.06), frame
    zoomed = camera.data.lens
    scene.frame_set(1 + start - 3)
    assert camera.data.lens == pytest.approx(scene.objects["Main"].data.lens) and zoomed > camera.data.lens
    np.testing.assert_allclose(camera.matrix_world, scene.objects["Main"].matrix_world, atol=1e-4)
    shown = _cameras_shown()
    assert shown[1 + start] == camera.name and shown[1 + end] == camera.name


def test_fading_highlight_keys_the_strength(asked, truth):
    from blender_addon import names
    from blender_addon.layers import curves

    (start, end, _), *_ = truth["intervals"]
    assert bpy.ops.legs4d.fade(what="HIGHLIGHT", ramp=1) == {"FINISHED"}
    strength = curves.find(asked.empty, names.curve_path(asked.layers[0].layer_id, "strength"))
    assert strength.evaluate(start) == 0.0 and strength.evaluate(1 + end + 1) == 0.0
    assert strength.evaluate(1 + start + 1) == 1.0 and 0 < strength.evaluate(1 + start) < 1


def test_fading_colour_out_keys_the_amount_that_drives_the_nodes(asked, truth):
    from blender_addon import names
    from blender_addon.layers import curves, presets

    (start, end, _), *_ = truth["intervals"]
    asked.empty.legs4d.mode = "NONE"
    assert bpy.ops.legs4d.fade(what="DESATURATE", ramp=2) == {"FINISHED"}
    amount = curves.find(asked.empty, names.amount_path("desaturate"))
    assert amount.evaluate(1 + start) == amount.evaluate(1 + end) == 1.0
    assert amount.evaluate(1 + start - 2) == amount.evaluate(1 + end + 2) == 0.0
    scene = bpy.context.scene
    for frame in (1 + start - 1, 1 + start):
        scene.frame_set(frame)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        tree = asked.dynamic_object.evaluated_get(depsgraph).modifiers["4-LEGS"].node_group
        driven = tree.nodes["Amount: desaturate"].outputs[0].default_value
        assert driven == pytest.approx(presets.amounts(asked.empty, frame).desaturate, abs=1e-6)
    assert presets.animated(asked.empty) == ["desaturate"]
    asked.empty.legs4d.mode = "HIGHLIGHT"  # sets what is not animated
    assert presets.amounts(asked.empty, 1 + start) == presets.Amounts(1.0, 1.0, 0.0, 0.0)
    assert asked.empty["legs4d:desaturate"] == 1.0


def test_a_cut_by_cameras_takes_the_one_that_sees_the_action(asked, truth):
    scene = bpy.context.scene
    away = bpy.data.objects.new("Away", bpy.data.cameras.new("Away"))
    scene.collection.objects.link(away)
    away.location, away.rotation_euler = (0, -8, 1), (np.pi / 2, 0, np.pi)
    bpy.context.view_layer.update()
    assert bpy.ops.legs4d.cut(to="MARKERS") == {"FINISHED"}
    bound = {m.frame: m.camera.name for m in scene.timeline_markers if m.camera}
    assert bound == {1 + truth["intervals"][0][0]: "Main"}
    bpy.data.objects.remove(scene.objects["Main"])
    for marker in [m for m in scene.timeline_markers if m.name.endswith(": cut")]:
        scene.timeline_markers.remove(marker)
    assert bpy.ops.legs4d.cut(to="MARKERS") == {"CANCELLED"}


def test_a_cut_as_strips_has_each_action_in_turn(asked, until, truth):
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt="a ball lying still on the floor")
    until(lambda: not session.current.questions.busy, "the answer")
    assert bpy.ops.legs4d.cut(to="STRIPS") == {"FINISHED"}
    edit = bpy.data.scenes[f"Cut: {asked.empty.name}"]
    wanted = sorted(
        (asked.scene_frame(item.start), asked.scene_frame(item.end))
        for layer in asked.layers
        for item in layer.intervals
    )
    position = 1
    strips = sorted(edit.sequence_editor.strips, key=lambda strip: strip.left_handle)
    assert len(strips) == len(wanted) > 1
    for strip, (first, last) in zip(strips, wanted, strict=True):
        assert strip.scene == bpy.context.scene
        assert (strip.left_handle, strip.right_handle) == (position, position + last - first + 1)
        # the scene frame that the strip's first picture is
        assert strip.left_handle - strip.content_start + bpy.context.scene.frame_start == first
        position += last - first + 1
    assert edit.frame_end == position - 1


def test_effects_without_an_action_say_so(imported):
    for operator in (bpy.ops.legs4d.bullet_time, bpy.ops.legs4d.zoom, bpy.ops.legs4d.cut):
        assert not operator.poll()
    assert bpy.ops.legs4d.fade(what="DESATURATE") == {"CANCELLED"}


def test_followers_go_where_what_they_follow_goes(asked, truth) -> None:
    """The middle of what a prompt names, and of points that are selected, at every frame."""
    from blender_addon.selection import selecting

    shown = asked
    assert bpy.ops.legs4d.add_follower() == {"FINISHED"}
    assert bpy.context.scene.objects["Follows " + PROMPT].animation_data is not None
    weights = np.zeros(shown.its.num_static + shown.its.num_dynamic)
    weights[-5:] = 1.0
    selecting.choose_weights(shown, weights)
    assert bpy.ops.legs4d.add_follower(of="SELECTION") == {"FINISHED"}
    made = bpy.context.scene.objects["Follows part of ball"]
    for frame in (0, 7):
        bpy.context.scene.frame_set(shown.scene_frame(frame))
        middle = shown.empty.matrix_world @ Vector(np.median(truth["means"][frame][-5:], axis=0).tolist())
        np.testing.assert_allclose(made.matrix_world.translation, middle, atol=1e-5)
    selecting.choose_none(shown)
    assert bpy.ops.legs4d.add_follower(of="SELECTION") == {"CANCELLED"}


def test_scene_and_capture_are_brought_to_one_rate(asked) -> None:
    from blender_addon.effects.operators import rates_differ
    from blender_addon.sequence import timing

    shown, scene = asked, bpy.context.scene
    scene.render.fps = 3 * round(shown.its.fps)
    assert rates_differ(shown, scene)
    bpy.ops.legs4d.match_rate(to="TIME")
    assert not rates_differ(shown, scene)
    assert timing.capture_time(shown.empty, shown.its.start_frame + 6) == pytest.approx(2.0, abs=1e-3)
    bpy.ops.legs4d.reset_time()
    bpy.ops.legs4d.match_rate(to="SCENE")
    assert scene.render.fps / scene.render.fps_base == pytest.approx(shown.its.fps) and not rates_differ(shown, scene)


def test_cameras_of_effects_follow_the_sequence(asked, truth):
    (_, _, peak), *_ = truth["intervals"]
    bpy.ops.legs4d.zoom(ramp=3)
    bpy.ops.legs4d.bullet_time(frames=10)
    scene = bpy.context.scene
    made = [bpy.data.objects[name] for name in (f"Zoom: {PROMPT}", f"Bullet time: {PROMPT}")]
    scene.frame_set(1 + peak)
    before = [np.array(camera.matrix_world.translation) for camera in made]
    asked.empty.location = (3, 2, 1)
    bpy.context.view_layer.update()
    for camera, place in zip(made, before, strict=True):
        np.testing.assert_allclose(camera.matrix_world.translation, place + np.array((3, 2, 1)), atol=1e-5)
        assert tuple(_seen(camera, _middle(truth, peak) + np.array((3, 2, 1))))[:2] == pytest.approx(
            (0.5, 0.5), abs=0.06
        )


def test_a_second_effect_leaves_the_first_ones_cuts(asked, truth):
    """Bullet time inside a zoom: the zoom goes on after it, in step with the action. A zoom over it asks first."""
    (start, end, peak), *_ = truth["intervals"]
    bpy.ops.legs4d.zoom(ramp=1)
    zoom, scene = f"Zoom: {PROMPT}", bpy.context.scene
    lens = bpy.data.objects[zoom].data
    scene.frame_set(1 + end)
    at_end = lens.lens
    bpy.ops.legs4d.bullet_time(frames=10, angle=1.0)
    bullet = f"Bullet time: {PROMPT}"
    shown = _cameras_shown()
    assert [shown[f] for f in (start, peak, 1 + peak, 11 + peak, 12 + peak, 11 + end, 13 + end)] == [
        *(zoom, zoom, bullet, bullet, zoom, zoom, "Main")
    ]
    for frame in (peak, end):
        scene.frame_set(11 + frame)
        assert tuple(_seen(bpy.data.objects[zoom], _middle(truth, frame)))[:2] == pytest.approx((0.5, 0.5), abs=0.06)
    assert lens.lens == pytest.approx(at_end)
    cuts = {(m.frame, m.camera.name) for m in scene.timeline_markers if m.camera}
    assert bpy.ops.legs4d.zoom(ramp=1) == {"FINISHED"}
    assert {(m.frame, m.camera.name) for m in scene.timeline_markers if m.camera} == cuts
    assert bpy.ops.legs4d.zoom(ramp=1, replace=True) == {"FINISHED"}
    assert f"{zoom}.002" in {m.camera.name for m in scene.timeline_markers if m.camera}
