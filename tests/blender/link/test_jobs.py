"""Training from the panel: a job is submitted, shows its progress, ends as a run that imports, or is cancelled."""

import json
import math
import shutil

import bpy
import numpy as np
import pytest
from conftest import Backend, library


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A tiny dataset."""
    folder = tmp_path_factory.mktemp("footage") / "scene"
    library("-m", "tests.synthetic", "dataset", str(folder), "--frames", "2", "--train", "4")
    return folder


@pytest.fixture
def studio(addon, footage, tmp_path, until):
    """A backend with one tiny dataset `scene` and no runs, connected."""
    from blender_addon.link import session

    root = tmp_path / "root"
    shutil.copytree(footage, root / "scene")
    served = Backend(root, tmp_path / "state")
    session.current.link.connect()
    until(lambda: len(_window().datasets) == 1, "the list of datasets")
    yield served
    session.current.link.disconnect()
    served.stop()


def _window():
    return bpy.context.window_manager.legs4d


def _job():
    return _window().jobs[0] if len(_window().jobs) else None


def _submit(out="small"):
    form = _window()
    form.train_dataset, form.train_out, form.train_scale = "scene", out, 0.5
    assert bpy.ops.legs4d.train() == {"FINISHED"}


def test_without_a_dataset_nothing_is_submitted(studio):
    assert bpy.ops.legs4d.train() == {"CANCELLED"}


def test_a_dataset_that_is_not_there_is_said(studio, until):
    from blender_addon.link import session

    _window().train_dataset = "nothing"
    bpy.ops.legs4d.train()
    until(lambda: session.current.link.message, "the failure")
    assert "nothing" in session.current.link.message and session.current.link.message.endswith(".")


def test_lifting_tells_where_the_footage_is_now(addon):
    from blender_addon.link.jobs import Jobs

    class Link:
        def request(self, kind, body, **_):
            self.asked = kind, body

    link = Link()
    Jobs(link, None, None).lift("ball", "", "moved/scene")
    assert link.asked == ("lift", {"run": "ball", "dataset": "moved/scene"})


def test_a_run_that_cannot_be_lifted_is_said(studio, until):
    from blender_addon.link import session

    assert bpy.ops.legs4d.lift() == {"CANCELLED"}
    bpy.ops.legs4d.lift(run="nothing")
    until(lambda: session.current.link.message, "the failure")
    assert "nothing" in session.current.link.message


def test_a_job_shows_its_progress_and_can_be_cancelled(studio, until):
    _submit()
    until(lambda: _job() and _job().state == "running" and _job().done > 0, "progress", 120)
    assert _job().label == "small" and _job().total >= _job().done and _job().stage
    assert bpy.ops.legs4d.job_log(job=_job().name) == {"FINISHED"}
    until(lambda: "process" in _job().log, "the log")
    assert len(_job().log.splitlines()) <= 12
    assert bpy.ops.legs4d.cancel_job(job=_job().name) == {"FINISHED"}
    until(lambda: _job().state == "cancelled", "the end", 60)


def test_a_dataset_is_chosen_by_its_folder(studio):
    assert bpy.ops.legs4d.choose_dataset(directory=str(studio.root / "scene")) == {"FINISHED"}
    assert _window().train_dataset == "scene"
    assert bpy.ops.legs4d.choose_dataset(directory="/elsewhere") == {"CANCELLED"}
    assert _window().train_dataset == "scene"


def test_a_job_is_found_again_after_the_connection_was_lost(studio, until):
    from blender_addon.link import session

    _submit()
    until(lambda: _job() and _job().state == "running", "the start", 60)
    name = _job().name
    studio.kill()
    until(lambda: not session.current.link.ready, "the loss")
    studio.start()
    until(lambda: session.current.link.ready, "the connection", 60)
    until(lambda: _job() and _job().name == name and _job().state in ("queued", "running"), "the job", 60)
    bpy.ops.legs4d.cancel_job(job=name)
    until(lambda: _job().state == "cancelled", "the end", 60)


def test_what_was_made_otherwise_is_made_anew_only_when_asked(studio, until):
    run = studio.root / "kept"
    library("-m", "tests.synthetic", "run", str(run), "--frames", "2", "--train", "4")
    file = run / "run.json"
    state = json.loads(file.read_text())
    made = {"settings": {"dataset.scale": 1.0}, "version": 6, "inputs": {}}
    file.write_text(json.dumps({**state, "made_from": {"first_frame": made}}))
    before = file.read_bytes()
    _submit("kept")  # at half of the size
    until(lambda: _window().train_differs, "what differs")
    assert "dataset.scale: 1.0 → 0.5" in _window().train_differs and _job() is None
    assert bpy.ops.legs4d.make_anew() == {"FINISHED"}
    until(lambda: _job() and _job().state == "running" and _job().done > 0, "progress", 120)
    assert not _window().train_differs
    assert {**json.loads(file.read_bytes()), "info": 0} == {**json.loads(before), "info": 0}
    assert (run / ".again" / "run.json").exists()
    bpy.ops.legs4d.cancel_job(job=_job().name)
    until(lambda: _job().state == "cancelled", "the end", 60)


def _square(path, side=32):
    """A picture of a red square, half as wide as it is."""
    picture = bpy.data.images.new(path.stem, side, side, alpha=True)
    rgba = np.zeros((side, side, 4), np.float32)
    rgba[side // 4 : -side // 4, side // 4 : -side // 4] = (1, 0, 0, 1)
    picture.pixels.foreach_set(rgba.ravel())
    picture.filepath_raw, picture.file_format = str(path), "PNG"
    picture.save()


def _ends(empty):
    """What the points of a sequence reach in the scene: its lowest and its highest corner."""
    found = []
    for cloud in empty.children:
        if cloud.type in ("MESH", "POINTCLOUD"):
            places = np.empty(len(cloud.data.attributes["position"].data) * 3, np.float32)
            cloud.data.attributes["position"].data.foreach_get("vector", places)
            matrix = np.array(cloud.matrix_world)
            found.append(places.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
    places = np.concatenate(found)
    return places.min(axis=0), places.max(axis=0)


def test_objects_of_several_pictures_stand_at_the_cursor_side_by_side_in_the_size_asked_for(studio, tmp_path, until):
    folder = tmp_path / "root"
    for name in ("left", "right"):
        _square(folder / f"{name}.png")
    chosen = [{"name": "left.png"}, {"name": "right.png"}]
    assert bpy.ops.legs4d.make_objects(directory=str(folder), files=[{"name": "none.png"}]) == {"CANCELLED"}
    bpy.context.scene.cursor.location = (3, -2, 1)
    asked = {"directory": str(folder), "files": chosen, "prior": "inflate", "size": 0.5}
    assert bpy.ops.legs4d.make_objects(**asked) == {"FINISHED"}
    until(lambda: {"left-object", "right-object"} <= {job.label for job in _window().jobs}, "the jobs")
    until(lambda: all(job.state in ("done", "failed") for job in _window().jobs), "their ends", 120)
    assert [job.state for job in _window().jobs] == ["done", "done"], [job.message for job in _window().jobs]
    for name, x in (("left-object", 3.0), ("right-object", 3.625)):
        until(lambda name=name: name in bpy.data.objects, f"{name} in the scene")
        empty = bpy.data.objects[name]
        until(lambda empty=empty: np.ptp(_ends(empty), axis=0).max() > 0.1, "its points")
        bpy.context.view_layer.update()
        low, high = _ends(empty)
        np.testing.assert_allclose((low + high) / 2, (x, -2, 1), atol=0.05)
        assert (high - low).max() == pytest.approx(0.5, abs=0.05)


def test_an_object_is_made_in_one_pass(studio, tmp_path, until):
    """By the network that comes with the library: nothing is fetched, and nothing else is asked for."""
    _square(tmp_path / "root" / "still.png", 64)
    bpy.context.scene.cursor.location = (1, 0, 0)
    asked = {"directory": str(tmp_path / "root"), "files": [{"name": "still.png"}], "way": "onepass", "size": 2.0}
    assert bpy.ops.legs4d.make_objects(**asked) == {"FINISHED"}
    until(lambda: _job() and _job().state in ("done", "failed"), "its end", 120)
    assert _job().state == "done", _job().message
    report = json.loads((tmp_path / "root" / "still-object" / "run.json").read_text())["info"]["report"]
    assert report["method"] == "onepass" and report["network"] == "tiny4d" and "refined" not in report
    until(lambda: "still-object" in bpy.data.objects, "the object in the scene")
    empty = bpy.data.objects["still-object"]
    until(lambda: any(len(cloud.data.attributes["position"].data) for cloud in empty.children), "its points")
    bpy.context.view_layer.update()
    low, high = _ends(empty)
    np.testing.assert_allclose((low + high)[[0, 2]] / 2, (1, 0), atol=0.3)
    assert 1.5 < (high - low)[[0, 2]].max() < 3.0


@pytest.mark.long
def test_a_long_video_goes_on_behind_the_chunks_that_are_done(studio, tmp_path, until):
    """Thirty-five frames are three chunks; a job that is cancelled in between has kept the first."""
    file = tmp_path / "root" / "ball.mp4"
    draw = (
        "import sys, imageio.v3 as iio, numpy as np;"
        "row, column = np.mgrid[:64, :64]; film = np.full((35, 64, 64, 3), 255, np.uint8);"
        "[film[t].__setitem__(np.hypot(row - 32, column - 22 - t / 2) < 12, [200, 40, 20]) for t in range(35)];"
        "iio.imwrite(sys.argv[1], film, fps=15, codec='libx264', macro_block_size=1)"
    )
    library("-c", draw, str(file))
    asked = {"directory": str(file.parent), "files": [{"name": file.name}], "way": "onepass"}
    assert bpy.ops.legs4d.make_objects(**asked) == {"FINISHED"}
    until(lambda: _job() and _job().stage == "reconstructing" and _job().done >= 1, "the first chunk", 200)
    first = _job().name
    assert _job().total == 3
    bpy.ops.legs4d.cancel_job(job=first)
    until(lambda: _job().state == "cancelled", "the end", 100)
    stages = json.loads((tmp_path / "root" / "ball-object" / "run.json").read_text())["stages"]
    assert 16 <= len(stages["object"]["done_frames"]) < 35
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "root" / "ball-object").rglob("*") if path.is_file()}
    assert bpy.ops.legs4d.make_objects(**asked) == {"FINISHED"}
    until(lambda: _job().name != first and _job().state in ("done", "failed"), "the end", 300)
    assert _job().state == "done", _job().message
    kept = [path for path, when in made.items() if path.exists() and path.stat().st_mtime_ns == when]
    assert len([path for path in kept if "loose" in path.parts]) >= 16
    until(lambda: "ball-object" in bpy.data.objects, "the object in the scene")


def test_files_that_differ_by_their_suffix_alone_become_runs_of_their_own(addon):
    from pathlib import Path

    from blender_addon.things.making import runs_of

    found = runs_of([Path("a/fox.mp4"), Path("a/Fox.png"), Path("a/ball.v2.png")])
    assert found == ["fox-mp4-object", "Fox-png-object", "ball.v2-object"]


def test_what_no_object_can_be_made_of_is_told_with_what_to_do(studio, tmp_path, until):
    (tmp_path / "root" / "none.mp4").touch()
    asked = {"directory": str(tmp_path / "root"), "files": [{"name": "none.mp4"}]}
    assert bpy.ops.legs4d.make_objects(**asked) == {"CANCELLED"}
    _square(tmp_path / "root" / "still.png")
    asked = {"directory": str(tmp_path / "root"), "files": [{"name": "still.png"}], "prior": "turntable"}
    assert bpy.ops.legs4d.make_objects(**asked) == {"FINISHED"}
    told = "needs 8 pictures at least, and there are 1; give a video of one whole round."
    until(lambda: _job() and _job().state == "failed" and told in _job().message, "its end, told", 60)


def test_an_object_that_was_done_while_nobody_was_connected_is_placed(addon):
    from types import SimpleNamespace

    from blender_addon.link.jobs import Jobs
    from blender_addon.link.runs import Placing

    asked = {}
    link = SimpleNamespace(request=lambda kind, body=None, **how: asked.update({kind: how}), message="")
    runs = SimpleNamespace(placings={}, refresh=lambda: asked.update(refreshed=True))
    jobs, here = Jobs(link, runs, None), Placing((1, 2, 3), 0.5)
    for name in ("fox", "hen"):
        jobs.make_object(f"{name}.mp4", f"{name}-object", {}, here)
    jobs.watch()
    # The hen was made before, and is at work again.
    told = [("3", "fox", "done"), ("2", "hen", "running"), ("1", "hen", "done")]
    listed = [
        {
            "job": job,
            "kind": "object",
            "state": state,
            "request": {"out": f"{name}-object"},
            "progress": None,
            "error": None,
        }
        for job, name, state in told
    ]
    asked["jobs"]["on_reply"](SimpleNamespace(body={"jobs": listed}))
    assert runs.placings == {"fox-object": here} and asked["refreshed"]


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("roads", {"prior": "inflate"}),
        ("onepass", {"method": "onepass", "refine": False}),
        ("refined", {"method": "onepass", "refine": True}),
    ],
)
def test_what_the_backend_is_told_of_how_an_object_is_made(way, told):
    from types import SimpleNamespace

    from blender_addon.things.making import LEGS4D_OT_make_objects

    assert LEGS4D_OT_make_objects.how(SimpleNamespace(way=way, prior="inflate")) == told


def test_the_chosen_file_is_shown_in_the_browser():
    from types import SimpleNamespace

    from blender_addon.things.making import LEGS4D_OT_make_objects

    drawn = []
    layout = SimpleNamespace(
        prop=lambda owner, name: drawn.append(name),
        label=lambda text: drawn.append(text),
        template_icon=lambda icon_value, scale: drawn.append(icon_value),
    )
    file = SimpleNamespace(name="fox.mp4", preview_icon_id=77)
    operator = SimpleNamespace(layout=layout, way="roads")
    context = SimpleNamespace(active_file=file, selected_files=[file, file])
    LEGS4D_OT_make_objects.draw(operator, context)
    assert drawn == ["way", "prior", "size", 77, "fox.mp4", "2 files: 2 objects, side by side"]
    drawn.clear()
    operator.way = "onepass"  # which takes the video alone
    LEGS4D_OT_make_objects.draw(operator, SimpleNamespace(active_file=None, selected_files=[]))
    assert drawn == ["way", "size"]


def test_a_video_in_which_nothing_is_found_is_made_with_a_box_drawn_on_it(studio, tmp_path, until):
    """It is still grey, beside a red square: nobody finds that, and a box tells."""
    file = tmp_path / "elsewhere" / "still.mp4"
    file.parent.mkdir()
    draw = (
        "import sys, imageio.v3 as iio, numpy as np;"
        "film = np.full((3, 48, 64, 3), 128, np.uint8); film[:, 14:34, 22:42] = [220, 30, 30];"
        "iio.imwrite(sys.argv[1], film, fps=10, codec='libx264', macro_block_size=1)"
    )
    library("-c", draw, str(file))
    form = _window()
    assert bpy.ops.legs4d.make_scene() == {"CANCELLED"}  # none is chosen
    form.video_file = str(file)
    assert bpy.ops.legs4d.make_scene() == {"FINISHED"}
    until(lambda: _job() is not None and _job().needs_boxes, "the refusal", 90)
    assert _job().state == "failed" and "nothing moves" in _job().message
    assert bpy.ops.legs4d.add_box(corners=(30, 30, 31, 60)) == {"CANCELLED"}  # a click
    assert bpy.ops.legs4d.add_box(corners=(19, 11, 45, 37)) == {"FINISHED"}
    assert bpy.ops.legs4d.make_scene() == {"FINISHED"}
    stages = set()
    first = _job().name

    def ended():
        stages.add(_job().stage)
        return _job().name != first and _job().state in ("done", "failed")

    until(ended, "the scene", 120)
    assert _job().state == "done", _job().message
    assert {"objects", "motion"} <= stages
    until(lambda: "still-scene" in form.runs, "the run in the list")
    form.video_file = "another.mp4"
    assert not len(form.video_boxes)


def test_depth_maps_of_the_panel_tell_how_far_away_its_objects_are(studio, tmp_path, until):
    """A red square whose front is 4 units away, over a floor that a level camera 1.5 units above it sees.

    Maps are ten times their rows: nothing but the floor tells their scale."""
    draw = (
        "import sys, imageio.v3 as iio, numpy as np;"
        "from pathlib import Path;"
        "film = np.full((4, 48, 64, 3), 128, np.uint8);"
        "maps = np.repeat(np.clip(np.arange(48) - 23.5, 0, 24)[:, None], 64, 1)[None].repeat(4, 0);"
        "spots = [(slice(14, 34), slice(14 + 5 * frame, 34 + 5 * frame)) for frame in range(4)];"
        "[film[frame].__setitem__(spot, [220, 30, 30]) for frame, spot in enumerate(spots)];"
        "[maps[frame].__setitem__(spot, float(sys.argv[2])) for frame, spot in enumerate(spots)];"
        "root = Path(sys.argv[1]); (root / 'maps').mkdir();"
        "iio.imwrite(root / 'film.mp4', film, fps=10, codec='libx264', macro_block_size=1);"
        "[iio.imwrite(root / 'maps' / f'{frame:05d}.png', np.rint(10 * one).astype(np.uint8))"
        " for frame, one in enumerate(maps)]"
    )
    focal = 24 / math.tan(math.radians(49.1 / 2))
    library("-c", draw, str(studio.root), str(1 / 4 * 1.5 * focal))
    form = _window()
    form.video_file, form.video_depth = str(studio.root / "film.mp4"), "folder"
    assert bpy.ops.legs4d.make_scene() == {"CANCELLED"}  # none is chosen
    form.video_depth_folder = str(tmp_path)
    assert bpy.ops.legs4d.make_scene() == {"CANCELLED"}  # the backend does not see it
    form.video_depth = "helper"
    assert bpy.ops.legs4d.make_scene() == {"FINISHED"}
    until(lambda: _job() is not None and _job().state == "failed", "the refusal", 90)
    assert "no helper that makes depth maps is there" in _job().message
    assert not _job().needs_boxes  # it has objects
    first = _job().name
    form.video_depth, form.video_depth_folder = "folder", str(studio.root / "maps")
    assert bpy.ops.legs4d.add_box(corners=(11, 11, 37, 37)) == {"FINISHED"}
    assert bpy.ops.legs4d.make_scene() == {"FINISHED"}
    until(lambda: _job().name != first and _job().state in ("done", "failed"), "the scene", 120)
    assert _job().state == "done", _job().message
    (told,) = json.loads((studio.root / "film-scene" / "run.json").read_text())["info"]["report"]["objects"]
    assert told["routes"] == ["depth"] * 4
    # its middle is behind what is seen, by half its width at most; by the floor it would be 8 units away
    assert 4.0 < np.median(told["distance"]) < 4.0 / (1 - 10 / focal) * 1.05


def test_a_box_is_counted_from_the_upper_left_and_stays_in_the_picture(addon):
    from blender_addon.things.video import box_between

    assert box_between((0.5, 0.25), (0.25, 1.5), (200, 100)) == (50.0, 0.0, 100.0, 75.0)
