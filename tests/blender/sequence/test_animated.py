"""What animates a sequence: its action, the NLA, drivers, keyed settings of layers, stretched time, several scenes."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

PROPERTY = "value"


@pytest.fixture
def animated(addon) -> bpy.types.Object:
    """An empty whose property `value` (default 0.5) goes from 0 to 1 over frames 1 to 9, straight."""
    from blender_addon.layers import curves

    made = bpy.data.objects.new("animated", None)
    bpy.context.scene.collection.objects.link(made)
    made[PROPERTY] = 0.0
    made.id_properties_ui(PROPERTY).update(default=0.5, min=-10.0, max=10.0)
    curves.write(made, f'["{PROPERTY}"]', [1, 9], [0.0, 1.0], "LINEAR", "test")
    return made


def pushed(owner: bpy.types.Object, start: int = 1, track: object = None, **settings: object) -> bpy.types.NlaStrip:
    """The owner's action as a strip of this track, or of a new one; it stays the action of no one."""
    data = owner.animation_data
    action, slot = data.action, data.action_slot
    strip = (track or data.nla_tracks.new()).strips.new("strip", start, action)
    strip.action_slot = slot
    for name, value in settings.items():
        setattr(strip, name, value)
    return strip


STRIPS = {
    "pushed down": [{}],
    "later, slower, held before": [{"start": 5, "scale": 2.0, "extrapolation": "HOLD"}],
    "repeated backwards": [{"repeat": 2.5, "use_reverse": True}],
    "only where it is": [{"start": 4, "extrapolation": "NOTHING"}],
    "faded in and out": [{"blend_in": 4.0, "blend_out": 2.0}],
    "added": [{}, {"start": 3, "blend_type": "ADD", "extrapolation": "NOTHING"}],
    "subtracted": [{}, {"start": 3, "blend_type": "SUBTRACT", "extrapolation": "HOLD_FORWARD"}],
    "multiplied": [{}, {"start": 2, "blend_type": "MULTIPLY", "scale": 0.5}],
    "combined": [{}, {"start": 2, "blend_type": "COMBINE"}],
}


@pytest.mark.parametrize("strips", STRIPS.values(), ids=STRIPS)
def test_the_nla_is_told_ahead_as_blender_evaluates_it(animated, strips) -> None:
    from blender_addon.layers import curves

    for strip in strips:
        pushed(animated, **strip)
    animated.animation_data.action = None
    frames = [-3, 1, 2.5, 4, 5, 7, 9, 10, 13, 17, 21, 30]
    told = curves.values(animated, PROPERTY, frames)
    found = []
    for frame in frames:
        bpy.context.scene.frame_set(int(np.floor(frame)), subframe=frame % 1)
        found.append(animated[PROPERTY])
    np.testing.assert_allclose(told, found, atol=1e-5)


def test_an_action_over_strips_solo_tracks_and_a_muted_nla_are_told_ahead(animated) -> None:
    from blender_addon.layers import curves

    data, scene = animated.animation_data, bpy.context.scene
    pushed(animated, 3)
    other = pushed(animated, 6)
    data.action_blend_type, data.action_influence = "ADD", 0.5

    def agrees() -> None:
        for frame in (2, 5, 8, 12):
            told = curves.value(animated, PROPERTY, frame)
            scene.frame_set(frame)
            assert told == pytest.approx(animated[PROPERTY], abs=1e-5)

    agrees()
    data.nla_tracks[0].mute = True
    agrees()
    data.nla_tracks[0].mute = False
    data.nla_tracks[1].is_solo = True
    agrees()
    data.nla_tracks[1].is_solo, other.mute = False, True
    agrees()
    data.use_nla = False
    agrees()


def highlight(shown) -> float:
    from blender_addon import names
    from blender_addon.sequence import attributes

    return float(attributes.read(shown.dynamic_object.data, names.HIGHLIGHT).max())


def middle(shown) -> np.ndarray:
    from blender_addon import names
    from blender_addon.sequence import attributes

    return attributes.read(shown.dynamic_object.data, names.POSITION).mean(axis=0)


def test_layers_and_time_follow_drivers_and_the_nla(asked) -> None:
    from blender_addon import names
    from blender_addon.layers import layers
    from blender_addon.sequence import timing

    scene, empty = bpy.context.scene, asked.empty
    layer = asked.layers[0]
    start, end, _, _ = layers.intervals(layer)[0]
    strength = names.curve_property(layer.layer_id, "strength")
    driver = empty.driver_add(names.curve_path(layer.layer_id, "strength")).driver
    driver.expression = "0.25 if frame < 100 else 1"
    scene.frame_set(asked.scene_frame((start + end) // 2))
    assert empty[strength] == pytest.approx(0.25)
    assert highlight(asked) == pytest.approx(0.25, abs=0.01)
    empty.driver_remove(names.curve_path(layer.layer_id, "strength"))

    bpy.ops.legs4d.remap_time(speed=0.5)
    by_curve = {}
    for frame in (3, 8, 13):
        scene.frame_set(frame)
        by_curve[frame] = middle(asked)
    data = empty.animation_data
    data.nla_tracks.new().strips.new("all", 1, data.action).action_slot = data.action_slot
    data.action = None
    assert not timing.is_editable(empty)
    for frame, place in by_curve.items():
        scene.frame_set(frame)
        np.testing.assert_allclose(middle(asked), place, atol=1e-6)
    assert asked.scene_frame(4) == 9


def test_a_driven_time_is_shown_and_learnt(asked) -> None:
    from blender_addon import names
    from blender_addon.sequence import timing

    scene, empty = bpy.context.scene, asked.empty
    plain = {}
    for frame in (4, 7):
        scene.frame_set(frame)
        plain[frame] = middle(asked)
    empty[names.TIME] = 0.0
    empty.driver_add(names.TIME_PATH).driver.expression = "(frame - 1) / 2"
    for frame, shows in ((7, 4), (13, 7)):
        scene.frame_set(frame)
        np.testing.assert_allclose(middle(asked), plain[shows], atol=1e-6)
    scene.frame_end = 24
    assert bpy.ops.legs4d.retime() == {"FINISHED"}
    assert timing.scene_frame(empty, 6) == 13
    assert bpy.ops.legs4d.bullet_time() == {"CANCELLED"}, "a driver's time cannot be held"


def test_keyed_settings_of_layers_show_and_follow_their_layer(asked) -> None:
    scene = bpy.context.scene
    layer = asked.layers[0]
    inside = asked.scene_frame(layer.intervals[0].start)
    layer.keyframe_insert("enabled", frame=inside)
    layer.enabled = False
    layer.keyframe_insert("enabled", frame=inside + 1)
    for frame, color in ((inside, (1, 0, 0)), (inside + 2, (0, 0, 1))):
        layer.color = color
        layer.keyframe_insert("color", frame=frame)
    tree = asked.dynamic_object.modifiers[0].node_group
    look = tree.nodes[layer.layer_id].inputs
    for frame, shown, red in ((inside, 1.0, 1.0), (inside + 1, 0.0, 0.5), (inside + 2, 0.0, 0.0)):
        scene.frame_set(frame)
        assert highlight(asked) == pytest.approx(shown, abs=0.01)
        assert look["Enabled"].default_value == shown
        assert look["Tint"].default_value[0] == pytest.approx(red, abs=1e-5)
    assert bpy.ops.legs4d.duplicate_layer() == {"FINISHED"}
    assert bpy.ops.legs4d.move_layer(direction="UP") == {"FINISHED"}
    paths = {curve.data_path for curve in _fcurves(asked.empty) if curve.data_path.startswith("legs4d")}
    assert paths == {"legs4d.layers[1].enabled", "legs4d.layers[1].color"}
    bpy.ops.legs4d.remove_layer(layer_id=asked.layers[1].layer_id)
    assert not [curve for curve in _fcurves(asked.empty) if curve.data_path.startswith("legs4d")]


def _fcurves(owner: bpy.types.Object) -> list[bpy.types.FCurve]:
    data = owner.animation_data
    return [
        curve
        for layer in data.action.layers
        for strip in layer.strips
        for curve in strip.channelbag(data.action_slot).fcurves
    ]


def test_what_shows_no_keys_cannot_be_keyed(imported) -> None:
    for name in ("detail", "start_frame", "mode"):
        with pytest.raises(TypeError):
            imported.empty.legs4d.keyframe_insert(name)


def test_scenes_that_share_a_sequence_show_the_windows_moment(asked) -> None:
    """The second scene stands at another frame; edits, undo and loading show the first one's."""
    from blender_addon.sequence import playback

    scene = bpy.context.scene
    scene.frame_set(3)
    other = scene.copy()
    other.frame_set(9)
    scene.frame_set(4)
    there = middle(asked)
    asked.layers[0].color = (0, 1, 0)
    np.testing.assert_array_equal(middle(asked), there)
    asked.its.interpolate = False
    np.testing.assert_array_equal(middle(asked), there)
    playback.refresh_all()
    np.testing.assert_array_equal(middle(asked), there)
    other.frame_set(9)
    assert np.abs(middle(asked) - there).max() > 0.01, "a render of the other scene shows its own frame"


def test_time_stretching_moves_marks_of_layers_to_their_frames(asked) -> None:
    from blender_addon.sequence import timing

    scene = bpy.context.scene
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 200
    _, _, peak, _ = next((i.start, i.end, i.peak, i.score) for i in asked.layers[0].intervals)
    bpy.ops.legs4d.jump()
    assert asked.capture_frame(scene.frame_current_final) == peak
    assert scene.frame_current == 2 * asked.scene_frame(peak)
    assert timing.frame_at(scene, timing.clock(scene, 7)) == 7
