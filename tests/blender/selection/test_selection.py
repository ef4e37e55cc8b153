"""What is selected, deleted and hidden of a sequence, and that everything obeys it."""

import bpy
import numpy as np
import pytest

FRAMES = 3
STILL = np.array([(x, y, 0) for x in range(4) for y in range(4)], "f4")
"""A sheet of 16 points that do not move, 1 apart."""
MOVING = np.array([(0, 0, 5), (1, 0, 5), (30, 0, 5), (0, 30, 5)], "f4")
"""Two that hang together, two that are far from everything."""
LOOSE = (
    np.array([(0, 0, 9), (9, 9, 9)], "f4"),
    np.zeros((0, 3), "f4"),
    np.array([(9, 9, 9), (1, 1, 9), (2, 2, 9)], "f4"),
)


def _splats(means, name_sizes=0.3):
    count = len(means)
    quats = np.tile(np.array([1, 0, 0, 0], "f4"), (count, 1))
    scales = np.full((count, 3), name_sizes, "f4")
    colors, opacities = np.zeros((count, 3), "f4"), np.full(count, 0.8, "f4")
    return {"means": means, "quats": quats, "scales": scales, "colors": colors, "opacities": opacities}


@pytest.fixture
def shown(addon, tmp_path):
    """A sequence of static, moving and loose points, its axes Blender's, all frames in the cache."""
    from blender_addon.cache import storage
    from blender_addon.cache.frames import Answer, Description, RunCache
    from blender_addon.layers import layers
    from blender_addon.sequence import display
    from blender_addon.sequence.sequence import Sequence

    its = Description("run", "run", "1", FRAMES, len(STILL), len(MOVING), 10.0, up=(0, 0, 1), num_loose=3)
    (tmp_path / "cache").mkdir()
    cache = RunCache.create(tmp_path / "cache", its)
    still, moving = _splats(STILL), _splats(MOVING)
    still["scales"][3] = (4.0, 0.3, 0.3)
    still["opacities"][5] = 0.05
    cache.write_static(still)
    cache.write_dynamic({**moving, "born": np.zeros(4), "died": np.array([2, 2, 2, 1])})
    cache.write_answer("key", Answer("ball", ((0, 2, 1, 1.0),), (1.0,) * 3), np.arange(16, dtype="u1") * 17)
    for frame in range(FRAMES):
        arrays = {**moving, "means": MOVING + np.float32(frame) * 0.1}
        cache.write_frame(frame, {**arrays, **{f"loose_{n}": v for n, v in _splats(LOOSE[frame]).items()}})
        cache.write_relevancy("key", frame, np.array([255, 0, 0, 0], "u1"), np.full(len(LOOSE[frame]), 255, "u1"))
    storage.adopt(cache)
    made = Sequence.create(its, bpy.context.scene.collection)
    made.its.detail = 1.0
    layer_id = layers.add(made, "ball")
    layers.take_answer(made, layer_id, "key", cache.answer("key"), bpy.context.scene)
    bpy.context.scene.frame_set(1)
    display.update(made.empty)
    bpy.context.view_layer.objects.active = made.empty
    return made


def _read(child, name):
    from blender_addon.sequence import attributes

    return attributes.read(child.data, name)


def _alpha(child):
    return _read(child, "radiance:base")[:, 3]


def _selected(child):
    from blender_addon import names
    from blender_addon.selection import mask

    return np.flatnonzero(mask.read(child.data, names.SELECTED)).tolist()


def _box(shown, center, size, mode="SET"):
    item = bpy.data.objects.new("box", None)
    bpy.context.scene.collection.objects.link(item)
    item.empty_display_size, item.location = size, center
    bpy.context.view_layer.update()
    bpy.ops.legs4d.select_object(box=item.name, mode=mode)
    bpy.data.objects.remove(item)


def test_a_box_selects_what_is_inside_it_and_modes_combine(shown):
    _box(shown, (0.5, 0.5, 0), 0.6)
    assert _selected(shown.static_object) == [0, 1, 4, 5] and _selected(shown.dynamic_object) == []
    _box(shown, (0, 0.5, 2.5), 3.0, "ADD")
    assert _selected(shown.dynamic_object) == [0, 1]
    _box(shown, (0, 0, 0), 0.1, "SUBTRACT")
    assert 0 not in _selected(shown.static_object)
    _box(shown, (1, 0.5, 0), 0.6, "INTERSECT")
    assert _selected(shown.static_object) == [4, 5] and _selected(shown.dynamic_object) == []
    bpy.ops.legs4d.select_all(action="INVERT")
    assert len(_selected(shown.static_object)) == 14 and len(_selected(shown.dynamic_object)) == 4


def test_size_slenderness_opacity_and_layer_select(shown):
    bpy.ops.legs4d.select_size(low=2.0)
    assert _selected(shown.static_object) == [3]
    shown.empty.scale = (0.1,) * 3
    bpy.context.view_layer.update()
    assert bpy.ops.legs4d.select_size(low=2.0) == {"FINISHED"}
    assert _selected(shown.static_object) == []  # scene units: the run shows ten times as small
    bpy.ops.legs4d.select_size(by="NEEDLE", low=10)
    assert _selected(shown.static_object) == [3]
    bpy.ops.legs4d.select_opacity(high=0.1)
    assert _selected(shown.static_object) == [5]
    assert bpy.ops.legs4d.select_seen() == {"CANCELLED"}, "the run does not tell"
    values = np.linspace(0, 1, 16, dtype=np.float32)
    shown.static_object.data.attributes.new("seen", "FLOAT", "POINT").data.foreach_set("value", values)
    bpy.ops.legs4d.select_seen()
    assert _selected(shown.static_object) == [0] and _selected(shown.dynamic_object) == []
    bpy.ops.legs4d.select_seen(low=0.9, high=1.0)
    assert _selected(shown.static_object) == [14, 15]
    bpy.ops.legs4d.select_layer()
    assert _selected(shown.static_object) == list(range(8, 16)) and _selected(shown.dynamic_object) == [0]
    assert _selected(shown.loose_object) == [0, 1]


def test_outlines_select_through_the_view(shown):
    from blender_addon.selection import selecting
    from blender_addon.selection.regions import Region

    to_clip = np.diag([0.1, 0.1, 0.01, 1.0])  # looking down the z axis, 10 units to each edge

    def choose(corners):
        region = Region("SCREEN", to_clip, np.array(corners) / 10)
        selecting.choose(shown, lambda child: region)
        return _selected(shown.static_object), _selected(shown.dynamic_object)

    assert choose([(-0.5, -0.5), (1.5, 0.5)]) == ([0, 4], [0, 1])
    assert choose([(-0.5, -0.5), (3.5, -0.5), (-0.5, 3.5)]) == ([0, 1, 2, 4, 5, 8], [0, 1])
    behind = to_clip.copy()
    behind[3] = (0, 0, 1, -3)  # only what is beyond z = 3 is before the eye
    region = Region("SCREEN", behind, np.array([(-1, -1), (1, 1)]))
    selecting.choose(shown, lambda child: region)
    assert _selected(shown.static_object) == [] and _selected(shown.dynamic_object) == [0, 1]


def test_what_is_deleted_stays_away_in_frames_that_come_later_and_comes_back_whole(shown):
    scene = bpy.context.scene
    _box(shown, (0, 0, 4), 6.0)
    gone_still, gone_moving = _selected(shown.static_object), _selected(shown.dynamic_object)
    before = _alpha(shown.static_object), _alpha(shown.dynamic_object)
    bpy.ops.legs4d.delete_points()
    assert _selected(shown.static_object) == [] and gone_still and gone_moving == [0, 1]
    for frame in (2, 3, 1):
        scene.frame_set(frame)
        assert (_alpha(shown.static_object)[gone_still] == 0).all()
        assert _alpha(shown.dynamic_object)[[0, 1]].tolist() == [0, 0]
        assert _alpha(shown.dynamic_object)[2] == pytest.approx(0.8)
        assert _alpha(shown.dynamic_object)[3] == pytest.approx(0.8 if frame < 3 else 0)
    bpy.ops.legs4d.show_points(what="DELETED")
    for child, alpha in zip((shown.static_object, shown.dynamic_object), before, strict=True):
        np.testing.assert_array_equal(_alpha(child), alpha)
        assert "deleted" not in child.data.attributes


def test_hidden_and_deleted_come_back_each_by_its_own_button(shown):
    still = shown.static_object
    _box(shown, (0, 0, 0), 0.1)
    bpy.ops.legs4d.hide_points()
    _box(shown, (1, 0, 0), 0.1)
    bpy.ops.legs4d.delete_points()
    bpy.ops.legs4d.show_points(what="HIDDEN")
    assert np.flatnonzero(_alpha(still) == 0).tolist() == [4]
    bpy.ops.legs4d.show_points(what="BOTH")
    assert (_alpha(still) > 0).all()


def test_criteria_reach_loose_points_of_every_frame(shown):
    loose = shown.loose_object
    _box(shown, (9, 9, 9), 0.5)
    assert _selected(loose) == [1]
    bpy.ops.legs4d.delete_points()
    assert np.flatnonzero(_alpha(loose) == 0).tolist() == [1]
    bpy.context.scene.frame_set(3)
    assert np.flatnonzero(_alpha(loose) == 0).tolist() == [0]
    bpy.ops.legs4d.select_all(action="ALL")
    assert _selected(loose) == [1, 2]
    _box(shown, (1, 1, 9), 0.5)
    bpy.ops.legs4d.crop_points()
    assert np.flatnonzero(_alpha(loose) > 0).tolist() == [1]
    bpy.context.scene.frame_set(1)
    assert not _alpha(loose).any()


def test_the_largest_piece_is_kept(shown):
    bpy.ops.legs4d.keep_largest()
    assert np.count_nonzero(_alpha(shown.static_object)) == 16
    assert not _alpha(shown.dynamic_object).any()  # 5 above the sheet: another piece
    bpy.ops.legs4d.show_points(what="DELETED")
    assert _alpha(shown.dynamic_object).all()


def test_weights_of_another_tool_select(shown):
    from blender_addon.selection import selecting

    weights = np.zeros(20, np.float16)
    weights[[2, 17]] = 0.75
    selecting.choose_weights(shown, weights, loose={2: np.array([0, 1, 0.4])})
    assert _selected(shown.static_object) == [2] and _selected(shown.dynamic_object) == [1]
    assert _selected(shown.loose_object) == []
    bpy.context.scene.frame_set(3)
    assert _selected(shown.loose_object) == [1]
    with pytest.raises(ValueError, match="19 weights for the 20 points"):
        selecting.choose_weights(shown, weights[:19])


def test_exports_and_baked_files_have_no_deleted_point(shown, tmp_path):
    from blender_addon.export import gaussians

    _box(shown, (0, 0, 4), 6.0)
    gone = sum(len(_selected(child)) for child in shown.objects)
    bpy.ops.legs4d.delete_points()
    splats = gaussians.read(shown, 1, baked=False)
    assert len(splats.means) == 22 - gone and splats.opacities.all()
    bpy.context.scene.frame_end = 1
    bpy.ops.legs4d.bake(filepath=str(tmp_path / "native.blend"))
    parts = [(tmp_path / "native_points" / f"{name}.ply").read_bytes() for name in ("static", "000000", "loose_000000")]
    counts = [int(part.split(b"element vertex ")[1].split()[0]) for part in parts]
    assert counts == [int((_alpha(child) > 0).sum()) for child in shown.objects]


def test_viewports_draw_no_deleted_point_and_mark_selected_ones(shown):
    from blender_addon.sequence import viewport

    _box(shown, (0, 0, 0), 0.1)
    shown.its.mode = "NONE"
    _, colors, _ = viewport.shown_points(shown, shown.static_object, 1)
    marked = np.flatnonzero(colors[:, 0] > colors[:, 2] + 0.2)
    assert marked.tolist() == [0]
    bpy.ops.legs4d.delete_points()
    positions, _, _ = viewport.shown_points(shown, shown.static_object, 1)
    assert len(positions) == 14 and not (positions == 0).all(axis=1).any()  # 5 is too faint to be drawn


def test_a_file_keeps_the_mask(shown, tmp_path):
    from blender_addon.sequence import sequence

    _box(shown, (0, 0, 4), 6.0)
    bpy.ops.legs4d.delete_points()
    before = [_alpha(child).tolist() for child in shown.objects]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    again = sequence.find(bpy.context.scene)[0]
    bpy.context.scene.frame_set(2)
    bpy.context.scene.frame_set(1)
    assert [_alpha(child).tolist() for child in again.objects] == before


def test_nothing_is_deleted_where_nothing_is_selected(shown):
    assert not bpy.ops.legs4d.delete_points.poll()
    assert bpy.ops.legs4d.keep_largest.poll()


def test_what_edit_mode_removes_is_deleted_and_what_it_moves_goes_back(shown):
    from blender_addon.sequence import playback

    still, scene = shown.static_object, bpy.context.scene
    places = _read(still, "position").copy()
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = shown.empty  # which has no edit mode: its clouds have
    _box(shown, (0.5, 0.5, 0), 0.6)
    assert bpy.ops.legs4d.edit_points() == {"FINISHED"} and still.mode == "EDIT"
    assert _selected(still) == [0, 1, 4, 5]  # Blender's own tools see what ours have selected
    drawn = playback.version(still)
    bpy.ops.pointcloud.delete()
    bpy.context.view_layer.update()
    assert playback.version(still) != drawn, "what is deleted is drawn no more"
    scene.frame_set(1)
    assert playback.message(shown.empty).endswith(
        "is in edit mode and keeps this frame; leave it (Tab), and it plays again."
    )
    bpy.ops.pointcloud.select_all(action="SELECT")
    bpy.ops.pointcloud.duplicate()
    bpy.ops.transform.translate(value=(0, 0, 7))
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.view_layer.update()
    scene.frame_set(2)
    assert len(still.data.points) == 16 and np.flatnonzero(_alpha(still) == 0).tolist() == [0, 1, 4, 5]
    np.testing.assert_array_equal(_read(still, "position"), places)
    bpy.ops.legs4d.show_points(what="DELETED")
    assert (_alpha(still) > 0).all()


def test_undo_brings_back_what_was_deleted(shown):
    from blender_addon.sequence import sequence

    _box(shown, (0, 0, 4), 6.0)
    before = [_alpha(child).tolist() for child in shown.objects]
    bpy.ops.ed.undo_push(message="selected")
    bpy.ops.legs4d.delete_points()
    bpy.ops.ed.undo_push(message="deleted")
    after = [_alpha(child).tolist() for child in shown.objects]
    bpy.ops.ed.undo()
    again = sequence.find(bpy.context.scene)[0]
    assert [_alpha(child).tolist() for child in again.objects] == before != after
    bpy.ops.ed.redo()
    again = sequence.find(bpy.context.scene)[0]
    bpy.context.scene.frame_set(2)
    bpy.context.scene.frame_set(1)
    assert [_alpha(child).tolist() for child in again.objects] == after


def test_usd_has_every_frames_points_as_they_show(shown, tmp_path):
    """Read by USD's own library."""
    from conftest import library

    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.render.fps = 1, FRAMES, 10
    shown.empty.location = (0, 0, 2)
    _box(shown, (9, 9, 9 + 2), 0.5)
    bpy.ops.legs4d.delete_points()
    target = tmp_path / "points.usda"
    assert bpy.ops.legs4d.export_usd(filepath=str(target)) == {"FINISHED"}
    library("-c", _READ_USD, str(target), str(tmp_path / "read.npz"))
    with np.load(tmp_path / "read.npz") as read:
        assert read["counts"].tolist() == [21, 20, 22]  # 16, 4, and those that the frame alone has, without the deleted
        np.testing.assert_allclose(read["last"][16:20], MOVING + np.array((0.2, 0.2, 2.2), "f4"), atol=1e-5)
        np.testing.assert_allclose(read["opacities"][:4], 0.8, atol=1e-5)
        assert read["rate"] == 10 and read["up"] == "Z"


_READ_USD = """
import sys, numpy as np
from pxr import Usd, UsdGeom
stage = Usd.Stage.Open(sys.argv[1])
points = UsdGeom.Points(stage.GetPrimAtPath("/sequence/points"))
frames = range(int(stage.GetStartTimeCode()), int(stage.GetEndTimeCode()) + 1)
counts = [len(points.GetPointsAttr().Get(t)) for t in frames]
opacity = points.GetDisplayOpacityPrimvar()
assert opacity.GetInterpolation() == "vertex"
last, opacities = np.array(points.GetPointsAttr().Get(frames[-1])), np.array(opacity.Get(frames[0]))
up, rate = UsdGeom.GetStageUpAxis(stage), stage.GetTimeCodesPerSecond()
np.savez(sys.argv[2], counts=counts, last=last, rate=rate, opacities=opacities, up=up)
"""


def test_points_can_be_the_mean_of_frames_around(shown):
    from blender_addon.cache import storage
    from blender_addon.sequence import playback

    scene, moving = bpy.context.scene, shown.dynamic_object
    scene.frame_set(2)  # the capture's frame 1 of 3, of which the last has lost the fourth point
    plain = _read(moving, "position")
    np.testing.assert_allclose(plain, MOVING + np.float32(0.1), atol=1e-6)
    shown.its.averaging = 1
    np.testing.assert_allclose(_read(moving, "position")[:3], MOVING[:3] + 0.1, atol=1e-6)
    np.testing.assert_allclose(_read(moving, "position")[3], MOVING[3] + 0.05, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(_read(moving, "rotation"), axis=1), 1.0, atol=1e-4)
    scene.frame_set(1)  # at the ends of those that there are
    np.testing.assert_allclose(_read(moving, "position"), MOVING + 0.05, atol=1e-6)
    np.testing.assert_allclose(_read(moving, "velocity")[:3], 0.05 * 24, atol=1e-4)
    file = storage.find(shown.empty).path / "frames" / "000001.block"
    arrived = file.read_bytes()
    file.unlink()  # it has not arrived
    playback.refresh(shown.empty)
    np.testing.assert_allclose(_read(moving, "position"), MOVING, atol=1e-6)
    file.write_bytes(arrived)
    assert shown.shows(1, 1.0) and not shown.shows(2, 1.0)
    playback.refresh(shown.empty)
    np.testing.assert_allclose(_read(moving, "position"), MOVING + 0.05, atol=1e-6)
    shown.its.averaging = 0
    np.testing.assert_allclose(_read(moving, "position"), MOVING, atol=1e-6)


def test_the_engine_is_told_of_degree_mean_and_distances(shown):
    from blender_addon.engine import shot
    from blender_addon.engine.camera import View
    from blender_addon.engine.properties import settings_of

    scene = bpy.context.scene
    view, placed = View(np.eye(4), 50.0, 50.0, 10.0, 10.0, 20, 20), shot.placements(scene, bpy.context.view_layer)

    def asked():
        moment = shot.instant(bpy.context.evaluated_depsgraph_get(), placed, view)
        return shot.body(0, placed[0], [moment], shot.style(scene), ("combined",))

    assert not {"degree", "average", "limits"} & set(asked()), "an older server knows none of them"
    shown.its.num_sh, shown.its.degree, shown.its.averaging = 15, 1, 2
    settings_of(scene).farthest = 7.0
    assert asked().items() >= {"degree": 1, "average": 2, "limits": {"farthest": 7.0}}.items()
    groups = [one.node_tree.name for one in shown.dynamic_object.modifiers[0].node_group.nodes if one.type == "GROUP"]
    assert "4-LEGS: view dependence 1" in groups
