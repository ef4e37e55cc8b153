"""Capture: what is written is what the scene holds, the scene stays as it was, and an interruption costs nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import bpy
import imbuf
import numpy as np
import pytest
from conftest import library

CENTERS = {1: (-0.6, 0.0, 0.8), 2: (0.6, 0.2, 1.2)}
"""Where the ball is at each frame of the scene, Blender's axes."""
RADIUS = 0.35


def _mesh(name: str, points: np.ndarray, faces: list, color: tuple) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points.tolist(), [], faces)
    material = bpy.data.materials.new(name)
    material.node_tree.nodes.clear()
    glow = material.node_tree.nodes.new("ShaderNodeEmission")
    glow.inputs["Color"].default_value = (*color, 1)
    output = material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    material.node_tree.links.new(glow.outputs[0], output.inputs["Surface"])
    mesh.materials.append(material)
    made = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(made)
    return made


@pytest.fixture
def scene(addon, tmp_path) -> bpy.types.Scene:
    """A red ball that moves, with a child that moves along, over a green floor; capture set up at 96×72."""
    found = bpy.context.scene
    turn, tilt = np.meshgrid(np.linspace(0, 2 * np.pi, 32, endpoint=False), np.linspace(0.01, np.pi - 0.01, 24))
    sphere = RADIUS * np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)], -1)
    faces = [
        [r * 32 + s, (r + 1) * 32 + s, (r + 1) * 32 + (s + 1) % 32, r * 32 + (s + 1) % 32]
        for r in range(23)
        for s in range(32)
    ]
    ball = _mesh("a red ball", sphere.reshape(-1, 3), faces, (1, 0, 0))
    for frame, place in CENTERS.items():
        ball.location = place
        ball.keyframe_insert("location", frame=frame)
    ball.animation_data.action.name = "rolling along"
    quad = np.array([[-3, -3, 0], [3, -3, 0], [3, 3, 0], [-3, 3, 0]], float)
    _mesh("floor", quad, [[0, 1, 2, 3]], (0, 0.5, 0))
    own = bpy.data.objects.new("My Camera", bpy.data.cameras.new("My Camera"))
    found.collection.objects.link(own)
    found.camera = own
    found.render.engine, found.cycles.use_denoising = "CYCLES", False
    found.frame_start, found.frame_end, found.render.fps = 1, 2, 12
    found.view_settings.view_transform = "Standard"
    settings = found.legs4d_capture
    settings.folder = str(tmp_path / "capture")
    settings.foreground.add().target = ball
    settings.frame_start, settings.frame_end = 5, 4  # not used unless the scene's range is not
    settings.num_train, settings.num_test, settings.samples = 3, 1, 4
    settings.width, settings.height, settings.angle = 96, 72, math.radians(60)
    settings.center, settings.radius, settings.initial_points = (0, 0, 0.8), 4.0, 500
    bpy.ops.legs4d.capture_captions_from_actions(surroundings="a floor")
    found.frame_set(1)
    return found


def test_a_capture_of_an_unsaved_file_without_a_folder_is_refused(scene) -> None:
    scene.legs4d_capture.folder = ""
    with pytest.raises(RuntimeError, match="Save the file first, or choose a folder"):
        bpy.ops.legs4d.capture()


def _state(scene: bpy.types.Scene) -> dict[str, object]:
    """What a user could notice having changed."""
    render, layer = scene.render, scene.view_layers[0]
    return {
        "frame": scene.frame_current,
        "camera": scene.camera.name,
        "size": (render.resolution_x, render.resolution_y),
        "output": (render.filepath, render.image_settings.file_format),
        "samples": scene.cycles.samples,
        "compositor": scene.compositing_node_group,
        "passes": (layer.use_pass_z, layer.use_pass_cryptomatte_object),
        "objects": sorted(o.name for o in bpy.data.objects),
        "scenes": [s.name for s in bpy.data.scenes],
        "data": (len(bpy.data.cameras), len(bpy.data.node_groups), len(bpy.data.worlds)),
        "ball": tuple(bpy.data.objects["a red ball"].matrix_world.translation),
    }


def _meta(folder: Path, split: str) -> dict:
    return json.loads((folder / f"{split}_meta.json").read_text())


def _pixels(path: Path) -> np.ndarray:
    with imbuf.load(str(path)).with_buffer() as buffer:
        return np.array(buffer)[::-1]


def _in_dataset(point: tuple) -> np.ndarray:
    x, y, z = point
    return np.array([x, -z, y])


@pytest.mark.parametrize("is_one", [False, True])
def test_cameras_pictures_and_masks_agree_with_the_scene(scene, tmp_path, is_one: bool) -> None:
    """The ball's centre, projected by the written cameras, is the middle of its red pixels and of its mask; of many
    cameras that stand, and of one that moves."""
    scene.legs4d_capture.is_one = is_one
    before = _state(scene)
    assert bpy.ops.legs4d.capture() == {"FINISHED"}
    assert _state(scene) == before
    folder = tmp_path / "capture"
    for split, count in (("train", 1 if is_one else 3), ("test", 1)):
        meta = _meta(folder, split)
        assert (meta["w2c"][0] != meta["w2c"][1]) == (is_one and split == "train")
        assert (meta["w"], meta["h"], len(meta["fn"]), len(meta["fn"][0]), meta["fps"]) == (96, 72, 2, count, 12)
        for frame, (place, names) in enumerate(zip(CENTERS.values(), meta["fn"], strict=True)):
            for camera, name in enumerate(names):
                intrinsics, pose = np.array(meta["k"][frame][camera]), np.array(meta["w2c"][frame][camera])
                seen = pose[:3, :3] @ _in_dataset(place) + pose[:3, 3]
                x, y, _ = intrinsics @ (seen / seen[2])
                image = _pixels(folder / "ims" / name)[..., :3] / 255.0
                red = (image[..., 0] > 0.5) & (image[..., 1] < 0.5)
                objects = _pixels(folder / "objects" / name)[..., 0]
                segments = _pixels(folder / "seg" / name)[..., 0]
                assert set(np.unique(objects)) == {0, 1}
                np.testing.assert_array_equal(segments > 0, objects > 0)
                radius = RADIUS / seen[2] * intrinsics[0, 0]
                differ = np.stack(np.nonzero(red != (objects == 1)), axis=1)[:, ::-1] + 0.5 - [x, y]
                assert np.all(np.abs(np.linalg.norm(differ, axis=1) - radius) < 1)  # half covered pixels of the rim
                rows, columns = np.nonzero(objects == 1)
                assert (columns + 0.5).mean() == pytest.approx(x, abs=0.6)
                assert (rows + 0.5).mean() == pytest.approx(y, abs=0.6)
                assert len(rows) == pytest.approx(np.pi * radius**2, rel=0.12)


def test_a_capture_without_test_cameras_has_no_file_of_them(scene, tmp_path) -> None:
    scene.legs4d_capture.num_test, scene.legs4d_capture.is_one = 0, True
    bpy.ops.legs4d.capture()
    folder = tmp_path / "capture"
    assert len(_meta(folder, "train")["fn"]) == 2 and not (folder / "test_meta.json").exists()
    read = "import sys; from pathlib import Path; from legs4d.scene.readers import open_sequence"
    library("-c", f"{read}; assert open_sequence(Path(sys.argv[1])).num_frames == 2", str(folder))


def test_first_points_lie_on_the_surfaces(scene, tmp_path) -> None:
    bpy.ops.legs4d.capture()
    with np.load(tmp_path / "capture" / "init_pt_cld.npz", allow_pickle=False) as arrays:
        data = arrays["data"]
    assert data.shape[1] == 7
    assert len(data) <= 500
    ball = data[data[:, 6] == 1]
    distance = np.linalg.norm(ball[:, :3] - _in_dataset(CENTERS[1]), axis=1)
    assert np.percentile(np.abs(distance - RADIUS), 80) < 0.03
    assert np.median(ball[:, 3]) > 0.9
    floor = data[data[:, 6] == 0]
    assert np.percentile(np.abs(floor[:, 1]), 90) < 0.02


def test_the_library_reads_it(scene, tmp_path) -> None:
    bpy.ops.legs4d.capture()
    code = (
        "import sys, json, pathlib; from legs4d.scene.readers import open_sequence;"
        "s = open_sequence(sys.argv[1]); found = (s.num_frames, len(s.cameras('train', 0)), len(s.cameras('test', 0)),"
        "s.captions[1][0].text, int(s.objects('train', 0).max()), s.initial_points is not None);"
        "pathlib.Path(sys.argv[2]).write_text(json.dumps(found))"
    )
    library("-c", code, str(tmp_path / "capture"), str(tmp_path / "found.json"))
    assert json.loads((tmp_path / "found.json").read_text()) == [2, 3, 1, "a red ball rolling along", 1, True]


def test_an_interrupted_capture_goes_on_and_ends_the_same(scene, tmp_path, monkeypatch) -> None:
    from blender_addon.capture.session import Capture

    taken: list[object] = []
    original = Capture.render

    def failing(self: Capture) -> None:
        if len(taken) == 3:
            raise OSError("No space left on device")
        taken.append(self)
        original(self)

    before = _state(scene)
    monkeypatch.setattr(Capture, "render", failing)
    with pytest.raises(RuntimeError, match="No space left"):
        bpy.ops.legs4d.capture()
    folder = tmp_path / "capture"
    assert _state(scene) == before
    assert not (folder / "train_meta.json").exists()
    assert not list(folder.glob(".rendering-*"))
    first = {path: path.stat().st_mtime_ns for path in folder.glob("ims/*/*.png")}
    assert len(first) == 3
    monkeypatch.setattr(Capture, "render", original)
    bpy.ops.legs4d.capture()
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(list(folder.glob("objects/*/*.png"))) == 8


def test_a_killed_blenders_scratch_files_are_not_in_the_way(scene, tmp_path) -> None:
    folder = tmp_path / "capture"
    bpy.ops.legs4d.capture()
    (folder / "train_meta.json").unlink()
    (folder / ".rendering-old").mkdir()
    (folder / ".rendering-old" / "image.png").write_bytes(b"half")
    bpy.ops.legs4d.capture()
    assert not list(folder.glob(".rendering-*"))


def test_other_settings_do_not_go_on_from_old_pictures(scene, tmp_path) -> None:
    folder = tmp_path / "capture"
    bpy.ops.legs4d.capture()
    (folder / "train_meta.json").unlink()
    old = (folder / "ims" / "0" / "000000.png").stat().st_mtime_ns
    scene.legs4d_capture.radius = 5.0
    bpy.ops.legs4d.capture()
    assert (folder / "ims" / "0" / "000000.png").stat().st_mtime_ns != old


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda scene, folder: scene.legs4d_capture.foreground.clear(), "not in the foreground list"),
        (lambda scene, folder: scene.legs4d_capture.__setattr__("use_scene_range", False), "range is empty"),
        (lambda scene, folder: setattr(scene.render, "engine", "BLENDER_WORKBENCH"), "no object masks"),
        (lambda scene, folder: setattr(scene.legs4d_capture, "arrangement", "PATH"), "There is no path"),
        (lambda scene, folder: (folder.mkdir(), (folder / "thesis.doc").touch()), "not empty and no capture"),
        (lambda scene, folder: (folder.mkdir(), (folder / "capture.json").write_text("{")), "is damaged"),
        (lambda scene, folder: folder.write_text("a file"), "capture"),
    ],
)
def test_impossible_captures_say_why_and_change_nothing(scene, tmp_path, change, sentence) -> None:
    change(scene, tmp_path / "capture")
    before = _state(scene)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.legs4d.capture()
    assert _state(scene) == before


def test_a_finished_capture_is_not_overwritten_unasked(scene) -> None:
    bpy.ops.legs4d.capture()
    with pytest.raises(RuntimeError, match="holds a finished capture"):
        bpy.ops.legs4d.capture()
    scene.legs4d_capture.overwrite = True
    assert bpy.ops.legs4d.capture() == {"FINISHED"}


def test_captions_come_from_strips_actions_and_names(scene) -> None:
    from blender_addon.capture.captions import from_actions

    ball = bpy.data.objects["a red ball"]
    assert from_actions(ball, 1, 2) == [(1, 2, "a red ball rolling along")]
    track = ball.animation_data.nla_tracks.new()
    action = ball.animation_data.action
    for name, start in (("resting.001", 1), ("flying", 10)):
        strip = track.strips.new(name, start, action)
        strip.name, strip.frame_end = name, start + 9
    ball.animation_data.action = None
    assert from_actions(ball, 1, 15) == [(1, 9, "a red ball resting"), (10, 15, "a red ball flying")]
    assert from_actions(bpy.data.objects["floor"], 1, 2) == [(1, 2, "floor")]


def test_fit_sees_the_whole_foreground(scene) -> None:
    bpy.ops.legs4d.capture_fit()
    settings = scene.legs4d_capture
    np.testing.assert_allclose(settings.center, CENTERS[1], atol=1e-3)
    half = min(settings.angle / 2, math.atan(math.tan(settings.angle / 2) * 72 / 96))
    assert settings.radius * math.sin(half) >= RADIUS


def test_murmur_hash_is_the_published_one(addon) -> None:
    """Test vectors of MurmurHash3_x86_32 with seed 0."""
    from blender_addon.capture.cryptomatte import _murmur3

    known = {b"": 0, b"test": 0xBA6BD213, b"Hello, world!": 0xC0363E43}
    known[b"The quick brown fox jumps over the lazy dog"] = 0x2E4FF723
    assert {text: _murmur3(text) for text in known} == known


def test_most_of_a_pixel_wins(addon) -> None:
    from blender_addon.capture.cryptomatte import name_hash, object_ids

    one, two, other = name_hash("one"), name_hash("two"), name_hash("floor")
    ranks = np.array(
        [[[[other, 0.5, one, 0.3], [one, 0.6, two, 0.4]]], [[[two, 0.2, 0, 0], [0, 0, 0, 0]]]], dtype=np.float32
    )
    assert object_ids(ranks, [["one"], ["two"]]).tolist() == [[0, 1]]
    assert object_ids(ranks, [["one", "two"]]).tolist() == [[0, 1]]


def test_camera_arrangements(addon) -> None:
    from blender_addon.capture import rig

    center = np.array([1.0, 2.0, 0.5])
    ring = rig.ring(8, center, 3.0, 2 * np.pi, 0.0, 0.3)
    np.testing.assert_allclose(np.linalg.norm(ring - center, axis=1), 3.0)
    assert len({tuple(p.round(6)) for p in ring}) == 8
    dome = rig.dome(40, center, 3.0, np.pi, 0.0, (0.1, 0.9))
    elevation = np.arcsin((dome - center)[:, 2] / 3.0)
    assert 0.1 <= elevation.min() < 0.2
    assert 0.8 < elevation.max() <= 0.9
    path = rig.along_path(3, np.array([[0, 0, 0], [1, 0, 0], [1, 3, 0]], float))
    np.testing.assert_allclose(path, [[0, 0, 0], [1, 1, 0], [1, 3, 0]])
    views = rig.views(ring, center, 2)
    assert [view.camera_id for view in views if view.is_test] == [2, 6]
    pose = rig.world_to_camera(rig.camera_matrix(views[3]))
    np.testing.assert_allclose(pose @ [*(_in_dataset(tuple(center))), 1], [0, 0, 3, 1], atol=1e-9)
    down = pose[:3, :3] @ [0, 1, 0]  # the dataset's y is down in the picture, too
    assert down[1] > 0.9
