"""Import and playback: the points are the run's, upright, at every frame, also after save and load."""

import bpy
import numpy as np
import pytest
from conftest import FRAMES, read

QUANTISED = {"rtol": 0, "atol": 0.51 * 8 / 32767}
"""The cache keeps rotations and colours as 16-bit integers."""


def test_static_points_are_the_runs(imported, truth):
    still = imported.static_object
    np.testing.assert_array_equal(read(still, "position"), truth["static_means"])
    np.testing.assert_array_equal(read(still, "scale"), truth["static_scales"])
    np.testing.assert_array_equal(read(still, "rotation"), truth["static_quats"])
    radiance = np.column_stack((truth["static_colors"], truth["static_opacities"]))
    np.testing.assert_array_equal(read(still, "radiance:base"), radiance)


@pytest.mark.parametrize("frame", [0, 4, FRAMES - 1])
def test_moving_points_are_the_runs_at_each_frame(imported, truth, frame):
    bpy.context.scene.frame_set(frame + 1)
    moving = imported.dynamic_object
    np.testing.assert_array_equal(read(moving, "position"), truth["means"][frame])
    np.testing.assert_array_equal(read(moving, "scale"), truth["scales"])
    np.testing.assert_allclose(read(moving, "rotation"), truth["quats"][frame], **QUANTISED)
    radiance = read(moving, "radiance:base")
    np.testing.assert_allclose(radiance[:, :3], truth["colors"][frame], **QUANTISED)
    np.testing.assert_allclose(radiance[:, 3], truth["opacities"][frame], atol=1e-6)


def test_velocity_is_per_second_of_the_scene(imported, truth):
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 30, 1.0
    scene.frame_set(5)
    expected = (truth["means"][5] - truth["means"][4]) * 30
    np.testing.assert_allclose(read(imported.dynamic_object, "velocity"), expected, atol=1e-5)


def test_attributes_have_the_types_that_files_keep(imported):
    types = {
        "position": "FLOAT_VECTOR",
        "scale": "FLOAT_VECTOR",
        "rotation": "QUATERNION",
        "radiance:base": "FLOAT4",
        "velocity": "FLOAT_VECTOR",
        "highlight": "FLOAT",
        "legs4d:rank": "FLOAT",
        "legs4d:id": "INT",
    }
    for cloud in imported.clouds:
        assert {a.name: a.data_type for a in cloud.attributes} == types


def test_the_parent_turns_the_capture_upright(imported):
    bpy.context.view_layer.update()
    turned = imported.dynamic_object.matrix_world @ imported.dynamic_object.data.points[0].co
    x, y, z = imported.dynamic_object.data.points[0].co
    assert tuple(turned) == pytest.approx((x, z, -y), abs=1e-6)


def test_outside_its_range_a_sequence_shows_its_ends(imported, truth):
    for scene_frame, capture_frame in ((-5, 0), (100, FRAMES - 1)):
        bpy.context.scene.frame_set(scene_frame)
        np.testing.assert_array_equal(read(imported.dynamic_object, "position"), truth["means"][capture_frame])


def test_import_sets_the_frame_range_and_selects_the_sequence(imported):
    scene = bpy.context.scene
    assert (scene.frame_start, scene.frame_end) == (1, FRAMES)
    assert bpy.context.view_layer.objects.active == imported.empty


def test_a_later_start_shifts_the_capture(imported, truth):
    imported.empty.legs4d.start_frame = 10
    bpy.context.scene.frame_set(12)
    np.testing.assert_array_equal(read(imported.dynamic_object, "position"), truth["means"][2])


def test_saved_and_opened_again_without_a_backend_it_plays(imported, truth, tmp_path):
    from blender_addon.link import session
    from blender_addon.sequence import playback, sequence

    file = str(tmp_path / "scene.blend")
    bpy.context.scene.frame_set(3)
    bpy.ops.wm.save_as_mainfile(filepath=file)
    session.current.link.disconnect()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="blender_addon")
    bpy.context.preferences.addons["blender_addon"].preferences.cache_folder = str(tmp_path / "cache")
    bpy.ops.wm.open_mainfile(filepath=file)
    again = sequence.find(bpy.context.scene)[0]
    np.testing.assert_array_equal(read(again.dynamic_object, "position"), truth["means"][2])
    bpy.context.scene.frame_set(7)
    np.testing.assert_array_equal(read(again.dynamic_object, "position"), truth["means"][6])
    assert playback.message(again.empty) == ""


@pytest.mark.parametrize("how", ["beside the file", "environment variable", "folder of the import"])
def test_a_render_node_finds_the_cache(imported, truth, tmp_path, monkeypatch, how):
    """Its preferences name another cache than the importing machine's."""
    from blender_addon.sequence import playback, sequence

    (tmp_path / "node").mkdir()
    file = str(tmp_path / "node" / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    if how == "beside the file":
        (tmp_path / "cache").rename(tmp_path / "node" / "legs4d_cache")
    elif how == "environment variable":
        (tmp_path / "cache").rename(tmp_path / "elsewhere")
        monkeypatch.setenv("LEGS4D_CACHE", str(tmp_path / "elsewhere"))
    bpy.context.preferences.addons["blender_addon"].preferences.cache_folder = str(tmp_path / "nothing")
    bpy.ops.wm.open_mainfile(filepath=file)
    bpy.context.scene.frame_set(7)
    again = sequence.find(bpy.context.scene)[0]
    np.testing.assert_array_equal(read(again.dynamic_object, "position"), truth["means"][6])
    assert playback.message(again.empty) == ""


def test_without_the_cache_the_points_stay_and_the_panel_says_why(imported, truth, tmp_path):
    from blender_addon.sequence import playback, sequence

    file = str(tmp_path / "scene.blend")
    bpy.context.scene.frame_set(3)
    bpy.ops.wm.save_as_mainfile(filepath=file)
    (tmp_path / "cache").rename(tmp_path / "gone")
    bpy.ops.wm.open_mainfile(filepath=file)
    bpy.context.scene.frame_set(7)
    again = sequence.find(bpy.context.scene)[0]
    np.testing.assert_array_equal(read(again.dynamic_object, "position"), truth["means"][2])
    said = playback.message(again.empty)
    assert "not on this machine" in said and str(tmp_path / "cache") in said


def test_a_machine_without_the_cache_fetches_it(imported, until, truth, tmp_path):
    from blender_addon.link import session
    from blender_addon.sequence import playback

    (tmp_path / "cache").rename(tmp_path / "gone")
    bpy.context.scene.frame_set(7)
    assert playback.message(imported.empty)
    assert bpy.ops.legs4d.fetch() == {"FINISHED"}
    until(lambda: not session.current.runs.opening and not session.current.transfers.pending, "the frames")
    np.testing.assert_array_equal(read(imported.dynamic_object, "position"), truth["means"][6])
    assert playback.message(imported.empty) == ""


def test_a_sequence_follows_a_run_that_was_moved(backend, until, addon, tmp_path):
    from blender_addon.cache import storage
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    session.current.link.connect()
    until(lambda: len(bpy.context.window_manager.legs4d.runs) == 1, "the list of runs")
    bpy.ops.legs4d.import_run(run="ball")
    until(lambda: sequence.find(bpy.context.scene), "the sequence")
    until(lambda: not session.current.transfers.pending and not session.current.tasks.busy, "all frames")
    shown = sequence.find(bpy.context.scene)[0]
    (backend.root / "takes").mkdir()
    (backend.root / "ball").rename(backend.root / "takes" / "throw")
    bpy.ops.legs4d.refresh()
    until(lambda: shown.its.run == "takes/throw", "the sequence to follow")
    told = session.current.link.message
    assert told == "The run 'ball' of 'ball' is called 'takes/throw' now; the sequence follows it."
    assert storage.find(shown.empty).missing_frames() == []
    assert bpy.ops.legs4d.ask(prompt="the ball is flying") == {"FINISHED"}
    until(lambda: not session.current.questions.busy and shown.layers[0].answer_key, "the answer")
    cache = storage.find(shown.empty).path
    (cache / "frames" / "000003.block").unlink()
    (cache / "static.block").unlink()
    assert bpy.ops.legs4d.fetch() == {"FINISHED"}
    until(lambda: not session.current.runs.opening and not session.current.transfers.pending, "what is missing")
    assert storage.find(shown.empty).path == cache and storage.find(shown.empty).missing_frames() == []
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    (backend.root / "takes" / "throw").rename(backend.root / "again")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    until(lambda: sequence.find(bpy.context.scene)[0].its.run == "again", "the opened file to follow")


def test_a_run_trained_anew_is_not_followed(imported):
    from blender_addon.link import runs

    others = [{"name": "ball", "revision": "another"}, {"name": "old backends say no revision"}]
    assert runs.follow_renamed(others) == [] and imported.its.run == "ball"


def test_the_playhead_comes_first(connected, until):
    """The first frame to arrive is the one that is looked at."""
    from blender_addon.link import session, transfers
    from blender_addon.sequence import sequence

    arrived = []
    bpy.context.scene.frame_set(9)
    original = transfers.Transfers._arrived
    transfers.Transfers._arrived = lambda self, t, e: (arrived.append(e.body["frame"]), original(self, t, e))
    try:
        bpy.ops.legs4d.import_run(run="ball")
        until(lambda: sequence.find(bpy.context.scene), "the sequence")
        until(lambda: not session.current.transfers.pending and not session.current.tasks.busy, "all frames")
    finally:
        transfers.Transfers._arrived = original
    assert arrived[0] == 8 and sorted(arrived) == list(range(FRAMES))


def test_half_of_the_bytes_place_points_within_a_tenth_of_a_millimetre(connected, until, truth):
    """What the preference for slow networks asks for, over the loopback."""
    from blender_addon import access
    from blender_addon.link import session, transfers
    from blender_addon.sequence import sequence

    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    server = access.read_server_file(connected.state)
    session.current.link.disconnect()
    chosen.connection, chosen.endpoint, chosen.token = "ADDRESS", server.endpoint, server.token
    chosen.half_precision = True
    session.current.link.connect()
    until(lambda: session.current.link.ready, "the connection")
    kinds = set()
    original = transfers.decoded
    transfers.decoded = lambda message: (
        kinds.update(str(a.dtype) for a in message.arrays.values()),
        original(message),
    )[1]
    try:
        bpy.ops.legs4d.import_run(run="ball")
        until(lambda: sequence.find(bpy.context.scene), "the sequence")
        until(lambda: not session.current.transfers.pending and not session.current.tasks.busy, "all frames")
    finally:
        transfers.decoded = original
    assert kinds == {"uint16"}
    bpy.context.scene.frame_set(5)
    moving = sequence.find(bpy.context.scene)[0].dynamic_object
    np.testing.assert_allclose(read(moving, "position"), truth["means"][4], atol=1e-4)
    np.testing.assert_allclose(read(moving, "rotation"), truth["quats"][4], atol=1e-4)
    np.testing.assert_allclose(read(moving, "radiance:base")[:, :3], truth["colors"][4], atol=5e-4)


def test_registering_twice_leaves_one_handler(addon):
    from blender_addon.sequence import playback

    playback.register()
    playback.register()
    own = [h for h in bpy.app.handlers.frame_change_pre if h.__module__.startswith("blender_addon")]
    assert len(own) == 1


def test_disabling_leaves_nothing(addon):
    bpy.ops.preferences.addon_disable(module="blender_addon")
    assert not hasattr(bpy.types.Object, "legs4d") and not hasattr(bpy.types.WindowManager, "legs4d")
    for name in dir(bpy.app.handlers):
        handlers = getattr(bpy.app.handlers, name)
        if isinstance(handlers, list):
            assert not [h for h in handlers if h.__module__.startswith("blender_addon")]
    left = [name for name in dir(bpy.types) if name.startswith(("LEGS4D_", "Legs4d"))]
    assert left == []
    bpy.ops.preferences.addon_enable(module="blender_addon")


def test_a_list_of_several_pages_is_shown_whole(addon):
    """A backend sends a thousand runs at a time, and says where it goes on."""
    from blender_addon.link.runs import Runs
    from blender_addon.link.types import Received

    pages = {None: ("a", "b"), "b": ("c", "d"), "d": ("e",)}
    asked = []

    class Link:
        def request(self, kind, body, *, on_reply):
            asked.append((str(kind), body.get("after")))
            if str(kind) != "runs":
                return
            names = pages[body.get("after")]
            told = {"frames": 1, "static": 2, "dynamic": 3, "loose": 0, "finished": True, "language": False}
            follows = names[-1] if names[-1] in pages else None
            runs = [{"name": name, **told} for name in names]
            problems = [{"name": f"{names[0]}!", "message": "is damaged."}]
            on_reply(Received(str(kind), {"runs": runs, "problems": problems, "next": follows}, {}, None))

    Runs(Link(), None, None).refresh()
    shown = bpy.context.window_manager.legs4d.runs
    assert [run.name for run in shown] == ["a", "b", "c", "d", "e", "a!", "c!", "e!"]
    assert asked == [("runs", None), ("runs", "b"), ("runs", "d"), ("datasets", None)]
