"""What goes wrong between two programs: each is said in one sentence, and Blender and the file stay usable."""

import os
import shutil
import subprocess
import sys
import time

import bpy
import numpy as np
import pytest
from conftest import FRAMES, LIBRARY, PROMPT, import_whole, library, read


@pytest.fixture
def session(addon):
    from blender_addon.link import session

    return session.current


@pytest.fixture
def slow(addon, monkeypatch):
    """Frames reach the cache slowly, so that a test can do something in between."""
    from blender_addon.cache import frames as cache

    for name in ("write_frame", "write_relevancy"):
        original = getattr(cache.RunCache, name)

        def write(self, *arguments, original=original):
            time.sleep(0.1)
            original(self, *arguments)

        monkeypatch.setattr(cache.RunCache, name, write)


@pytest.fixture
def own(backend, session, until):
    """The add-on connected to this test's own backend."""
    session.link.connect()
    until(lambda: len(_window().runs) == 1, "the list of runs")
    return backend


@pytest.fixture
def start_import(session, until):
    """Import `ball` and return the sequence when at least one frame is there, but not all."""

    def start(backend):
        from blender_addon.sequence import sequence

        bpy.ops.legs4d.import_run(run="ball")
        until(lambda: sequence.find(bpy.context.scene), "the sequence")
        found = sequence.find(bpy.context.scene)[0]
        name = found.empty.legs4d.run_id
        until(lambda: session.transfers.get(name).missing <= FRAMES - 2, "two frames")
        assert session.transfers.get(name).missing > 0
        return found

    return start


def _window():
    return bpy.context.window_manager.legs4d


def _is_sentence(text):
    return text.endswith(".") and "\n" not in text and "Traceback" not in text


def test_without_a_backend_the_panel_says_what_to_do(session, until):
    session.link.connect()
    until(lambda: session.link.status.state.value == "lost", "the failure")
    assert session.link.status.sentence == "No backend is running on this machine; press Start."
    with pytest.raises(RuntimeError, match="No backend is connected"):
        bpy.ops.legs4d.import_run(run="ball")


def test_a_backend_that_was_killed_left_its_file(backend, session, until):
    backend.kill()
    assert (backend.state / "server.json").exists()
    session.link.connect()
    until(lambda: session.link.status.state.value == "lost", "the failure")
    assert _is_sentence(session.link.status.sentence) and "No backend answers" in session.link.status.sentence


def test_it_dies_mid_stream_and_comes_back(own, slow, session, start_import, until, truth):
    found = start_import(own)
    own.kill()
    until(lambda: session.link.status.state.value == "lost", "the loss")
    assert _is_sentence(session.link.status.sentence)
    there = FRAMES - len(session.transfers.get(found.empty.legs4d.run_id).cache.missing_frames())
    assert 0 < there < FRAMES
    bpy.context.scene.frame_set(1)
    np.testing.assert_array_equal(read(found.dynamic_object, "position"), truth["means"][0])
    own.start()  # another port, another token
    until(lambda: session.link.ready, "the reconnection")
    until(lambda: not session.transfers.pending, "the remaining frames")
    bpy.context.scene.frame_set(FRAMES)
    np.testing.assert_array_equal(read(found.dynamic_object, "position"), truth["means"][FRAMES - 1])
    assert session.link.message == ""


def test_it_dies_while_a_prompt_is_out_and_answers_after(own, slow, session, until, start_import):
    found = start_import(own)
    until(lambda: not session.transfers.pending, "all frames")
    bpy.ops.legs4d.ask(prompt=PROMPT)
    layer_id = found.layers[0].layer_id
    own.kill()
    until(lambda: session.questions.get(layer_id).request is None, "the loss")
    assert _is_sentence(session.questions.trouble(layer_id))
    own.start()
    until(lambda: session.questions.get(layer_id) is None, "the answer")
    assert len(found.layers[0].intervals) == 1 and session.questions.trouble(layer_id) == ""


def test_a_prompt_without_a_backend_waits_for_one(imported, session, until):
    session.link.disconnect()
    bpy.ops.legs4d.ask(prompt=PROMPT)
    layer_id = imported.layers[0].layer_id
    assert _is_sentence(session.questions.trouble(layer_id))
    session.link.connect()
    until(lambda: session.questions.get(layer_id) is None, "the answer")
    assert len(imported.layers[0].intervals) == 1


def test_a_wrong_token_is_said_and_mended(own, session, until):
    file = own.state / "server.json"
    right = file.read_text()
    token = right.split('"token": "')[1].split('"')[0]
    session.link.disconnect()
    file.write_text(right.replace(token, "0" * len(token)))
    session.link.connect()
    until(lambda: session.link.status.state.value == "refused", "the refusal")
    assert _is_sentence(session.link.status.sentence) and "token" in session.link.status.sentence
    file.write_text(right)
    until(lambda: session.link.ready, "the connection")


def test_another_machine_needs_online_access(addon, session, until):
    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.connection, chosen.endpoint = "ADDRESS", "tcp://example.invalid:5555"
    bpy.context.preferences.system.use_online_access = False
    session.link.connect()
    until(lambda: session.link.status.state.value == "lost", "the refusal")
    assert "allow online access" in session.link.status.sentence
    bpy.context.preferences.system.use_online_access = True
    session.link.connect()
    until(lambda: session.link.status.state.value == "lost", "the refusal")
    assert "with keys only" in session.link.status.sentence
    chosen.endpoint = "localhost:port"
    session.link.connect()
    until(lambda: session.link.status.state.value == "lost", "the refusal")
    assert "is not of the form" in session.link.status.sentence


def test_a_run_removed_while_open_is_said(own, slow, session, start_import, until):
    found = start_import(own)
    name = found.empty.legs4d.run_id
    session.transfers.cancel(name)
    shutil.rmtree(own.root / "ball")
    bpy.ops.legs4d.fetch()
    until(lambda: session.link.message, "the failure")
    assert _is_sentence(session.link.message) and "ball" in session.link.message
    bpy.ops.legs4d.ask(prompt=PROMPT)
    layer_id = found.layers[0].layer_id
    until(lambda: session.questions.trouble(layer_id), "the failure")
    assert _is_sentence(session.questions.trouble(layer_id))
    assert session.link.ready
    bpy.context.scene.frame_set(1)


def test_a_run_that_is_not_there_is_said(connected, session, until):
    bpy.ops.legs4d.import_run(run="nothing")
    until(lambda: session.link.message, "the failure")
    assert _is_sentence(session.link.message) and "nothing" in session.link.message
    assert not session.runs.opening


def test_a_prompt_sent_twice_is_asked_once(imported, session, until):
    bpy.ops.legs4d.ask(prompt=PROMPT)
    first = session.questions.get(imported.layers[0].layer_id).request
    bpy.ops.legs4d.ask(prompt=PROMPT.upper().lower())
    assert session.questions.get(imported.layers[0].layer_id).request == first
    assert len(imported.layers) == 1
    until(lambda: not session.questions.busy, "the answer")


def test_another_prompt_overtakes_the_one_on_its_way(imported, session, until):
    bpy.ops.legs4d.ask(prompt=PROMPT)
    layer = imported.layers[0]
    layer.prompt = "a wooden box standing on the floor"
    until(lambda: not session.questions.busy, "the answer")
    assert layer.asked == "a wooden box standing on the floor"
    assert session.questions.trouble(layer.layer_id) == ""
    assert read(imported.static_object, f"highlight:{layer.layer_id}").max() > 0.5


def test_an_import_cancelled_midway_keeps_what_arrived_and_goes_on_later(connected, slow, session, start_import, until):
    found = start_import(connected)
    assert bpy.ops.legs4d.cancel_fetch() == {"FINISHED"}
    assert not session.transfers.pending
    time.sleep(0.5)
    session.pump()
    assert not session.transfers.pending and session.link.message == ""
    bpy.context.scene.frame_set(1)
    assert bpy.ops.legs4d.fetch() == {"FINISHED"}
    until(lambda: not session.transfers.pending, "the remaining frames")
    bpy.context.scene.frame_set(FRAMES)
    from blender_addon.sequence import playback

    assert playback.message(found.empty) == ""


@pytest.mark.parametrize("after_the_answer", [False, True])
def test_a_prompt_cancelled_leaves_the_layer_usable(imported, slow, session, until, after_the_answer):
    bpy.ops.legs4d.ask(prompt=PROMPT)
    layer_id = imported.layers[0].layer_id
    if after_the_answer:
        until(lambda: session.questions.get(layer_id).answered, "the answer")
    assert bpy.ops.legs4d.cancel_ask() == {"FINISHED"}
    assert session.questions.get(layer_id) is None
    assert bpy.ops.legs4d.ask_again() == {"FINISHED"}
    until(lambda: not session.questions.busy, "the answer")
    assert len(imported.layers[0].intervals) == 1 and session.questions.trouble(layer_id) == ""


def test_a_layer_removed_while_asked_is_forgotten(imported, slow, session, until):
    bpy.ops.legs4d.ask(prompt=PROMPT)
    assert bpy.ops.legs4d.remove_layer() == {"FINISHED"}
    time.sleep(0.5)
    session.pump(1.0)
    assert len(imported.layers) == 0 and not session.questions.busy
    assert not bpy.context.scene.timeline_markers


def test_undo_after_import_takes_the_sequence_and_stops_its_frames(connected, slow, session, start_import, until):
    from blender_addon.sequence import sequence

    bpy.ops.ed.undo_push(message="before")
    start_import(connected)
    bpy.ops.ed.undo()
    assert sequence.find(bpy.context.scene) == []
    until(lambda: not session.transfers.pending, "the end of the stream")
    bpy.context.scene.frame_set(4)
    bpy.ops.ed.redo()
    again = sequence.find(bpy.context.scene)[0]
    bpy.ops.legs4d.fetch()
    until(lambda: not session.transfers.pending, "the remaining frames")
    bpy.context.scene.frame_set(FRAMES)
    assert read(again.dynamic_object, "position").std() > 0


@pytest.mark.parametrize("which", ["static", "moving"])
def test_deleted_points_are_said_and_the_others_play(imported, truth, which):
    from blender_addon.sequence import playback, sequence

    bpy.data.objects.remove(imported.static_object if which == "static" else imported.dynamic_object)
    bpy.context.scene.frame_set(5)
    again = sequence.find(bpy.context.scene)[0]
    assert which in playback.message(again.empty) and "were deleted" in playback.message(again.empty)
    if which == "static":
        np.testing.assert_array_equal(read(again.dynamic_object, "position"), truth["means"][4])
    assert bpy.ops.legs4d.ask(prompt=PROMPT) == {"FINISHED"}


def test_a_deleted_parent_stops_the_sequence_and_nothing_else(imported, session):
    from blender_addon.sequence import sequence

    bpy.data.objects.remove(imported.empty)
    bpy.context.scene.frame_set(5)
    assert sequence.find(bpy.context.scene) == [] and sequence.active(bpy.context) is None
    session.pump()


def test_edited_points_are_said_and_kept(imported):
    from blender_addon.sequence import playback

    imported.dynamic_object.data.resize(7)
    bpy.context.scene.frame_set(5)
    assert "was edited" in playback.message(imported.empty)
    assert len(imported.dynamic_object.data.points) == 7


def test_a_run_made_anew_as_large_as_before_answers_nothing_for_the_old_points(own, session, until):
    shown = import_whole("ball", until)
    shutil.rmtree(own.root / "ball")
    library("-m", "tests.synthetic", "run", str(own.root / "ball"), "--frames", str(FRAMES))
    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.questions.busy, "the answer")
    layer = shown.layers[0]
    assert not layer.answer_key and not len(layer.intervals)
    assert "trained anew since it was opened" in session.questions.trouble(layer.layer_id)


def test_two_blenders_share_a_backend(imported, connected, package, tmp_path, session, until):
    """Another process imports, asks, and ends; this one's connection goes on."""
    script = f"""
import sys, time
sys.path.insert(0, {str(package.parent)!r})
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.preferences.addon_enable(module="blender_addon")
from blender_addon.link import session
from blender_addon.sequence import sequence
bpy.context.preferences.addons["blender_addon"].preferences.cache_folder = {str(tmp_path / "cache")!r}
def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, session.current.link.status
        session.current.pump(); time.sleep(0.01)
session.current.link.connect()
until(lambda: session.current.link.ready)
bpy.ops.legs4d.import_run(run="ball")
until(lambda: sequence.find(bpy.context.scene) and not session.current.transfers.pending)
bpy.ops.legs4d.ask(prompt="a ball lying still on the floor")
until(lambda: not session.current.questions.busy)
print("found", len(sequence.find(bpy.context.scene)[0].layers[0].intervals))
"""
    other = subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ), stdout=subprocess.PIPE, text=True)
    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.questions.busy, "the answer")
    out, _ = other.communicate(timeout=120)
    assert other.returncode == 0 and "found" in out
    assert session.link.ready and len(imported.layers[0].intervals) == 1


def test_a_file_opens_without_the_extension(imported, session, until, truth, tmp_path):
    """Another Blender that lacks it shows the frame that was saved, and saves the file without losing anything."""
    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.questions.busy, "the answer")
    layer_id = imported.layers[0].layer_id
    file = str(tmp_path / "scene.blend")
    bpy.context.scene.frame_set(6)
    bpy.ops.wm.save_as_mainfile(filepath=file)
    script = f"""
import bpy, numpy as np
bpy.ops.wm.open_mainfile(filepath={file!r})
cloud = bpy.data.pointclouds["ball moving"]
position = np.empty(len(cloud.points) * 3, "f4")
cloud.attributes["position"].data.foreach_get("vector", position)
np.save({str(tmp_path / "position.npy")!r}, position.reshape(-1, 3))
bpy.context.scene.frame_set(9)
assert "legs4d:{layer_id}:strength" in bpy.data.objects["ball"]
bpy.ops.wm.save_mainfile()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "position.npy"), truth["means"][5])
    bpy.ops.wm.open_mainfile(filepath=file)
    from blender_addon.sequence import playback, sequence

    again = sequence.find(bpy.context.scene)[0]
    assert again.layers[0].layer_id == layer_id and len(again.layers[0].intervals) == 1
    np.testing.assert_array_equal(read(again.dynamic_object, "position"), truth["means"][8])
    assert playback.message(again.empty) == ""


def test_a_cache_that_cannot_be_written_is_said(connected, session, until, tmp_path):
    (tmp_path / "file").write_text("in the way")
    bpy.context.preferences.addons["blender_addon"].preferences.cache_folder = str(tmp_path / "file")
    bpy.ops.legs4d.import_run(run="ball")
    until(lambda: session.link.message, "the failure")
    assert _is_sentence(session.link.message) and "cannot be written" in session.link.message
    assert session.link.ready


def test_start_without_a_command_is_said(addon, session, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    bpy.context.preferences.addons["blender_addon"].preferences.root = str(tmp_path)
    assert bpy.ops.legs4d.start_backend() == {"CANCELLED"}
    assert _is_sentence(session.link.message) and "no 'legs4d' command" in session.link.message


def test_a_backend_started_here_serves_and_ends_with_us(addon, session, until, runs):
    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.command, chosen.root = str(LIBRARY.parent), str(runs)
    assert bpy.ops.legs4d.start_backend() == {"FINISHED"}
    until(lambda: len(_window().runs) == 1, "the runs")
    process = session.link.backend._process
    assert process.poll() is None
    bpy.ops.preferences.addon_disable(module="blender_addon")
    assert process.poll() is not None
    bpy.ops.preferences.addon_enable(module="blender_addon")


def test_a_second_backend_on_the_same_state_says_why_it_ended(backend, session, until, runs):
    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.command, chosen.root = str(LIBRARY.parent), str(runs)
    assert bpy.ops.legs4d.start_backend() == {"FINISHED"}
    until(lambda: session.link.backend is None, "its end")
    assert _is_sentence(session.link.message) or session.link.message.startswith("The backend ended")
    until(lambda: session.link.ready, "the connection to the one that runs")
