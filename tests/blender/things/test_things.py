"""Things in Blender: a click, another scale, words, named selections, an object of its own."""

import shutil
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Vector

FRAMES = 3
STILL = np.array([(x, y, 0) for x in range(4) for y in range(4)], "f4")
"""A sheet of 16 points that do not move, 1 apart."""
MOVING = np.array([(0, 0, 5), (1, 0, 5), (20, 0, 5)], "f4")
LOOSE = (np.array([(0, 9, 9), (9, 9, 9)], "f4"), np.zeros((0, 3), "f4"), np.array([(9, 9, 9)], "f4"))
WHOLE, PART, MOVER, DUST = range(4)
"""Segments: the sheet, its lower left quarter (points 0, 1, 4, 5), two that move, what is loose at (9, 9, 9)."""
G = len(STILL) + len(MOVING) + FRAMES * 2
MEMBERS = {
    WHOLE: list(range(16)),
    PART: [0, 1, 4, 5],
    MOVER: [16, 17],
    DUST: [20, 23],
}


def _splats(means):
    count = len(means)
    quats = np.tile(np.array([1, 0, 0, 0], "f4"), (count, 1))
    scales, colors = np.full((count, 3), 0.3, "f4"), np.zeros((count, 3), "f4")
    return {"means": means, "quats": quats, "scales": scales, "colors": colors, "opacities": np.full(count, 0.9, "f4")}


def _columns(name, columns):
    index = np.concatenate([np.array(rows, np.int32) for rows in columns])
    start = np.cumsum([0, *map(len, columns)])
    return {f"{name}_start": start, f"{name}_index": index, f"{name}_weight": np.full(len(index), 255, "u1")}


@pytest.fixture
def shown(addon, tmp_path):
    """A sequence of static, moving and loose points, its segments and a selection of the run's in the cache."""
    from blender_addon.cache import storage
    from blender_addon.cache.frames import Description, RunCache
    from blender_addon.sequence import display
    from blender_addon.sequence.sequence import Sequence
    from blender_addon.things import kept, table

    its = Description("run", "run", "1", FRAMES, len(STILL), len(MOVING), 10.0, 0.01, up=(0, 0, 1), num_loose=2)
    (tmp_path / "cache").mkdir()
    cache = RunCache.create(tmp_path / "cache", its)
    moving = _splats(MOVING)
    cache.write_static(_splats(STILL))
    cache.write_dynamic({**moving, "born": np.zeros(3), "died": np.full(3, 2)})
    for frame in range(FRAMES):
        cache.write_frame(frame, {**moving, **{f"loose_{n}": v for n, v in _splats(LOOSE[frame]).items()}})
    scales = {WHOLE: 4.0, PART: 1.0, MOVER: 2.0, DUST: 0.5}
    told = [{"name": "sheet" if s == WHOLE else "", "parent": -1, "scale": scale} for s, scale in scales.items()]
    columns = _columns("segment", list(MEMBERS.values())) | _columns("selection", [[3, 18, 20]])
    table.store(cache, {"segments": told, "selections": ["odd ones"]}, columns)
    storage.adopt(cache)
    made = Sequence.create(its, bpy.context.scene.collection)
    made.its.detail = 1.0
    bpy.context.scene.frame_set(1)
    display.update(made.empty)
    kept.list_those_of_run(made)
    bpy.context.view_layer.objects.active = made.empty
    return made


def _selected(child):
    from blender_addon import names
    from blender_addon.selection import mask

    return np.flatnonzero(mask.read(child.data, names.SELECTED)).tolist()


def _click(shown, place, mode="SET", along=(0, 0, -1), back=20.0):
    """A click on a place from above, or from elsewhere."""
    origin = Vector(place) - back * Vector(along).normalized()
    return bpy.ops.legs4d.select_thing(origin=origin, direction=along, mode=mode, scale=shown.its.thing_scale)


def test_a_click_selects_the_segment_in_front_at_the_slider_s_scale(shown):
    shown.its.thing_scale = 0.9
    assert _click(shown, (0, 1, 0)) == {"FINISHED"}
    assert _selected(shown.static_object) == MEMBERS[WHOLE] and _selected(shown.dynamic_object) == []
    assert "sheet" in shown.its.thing_said
    shown.its.thing_scale = 0.1
    assert _selected(shown.static_object) == MEMBERS[PART]
    shown.its.thing_scale = 1.0
    assert _selected(shown.static_object) == MEMBERS[WHOLE]
    assert bpy.ops.legs4d.step_thing(larger=False) == {"FINISHED"}
    assert _selected(shown.static_object) == MEMBERS[PART]
    assert bpy.ops.legs4d.step_thing(larger=False) == {"CANCELLED"}
    assert "nothing smaller" in shown.its.thing_said and _selected(shown.static_object) == MEMBERS[PART]
    shown.its.thing_scale = 0.9
    # From above what moves stands before the sheet's corner; from the side and below it does not.
    _click(shown, (0, 0, 0))
    assert _selected(shown.dynamic_object) == [0, 1] and _selected(shown.static_object) == []
    _click(shown, (0, 0, 0), along=(0, 0, 1))
    assert _selected(shown.static_object) == MEMBERS[WHOLE] and _selected(shown.dynamic_object) == []


def test_clicks_add_and_subtract_and_only_the_last_is_rescaled(shown):
    shown.its.thing_scale = 0.0
    _click(shown, (0, 0, 0), along=(0, 0, 1))
    assert _selected(shown.static_object) == MEMBERS[PART]
    _click(shown, (1, 0, 5), "ADD")
    assert _selected(shown.static_object) == MEMBERS[PART] and _selected(shown.dynamic_object) == [0, 1]
    _click(shown, (3, 3, 0), "ADD")
    assert _selected(shown.static_object) == MEMBERS[WHOLE]
    _click(shown, (0, 1, 0), "SUBTRACT")
    assert _selected(shown.static_object) == [i for i in range(16) if i not in MEMBERS[PART]]
    shown.its.thing_scale = 1.0
    assert _selected(shown.static_object) == [] and _selected(shown.dynamic_object) == [0, 1]
    assert _click(shown, (0, 0, 0), "SUBTRACT") == {"CANCELLED"}
    assert "Nothing would be left" in shown.its.thing_said and _selected(shown.dynamic_object) == [0, 1]


def test_a_scale_that_would_leave_nothing_changes_nothing(shown):
    its = shown.its
    its.thing_scale = 0.9
    _click(shown, (0, 1, 0))
    its.pointed, its.thing_scale = "", 0.0
    _click(shown, (0, 1, 0), "SUBTRACT")
    rest = [i for i in range(16) if i not in MEMBERS[PART]]
    assert bpy.ops.legs4d.step_thing(larger=True) == {"CANCELLED"}
    assert "Nothing would be left" in its.thing_said and its.thing_scale == 0.0
    its.thing_scale = 1.0
    assert "Nothing would be left" in its.thing_said and _selected(shown.static_object) == rest
    its.thing_scale = 0.1  # the click is still what the slider changes
    assert its.thing_said.startswith("segment 1: 12") and _selected(shown.static_object) == rest


def test_what_shows_is_what_is_clicked(shown):
    shown.its.thing_scale = 0.9
    shown.its.largest = 0.2
    assert _click(shown, (0, 0, 0)) == {"CANCELLED"}  # every splat is longer
    shown.its.largest = 0.0
    shown.dynamic_object.hide_set(True)
    _click(shown, (0, 0, 0))
    assert _selected(shown.static_object) == MEMBERS[WHOLE]
    shown.dynamic_object.hide_set(False)
    _click(shown, (0, 0, 0))
    bpy.ops.legs4d.hide_points()
    _click(shown, (0, 0, 0))
    assert _selected(shown.static_object) == MEMBERS[WHOLE]  # what was before it is hidden
    shown.empty.location, shown.empty.scale = (100, 0, 0), (2, 2, 2)
    bpy.context.view_layer.update()
    assert _click(shown, (0, 0, 0)) == {"CANCELLED"}
    assert "nothing here" in shown.its.thing_said and _selected(shown.static_object) == MEMBERS[WHOLE]
    assert _click(shown, (106, 6, 0)) == {"FINISHED"}
    assert _click(shown, (140, 0, 10)) == {"CANCELLED"} and "no segment" in shown.its.thing_said


def test_loose_points_of_a_segment_are_selected_in_every_frame(shown):
    from blender_addon.sequence import display

    _click(shown, (9, 9, 9))
    display.update(shown.empty)
    assert _selected(shown.loose_object) == [1]
    bpy.context.scene.frame_set(3)
    display.update(shown.empty)
    assert _selected(shown.loose_object) == [0]
    _click(shown, (1, 0, 5), "ADD")
    _click(shown, (9, 9, 9), "SUBTRACT")
    display.update(shown.empty)
    assert _selected(shown.loose_object) == [] and _selected(shown.dynamic_object) == [0, 1]


def test_selections_are_kept_by_name_and_those_of_the_run_are_listed(shown):
    from blender_addon.sequence import display

    its = shown.its
    assert [(one.label, one.source) for one in its.selections] == [("odd ones", "RUN")]
    assert bpy.ops.legs4d.keep_selection(label="mine") == {"CANCELLED"}
    _click(shown, (1, 0, 5))
    _click(shown, (9, 9, 9), "ADD")
    bpy.ops.legs4d.keep_selection(label="mine")
    bpy.ops.legs4d.select_kept(label="odd ones")
    display.update(shown.empty)
    assert _selected(shown.static_object) == [3] and _selected(shown.dynamic_object) == [2]
    assert _selected(shown.loose_object) == [1]
    bpy.ops.legs4d.select_kept(label="mine", mode="ADD")
    assert _selected(shown.static_object) == [3] and _selected(shown.dynamic_object) == [0, 1, 2]
    bpy.ops.legs4d.keep_selection(label="mine")  # made of itself and more
    bpy.ops.legs4d.select_all(action="NONE")
    bpy.ops.legs4d.select_kept(label="mine")
    display.update(shown.empty)
    assert _selected(shown.dynamic_object) == [0, 1, 2] and _selected(shown.loose_object) == [1]
    assert bpy.ops.legs4d.step_thing() == {"CANCELLED"} and "Click on a thing first" in its.thing_said
    bpy.ops.legs4d.keep_selection(label="other")
    its.selections[-1].label = "mine"  # renamed: two are called so, and the list knows which
    bpy.ops.legs4d.delete_points()
    assert bpy.ops.legs4d.select_kept(which=its.selections[-1].name) == {"FINISHED"}
    assert _selected(shown.dynamic_object) == []  # they are deleted
    assert bpy.ops.legs4d.keep_selection(label="none") == bpy.ops.legs4d.separate() == {"CANCELLED"}
    bpy.ops.legs4d.forget_selection(which=its.selections[-1].name)
    bpy.ops.legs4d.forget_selection(label="mine")
    assert [one.label for one in its.selections] == ["odd ones"]
    assert not [a for a in shown.static_object.data.attributes if a.name.startswith("selection:")]


def test_a_kept_selection_has_a_bit_for_each_point_of_the_run_loose_ones_too(shown):
    from blender_addon.cache import storage
    from blender_addon.cache.frames import CacheError
    from blender_addon.selection import regions, selecting
    from blender_addon.things import kept

    for place, mode in (((1, 0, 5), "SET"), ((9, 9, 9), "ADD")):
        _click(shown, place, mode)
    bpy.ops.legs4d.keep_selection(label="mine")
    mine = shown.its.selections[-1]
    told = regions.unpacked(kept.bits_for_run(shown, mine), G)
    assert np.flatnonzero(told).tolist() == [*MEMBERS[MOVER], *MEMBERS[DUST]]
    with pytest.raises(kept.pointing.NothingMeantError, match="in the run already"):
        kept.bits_for_run(shown, shown.its.selections[0])
    assert kept.run_has(shown, " odd ones") and not kept.run_has(shown, "mine")
    cache = storage.find(shown.empty)
    cache._loose_file(2).unlink()  # a frame that has not arrived may have some that belong
    with pytest.raises(CacheError, match="Of 1 frames"):
        selecting.kept_bits(shown, mine.name)


def test_a_thing_becomes_an_object_with_its_origin_in_its_middle(shown):
    from blender_addon.sequence import attributes, display
    from blender_addon.sequence.sequence import Sequence

    shown.empty.location = (1, 2, 3)
    shown.its.thing_scale = 0.9
    bpy.context.view_layer.update()
    assert bpy.ops.legs4d.separate() == {"CANCELLED"}
    _click(shown, (1, 3, 3))
    assert _selected(shown.static_object) == MEMBERS[WHOLE]
    assert bpy.ops.legs4d.separate() == {"FINISHED"}
    bpy.context.view_layer.update()
    made = Sequence(bpy.context.active_object)
    assert made.empty != shown.empty and made.empty.name == "sheet"
    assert np.allclose(made.empty.matrix_world.translation, (2.5, 3.5, 3), atol=1e-4)

    def alpha(child):
        return attributes.read(child.data, "radiance:base")[:, 3] > 0

    assert alpha(made.static_object).all() and not alpha(shown.static_object).any()
    assert alpha(shown.dynamic_object).all() and not alpha(made.dynamic_object).any()
    place = made.static_object.matrix_world @ made.static_object.data.points[15].co
    assert np.allclose(place, (4, 5, 3), atol=1e-5)  # nothing moved
    made.empty.rotation_euler.z += np.pi / 2
    bpy.context.scene.frame_set(2)
    display.update(made.empty)
    bpy.context.view_layer.update()
    turned = made.static_object.matrix_world @ made.static_object.data.points[15].co
    assert np.allclose(turned, (2.5 - 1.5, 3.5 + 1.5, 3), atol=1e-4)  # about its own middle


def test_a_thing_whose_place_is_keyed_stays_where_it_is(shown):
    from blender_addon.sequence.sequence import Sequence

    shown.empty.location = (1, 2, 3)
    shown.empty.keyframe_insert("location", frame=1)
    shown.its.thing_scale = 0.9
    bpy.context.view_layer.update()
    _click(shown, (1, 3, 3))
    bpy.ops.legs4d.separate()
    bpy.context.scene.frame_set(2)
    made = Sequence(bpy.context.active_object).static_object
    assert np.allclose(made.matrix_world @ made.data.points[15].co, (4, 5, 3), atol=1e-5)


def test_a_click_on_the_sidebar_is_none_on_what_lies_under_it(addon):
    from blender_addon.things.operators import region_under

    view = SimpleNamespace(type="WINDOW", x=100, y=50, width=800, height=600)
    sidebar = SimpleNamespace(type="UI", x=700, y=50, width=200, height=600)
    closed = SimpleNamespace(type="TOOLS", x=100, y=50, width=1, height=600)
    area = SimpleNamespace(regions=[closed, view, sidebar])
    assert region_under(area, 100, 60) is view and region_under(area, 699, 649) is view
    assert region_under(area, 700, 60) is None and region_under(area, 99, 60) is None


def test_without_segments_or_with_others_it_is_said_what_to_do(shown):
    from blender_addon.cache import storage
    from blender_addon.things import table

    _click(shown, (3, 3, 0))
    told = [{"name": "", "parent": -1, "scale": 1.0}]
    cache, columns = storage.find(shown.empty), _columns("segment", [[0, 1]])
    table.store(cache, {"segments": told, "selections": []}, columns)  # made anew, meanwhile
    shown.its.thing_scale = 0.7
    assert "Click on a thing first" in shown.its.thing_said
    table.store(cache, {"segments": [], "selections": []}, {})
    assert _click(shown, (0, 0, 0)) == {"CANCELLED"}
    assert "legs4d segments" in shown.its.thing_said


_TAKE_APART = """
import sys, numpy as np, scipy.sparse
from legs4d.gaussians.selections import Selection, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.segment.segments import Segments, write_segments
run = Run.open(sys.argv[1])
owner = np.arange(run.num_gaussians) >= run.num_static
members = scipy.sparse.csc_array((np.ones(len(owner), np.float32), (np.arange(len(owner)), (~owner).astype(int))))
with run.lock():
    write_segments(run, Segments(members, np.full(2, -1, np.int32), np.array([1, 9], np.float32),
                                 np.ones(len(owner), np.float32), ("ball", "rest")))
    write_selection(run, Selection("the ball", owner.astype(np.float32), made={}))
"""


def test_segments_and_selections_come_with_the_run_and_words_are_asked(connected, until, runs):
    from conftest import library

    from blender_addon.cache import storage
    from blender_addon.link import session
    from blender_addon.sequence import sequence
    from blender_addon.things import table

    shutil.copytree(runs / "ball", runs / "parts")
    try:
        library("-c", _TAKE_APART, str(runs / "parts"))
        bpy.ops.legs4d.import_run(run="parts")
        until(lambda: sequence.find(bpy.context.scene), "the sequence")
        shown = sequence.find(bpy.context.scene)[0]
        until(lambda: not session.current.things.busy and not session.current.tasks.busy, "things")
        until(lambda: not session.current.transfers.busy, "all frames")
        known = table.read(storage.find(shown.empty))
        assert known.names == ("ball", "rest") and [one.label for one in shown.its.selections] == ["the ball"]
        bpy.ops.legs4d.select_words(words="the ball is flying")
        until(lambda: not session.current.things.busy, "the answer")
        assert shown.its.thing_said.startswith("ball: "), session.current.link.message
        assert len(_selected(shown.dynamic_object)) == shown.its.num_dynamic
        bpy.ops.legs4d.select_words(words="a purple elephant sleeps")
        until(lambda: not session.current.things.busy, "the answer")
        assert session.current.link.message and len(_selected(shown.dynamic_object)) == shown.its.num_dynamic

        bpy.ops.legs4d.keep_selection(label="what flies")
        mine = shown.its.selections[-1].name
        listed = [("the ball", "RUN"), ("what flies", "FILE"), ("what flies", "RUN")]

        def save(**how):
            assert bpy.ops.legs4d.save_selection(which=mine, **how) == {"FINISHED"}
            until(lambda: not session.current.things.busy, "the answer")
            return shown.its.thing_said

        assert save() == f"'what flies' is in the run: {shown.its.num_dynamic:,} points."
        assert [(one.label, one.source) for one in shown.its.selections] == listed
        arrays = table.read(storage.find(shown.empty)).selections.of(1)
        assert len(arrays[0]) == shown.its.num_dynamic and arrays[0].min() == shown.its.num_static
        assert "has a selection 'what flies' already" in save()
        assert "is in the run" in save(again=True)
        assert bpy.ops.legs4d.save_selection(which=mine, again=True) == {"FINISHED"}
        session.current.link.disconnect()  # before the answer is here
        assert not session.current.things.busy and "stays in this file" in shown.its.thing_said
        assert [(one.label, one.source) for one in shown.its.selections] == listed
    finally:

        def gone() -> bool:
            shutil.rmtree(runs / "parts", ignore_errors=True)
            return not (runs / "parts").exists()

        until(gone, "the run to go: the server may be keeping the last selection still")
