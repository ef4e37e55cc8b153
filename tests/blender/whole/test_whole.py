"""A sequence as one object: what is done to a part is done to all, copies are their own, linked ones play."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from conftest import FRAMES, read


def world(item: bpy.types.Object) -> np.ndarray:
    """[N, 3] positions of a cloud's points in the world."""
    from blender_addon import names
    from blender_addon.sequence import attributes

    points = attributes.read(item.data, names.POSITION)
    matrix = np.array(item.matrix_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def parts(shown) -> list[bpy.types.Object]:
    return [shown.empty, *shown.objects]


def update() -> None:
    bpy.context.view_layer.update()


@pytest.fixture
def whole(imported):
    """The ball, deselected, at frame 3."""
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = None
    bpy.context.scene.frame_set(3)
    update()
    return imported


def test_selecting_or_deselecting_a_part_does_so_to_all(whole) -> None:
    moving = whole.dynamic_object
    moving.select_set(True)
    bpy.context.view_layer.objects.active = moving
    update()
    assert all(part.select_get() for part in parts(whole))
    assert bpy.context.view_layer.objects.active == moving, "Tab edits its points"
    assert list(moving.lock_location) == [True] * 3, "typed values cannot tear it either"
    for part in parts(whole):  # a click on what is selected
        part.select_set(part is moving)
    update()
    assert all(part.select_get() for part in parts(whole))
    whole.static_object.select_set(False)
    update()
    assert not any(part.select_get() for part in parts(whole))
    whole.its.as_one = False
    moving.select_set(True)
    update()
    assert not whole.empty.select_get(), "As One is off: its modifiers can be reached"


@pytest.mark.parametrize("kind", ["ORIGIN_GEOMETRY", "GEOMETRY_ORIGIN", "ORIGIN_CURSOR"])
def test_setting_origins_does_not_tear_it(whole, kind) -> None:
    """Blender sets one for each cloud: their points would part, as those have other middles."""
    whole.empty.location = (1, 2, 3)
    whole.empty.select_set(True)
    update()
    before = [world(child) for child in whole.objects]
    bpy.ops.object.origin_set(type=kind)
    update()
    bpy.context.scene.frame_set(bpy.context.scene.frame_current)
    for child, places in zip(whole.objects, before, strict=True):
        np.testing.assert_allclose(world(child), places, atol=1e-5)


def test_moving_hiding_and_deleting(whole) -> None:
    bpy.ops.legs4d.select_all(action="ALL")
    assert bpy.ops.legs4d.separate() == {"CANCELLED"}, "nothing would be left of it"
    before = world(whole.static_object)
    whole.dynamic_object.select_set(True)
    update()
    bpy.ops.transform.translate(value=(1, 2, 3))
    update()
    np.testing.assert_allclose(world(whole.static_object), before + np.array((1, 2, 3)), atol=1e-5)
    whole.empty.hide_set(True)
    update()
    assert all(part.hide_get() for part in parts(whole))
    whole.empty.hide_set(False)
    whole.empty.hide_render = True
    update()
    assert not any(part.hide_get() for part in parts(whole))
    assert all(child.hide_render for child in whole.objects)
    whole.static_object.hide_render = False
    update()
    assert not whole.static_object.hide_render, "a cloud may be shown or hidden on its own"
    whole.empty.select_set(True)
    update()
    bpy.ops.object.delete()
    update()
    assert not [item.name for item in bpy.context.scene.objects]


def test_deleting_the_empty_alone_leaves_no_clouds(whole) -> None:
    bpy.data.objects.remove(whole.empty)
    update()
    assert not [item.name for item in bpy.context.scene.objects]


def test_parenting_keeps_it_together(whole) -> None:
    holder = bpy.data.objects.new("holder", None)
    bpy.context.scene.collection.objects.link(holder)
    holder.location = (5, 0, 0)
    whole.empty.select_set(True)
    update()
    before = world(whole.dynamic_object)
    holder.select_set(True)
    bpy.context.view_layer.objects.active = holder
    bpy.ops.object.parent_set(type="OBJECT", keep_transform=True)
    update()
    assert whole.empty.parent == holder
    assert {child.parent for child in whole.objects} == {whole.empty}
    update()
    np.testing.assert_allclose(world(whole.dynamic_object), before, atol=1e-5)
    holder.location = (6, 0, 0)
    update()
    np.testing.assert_allclose(world(whole.dynamic_object), before + np.array((1, 0, 0)), atol=1e-5)


def test_apply_all_transforms_leaves_the_picture_and_the_next_frames(whole) -> None:
    scene = bpy.context.scene
    whole.empty.location, whole.empty.scale = (1, 2, 3), (2, 2, 2)
    places = {}
    for frame in (6, 3):
        scene.frame_set(frame)
        update()
        places[frame] = [world(child) for child in whole.objects]
    whole.empty.select_set(True)
    bpy.context.view_layer.objects.active = whole.empty
    update()
    assert bpy.ops.object.transform_apply(location=True, rotation=True, scale=True) == {"FINISHED"}
    update()
    assert tuple(whole.empty.location) == (0, 0, 0)
    for frame in (3, 6, 3):
        scene.frame_set(frame)
        update()
        for child, place in zip(whole.objects, places[frame], strict=True):
            np.testing.assert_allclose(world(child), place, atol=1e-4)


@pytest.mark.parametrize("linked", [False, True], ids=["duplicated", "duplicated linked"])
def test_a_duplicate_has_points_keys_and_a_look_of_its_own(whole, linked) -> None:
    from blender_addon.layers import layers
    from blender_addon.sequence import sequence

    scene = bpy.context.scene
    first = layers.add(whole, "a prompt")
    whole.its.mode = "ISOLATE"  # makes the look
    whole.empty.select_set(True)
    bpy.context.view_layer.objects.active = whole.empty
    update()
    bpy.ops.object.duplicate(linked=linked)
    update()
    other = next(one for one in sequence.find(scene) if one.empty != whole.empty)
    assert len(other.objects) == len(whole.objects)
    assert not {cloud.name for cloud in other.clouds} & {cloud.name for cloud in whole.clouds}
    trees = [one.dynamic_object.modifiers["4-LEGS"].node_group for one in (whole, other)]
    assert trees[0] != trees[1]
    assert other.layers[0].layer_id != first
    assert other.its.identity != whole.its.identity
    other.its.start_frame = 4
    scene.frame_set(5)
    assert np.abs(world(other.dynamic_object) - world(whole.dynamic_object)).max() > 0.01
    other.layers[0].threshold = 0.125
    assert trees[0].nodes[first].inputs["Threshold"].default_value == 0.5
    assert trees[1].nodes[other.layers[0].layer_id].inputs["Threshold"].default_value == 0.125
    targets = {t.id for d in trees[1].animation_data.drivers for v in d.driver.variables for t in v.targets}
    assert targets == {other.empty}


def test_a_duplicate_shows_its_layers_as_the_original_does(whole, asked) -> None:
    """They are not written anew, so their own ids, thresholds and frames have to reach what Blender copied."""
    from blender_addon import names
    from blender_addon.sequence import sequence

    scene = bpy.context.scene
    shown_at = next(frame for frame in range(1, FRAMES + 1) if _highlight(scene, frame, whole.dynamic_object).max() > 0)
    scene.frame_set(shown_at)
    for part in parts(whole):
        part.select_set(True)
    bpy.context.view_layer.objects.active = whole.empty
    update()
    bpy.ops.object.duplicate()
    update()
    other = next(one for one in sequence.find(scene) if one.empty != whole.empty)
    for one, another in zip(whole.objects, other.objects, strict=True):
        np.testing.assert_array_equal(read(another, "highlight"), read(one, "highlight"))
        own, its = (names.layer_attribute(its_own.layers[0].layer_id) for its_own in (other, whole))
        np.testing.assert_array_equal(read(another, own), read(one, its))
    other.layers[0].enabled = False
    assert not any(read(child, "highlight").any() for child in other.objects)
    assert read(whole.dynamic_object, "highlight").any()


def _duplicate(whole, *others: bpy.types.Object):
    """Of the sequence, and of other objects that are selected with it."""
    from blender_addon.sequence import sequence

    for part in (*parts(whole), *others):
        part.select_set(True)
    bpy.context.view_layer.objects.active = whole.empty
    update()
    bpy.ops.object.duplicate()
    update()
    return next(one for one in sequence.find(bpy.context.scene) if one.empty != whole.empty)


def test_a_duplicate_without_layers_follows_its_own_values(whole) -> None:
    from blender_addon import look

    look.sync(whole.empty)
    other = _duplicate(whole)
    tree = other.dynamic_object.modifiers["4-LEGS"].node_group
    targets = {t.id for d in tree.animation_data.drivers for v in d.driver.variables for t in v.targets}
    assert targets == {other.empty}


@pytest.mark.parametrize("along", [False, True], ids=["alone", "with its arrow"])
def test_a_duplicate_has_an_arrow_of_its_own(whole, along) -> None:
    from blender_addon.selection import grades

    grades.add(whole, "RAMP")
    arrow = whole.its.grades[0].handle
    other = _duplicate(whole, *([arrow] if along else []))
    its_own = other.its.grades[0].handle
    assert {item for item in bpy.data.objects if "ramp" in item.name} == {arrow, its_own}
    assert its_own != arrow and its_own.parent == other.empty
    other.empty.location.x += 1.0
    update()
    assert its_own.matrix_world.translation.x == pytest.approx(arrow.matrix_world.translation.x + 1.0)


def test_a_duplicates_arrow_stays_with_what_else_carries_it(whole) -> None:
    from blender_addon.selection import grades

    grades.add(whole, "RAMP")
    arrow, lamp = whole.its.grades[0].handle, bpy.data.objects.new("Lamp", None)
    bpy.context.scene.collection.objects.link(lamp)
    lamp.location, arrow.parent = (3, 2, 1), lamp
    update()
    its_own = _duplicate(whole).its.grades[0].handle
    assert its_own != arrow and its_own.parent == lamp
    np.testing.assert_allclose(np.array(its_own.matrix_world), np.array(arrow.matrix_world), atol=1e-6)


def test_arrows_are_deleted_with_their_sequence_and_undone_with_it(whole) -> None:
    from blender_addon.selection import grades
    from blender_addon.sequence import sequence

    grades.add(whole, "RAMP")
    kept = _duplicate(whole).its.grades[0].handle.name
    bpy.ops.ed.undo_push(message="duplicated")
    bpy.ops.object.select_all(action="DESELECT")
    for part in parts(whole):
        part.select_set(True)
    bpy.context.view_layer.objects.active = whole.empty
    gone = whole.its.grades[0].handle.name
    bpy.ops.object.delete()
    update()
    assert gone not in bpy.data.objects and kept in bpy.data.objects
    bpy.ops.ed.undo_push(message="deleted")
    bpy.ops.ed.undo()
    found = sequence.find(bpy.context.scene)
    assert {one.its.grades[0].handle.name for one in found} == {gone, kept}
    assert all(one.its.grades[0].handle.users_scene for one in found)


def _highlight(scene, frame: int, item: bpy.types.Object) -> np.ndarray:
    scene.frame_set(frame)
    return read(item, "highlight")


def test_frame_selected_frames_the_points(whole) -> None:
    """What View > Frame Selected goes by: the bounds of the selected objects."""
    whole.empty.select_set(True)
    update()
    bounds = np.concatenate(
        [np.array(item.bound_box) @ np.array(item.matrix_world)[:3, :3].T for item in bpy.context.selected_objects]
    )
    points = np.concatenate([world(child) for child in whole.objects])
    assert (bounds.min(axis=0) <= points.min(axis=0) + 1e-3).all()
    assert (bounds.max(axis=0) >= points.max(axis=0) - 1e-3).all()


@pytest.fixture
def library(imported, tmp_path):
    """A file with the ball in a collection "capture", and another file open."""
    scene = bpy.context.scene
    collection = bpy.data.collections.new("capture")
    scene.collection.children.link(collection)
    for item in parts(imported):
        for old in list(item.users_collection):
            old.objects.unlink(item)
        collection.objects.link(item)
    places = {}
    for frame in (8, 2):
        scene.frame_set(frame)
        places[frame] = world(imported.dynamic_object)
    file = tmp_path / "capture.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="blender_addon")
    bpy.context.preferences.addons["blender_addon"].preferences.cache_folder = str(tmp_path / "cache")
    return file, places


@pytest.mark.parametrize("way", ["linked", "instance", "override"])
def test_a_linked_sequence_plays_is_not_edited_and_can_be_made_local(library, way) -> None:
    from blender_addon.sequence import sequence

    file, places = library
    scene = bpy.context.scene
    bpy.ops.wm.link(directory=f"{file}/Collection/", filename="capture", instance_collections=way != "linked")
    if way == "override":
        bpy.context.view_layer.objects.active.select_set(True)
        bpy.ops.object.make_override_library()
    (shown,) = sequence.find(scene)
    bpy.context.view_layer.objects.active = shown.empty if shown.empty.name in scene.objects else None
    for frame, place in places.items():
        scene.frame_set(frame)
        update()
        np.testing.assert_allclose(np.array(world(shown.dynamic_object)), place, atol=1e-6)
    before = list(shown.empty.keys())
    for operator in (bpy.ops.legs4d.ask, bpy.ops.legs4d.remap_time, bpy.ops.legs4d.retime):
        assert not operator.poll()
    assert list(shown.empty.keys()) == before
    assert bpy.ops.legs4d.make_local() == {"FINISHED"}
    local = next(one for one in sequence.find(scene) if not one.locked)
    assert len(sequence.find(scene)) == 1
    bpy.context.view_layer.objects.active = local.empty
    for frame, place in places.items():
        scene.frame_set(frame)
        update()
        np.testing.assert_allclose(world(local.dynamic_object), place, atol=1e-5)
    assert bpy.ops.legs4d.remap_time(speed=0.5) == {"FINISHED"}


def test_saving_a_shot_does_not_keep_another_files_points(library, tmp_path) -> None:
    file, _ = library
    bpy.ops.wm.link(directory=f"{file}/Collection/", filename="capture", instance_collections=False)
    bpy.context.scene.frame_set(4)
    assert [one.name for one in bpy.data.pointclouds if one.library is None]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), copy=True)
    with bpy.data.libraries.load(str(tmp_path / "shot.blend")) as (held, _):
        assert list(held.pointclouds) == []
    assert [one.name for one in bpy.data.pointclouds if one.library is None], "it plays on"
