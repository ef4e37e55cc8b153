"""Motions in Blender: a file as keys of a separated object, an animated run imported, an animation as a file."""

import json
import math
import shutil

import bpy
import numpy as np
import pytest
from conftest import PROMPT, import_whole, library
from mathutils import Vector

FRAMES = 4

_ANIMATE = """
import sys, numpy as np
from pathlib import Path
from legs4d.animate.work import animate_run
from legs4d.commands import Animate
from legs4d.context import Context
from legs4d.gaussians.selections import Selection, delete_selection, write_selection
from legs4d.gaussians.store.run import Run
from tests.synthetic import BOX_HIGH, BOX_LOW
run, motion, out = sys.argv[1:]
source = Run.open(run)
inside = np.zeros(source.num_gaussians, bool)
means = source.static().means
inside[: source.num_static] = ((means > BOX_LOW - 0.05) & (means < BOX_HIGH + 0.05)).all(-1) & (means[:, 1] < -0.1)
with source.lock():
    write_selection(source, Selection("the box", inside.astype(np.float32), made={}))
animate_run(Animate(run=run, selection="the box", motion=motion, out=out), Context("cpu"))
delete_selection(source, "the box")  # other tests share the run
moved, chosen = Run.open(out), np.flatnonzero(inside)
means = [moved.dynamic(frame).means[-len(chosen):] for frame in range(moved.num_frames)]
np.savez(out + ".npz", chosen=chosen, means=means)
"""
"""Of a run, a motion's file and a folder for the result: the selection "the box", the animated run, its points."""


def drawn() -> dict:
    """A turn about a leaning axis and a way, from frame to frame; not at rest in the first."""
    frames = []
    for frame in range(1, FRAMES + 1):
        half = 0.2 * frame
        turn = [math.cos(half), *(math.sin(half) * np.array([0.6, 0.0, 0.8]))]
        frames.append({"move": [0.3 * frame, -0.1 * frame**2, 0.05], "turn": turn})
    return {
        "kind": "legs4d motion",
        "version": 1,
        "fps": 12.0,
        "object": "box",
        "pivot": [0, -0.3, -0.5],
        "frames": frames,
    }


def points(shown, numbers):
    """[N, 3] of a sequence's still points in the world."""
    bpy.context.view_layer.update()
    child = shown.static_object
    cloud = child.data
    return np.array([child.matrix_world @ cloud.points[int(number)].co for number in numbers])


def frame(number):
    bpy.context.scene.frame_set(number)
    bpy.context.view_layer.update()


@pytest.fixture
def animated(imported, runs, tmp_path):
    """The run `ball` imported; numbers of its box's points, and where the library has them in the drawn motion."""
    (tmp_path / "drawn.json").write_text(json.dumps(drawn()))
    out = tmp_path / "moved"
    library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "drawn.json"), str(out))
    found = np.load(f"{out}.npz")
    return imported, found["chosen"], found["means"]


def separated(shown, chosen):
    from blender_addon import names
    from blender_addon.selection import mask
    from blender_addon.sequence.sequence import Sequence

    bpy.context.view_layer.objects.active = shown.empty
    taken = np.zeros(shown.its.num_static, bool)
    taken[chosen] = True
    mask.write(shown.static_object.data, names.SELECTED, taken)
    assert bpy.ops.legs4d.separate(name="box") == {"FINISHED"}
    return Sequence(bpy.context.active_object)


def test_the_separated_object_goes_where_the_animated_run_s_gaussians_are_and_back(animated, runs, tmp_path):
    whole, chosen, means = animated
    whole.empty.location, whole.empty.rotation_euler.z, whole.empty.scale = (1, 2, 3), 0.7, (2, 2, 2)
    bpy.context.view_layer.update()
    made, to_world = separated(whole, chosen), whole.to_world.copy()
    rest = points(made, chosen)
    assert bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "moved" / "motion.json"), start_frame=11) == {"FINISHED"}
    for _ in range(2):
        for at in range(FRAMES):
            frame(11 + at)
            expected = [to_world @ Vector(place.tolist()) for place in means[at]]
            assert np.abs(points(made, chosen) - expected).max() < 1e-3
        assert np.abs(points(made, chosen) - rest).max() > 0.5
        # Again, slower: from where it was at rest, not from where it is now.
        bpy.context.scene.render.fps = 12
        bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "drawn.json"), start_frame=11, real_time=True)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 11, 10 + FRAMES
    assert bpy.ops.legs4d.export_motion(filepath=str(tmp_path / "back.json")) == {"FINISHED"}
    told = json.loads((tmp_path / "back.json").read_text())
    assert (told["fps"], told["object"], len(told["frames"])) == (12, "box", FRAMES)
    library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "back.json"), str(tmp_path / "again"))
    assert np.abs(np.load(tmp_path / "again.npz")["means"] - means).max() < 1e-3


def leaning(whole, chosen) -> dict:
    """The drawn motion, bent by eight nodes at the corners of what moves: its upper half goes to a side, and turns."""
    back = np.array(whole.to_world.inverted())
    rest = np.array([(back @ [*place, 1])[:3] for place in points(whole, chosen)])
    ends = rest.min(axis=0), rest.max(axis=0)
    corners = [[float(ends[side][axis]) for axis, side in enumerate(which)] for which in np.ndindex(2, 2, 2)]
    told = {**drawn(), "version": 2, "nodes": corners}
    for number, one in enumerate(told["frames"]):
        half = 0.15 * number
        gone = [0.1 * number, 0.05 * number, 0, math.cos(half), 0, 0, math.sin(half)]
        one["bend"] = [gone if place[1] == ends[0][1] else [0, 0, 0, 1, 0, 0, 0] for place in corners]
    return told


def test_a_motion_that_bends_comes_as_nodes_that_are_keyed_and_goes_back(animated, runs, tmp_path):
    whole, chosen, _ = animated
    whole.empty.location, whole.empty.rotation_euler.z, whole.empty.scale = (1, 2, 3), 0.7, (2, 2, 2)
    bpy.context.view_layer.update()
    (tmp_path / "leans.json").write_text(json.dumps(leaning(whole, chosen)))
    library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "leans.json"), str(tmp_path / "leant"))
    means = np.load(tmp_path / "leant.npz")["means"]
    made, to_world = separated(whole, chosen), whole.to_world.copy()
    assert bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "leans.json"), start_frame=11) == {"FINISHED"}
    for at in range(FRAMES):
        frame(11 + at)
        expected = np.array([to_world @ Vector(place.tolist()) for place in means[at]])
        assert np.abs(points(made, chosen) - expected).max() < 1e-3
    # A node that is dragged takes with it what hangs on it; the rest of the run stays.
    others = points(whole, chosen[:1])
    leader = next(one for one in made.empty.children if "legs4d_node" in one)
    leader.location.x += 1
    dragged = points(made, chosen) - expected
    assert np.linalg.norm(dragged, axis=1).max() > 0.5 and np.array_equal(points(whole, chosen[:1]), others)
    bpy.context.scene.render.fps = 12
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 11, 10 + FRAMES
    assert bpy.ops.legs4d.export_motion(filepath=str(tmp_path / "back.json")) == {"FINISHED"}
    library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "back.json"), str(tmp_path / "again"))
    assert np.abs(np.load(tmp_path / "again.npz")["means"] - means).max() < 1e-3
    # Baked, what stands still in the capture has a file a frame, as its nodes bend it.
    bpy.context.scene.frame_start = 12
    assert bpy.ops.legs4d.bake(filepath=str(tmp_path / "native.blend")) == {"FINISHED"}
    files = sorted(file.name for file in (tmp_path / "native_points").glob("static*.ply"))
    assert files == [f"static{number:06d}.ply" for number in range(FRAMES - 1)]
    frame(13)
    head, body = (tmp_path / "native_points" / files[1]).read_bytes().split(b"end_header\n")
    columns = [line.split()[-1] for line in head.splitlines() if line.startswith(b"property")]
    baked = np.frombuffer(body, "<f4").reshape(len(chosen), len(columns))
    baked = baked[:, [columns.index(axis) for axis in (b"x", b"y", b"z")]]
    here = [made.static_object.matrix_world @ Vector(place.tolist()) for place in baked]
    assert np.abs(points(made, chosen) - here).max() < 1e-5
    # A rigid one in its place: no node is left, and all is where that says.
    assert bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "drawn.json"), start_frame=11) == {"FINISHED"}
    assert not [one for one in made.empty.children if "legs4d_node" in one]
    frame(12)
    rigid = np.load(tmp_path / "moved.npz")["means"][1]
    assert np.abs(points(made, chosen) - [to_world @ Vector(place.tolist()) for place in rigid]).max() < 1e-3


def test_what_is_bent_outlives_undo_apply_edit_mode_copies_and_files(animated, tmp_path):
    from blender_addon.sequence import sequence

    def said():
        frame(14)
        frame(13)
        return points(made, chosen)

    def choose():
        for item in bpy.context.selected_objects:
            item.select_set(False)
        for item in (made.empty, *made.objects):
            item.select_set(True)
        bpy.context.view_layer.objects.active = made.empty

    whole, chosen, _ = animated
    (tmp_path / "leans.json").write_text(json.dumps(leaning(whole, chosen)))
    made = separated(whole, chosen)
    name, rest = made.empty.name, points(made, chosen)
    bpy.ops.ed.undo_push(message="separated")
    bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "leans.json"), start_frame=11)
    bent = said()
    bpy.ops.ed.undo_push(message="bent")
    next(one for one in made.empty.children if "legs4d_node" in one).location.x += 1
    assert np.abs(points(made, chosen) - bent).max() > 0.2
    bpy.ops.ed.undo_push(message="dragged")
    bpy.ops.ed.undo()
    made = sequence.Sequence(bpy.data.objects[name])
    assert np.abs(points(made, chosen) - bent).max() < 1e-4
    bpy.ops.ed.undo()
    made = sequence.Sequence(bpy.data.objects[name])
    assert np.abs(points(made, chosen) - rest).max() < 1e-4

    choose()
    bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "leans.json"), start_frame=11)
    frame(13)
    made.empty.animation_data_clear()
    bpy.context.view_layer.update()
    choose()
    assert bpy.ops.object.transform_apply() == {"FINISHED"}
    assert np.abs(points(made, chosen) - bent).max() < 1e-3 and made.empty.location.length == 0
    assert np.abs(said() - bent).max() < 1e-3
    bpy.context.view_layer.objects.active = made.static_object
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.object.mode_set(mode="OBJECT")
    assert np.abs(said() - bent).max() < 1e-3
    choose()
    bpy.ops.object.duplicate()
    frame(13)
    counts = [sum("legs4d_node" in one for one in shown.empty.children) for shown in sequence.find(bpy.context.scene)]
    assert counts == [0, 8, 8]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "bent.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "bent.blend"))
    made = sequence.Sequence(bpy.data.objects[name])
    assert np.abs(said() - bent).max() < 1e-3


def test_an_empty_s_animation_moves_the_selection_as_it_would_move_the_object(animated, runs, tmp_path):
    whole, chosen, _ = animated
    whole.empty.scale = (0.5, 0.5, 0.5)
    handle, arm = (bpy.data.objects.new(name, None) for name in ("handle", "arm"))
    for item in (handle, arm):
        bpy.context.scene.collection.objects.link(item)
    handle.parent, handle.location, handle.scale = arm, (0.2, 0.1, 0.4), (3, 1, 1)
    for at, turn in ((1, 0.0), (FRAMES, 1.2)):
        arm.rotation_euler = (0.1 * turn, turn, 0.5 * turn)
        arm.keyframe_insert("rotation_euler", frame=at)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, FRAMES
    bpy.context.view_layer.objects.active = handle
    frame(1)
    rest, first = points(whole, chosen), handle.matrix_world.copy()
    assert bpy.ops.legs4d.export_motion(filepath=str(tmp_path / "arm.json")) == {"FINISHED"}
    library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "arm.json"), str(tmp_path / "led"))
    means, back = np.load(tmp_path / "led.npz")["means"], whole.to_world.inverted()
    for at in range(FRAMES):
        frame(1 + at)
        led = handle.matrix_world @ first.inverted()
        expected = [back @ (led @ Vector(place.tolist())) for place in rest]
        assert np.abs(means[at] - expected).max() < 1e-3
    arm.keyframe_insert("scale", frame=1)
    arm.scale = (2, 2, 2)
    arm.keyframe_insert("scale", frame=FRAMES)
    (tmp_path / "arm.json").unlink()
    assert bpy.ops.legs4d.export_motion(filepath=str(tmp_path / "arm.json")) == {"CANCELLED"}
    assert not (tmp_path / "arm.json").exists()


def test_what_is_no_motion_or_cannot_be_followed_changes_nothing(imported, tmp_path):
    from blender_addon.things import motion

    empty, good = imported.empty, drawn()
    before = empty.matrix_basis.copy()
    bpy.context.view_layer.objects.active = empty
    said = {
        "{": "not JSON",
        "[]": "kind",
        json.dumps({**good, "version": 3}): "version",
        json.dumps({**good, "fps": 0}): "fps",
        json.dumps({**good, "frames": []}): "frames",
        json.dumps({**good, "pivot": [0, 0, float("nan")]}): "pivot",
        json.dumps({**good, "frames": [{"move": [0, 0, 0], "turn": [0, 0, 0, 0]}]}): "frame 0",
    }
    file = tmp_path / "motion.json"
    for content, why in said.items():
        file.write_text(content)
        with pytest.raises(motion.MotionError, match=why):
            motion.load(file)
        assert bpy.ops.legs4d.apply_motion(filepath=str(file)) == {"CANCELLED"}
    assert bpy.ops.legs4d.apply_motion(filepath=str(tmp_path / "none.json")) == {"CANCELLED"}
    file.write_text(json.dumps(good))
    empty.scale = (1, 2, 1)
    with pytest.raises(motion.MotionError, match="unevenly"):
        motion.apply(imported, motion.load(file), 1, 1)
    empty.scale = (1, 1, 1)
    assert empty.matrix_basis == before and empty.get(motion.REST) is None


def test_an_animated_run_plays_and_answers_and_what_hangs_on_its_object_follows(connected, until, runs, tmp_path):
    from blender_addon.layers import layers
    from blender_addon.link import session
    from blender_addon.sequence import display, objects

    (tmp_path / "drawn.json").write_text(json.dumps(drawn()))
    try:
        library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "drawn.json"), str(runs / "moved"))
        means = np.load(runs / "moved.npz")["means"]
        shown = import_whole("moved", until)
        assert (shown.its.num_frames, shown.its.num_dynamic) == (FRAMES, means.shape[1])
        thing = next(one for one in objects.objects_of(shown) if one.name == "the box")
        frame(1)
        rest = None
        for at in range(FRAMES):
            frame(1 + at)
            display.update(shown.empty)
            cloud = shown.dynamic_object
            now = np.array([point.co[:] for point in cloud.data.points])
            assert np.abs(now - means[at]).max() < 1e-3
            held = [thing.matrix_world.inverted() @ (cloud.matrix_world @ Vector(place)) for place in now.tolist()]
            rest = held if rest is None else rest
            assert np.abs(np.subtract(held, rest)).max() < 1e-3  # as if it were parented to it
        bpy.context.view_layer.objects.active = shown.empty
        assert bpy.ops.legs4d.ask(prompt=PROMPT) == {"FINISHED"}
        until(lambda: not session.current.questions.busy, "the answer")
        layer = layers.with_prompt(shown, PROMPT)
        assert layer.answer_key and session.current.questions.trouble(layer.layer_id) == ""
    finally:
        shutil.rmtree(runs / "moved", ignore_errors=True)
        (runs / "moved.npz").unlink(missing_ok=True)


def test_nodes_of_an_animated_run_that_bends_come_as_they_went_and_bend_it_on(connected, until, runs, tmp_path):
    def now():
        return np.array([point.co[:] for point in shown.dynamic_object.data.points])

    (tmp_path / "drawn.json").write_text(json.dumps(drawn()))
    try:
        library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "drawn.json"), str(tmp_path / "once"))
        box = np.load(tmp_path / "once.npz")["means"][0]  # where it is in the first frame says how large it is
        high, low = box[:, 1].min(), box[:, 1].max()
        rest = [[0.0, y, -0.5] for y in np.linspace(high, low, 6).tolist()]
        told = {**drawn(), "version": 2, "nodes": rest}
        for number, one in enumerate(told["frames"]):
            one["bend"] = [[0.1 * number * k, 0, 0, 1, 0, 0, 0] for k in range(6)]
        (tmp_path / "leans.json").write_text(json.dumps(told))
        library("-c", _ANIMATE, str(runs / "ball"), str(tmp_path / "leans.json"), str(runs / "leant"))
        means = np.load(runs / "leant.npz")["means"]
        shown = import_whole("leant", until)
        bpy.context.view_layer.objects.active = shown.empty
        for most, brought in ((0, 6), (3, 3)):  # all nodes, and half of them
            assert bpy.ops.legs4d.bring_nodes(most=most) == {"FINISHED"}
            nodes = [one for one in shown.empty.children if "legs4d_node" in one]
            assert len(nodes) == brought
            for at in range(FRAMES):
                frame(1 + at)
                assert np.abs(now() - means[at]).max() < 1e-3  # as captured while nobody touches them
            for one in nodes:
                one.location = (0.25, 0, 0.5)
            bpy.context.view_layer.update()
            assert np.abs(now() - means[-1] - [0.25, 0, 0.5]).max() < 1e-3  # all together take all along
            for one in nodes[1:]:
                one.location = (0, 0, 0)
            bpy.context.view_layer.update()
            went = np.linalg.norm(now() - means[-1], axis=1)
            assert went.max() > 0.05 and went.min() < 0.8 * went.max()  # one of them what is around it most
    finally:
        shutil.rmtree(runs / "leant", ignore_errors=True)
        (runs / "leant.npz").unlink(missing_ok=True)
