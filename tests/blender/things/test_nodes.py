"""Nodes that bend what is near them, in the hands of an artist: hidden, applied, copied, linked, moved elsewhere."""

import json
import shutil

import bpy
import numpy as np
import pytest

PLACES = [[-1, 0, 0], [1, 0, 0], [0, 0, -1], [0, 0.5, 0]]
FRAMES = 4


def bends(tmp_path, places=PLACES):
    """A motion's file that bends from frame to frame more."""
    frames = []
    for frame in range(FRAMES):
        bend = [[0.1 * frame * (number % 2), 0.05 * frame, 0, 1, 0, 0, 0] for number in range(len(places))]
        frames.append({"move": [0, 0, 0], "turn": [1, 0, 0, 0], "bend": bend})
    told = {"kind": "legs4d motion", "version": 2, "fps": 12.0, "object": "", "pivot": [0, 0, 0], "nodes": places}
    (tmp_path / "bends.json").write_text(json.dumps({**told, "frames": frames}))
    return str(tmp_path / "bends.json")


def said(shown, at):
    """Places of all points at a scene frame, after another one; in the run's axes."""
    from blender_addon.sequence import attributes

    bpy.context.scene.frame_set(at % FRAMES + 1)
    bpy.context.scene.frame_set(at)
    return np.concatenate([attributes.read(cloud, "position") for cloud in shown.clouds])


def nodes_of(shown):
    return [one for one in shown.empty.children if "legs4d_node" in one]


def choose(*items):
    for item in bpy.context.selected_objects:
        item.select_set(False)
    for item in items:
        item.select_set(True)
    bpy.context.view_layer.objects.active = items[0]


@pytest.fixture
def bent(imported, tmp_path):
    """The run `ball`, bent; its points in frame 3, and in frame 4."""
    free = said(imported, 3)
    choose(imported.empty)
    assert bpy.ops.legs4d.apply_motion(filepath=bends(tmp_path), start_frame=1) == {"FINISHED"}
    third = said(imported, 3)
    assert 0.1 < np.abs(third - free).max() < 1
    return imported, third, said(imported, 4)


def test_hidden_in_whatever_way_nodes_bend_by_their_keys(bent):
    shown, third, fourth = bent
    found = nodes_of(shown)
    found[1].rotation_mode, found[2].rotation_mode = "XYZ", "AXIS_ANGLE"
    third, fourth = said(shown, 3), said(shown, 4)
    (collection,) = found[0].users_collection
    layer = bpy.context.view_layer.layer_collection.children[collection.name]
    for owners, name in ((found, "hide_viewport"), ([layer], "exclude"), ([collection], "hide_viewport")):
        for owner in owners:
            setattr(owner, name, True)
        np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)
        np.testing.assert_allclose(said(shown, 4), fourth, atol=1e-5)
        for owner in owners:
            setattr(owner, name, False)
    for one in found:
        one.hide_viewport = one.hide_render = True
    scene = bpy.context.scene
    scene.frame_set(3)
    at_render = []

    def note(*_):
        from blender_addon.sequence import attributes

        at_render.append(np.concatenate([attributes.read(cloud, "position") for cloud in shown.clouds]))

    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine, scene.cycles.samples = camera, "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.frame_start, scene.frame_end, scene.render.filepath = 3, 4, bpy.app.tempdir
    bpy.app.handlers.render_post.append(note)
    try:
        bpy.ops.render.render(animation=True)
    finally:
        bpy.app.handlers.render_post.remove(note)
    np.testing.assert_allclose(at_render[0], third, atol=1e-5)
    np.testing.assert_allclose(at_render[1], fourth, atol=1e-5)


def test_apply_on_nodes_scales_of_nothing_and_mirrors_leave_what_keys_bend(bent):
    shown, third, _ = bent
    found = nodes_of(shown)
    choose(shown.empty, *shown.objects, *found)
    assert bpy.ops.object.transform_apply() == {"FINISHED"}
    np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)
    shown.empty.scale = (0, 0, 0)
    bpy.context.view_layer.update()
    said(shown, 2)
    shown.empty.scale = (1, 1, 1)
    found[0].scale, found[1].scale = (-1, 1, 1), (0, 0, 0)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)


def test_nodes_in_one_place_share_what_is_around_and_applied_again_nothing_is_left_over(bent, tmp_path):
    shown, third, _ = bent
    choose(shown.empty)
    bpy.ops.legs4d.apply_motion(filepath=bends(tmp_path, [[0, 0, 0]] * 5), start_frame=1)
    moved = said(shown, 3) - said(shown, 1)
    still = shown.its.num_static
    # Five that share: two of them go 0.2 along x, all 0.1 along y.
    np.testing.assert_allclose(moved[:still], np.tile([0.08, 0.1, 0], (still, 1)), atol=0.05)
    for _ in range(2):
        bpy.ops.legs4d.apply_motion(filepath=bends(tmp_path), start_frame=1)
    np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)
    assert len(nodes_of(shown)) == len(PLACES)
    assert [one.name for one in bpy.data.collections] == ["ball nodes"]


def test_a_number_that_is_none_or_of_another_run_bends_nothing(bent):
    shown, third, _ = bent
    node = nodes_of(shown)[0]
    for number in (7, -5, "x", 1.5, [1, 2]):
        node["legs4d_node"] = number
        others = said(shown, 3)
        assert np.isfinite(others).all() and np.abs(others - third).max() > 0.01
    node["legs4d_node"] = -1
    np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)


def test_a_linked_duplicate_s_nodes_have_keys_of_their_own(bent):
    from blender_addon.sequence import sequence

    shown, third, _ = bent
    choose(shown.empty, *shown.objects, *nodes_of(shown))
    bpy.ops.object.duplicate(linked=True)
    twin = next(one for one in sequence.find(bpy.context.scene) if one.empty != shown.empty)
    assert len(nodes_of(twin)) == len(PLACES)
    for one in nodes_of(twin):
        one.animation_data.action.layers[0].strips[0].channelbags[0].fcurves.clear()
        one.location = (0, 0, 5)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)
    assert np.abs(said(twin, 3) - third).max() > 3


def test_who_takes_the_collection_to_another_file_takes_the_nodes(imported, tmp_path):
    from blender_addon.sequence import sequence

    stage = bpy.data.collections.new("stage")
    bpy.context.scene.collection.children.link(stage)
    for part in (imported.empty, *imported.objects):
        bpy.context.scene.collection.objects.unlink(part)
        stage.objects.link(part)
    choose(imported.empty)
    bpy.ops.legs4d.apply_motion(filepath=bends(tmp_path), start_frame=1)
    third = said(imported, 3)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "stage.blend"))
    for link in (True, False):
        bpy.ops.wm.read_homefile(use_empty=True)
        with bpy.data.libraries.load(str(tmp_path / "stage.blend"), link=link) as (_, taken):
            taken.collections = ["stage"]
        bpy.context.scene.collection.children.link(taken.collections[0])
        bpy.context.view_layer.update()
        (shown,) = sequence.find(bpy.context.scene)
        assert bool(shown.locked) == link and len(nodes_of(shown)) == len(PLACES)
        np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)


def test_where_the_frame_that_nodes_hang_in_is_missing_that_is_said(bent):
    from blender_addon.cache import missing, storage
    from blender_addon.sequence import playback

    shown, third, _ = bent
    cache = storage.find(shown.empty)
    file = cache._frame_file(0)
    kept = file.with_suffix(".kept")
    shutil.move(file, kept)
    storage.forget()
    playback._players.clear()
    said(shown, 3)
    assert "Frame 0 of 'ball', in which" in playback.message(shown.empty)
    assert "1 of 2 capture frames" in missing.missing(shown, [3])
    shutil.move(kept, file)
    storage.forget()
    np.testing.assert_allclose(said(shown, 3), third, atol=1e-5)
    assert not playback.message(shown.empty) and not missing.missing(shown, [3])
