"""Manners: work in pieces, undo, files without the add-on, and the panel's small pictures."""

import subprocess
import sys
import time
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from conftest import FRAMES, library_environment


def test_tasks_are_done_in_turn_a_piece_at_a_time(addon):
    from blender_addon.ui.tasks import Tasks

    done, tasks = [], Tasks()

    def pieces(name, count):
        for number in range(count):
            time.sleep(0.02)
            done.append(f"{name}{number}")
            yield

    tasks.add(pieces("a", 3))
    tasks.add(pieces("b", 1))
    assert tasks.pump(0.001) and done == ["a0"] and tasks.busy
    while tasks.pump(0.001):
        pass
    assert done == ["a0", "a1", "a2", "b0"] and not tasks.busy and not tasks.pump(1.0)


def test_operators_in_pieces_let_the_window_be_drawn_and_esc_ends_them(addon):
    """With a stand-in for the window manager: bpy has no window that sends events."""
    from blender_addon.ui.in_pieces import InPieces

    log = []

    class Counting(InPieces):
        bl_label = "Counting"
        refusals = (ValueError,)
        upto = 3

        def report(self, kind, sentence):
            log.append(sentence)

        def pieces(self, context):
            if not self.upto:
                raise ValueError("Nothing to count")
            try:
                for number in range(self.upto):
                    time.sleep(0.025)  # more than a piece may take
                    yield (number + 1) / self.upto
            finally:
                log.append("closed")
            return "Counted."

    def send(kind):
        return counting.modal(context, SimpleNamespace(type=kind))

    manager = SimpleNamespace(
        event_timer_add=lambda step, window: "timer", modal_handler_add=log.append, event_timer_remove=log.append
    )
    workspace = SimpleNamespace(status_text_set=log.append)
    context = SimpleNamespace(window_manager=manager, window=None, workspace=workspace)
    counting = Counting()
    assert counting.invoke(context, None) == {"RUNNING_MODAL"} and log.pop() is counting
    assert log == ["Counting: 33%. Esc stops it."]
    assert send("LEFTMOUSE") == {"RUNNING_MODAL"} and len(log) == 1, "the scene stays as it is under the work"
    assert [send("TIMER") for _ in range(3)] == [{"RUNNING_MODAL"}, {"RUNNING_MODAL"}, {"FINISHED"}]
    assert log[3:] == ["closed", "Counted.", "timer", None]
    log.clear()
    assert counting.invoke(context, None) == {"RUNNING_MODAL"} and send("ESC") == {"CANCELLED"}
    assert log[2:] == ["closed", "timer", None]
    log.clear()
    assert counting.execute(context) == {"FINISHED"} and log == ["closed", "Counted."]
    Counting.upto = 0
    log.clear()
    assert counting.invoke(context, None) == {"CANCELLED"} and log == ["Nothing to count."]


def test_a_defect_ends_its_own_task_only(addon):
    from blender_addon.ui.tasks import Tasks

    done, tasks = [], Tasks()

    def defect():
        yield
        raise RuntimeError("a defect")

    def sound():
        done.append(1)
        yield

    tasks.add(defect())
    tasks.add(sound())
    with pytest.raises(RuntimeError, match="a defect"):
        tasks.pump(1.0)
    tasks.pump(1.0)
    assert done == [1]


def test_an_import_is_made_in_pieces_and_may_be_deleted_between_two(connected, until):
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    bpy.ops.legs4d.import_run(run="ball")
    until(lambda: session.current.tasks.busy, "the answer")
    pieces = 0
    while not sequence.find(bpy.context.scene):
        session.current.tasks.pump(0.0)
    while session.current.tasks.busy and pieces < 3:
        session.current.tasks.pump(0.0)
        pieces += 1
    assert session.current.tasks.busy  # so an import has more pieces than that
    empty = sequence.find(bpy.context.scene)[0].empty
    for item in [*empty.children, empty]:
        bpy.data.objects.remove(item)
    until(lambda: not session.current.tasks.busy and not session.current.transfers.busy, "the end")
    assert sequence.find(bpy.context.scene) == [] and not sequence.being_filled


def test_undo_takes_back_an_effect(asked):
    from blender_addon.sequence import sequence, timing

    bpy.ops.ed.undo_push(message="before")
    objects, markers = len(bpy.data.objects), len(bpy.context.scene.timeline_markers)
    bpy.ops.legs4d.bullet_time("EXEC_DEFAULT", True, frames=10)
    assert len(bpy.data.objects) == objects + 2
    bpy.ops.ed.undo()
    again = sequence.find(bpy.context.scene)[0]
    assert len(bpy.data.objects) == objects and len(bpy.context.scene.timeline_markers) == markers
    assert timing.curve_of(again.empty) is None
    bpy.ops.ed.redo()
    assert timing.curve_of(sequence.find(bpy.context.scene)[0].empty) is not None


_WITHOUT_ADDON = """
import sys, bpy, numpy as np
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
assert not hasattr(bpy.types.Object, "legs4d")
scene, layer = bpy.context.scene, sys.argv[2]
empty = next(item for item in scene.objects if item.type == "EMPTY")
clouds = [item for item in empty.children if item.type == "POINTCLOUD"]
assert len(clouds) == 2
active = []
for frame in range(scene.frame_start, scene.frame_end + 1):
    scene.frame_set(frame)
    active.append(empty[f"legs4d:{layer}:active"])
assert set(active) == {0.0, 1.0}, active
graph = bpy.context.evaluated_depsgraph_get()
tree = clouds[0].evaluated_get(graph).modifiers["4-LEGS"].node_group
assert tree.nodes[layer].inputs["Active"].default_value == active[-1]
assert tree.nodes["Amount: tint"].outputs[0].default_value == 1.0
for cloud in clouds:
    assert f"highlight:{layer}" in cloud.data.attributes
    assert any(abs(point.co.x) > 0 for point in cloud.data.points)
    cloud.modifiers["4-LEGS"].show_viewport = True
bpy.context.view_layer.update()
seen = sum(item.is_instance for item in bpy.context.evaluated_depsgraph_get().object_instances)
assert seen > 0, "the node group shows nothing"
print("fine without the add-on")
"""


def test_a_file_opens_and_plays_its_curves_without_the_addon(asked, tmp_path):
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_ADDON, file, asked.layers[0].layer_id],
        env=library_environment() | {"BLENDER_USER_RESOURCES": str(tmp_path / "nobody")},
        capture_output=True,
        text=True,
    )
    assert "fine without the add-on" in done.stdout, done.stdout + done.stderr


def test_the_panels_chart_is_the_relevancy_over_time_and_goes_there(asked, truth):
    from blender_addon.layers import strip

    scene, (start, end) = bpy.context.scene, truth["intervals"][0][:2]
    parts = strip.parts(asked, asked.layers[0], 1.0)
    frames = [part.frame - asked.scene_frame(0) for part in parts]
    assert frames == list(range(FRAMES)), "no more parts than the capture has frames"
    np.testing.assert_allclose([part.relevancy for part in parts], truth["curve"], atol=1e-5)
    assert [frame for frame, part in zip(frames, parts, strict=True) if part.active] == list(range(start, end + 1))
    assert [part.is_now for part in parts] == [True] + [False] * (FRAMES - 1)
    assert all(type(part.is_now) is bool for part in parts), "layouts take no other"
    tallest = max(parts, key=lambda part: part.height)
    assert tallest.height == round(strip.LEVELS * max(truth["curve"]))
    assert bpy.ops.legs4d.go_to(frame=tallest.frame) == {"FINISHED"} and scene.frame_current == tallest.frame


def test_node_groups_are_named_framed_and_shared(asked):
    from blender_addon import look
    from blender_addon.sequence.sequence import Sequence

    names = {tree.name for tree in bpy.data.node_groups}
    shared = {"4-LEGS: layer", "4-LEGS: splats", "4-LEGS: color", "4-LEGS: outline", "4-LEGS: ellipsoids"}
    assert shared <= names
    from blender_addon.cache import storage

    other = Sequence.create(storage.find(asked.empty).description, bpy.context.scene.collection)
    look.sync(other.empty)
    assert {tree.name for tree in bpy.data.node_groups} - names == {f"4-LEGS {other.empty.name}"}
    for name in shared - {"4-LEGS: layer"}:
        tree = bpy.data.node_groups[name]
        assert any(node.type == "FRAME" and node.label for node in tree.nodes)
        inside = [node for node in tree.nodes if node.type not in ("FRAME", "GROUP_INPUT", "GROUP_OUTPUT")]
        assert all(node.parent is not None for node in inside), name
        places = [tuple(node.location) for node in inside]
        assert len(set(places)) == len(places), f"nodes of {name} lie on each other"


def test_properties_that_were_given_no_name_are_called_by_their_identifier(addon):
    exporting = bpy.context.scene.legs4d_export.bl_rna.properties
    assert (exporting["message"].name, exporting["progress"].name) == ("message", "progress")
    assert bpy.types.Object.bl_rna.properties["legs4d"].name == "legs4d"
    assert bpy.ops.legs4d.move_layer.get_rna_type().properties["direction"].name == "direction"
