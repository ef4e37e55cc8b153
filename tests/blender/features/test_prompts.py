"""Prompt layers: relevancy on the points, curves and markers in time, and what an animator does to them."""

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from conftest import FRAMES, PROMPT, read


@pytest.fixture
def ask(imported, until):
    """`ask(prompt)`: the layer's id, once all of its answer is there."""
    from blender_addon.layers import layers
    from blender_addon.link import session

    def wait(prompt):
        assert bpy.ops.legs4d.ask(prompt=prompt) == {"FINISHED"}
        until(lambda: not session.current.questions.busy, f"the answer to '{prompt}'")
        layer = layers.with_prompt(imported, prompt)
        assert session.current.questions.trouble(layer.layer_id) == ""
        return layer.layer_id

    return wait


def _curve(sequence, layer_id, name):
    from blender_addon import names
    from blender_addon.layers import curves

    return curves.find(sequence.empty, names.curve_path(layer_id, name))


def _keys(curve):
    return [tuple(point.co) for point in curve.keyframe_points]


def test_relevancy_per_point_is_the_librarys(imported, ask, truth):
    layer_id = ask(PROMPT)
    name = f"highlight:{layer_id}"
    np.testing.assert_allclose(read(imported.static_object, name), truth["static_relevancy"], atol=0.5 / 255 + 1e-6)
    for frame in (0, 5, FRAMES - 1):
        bpy.context.scene.frame_set(frame + 1)
        np.testing.assert_allclose(
            read(imported.dynamic_object, name), truth["relevancy"][frame], atol=0.5 / 255 + 1e-6
        )


def test_curves_are_keyed_at_every_frame_and_at_interval_ends(imported, ask, truth):
    layer_id = ask(PROMPT)
    relevancy = _keys(_curve(imported, layer_id, "relevancy"))
    assert [frame for frame, _ in relevancy] == list(range(1, FRAMES + 1))
    np.testing.assert_allclose([value for _, value in relevancy], truth["curve"], atol=1e-6)
    active = _curve(imported, layer_id, "active")
    assert {point.interpolation for point in active.keyframe_points} == {"CONSTANT"}
    held = [active.evaluate(frame + 1) for frame in range(FRAMES)]
    expected = np.zeros(FRAMES)
    for start, end, _ in truth["intervals"]:
        expected[start : end + 1] = 1.0
    assert held == list(expected) and 0 < expected.sum() < FRAMES
    assert _keys(_curve(imported, layer_id, "strength")) == [(1.0, 1.0)]


def test_markers_stand_at_interval_ends(imported, ask, truth):
    ask(PROMPT)
    found = sorted((marker.frame, marker.name) for marker in bpy.context.scene.timeline_markers)
    (start, end, _), *more = truth["intervals"]
    assert not more
    assert found == [(start + 1, f"{PROMPT}: start"), (end + 1, f"{PROMPT}: end")]


def test_what_is_shown_is_relevancy_times_the_curves(imported, ask, truth):
    layer_id = ask(PROMPT)
    layer = imported.layers[0]
    layer.threshold, layer.softness = 0.3, 0.0
    start, end, peak = truth["intervals"][0]
    for frame, active in ((peak, 1.0), (start - 1, 0.0), (end + 1, 0.0)):
        bpy.context.scene.frame_set(frame + 1)
        relevancy = read(imported.dynamic_object, f"highlight:{layer_id}")
        np.testing.assert_allclose(read(imported.dynamic_object, "highlight"), (relevancy >= 0.3) * active)
    assert relevancy.max() > 0.3  # so that it is the curve that hides it


def test_softness_is_a_smooth_step_around_the_threshold(imported, ask, truth):
    layer_id = ask(PROMPT)
    layer = imported.layers[0]
    layer.threshold, layer.softness = 0.6, 0.3
    bpy.context.scene.frame_set(truth["intervals"][0][2] + 1)
    relevancy = read(imported.dynamic_object, f"highlight:{layer_id}")
    x = np.clip((relevancy - 0.3) / 0.6, 0, 1)
    np.testing.assert_allclose(read(imported.dynamic_object, "highlight"), x * x * (3 - 2 * x), atol=1e-5)


def test_an_edited_strength_curve_shows(imported, ask, truth):
    layer_id = ask(PROMPT)
    peak = truth["intervals"][0][2] + 1
    curve = _curve(imported, layer_id, "strength")
    curve.keyframe_points.insert(peak, 0.25)
    bpy.context.scene.frame_set(peak)
    assert read(imported.dynamic_object, "highlight").max() == pytest.approx(0.25, abs=0.01)


def test_an_edited_active_curve_shows(imported, ask, truth):
    layer_id = ask(PROMPT)
    peak = truth["intervals"][0][2] + 1
    bpy.context.scene.frame_set(peak)
    assert read(imported.dynamic_object, "highlight").max() > 0.9
    for point in _curve(imported, layer_id, "active").keyframe_points:
        point.co.y = 0.0
    bpy.context.scene.frame_set(peak)
    assert read(imported.dynamic_object, "highlight").max() == 0.0


def test_a_disabled_layer_is_hidden_at_once(imported, ask, truth):
    ask(PROMPT)
    bpy.context.scene.frame_set(truth["intervals"][0][2] + 1)
    imported.layers[0].enabled = False
    assert read(imported.dynamic_object, "highlight").max() == 0.0
    imported.layers[0].enabled = True
    assert read(imported.dynamic_object, "highlight").max() > 0.9


def test_the_same_prompt_again_updates_its_layer_and_keeps_edits(imported, ask, until):
    from blender_addon.layers import layers
    from blender_addon.link import session

    layer_id = ask(PROMPT)
    other = ask("a wooden box standing on the floor")
    box = read(imported.static_object, f"highlight:{other}").copy()
    layer, scene = imported.layers[0], bpy.context.scene
    assert not layers.is_edited(imported, layer, scene)
    _curve(imported, layer_id, "strength").keyframe_points.insert(4, 0.5)
    assert not layers.is_edited(imported, layer, scene)  # strength is the animator's own
    for point in _curve(imported, layer_id, "active").keyframe_points:
        point.co.y = 0.0
    marker = scene.timeline_markers[layer.markers[0].name]
    marker.frame += 1
    moved = marker.frame
    assert ask("  The ball  is FLYING ") == layer_id
    assert len(imported.layers) == 2
    assert _keys(_curve(imported, layer_id, "strength")) == [(1.0, 1.0), (4.0, 0.5)]
    assert max(value for _, value in _keys(_curve(imported, layer_id, "active"))) == 0.0
    assert marker.frame == moved
    np.testing.assert_array_equal(read(imported.static_object, f"highlight:{other}"), box)
    assert bpy.ops.legs4d.ask_again(layer_id=layer_id, replace_edits=True) == {"FINISHED"}
    until(lambda: not session.current.questions.busy, "the answer")
    assert max(value for _, value in _keys(_curve(imported, layer_id, "active"))) == 1.0
    assert scene.timeline_markers[layer.markers[0].name].frame == moved - 1
    assert _keys(_curve(imported, layer_id, "strength")) == [(1.0, 1.0), (4.0, 0.5)]
    assert not layers.is_edited(imported, layer, scene)


def test_solo_shows_its_layers_only(imported, ask, truth):
    ask(PROMPT)
    ask("a wooden box standing on the floor")
    bpy.context.scene.frame_set(truth["intervals"][0][2] + 1)
    from blender_addon.layers import layers

    ball, box = imported.layers
    box.enabled = False
    ball_alone = read(imported.dynamic_object, "highlight").copy()
    box.enabled, ball.solo = True, True
    assert [weight.weight > 0 for weight in layers.weights(imported, bpy.context.scene.frame_current)] == [True, False]
    np.testing.assert_array_equal(read(imported.dynamic_object, "highlight"), ball_alone)
    tree = imported.dynamic_object.modifiers["4-LEGS"].node_group
    assert [tree.nodes[layer.layer_id].inputs["Enabled"].default_value for layer in (ball, box)] == [1.0, 0.0]
    ball.enabled = False
    assert not read(imported.dynamic_object, "highlight").any()


def test_a_duplicate_has_its_own_curves_and_the_same_answer(imported, ask, truth):
    layer_id = ask(PROMPT)
    strength = _curve(imported, layer_id, "strength")
    strength.keyframe_points.insert(4, 0.5)
    imported.layers[0].color, imported.layers[0].label = (0.1, 0.2, 0.3), "thrown"
    ask("a wooden box standing on the floor")
    assert bpy.ops.legs4d.duplicate_layer(layer_id=layer_id) == {"FINISHED"}
    assert [layer.label or layer.prompt for layer in imported.layers] == [
        "thrown",
        "thrown copy",
        "a wooden box standing on the floor",
    ]
    copy = imported.layers[1]
    assert copy.layer_id != layer_id and tuple(copy.color) == pytest.approx((0.1, 0.2, 0.3))
    for name in ("relevancy", "active", "strength"):
        assert _keys(_curve(imported, copy.layer_id, name)) == _keys(_curve(imported, layer_id, name))
    _curve(imported, copy.layer_id, "strength").keyframe_points[0].co.y = 0.1
    assert _keys(strength)[0] == (1.0, 1.0)
    bpy.context.scene.frame_set(truth["intervals"][0][2] + 1)
    both = [read(imported.dynamic_object, f"highlight:{one}") for one in (layer_id, copy.layer_id)]
    np.testing.assert_array_equal(*both)
    tree = imported.dynamic_object.modifiers["4-LEGS"].node_group
    assert {copy.layer_id, layer_id} <= {node.name for node in tree.nodes}


def test_another_prompt_in_a_layer_is_asked_in_its_place(imported, ask, until):
    from blender_addon.link import session

    layer_id = ask(PROMPT)
    before = read(imported.dynamic_object, f"highlight:{layer_id}").copy()
    imported.layers[0].prompt = "a wooden box standing on the floor"
    assert session.current.questions.get(layer_id)
    until(lambda: not session.current.questions.busy, "the answer")
    assert imported.layers[0].layer_id == layer_id
    assert read(imported.static_object, f"highlight:{layer_id}").max() > 0.5
    assert not np.array_equal(read(imported.dynamic_object, f"highlight:{layer_id}"), before)
    assert not [m for m in bpy.context.scene.timeline_markers if m.name.startswith(PROMPT)]


def test_highlight_is_the_strongest_of_the_layers(imported, ask, truth):
    ask(PROMPT)
    ask("a ball lying still on the floor")
    bpy.context.scene.frame_set(truth["intervals"][0][2] + 1)
    both = read(imported.dynamic_object, "highlight").copy()
    single = []
    for kept in (0, 1):
        for index, layer in enumerate(imported.layers):
            layer.enabled = index == kept
        single.append(read(imported.dynamic_object, "highlight").copy())
    np.testing.assert_array_equal(both, np.maximum(*single))


def test_a_removed_layer_takes_its_things_and_no_others(imported, ask):
    layer_id, other = ask(PROMPT), ask("a wooden box standing on the floor")
    assert bpy.ops.legs4d.remove_layer(layer_id=layer_id) == {"FINISHED"}
    assert [layer.layer_id for layer in imported.layers] == [other]
    for cloud in imported.clouds:
        assert f"highlight:{layer_id}" not in cloud.attributes and f"highlight:{other}" in cloud.attributes
    for name in ("relevancy", "active", "strength"):
        assert _curve(imported, layer_id, name) is None and f"legs4d:{layer_id}:{name}" not in imported.empty
        assert _curve(imported, other, name) is not None and f"legs4d:{other}:{name}" in imported.empty
    assert not [m for m in bpy.context.scene.timeline_markers if m.name.startswith(PROMPT)]
    bpy.context.scene.frame_set(5)


def test_reordering_layers_moves_no_animation(imported, ask):
    first, second = ask(PROMPT), ask("a wooden box standing on the floor")
    curve = _keys(_curve(imported, first, "active"))
    assert bpy.ops.legs4d.move_layer(direction="UP") == {"FINISHED"}
    assert [layer.layer_id for layer in imported.layers] == [second, first]
    assert _keys(_curve(imported, first, "active")) == curve


def test_jump_goes_to_the_peak(imported, ask, truth):
    ask(PROMPT)
    assert bpy.ops.legs4d.jump() == {"FINISHED"}
    assert bpy.context.scene.frame_current == truth["intervals"][0][2] + 1


def test_the_field_asks_on_enter_and_is_empty_again(imported, until):
    from blender_addon.link import session

    bpy.context.window_manager.legs4d.prompt = PROMPT
    assert [layer.prompt for layer in imported.layers] == [PROMPT]
    assert bpy.context.window_manager.legs4d.prompt == ""
    until(lambda: not session.current.questions.busy, "the answer")
    assert len(imported.layers[0].intervals) == 1


def test_an_empty_prompt_is_refused(imported):
    assert bpy.ops.legs4d.ask(prompt="  ") == {"CANCELLED"}
    assert len(imported.layers) == 0


def test_undo_takes_back_a_layer_and_redo_brings_it(imported, ask):
    from blender_addon.sequence import sequence

    bpy.ops.ed.undo_push(message="before")
    bpy.ops.legs4d.ask("EXEC_DEFAULT", True, prompt=PROMPT)
    bpy.ops.ed.undo()
    assert len(sequence.find(bpy.context.scene)[0].layers) == 0
    bpy.ops.ed.redo()
    assert [layer.prompt for layer in sequence.find(bpy.context.scene)[0].layers] == [PROMPT]


def test_undoing_a_later_step_keeps_the_keyframes(imported, ask):
    from blender_addon.sequence import sequence

    layer_id = ask(PROMPT)
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="a person's own step")
    bpy.ops.ed.undo()
    again = sequence.find(bpy.context.scene)[0]
    assert len(_keys(_curve(again, layer_id, "relevancy"))) == FRAMES
    assert len(again.layers[0].intervals) == 1


@pytest.mark.parametrize("of_before", [False, True])
def test_saved_with_a_layer_it_opens_with_it(imported, ask, truth, tmp_path, of_before):
    """Also a file of before relevancies were bytes, whose node group reads 0..1."""
    from blender_addon import look
    from blender_addon.sequence import attributes, sequence

    layer_id = ask(PROMPT)
    file = str(tmp_path / "scene.blend")
    if of_before:
        for child in imported.objects:
            values = read(child, f"highlight:{layer_id}")
            attributes.write(child.data, f"highlight:{layer_id}", "FLOAT", values)
            child.data["legs4d:weights"] = child.data.get("legs4d:weights", "").removeprefix("INT8 ")
        tree = imported.dynamic_object.modifiers["4-LEGS"].node_group
        tree["legs4d:layers"] = f"10:{tree['legs4d:layers'].partition(':')[2]}"
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.ops.wm.open_mainfile(filepath=file)
    peak = truth["intervals"][0][2]
    bpy.context.scene.frame_set(peak + 1)
    again = sequence.find(bpy.context.scene)[0]
    np.testing.assert_allclose(
        read(again.dynamic_object, f"highlight:{layer_id}"), truth["relevancy"][peak], atol=0.5 / 255 + 1e-6
    )
    assert read(again.dynamic_object, "highlight").max() > 0.9
    assert again.static_object.data.attributes[f"highlight:{layer_id}"].data_type == "INT8"
    assert not look.outdated(again.empty)


class _Layout:
    """Notes the labels that are drawn into it or into any part of it."""

    def __init__(self, labels):
        self._labels = labels

    def __getattr__(self, name):
        return self._draw

    def _draw(self, *given, **named):
        self._labels += [named["text"]] if named.get("text") else []
        return _Layout(self._labels)


def test_what_the_backend_did_not_understand_is_said_under_the_prompt(imported, ask):
    from blender_addon import wire
    from blender_addon.cache import storage
    from blender_addon.layers import layers, prompt_panel
    from blender_addon.link import questions

    layer_id = ask(PROMPT)
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))  # 0 where there is no window
    context = SimpleNamespace(preferences=preferences, region=None, scene=bpy.context.scene)

    def drawn():
        labels = []
        prompt_panel._draw_layer(_Layout(labels), context, imported, layers.find(imported, layer_id))
        return labels

    assert "It knows no zeppelin." not in drawn()

    cache = storage.find(imported.empty)
    body = {"prompt": PROMPT, "intervals": [], "threshold": 0.5, "seconds": 0.1, "warnings": ["It knows no zeppelin."]}
    arrays = {"relevancy": np.zeros(FRAMES, "f4"), "static": np.zeros(cache.description.num_static, "u1")}
    answer = questions._sink(cache, "a zeppelin")(wire.Message(kind=wire.Kind.ANSWER, id=1, body=body, arrays=arrays))
    layers.take_answer(imported, layer_id, "another", answer, bpy.context.scene)
    assert "It knows no zeppelin." in drawn()
