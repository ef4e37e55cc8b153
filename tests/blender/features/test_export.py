"""Exports of an imported run: pictures, compositing layers, Gaussians, intervals; and what can go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import PROMPT, library
from mathutils import Vector
from pictures import add_camera, read_exr


@pytest.fixture
def scene(imported, until, tmp_path) -> bpy.types.Scene:
    """The imported ball with its prompt answered, seen by a small camera; exports go to tmp_path."""
    from blender_addon import look
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    found = bpy.context.scene
    add_camera(found, (0, -4, 1.2), (1.4, 0, 0), 48, 32)
    found.render.engine = "CYCLES"
    found.cycles.samples, found.cycles.use_denoising = 4, False
    found.render.film_transparent = True
    look.prepare(found)
    settings = found.legs4d_export
    settings.folder = str(tmp_path / "export")
    settings.span, settings.frame_start, settings.frame_end = "CUSTOM", 3, 4
    return found


def test_every_kind_of_file_is_written(scene, imported, tmp_path) -> None:
    settings = scene.legs4d_export
    settings.use_ply = True
    scene.frame_set(7)
    assert bpy.ops.legs4d.export() == {"FINISHED"}
    names = {path.name for path in (tmp_path / "export").iterdir()}
    assert names == {f"ball_{frame:04d}.{kind}" for frame in (3, 4) for kind in ("png", "exr", "ply")} | {
        "ball_intervals.json"
    }
    assert scene.frame_current == 7
    assert len(bpy.data.scenes) == 1
    assert not [group.name for group in bpy.data.node_groups if "render" in group.name]


def test_exr_holds_picture_depth_and_a_matte_of_what_the_prompt_names(scene, imported, tmp_path) -> None:
    from blender_addon.layers import layers as prompt_layers

    start, end, _, _ = prompt_layers.intervals(imported.layers[0])[0]
    inside = imported.scene_frame((start + end) // 2)
    settings = scene.legs4d_export
    settings.use_png = False
    settings.frame_start = settings.frame_end = inside
    bpy.ops.legs4d.export()
    found = read_exr(tmp_path / "export" / f"ball_{inside:04d}.exr")
    matte, depth, alpha = found[f"Matte {PROMPT}.V"], found["Depth.V"], found["Combined"][..., 3]
    assert matte.max() > 0.8
    assert 0.002 < (matte > 0.5).mean() < 0.2
    assert np.all(matte <= alpha + 0.02)
    assert np.all(depth[alpha < 1e-4] > 1e9)
    # The side of the ball that is seen is nearer than its middle, by less than its radius of 0.25.
    scene.frame_set(inside)
    rows, columns = np.nonzero(matte > 0.5)
    center = _ball_center(imported)
    camera = scene.camera.matrix_world.inverted() @ Vector(center)
    assert -camera.z - 0.27 < np.median(depth[rows, columns]) < -camera.z


def test_other_objects_hide_what_is_behind_them(scene, imported, tmp_path) -> None:
    """A board before the camera: no matte, its own depth."""
    from blender_addon.layers import layers as prompt_layers

    start, end, _, _ = prompt_layers.intervals(imported.layers[0])[0]
    settings = scene.legs4d_export
    settings.use_png = False
    settings.frame_start = settings.frame_end = imported.scene_frame((start + end) // 2)
    mesh = bpy.data.meshes.new("board")
    mesh.from_pydata([(-9, -9, -1.5), (9, -9, -1.5), (9, 9, -1.5), (-9, 9, -1.5)], [], [(0, 1, 2, 3)])
    board = bpy.data.objects.new("board", mesh)
    board.parent = scene.camera
    scene.collection.objects.link(board)
    bpy.ops.legs4d.export()
    found = read_exr(next((tmp_path / "export").glob("*.exr")))
    assert found[f"Matte {PROMPT}.V"].max() < 1e-3
    np.testing.assert_allclose(found["Depth.V"], 1.5, rtol=1e-2)


def _ball_center(sequence) -> list[float]:
    """Mean position, in the scene, of the points that the prompt highlights now."""
    from blender_addon import names
    from blender_addon.sequence import attributes, highlighter

    cloud = sequence.dynamic_object
    marked = highlighter.levels_of(cloud.data, sequence.layers[0].layer_id) > 127
    middle = attributes.read(cloud.data, names.POSITION)[marked].mean(axis=0)
    return list(cloud.matrix_world @ Vector(middle))


def test_ply_is_the_frame_with_its_highlight(scene, imported, tmp_path) -> None:
    from blender_addon import names
    from blender_addon.sequence import attributes

    settings = scene.legs4d_export
    settings.use_png = settings.use_exr = settings.use_json = False
    settings.use_ply = True
    bpy.ops.legs4d.export()
    data = (tmp_path / "export" / "ball_0003.ply").read_bytes()
    header, _, body = data.partition(b"end_header\n")
    columns = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    table = np.frombuffer(body, "<f4").reshape(-1, len(columns))
    scene.frame_set(3)
    clouds = imported.clouds
    for column, name, place in (("x", names.POSITION, 0), ("highlight", names.HIGHLIGHT, None)):
        stored = np.concatenate([attributes.read(cloud, name) for cloud in clouds])
        wanted = stored if place is None else stored[:, place]
        np.testing.assert_array_equal(table[:, columns.index(column)], wanted)
    opacity = np.concatenate([attributes.read(cloud, names.RADIANCE)[:, 3] for cloud in clouds])
    found = 1 / (1 + np.exp(-table[:, columns.index("opacity")].astype(float)))
    np.testing.assert_allclose(found, np.clip(opacity, 1e-6, 1 - 1e-6), atol=1e-5)


def test_json_has_intervals_in_both_clocks(scene, imported, tmp_path) -> None:
    from blender_addon.layers import layers as prompt_layers

    settings = scene.legs4d_export
    settings.use_png = settings.use_exr = False
    bpy.ops.legs4d.export()
    written = json.loads((tmp_path / "export" / "ball_intervals.json").read_text())
    (layer,) = written["layers"]
    start, end, _, _ = prompt_layers.intervals(imported.layers[0])[0]
    assert layer["prompt"] == PROMPT
    assert (layer["intervals"][0]["start"], layer["intervals"][0]["end"]) == (start, end)
    assert layer["intervals"][0]["scene_start"] == start + imported.empty.legs4d.start_frame


def test_range_of_markers(scene, imported) -> None:
    from blender_addon.export import operators

    scene.legs4d_export.span = "MARKERS"
    marked = sorted(marker.frame for marker in scene.timeline_markers)
    assert operators.frames(scene) == tuple(range(marked[0], marked[-1] + 1))
    for marker in scene.timeline_markers:
        marker.select = marker.frame == marked[0]
    assert operators.frames(scene) == (marked[0],)


def test_going_on_renders_only_what_is_missing(scene, tmp_path) -> None:
    settings = scene.legs4d_export
    settings.use_exr = False
    bpy.ops.legs4d.export()
    first = tmp_path / "export" / "ball_0003.png"
    before = first.stat().st_mtime_ns
    (tmp_path / "export" / "ball_0004.png").unlink()
    settings.overwrite = False
    bpy.ops.legs4d.export()
    assert first.stat().st_mtime_ns == before
    assert (tmp_path / "export" / "ball_0004.png").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda scene: setattr(scene, "camera", None), "no camera"),
        (lambda scene: setattr(scene.legs4d_export, "template", "{shot}"), "cannot be filled in"),
        (lambda scene: setattr(scene.legs4d_export, "template", "same"), "the same for every frame"),
        (lambda scene: setattr(scene.legs4d_export, "frame_end", 1), "range is empty"),
        (lambda scene: setattr(scene.render, "engine", "BLENDER_WORKBENCH"), "cannot show splats"),
    ],
)
def test_impossible_exports_say_why_and_leave_nothing(scene, tmp_path, change, sentence) -> None:
    change(scene)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.legs4d.export()
    assert len(bpy.data.scenes) == 1
    assert not list((tmp_path / "export").glob("*")) if (tmp_path / "export").exists() else True


def test_a_failing_render_restores_everything(scene, imported, tmp_path, monkeypatch) -> None:
    from blender_addon.export.job import Export

    def broken(self: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Export, "render", broken)
    scene.frame_set(5)
    with pytest.raises(RuntimeError, match="No space left"):
        bpy.ops.legs4d.export()
    assert len(bpy.data.scenes) == 1
    assert scene.frame_current == 5
    assert not list((tmp_path / "export").iterdir())


def test_the_splats_engine_exports_the_same_layers(scene, imported, tmp_path) -> None:
    from blender_addon.layers import layers as prompt_layers

    start, end, _, _ = prompt_layers.intervals(imported.layers[0])[0]
    inside = imported.scene_frame((start + end) // 2)
    scene.render.engine = "LEGS4D_SPLATS"
    settings = scene.legs4d_export
    settings.use_png, settings.use_masks, settings.depth = False, True, "16"
    settings.frame_start = settings.frame_end = inside
    bpy.ops.legs4d.export()
    found = read_exr(tmp_path / "export" / f"ball_{inside:04d}.exr")
    assert {name.partition(".")[0] for name in found} == {"Combined", "Depth", "Alpha", "Highlight", f"Mask {PROMPT}"}
    assert found["Combined"].dtype == np.float16
    mask, alpha = found[f"Mask {PROMPT}.V"], found["Alpha.V"]
    assert np.all(mask <= alpha + 2e-3)
    assert 0.002 < (found["Highlight.V"] > 0.5).mean() < 0.2
    grey = tmp_path / "export" / f"ball_{inside:04d} Mask {PROMPT}.png"
    code = "import sys, numpy; from PIL import Image; numpy.save(sys.argv[2], Image.open(sys.argv[1]))"
    target = tmp_path / "grey.npy"
    library("-c", code, str(grey), str(target))
    np.testing.assert_allclose(np.load(target) / 65535, mask, atol=1e-3)


def picture(path: Path) -> np.ndarray:
    """[H, W, C] 0..1, rows from the top."""
    import imbuf

    with imbuf.load(str(path)).with_buffer() as buffer:
        return np.array(buffer)[::-1] / 255.0


READ_MOVIE = """
import sys, av, numpy
with av.open(sys.argv[1]) as movie:
    frames = list(movie.decode(video=0))
told = [[int(f.colorspace), int(f.color_primaries), int(f.color_trc), int(f.color_range)] for f in frames]
numpy.savez(sys.argv[2], told=told, frames=[f.to_ndarray(format="rgb24") for f in frames])
"""


@pytest.mark.parametrize(("width", "height"), [(160, 120), (161, 121)])
@pytest.mark.parametrize(("codec", "name"), [("H264", "ball.mp4"), ("PRORES", "ball.mov")])
def test_movies_show_the_pictures_and_say_their_colours(scene, tmp_path, codec, name, width, height) -> None:
    scene.render.engine, scene.render.film_transparent = "LEGS4D_SPLATS", False
    scene.render.resolution_x, scene.render.resolution_y = width, height
    settings = scene.legs4d_export
    settings.use_exr, settings.use_movie, settings.codec, settings.frame_end = False, True, codec, 6
    bpy.ops.legs4d.export()
    target, movie = tmp_path / "frames.npz", tmp_path / "export" / name
    library("-c", READ_MOVIE, str(movie), str(target))
    read = np.load(target)
    assert b"colrncl" in movie.read_bytes() and read["told"].tolist() == [[1, 1, 1, 1]] * 4, "BT.709, limited"
    frames = read["frames"] / 255.0
    assert frames.shape == (4, height + height % 2, width + width % 2, 3)
    for number, frame in enumerate(frames):
        still = picture(tmp_path / "export" / f"ball_{number + 3:04d}.png")[..., :3]
        assert still.shape == (height, width, 3)
        assert np.abs(frame[:height, :width] - still).mean() < 0.01
        if width % 2:
            assert np.abs(frame[:height, width] - still[:, -1]).mean() < 0.02
            assert np.abs(frame[height, :width] - still[-1]).mean() < 0.02


def test_spz_is_what_the_library_writes(scene, imported, runs, tmp_path) -> None:
    """Byte by byte but for rounding, from the library's own writer of the same frame."""
    import gzip

    settings = scene.legs4d_export
    settings.use_png = settings.use_exr = False
    settings.use_spz, settings.frame_end = True, 3
    bpy.ops.legs4d.export()
    code = (
        "import sys, pathlib; from legs4d.gaussians.store.run import Run;"
        "from legs4d.gaussians.export import frame_splats;"
        "from legs4d.portable.spz_writer import spz_bytes;"
        "pathlib.Path(sys.argv[2]).write_bytes(spz_bytes(frame_splats(Run.open(sys.argv[1]), 2)))"
    )
    target = tmp_path / "expected.spz"
    library("-c", code, str(runs / "ball"), str(target))
    written, expected = (
        np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
        for path in (tmp_path / "export" / "ball_0003.spz", target)
    )
    assert len(written) == len(expected)
    assert written[:12].tolist() == expected[:12].tolist()
    points = int.from_bytes(written[8:12].tobytes(), "little")
    values = slice(16 + 9 * points, 16 + 16 * points)  # opacities, colours, scales
    assert np.abs(written[values].astype(int) - expected[values].astype(int)).max() <= 1
    steps = []
    for data in (written, expected):
        raw = data[16 : 16 + 9 * points].reshape(-1, 3).astype(np.int64)
        whole = raw[:, 0] + (raw[:, 1] << 8) + (raw[:, 2] << 16)
        steps.append(np.where(whole >= 1 << 23, whole - (1 << 24), whole) / (1 << int(data[13])))
    np.testing.assert_allclose(steps[0], steps[1], atol=2e-5)


def test_gaussians_can_carry_what_the_layers_show(scene, imported, tmp_path) -> None:
    from blender_addon.layers import layers as prompt_layers

    start, end, _, _ = prompt_layers.intervals(imported.layers[0])[0]
    inside = imported.scene_frame((start + end) // 2)
    imported.layers[0].color = (0.0, 0.0, 1.0)
    settings = scene.legs4d_export
    settings.use_png = settings.use_exr = False
    settings.use_ply, settings.frame_start, settings.frame_end = True, inside, inside
    tables = {}
    for choice in ("ATTRIBUTE", "COLOR"):
        settings.highlight = choice
        bpy.ops.legs4d.export()
        data = (tmp_path / "export" / f"ball_{inside:04d}.ply").read_bytes()
        header, _, body = data.partition(b"end_header\n")
        columns = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
        tables[choice] = np.frombuffer(body, "<f4").reshape(-1, len(columns))
    plain, baked = tables["ATTRIBUTE"], tables["COLOR"]
    highlight = plain[:, -1]
    named = highlight > 0.9
    assert named.any() and not named.all()
    rest = highlight == 0
    np.testing.assert_array_equal(plain[rest], baked[rest])
    blue = 0.5 + 0.28209479 * baked[named][:, columns.index("f_dc_2")]
    assert blue.mean() > 0.6
    red = columns.index("f_dc_0")
    assert (baked[named][:, red] < plain[named][:, red]).mean() > 0.9


def test_cut_list_names_the_exported_pictures(scene, imported, tmp_path) -> None:
    from blender_addon.layers import layers as prompt_layers

    settings = scene.legs4d_export
    settings.use_exr, settings.use_otio, settings.use_png = False, True, False
    settings.span = "SCENE"
    bpy.ops.legs4d.export()
    cuts = json.loads((tmp_path / "export" / "ball_cuts.otio").read_text())
    assert cuts["OTIO_SCHEMA"].startswith("Timeline")
    (clip,) = cuts["tracks"]["children"][0]["children"]
    start, end, _, _ = prompt_layers.intervals(imported.layers[0])[0]
    assert clip["name"] == PROMPT
    assert clip["source_range"]["start_time"]["value"] == imported.scene_frame(start)
    assert clip["source_range"]["duration"]["value"] == end - start + 1
    media = clip["media_references"]["DEFAULT_MEDIA"]
    assert (media["name_prefix"], media["name_suffix"], media["frame_zero_padding"]) == ("ball_", ".png", 4)
    assert media["target_url_base"] == f"{(tmp_path / 'export').as_uri()}/"


def test_an_unsaved_file_has_no_folder_beside_it(scene) -> None:
    scene.legs4d_export.folder = ""
    with pytest.raises(RuntimeError, match="Save the file first"):
        bpy.ops.legs4d.export()


def test_spz_says_what_is_too_far_away(scene, imported, tmp_path) -> None:
    settings = scene.legs4d_export
    settings.use_png = settings.use_exr = False
    settings.use_spz, settings.frame_end = True, 3
    imported.static_object.data.attributes["position"].data[0].vector = (5000, 0, 0)
    with pytest.raises(RuntimeError, match=r"ball_0003\.spz: a Gaussian is 5000 scene units .* \.spz ends at 2048"):
        bpy.ops.legs4d.export()
    assert not list((tmp_path / "export").glob("*.spz"))
