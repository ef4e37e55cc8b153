"""Objects of a run as Empties: each is where its thing is, in every frame, and carries what is parented to it."""

import json
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Quaternion, Vector

FRAMES = 4
POSE = np.zeros((FRAMES, 2, 7), np.float32)
POSE[:, 0, :3] = [[t, 0.5 * t, -t] for t in range(FRAMES)]
POSE[:, :, 3] = 1
for t in range(FRAMES):
    POSE[t, 0, 3:] = [np.cos(0.2 * t), 0, np.sin(0.2 * t), 0]
TABLE = {
    "pose": POSE,
    "scale": np.full((FRAMES, 2), 1.5, np.float32),
    "visible": np.array([[True, True], [True, False], [True, True], [True, True]]),
    "names": np.frombuffer(json.dumps(["basketball", ""]).encode(), np.uint8),
    "ids": np.array([2, 5]),
}


@pytest.fixture
def shown(addon):
    from blender_addon.cache.frames import Description
    from blender_addon.sequence.sequence import Sequence

    return Sequence.create(Description("run", "shots/run", "r", FRAMES, 2, 2, 10.0), bpy.context.scene.collection, 11)


def test_an_empty_goes_where_the_ball_goes(shown):
    from blender_addon.sequence.objects import add_objects, objects_of

    ball, other = add_objects(shown, TABLE)
    assert objects_of(shown) == [ball, other] and (ball["legs4d_number"], other["legs4d_number"]) == (2, 5)
    assert (ball.name, other.name) == ("basketball", "run object 1") and ball.parent == shown.empty
    tip = bpy.data.objects.new("tip", None)
    bpy.context.scene.collection.objects.link(tip)
    tip.parent, tip.location = ball, (1, 0, 0)
    for t in range(FRAMES):
        bpy.context.scene.frame_set(11 + t)
        bpy.context.view_layer.update()
        world = shown.empty.matrix_world
        expected = world @ Vector(POSE[t, 0, :3].tolist())
        assert (ball.matrix_world.translation - expected).length < 1e-5
        carried = Vector(POSE[t, 0, :3].tolist()) + Quaternion(POSE[t, 0, 3:].tolist()) @ Vector((1.5, 0, 0))
        assert (tip.matrix_world.translation - world @ carried).length < 1e-5
        assert other["legs4d_there"] == float(TABLE["visible"][t, 1])


def test_apply_leaves_things_and_filming_cameras_where_they_are_in_all_frames(imported):
    from blender_addon.sequence.objects import add_objects

    def where(found, at):
        bpy.context.scene.frame_set(at % 3 + 1)
        bpy.context.scene.frame_set(at)
        bpy.context.view_layer.update()
        return np.array([one.matrix_world for one in found])

    def cameras():
        for item in bpy.context.selected_objects:
            item.select_set(False)
        bpy.context.view_layer.objects.active = imported.empty
        assert bpy.ops.legs4d.bring_cameras() == {"FINISHED"}
        return [one for one in imported.empty.children if one.type == "CAMERA"]

    empty = imported.empty
    empty.location, empty.rotation_euler.z, empty.scale = (1, 2, 3), 0.7, (2, 2, 2)
    hanging = [*add_objects(imported, TABLE), *cameras()]
    before = where(hanging, 3)
    for others in (imported.objects, [], [*imported.objects, *hanging]):
        for item in bpy.context.selected_objects:
            item.select_set(False)
        for item in (empty, *others):
            item.select_set(True)
        bpy.context.view_layer.objects.active = empty
        assert bpy.ops.object.transform_apply() == {"FINISHED"}
        assert empty.location.length == 0
        np.testing.assert_allclose(where(hanging, 3)[:, :3, 3], before[:, :3, 3], atol=1e-4)
        np.testing.assert_allclose(where(hanging[:2], 3), before[:2], atol=1e-4)
    later = [one for one in cameras() if one not in hanging]
    np.testing.assert_allclose(where(later, 3)[:, :3, 3], before[2:, :3, 3], atol=1e-4)
    empty.location = (0, 0, 1)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(where(hanging, 3)[:, :3, 3], before[:, :3, 3] + [0, 0, 1], atol=1e-4)


def test_a_run_without_objects_gives_no_empties(shown):
    from blender_addon.sequence.objects import add_objects

    assert add_objects(shown, {}) == []


def test_a_follower_goes_where_an_object_is_and_waits_where_it_is_not_seen(shown, monkeypatch):
    from blender_addon.effects import follower
    from blender_addon.effects.places import Nowhere
    from blender_addon.sequence.objects import add_objects

    cache = SimpleNamespace(table=lambda name: TABLE)
    monkeypatch.setattr(follower, "storage", SimpleNamespace(find=lambda empty: cache))
    scene, (ball, box) = bpy.context.scene, add_objects(shown, TABLE)
    shown.empty.location = (0, 0, 3)
    bpy.context.view_layer.update()
    for made in (follower.of_object(scene, shown, "basketball", None), follower.of_object(scene, shown, "", ball)):
        for t in range(FRAMES):
            scene.frame_set(11 + t)
            expected = shown.empty.matrix_world @ Vector(POSE[t, 0, :3].tolist())
            assert (made.matrix_world.translation - expected).length < 1e-5
    with pytest.raises(Nowhere, match=f"Name one of the objects 'basketball', '{box.name}'"):
        follower.of_object(scene, shown, "", None)
    ball.name = "orange one"  # as its user calls it now
    assert follower.of_object(scene, shown, "orange one", None).name == "Follows orange one"
    pose = POSE.copy()
    pose[:, 1, 0] = (0.0, 5.0, 2.0, 3.0)  # its second frame is the one that does not see it
    monkeypatch.setitem(TABLE, "pose", pose)
    other = follower.of_object(scene, shown, "", box)
    scene.frame_set(12)
    assert other.matrix_world.translation.x == pytest.approx(0.0)
