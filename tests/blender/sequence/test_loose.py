"""Runs whose frames have Gaussians of their own, what else changes in time, view dependence; runs of one frame."""

import bpy
import numpy as np
import pytest
from conftest import import_whole, library, read, serving

STEP = {"colors": 0.51 * 8 / 32767, "sh": 0.51 * 4 / 32767, "unit": 0.51 / 32767}
"""Half an integer step of what the cache keeps as integers."""
COUNTS = (4, 0, 7)

_MAKE = """
import sys, numpy as np
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.objects import Objects, write_objects
from legs4d.gaussians.store.run import Run
rng = np.random.default_rng(3)
def splats(n, sh):
    quats = rng.normal(size=(n, 4)).astype("f4"); quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    of = lambda *s: rng.uniform(0.05, 0.95, size=(n, *s)).astype("f4")
    return Gaussians(of(3), quats, of(3) * 0.1, of(), of(3), np.ones(n, bool), of(sh, 3) - 0.5 if sh else None)
counts, root = (4, 0, 7), sys.argv[1]
still, moving = splats(5, 3), [splats(6, 3) for _ in counts]
loose, seen = [splats(n, 3) for n in counts], [rng.uniform(size=n) for n in counts]
run = Run.create(root + "/all")
run.set_info(fps=10.0, kind="imported", up=[0.0, 0.0, 1.0])
run.begin_stage("import", "x")
changing = ("scales", "opacities", "sh_rest")
run.write_geometry(still, moving[0], 3, changing=changing, max_loose=max(counts), loose_sh=3)
run.write_marks("seen", np.linspace(0, 1, 5), np.ones(6))
for t, g in enumerate(moving):
    run.write_frame(t, g.means, g.quats, g.colors, **{name: getattr(g, name) for name in changing})
    run.write_loose(t, loose[t], seen=seen[t])
    run.frame_done("import", t, 0.0)
run.finish_stage("import")
pose = np.tile(np.array([0, 0, 0, 1, 0, 0, 0], "f4"), (3, 1, 1)); pose[:, 0, 0] = [1, 2, 4]
write_objects(run, Objects(("ball",), pose, np.ones((3, 1), "f4"), np.ones((3, 1), bool)))
one = Run.create(root + "/one")
one.set_info(fps=10.0, kind="imported")
one.begin_stage("import", "x")
one.write_geometry(still, splats(0, 0), 1)
one.frame_done("import", 0, 0.0)
one.finish_stage("import")
out = {}
for name, parts in (("still", [still]), ("moving", moving), ("loose", loose)):
    for t, part in enumerate(parts):
        for field in ("means", "quats", "scales", "opacities", "colors", "sh_rest"):
            out[f"{name}{t}_{field}"] = getattr(part, field)
for t, values in enumerate(seen):
    out[f"loose{t}_seen"] = values
np.savez(root + "/truth.npz", **out)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    yield from serving(_MAKE, tmp_path_factory)


@pytest.fixture
def truth(served):
    return dict(np.load(served.root / "truth.npz"))


@pytest.fixture
def fetch(served, until, monkeypatch):
    """`fetch(run)`: connect, import it, wait for all frames; the sequence."""
    from blender_addon.link import session

    monkeypatch.setenv("LEGS4D_STATE_DIR", str(served.state))

    def run(name):
        session.current.link.connect()
        until(lambda: len(bpy.context.window_manager.legs4d.runs) == 2, "the list of runs")
        return import_whole(name, until)

    return run


def _check(item, truth, part):
    np.testing.assert_array_equal(read(item, "position"), truth[f"{part}_means"])
    np.testing.assert_array_equal(read(item, "scale"), truth[f"{part}_scales"])
    np.testing.assert_allclose(read(item, "rotation"), truth[f"{part}_quats"], atol=STEP["unit"])
    radiance = read(item, "radiance:base")
    np.testing.assert_allclose(radiance[:, :3], truth[f"{part}_colors"], atol=STEP["colors"])
    np.testing.assert_allclose(radiance[:, 3], truth[f"{part}_opacities"], atol=STEP["unit"])
    for index in range(3):
        values = read(item, f"radiance:sh_{index}")
        np.testing.assert_allclose(values, truth[f"{part}_sh_rest"][:, index], atol=STEP["sh"])


def test_an_object_is_named_in_the_run_and_by_its_empty(fetch, served, until):
    shown = fetch("all")
    ball = bpy.data.objects["ball"]
    assert bpy.ops.legs4d.name_object.poll()
    bpy.context.view_layer.objects.active = shown.empty
    assert bpy.ops.legs4d.name_object(called="x") == {"CANCELLED"}  # no object's Empty is meant
    assert bpy.ops.legs4d.name_object(empty="ball", called="basketball") == {"FINISHED"}
    assert ball.name == "basketball"
    jobs = bpy.context.window_manager.legs4d.jobs
    until(lambda: len(jobs) == 1 and jobs[0].state == "done", "the job that names it")
    names = "import sys; from legs4d.gaussians.objects import *; run = Run.open(sys.argv[1])\n"
    names += "assert read_objects(run).names == ('basketball',)\n"
    names += "with run.lock(): name_object(run, 0, 'ball')"  # as other tests find it
    library("-c", names, str(served.root / "all"))


def test_every_frame_shows_its_own_points_and_what_changes(fetch, truth):
    from blender_addon.sequence import playback

    shown = fetch("all")
    for frame in (0, 2, 1, 0):
        bpy.context.scene.frame_set(frame + 1)
        assert bpy.data.objects["ball"].location.x == (1, 2, 4)[frame]  # an Empty for each object of the run
        assert len(shown.loose_object.data.points) == COUNTS[frame]
        _check(shown.static_object, truth, "still0")
        _check(shown.dynamic_object, truth, f"moving{frame}")
        _check(shown.loose_object, truth, f"loose{frame}")
        np.testing.assert_allclose(read(shown.loose_object, "seen"), truth[f"loose{frame}_seen"], atol=0.003)
        assert playback.message(shown.empty) == ""
    np.testing.assert_allclose(read(shown.static_object, "seen"), np.linspace(0, 1, 5), atol=0.003)
    assert not read(shown.loose_object, "velocity").any()


def test_between_frames_loose_points_hold_and_the_others_move_on(fetch, truth):
    shown = fetch("all")
    bpy.context.scene.frame_set(1, subframe=0.25)
    _check(shown.loose_object, truth, "loose0")
    for name, field in (("position", "means"), ("scale", "scales"), ("radiance:sh_2", "sh_rest")):
        first, then = truth[f"moving0_{field}"], truth[f"moving1_{field}"]
        expected = 0.75 * first + 0.25 * then
        expected = expected[:, 2] if field == "sh_rest" else expected
        np.testing.assert_allclose(read(shown.dynamic_object, name), expected, atol=STEP["sh"])


def test_what_the_run_says_is_up_is_up(fetch):
    from mathutils import Vector

    shown = fetch("all")
    bpy.context.view_layer.update()
    assert tuple(shown.empty.matrix_world.to_3x3() @ Vector((0, 0, 1))) == pytest.approx((0, 0, 1), abs=1e-6)


def test_a_run_of_one_frame_shows_at_once(fetch, truth):
    from blender_addon.sequence import playback

    shown = fetch("one")
    assert (shown.dynamic_object, shown.loose_object) == (None, None)
    for frame in (1, 20):
        bpy.context.scene.frame_set(frame)
        _check(shown.static_object, truth, "still0")
        assert playback.message(shown.empty) == ""


def test_what_lights_up_in_a_run_of_one_frame_stays_lit(fetch):
    from blender_addon.cache import storage
    from blender_addon.cache.frames import Answer, prompt_key
    from blender_addon.layers import layers

    shown = fetch("one")
    cache, key = storage.find(shown.empty), prompt_key("it")
    cache.write_answer(key, Answer("it", ((0, 0, 0, 1.0),), (1.0,)), np.array([0, 255, 255, 0, 0], "u1"))
    layers.take_answer(shown, layers.add(shown, "it"), key, cache.answer(key), bpy.context.scene)
    for frame in (-5, 1, 2, 100):
        bpy.context.scene.frame_set(frame)
        assert read(shown.static_object, "highlight").tolist() == pytest.approx([0, 1, 1, 0, 0], abs=1e-6)


def test_half_of_the_bytes_keep_small_scales(fetch, truth, served, until):
    """Scales span orders of magnitude, so they travel as logarithms."""
    from blender_addon import access
    from blender_addon.link import session

    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    server = access.read_server_file(served.state)
    chosen.connection, chosen.endpoint, chosen.token = "ADDRESS", server.endpoint, server.token
    chosen.half_precision = True
    shown = fetch("all")
    session.current.link.disconnect()
    bpy.context.scene.frame_set(3)
    np.testing.assert_allclose(read(shown.loose_object, "scale"), truth["loose2_scales"], rtol=1e-4)
    np.testing.assert_allclose(read(shown.loose_object, "position"), truth["loose2_means"], atol=1e-4)


def test_layers_light_up_loose_points_where_their_relevancy_says(fetch):
    from blender_addon.cache import storage
    from blender_addon.cache.frames import Answer, prompt_key
    from blender_addon.layers import layers
    from blender_addon.sequence import playback

    shown = fetch("all")
    cache, key = storage.find(shown.empty), prompt_key("it")
    cache.write_answer(key, Answer("it", ((0, 2, 0, 1.0),), (1.0, 1.0, 1.0)), np.zeros(5, "u1"))
    for frame, count in enumerate(COUNTS):
        cache.write_relevancy(key, frame, np.zeros(6, "u1"), np.arange(count, dtype="u1") * 40)
    layer_id = layers.add(shown, "it")
    layers.take_answer(shown, layer_id, key, cache.answer(key), bpy.context.scene)
    for frame, count in enumerate(COUNTS):
        bpy.context.scene.frame_set(frame + 1)
        np.testing.assert_allclose(read(shown.loose_object, f"highlight:{layer_id}"), np.arange(count) * 40 / 255)
        assert (read(shown.loose_object, "highlight") > 0.99).tolist() == [40 * i / 255 > 0.6 for i in range(count)]
    assert playback.message(shown.empty) == ""


def test_caches_of_the_version_before_open(package, tmp_path):
    """Its manifest and blocks, as that version wrote them."""
    import json

    from blender_addon.cache.frames import RunCache

    (tmp_path / "old" / "frames").mkdir(parents=True)
    manifest = {"format": 2, "run_id": "old", "run": "old", "revision": "r", "num_frames": 1, "num_static": 1}
    manifest |= {"num_dynamic": 1, "fps": 10.0, "pixel_angle": 0.001}
    (tmp_path / "old" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "old" / "static.block").write_bytes(np.arange(14, dtype="<f4").tobytes())
    frame = np.arange(3, dtype="<f4").tobytes() + np.array([32767, 0, 0, 0, 1, 2, 3], "<i2").tobytes()
    (tmp_path / "old" / "frames" / "000000.block").write_bytes(frame)
    cache = RunCache.open(tmp_path / "old")
    assert cache.description.up == (0.0, -1.0, 0.0) and not cache.description.num_loose
    assert cache.static()["opacities"].tolist() == [13.0] and cache.frame(0)["means"].tolist() == [[0.0, 1.0, 2.0]]


RENDER = """
import sys, bpy, numpy as np
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
found = {}
for frame in (1, 2, 3):
    bpy.context.scene.frame_set(frame)
    graph = bpy.context.evaluated_depsgraph_get()
    for item in bpy.context.scene.objects:
        if item.type != "POINTCLOUD":
            continue
        item.modifiers[-1].show_viewport = False
        graph.update()
        points = item.evaluated_get(graph).data
        for name, width, field in (("position", 3, "vector"), ("scale", 3, "vector"), ("radiance:sh_1", 3, "vector"),
                                   ("seen", 1, "value")):
            values = np.zeros(len(points.points) * width, "f4")
            if len(values):
                points.attributes[name].data.foreach_get(field, values)
            found[f"{item.name.split()[-1]}{frame} {name}"] = values.reshape(-1, width)
np.savez(sys.argv[2], **found)
"""


def test_a_baked_file_plays_loose_points_without_the_add_on(fetch, truth, tmp_path):
    import subprocess
    import sys

    fetch("all")
    assert bpy.ops.legs4d.bake(filepath=str(tmp_path / "shot.blend")) == {"FINISHED"}
    command = [sys.executable, "-c", RENDER, str(tmp_path / "shot.blend"), str(tmp_path / "found.npz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "found.npz"))
    for frame in range(3):
        for label, part in (("static", "still0"), ("moving", f"moving{frame}"), ("loose", f"loose{frame}")):
            mine = {key: found[f"{label}{frame + 1} {key}"] for key in ("position", "scale", "radiance:sh_1", "seen")}
            np.testing.assert_allclose(mine["position"], truth[f"{part}_means"], atol=1e-6)
            np.testing.assert_allclose(mine["scale"], truth[f"{part}_scales"], atol=1e-6)
            np.testing.assert_allclose(mine["radiance:sh_1"], truth[f"{part}_sh_rest"][:, 1], atol=STEP["sh"])
        np.testing.assert_allclose(found[f"loose{frame + 1} seen"][:, 0], truth[f"loose{frame}_seen"], atol=0.003)


def test_exports_have_all_points_of_the_frame_and_their_view_dependence(fetch, truth, tmp_path):
    from blender_addon.portable.files import read_splats

    fetch("all")
    settings = bpy.context.scene.legs4d_export
    settings.folder, settings.use_png, settings.use_exr, settings.use_json = str(tmp_path), False, False, False
    settings.use_ply, settings.span, settings.frame_start, settings.frame_end = True, "CUSTOM", 1, 3
    assert bpy.ops.legs4d.export() == {"FINISHED"}
    for frame, file in enumerate(sorted(tmp_path.glob("*.ply"))):
        found = read_splats(file)
        parts = ("still0", f"moving{frame}", f"loose{frame}")
        np.testing.assert_allclose(found.means, np.concatenate([truth[f"{part}_means"] for part in parts]), atol=1e-6)
        rest = np.concatenate([truth[f"{part}_sh_rest"] for part in parts])
        np.testing.assert_allclose(found.sh_rest, rest, atol=STEP["sh"])
        assert found.up == pytest.approx((0, 0, 1), abs=1e-6)
        assert len(found.extra["seen"]) == len(found)


def test_the_engine_shows_loose_points_with_the_colours_that_its_camera_sees(fetch, truth, monkeypatch):
    """One ball of a loose frame, hidden else: its colour follows the harmonics, its place the camera."""
    from blender_addon.sequence import sequence

    fetch("all")
    shown, scene = sequence.find(bpy.context.scene)[0], bpy.context.scene
    for cloud in (shown.static_object, shown.dynamic_object):
        cloud.hide_render = True
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (0.5, -3.0, 0.5), (np.pi / 2, 0, 0)
    scene.camera, scene.render.engine = camera, "LEGS4D_SPLATS"
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.render.film_transparent = True
    covered = []
    for frame in range(3):
        scene.frame_set(frame + 1)
        bpy.ops.render.render()
        covered.append(_alpha())
    assert covered[1].max() == 0.0, "a frame without loose points"
    means = truth["loose2_means"]
    around = covered[2].nonzero()
    assert len(around[0]) > 50 and covered[0].max() > 0.3
    center = (covered[2].sum(axis=0) @ (np.arange(32) + 0.5)) / covered[2].sum() / 32 - 0.5
    depth = 3.0 + means[:, 1]
    expected = np.average((means[:, 0] - 0.5) / depth * 50 / 36, weights=truth["loose2_opacities"])
    assert center == pytest.approx(expected, abs=0.06)


def _alpha():
    import tempfile

    import imbuf

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/picture.png"
        bpy.data.images["Render Result"].save_render(path)
        with imbuf.load(path).with_buffer() as buffer:
            return np.array(buffer)[::-1, :, 3] / 255.0
