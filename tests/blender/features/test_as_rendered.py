"""What is exported is what Render Image shows of that frame; nothing wrong is said to be finished."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import bpy
import imbuf
import numpy as np
import pytest
from conftest import PROMPT, library
from pictures import add_camera, read_exr

WIDTH, HEIGHT = 48, 32

SIGNS = (
    'who "throws": a/b\\c * <d>|?',
    'who "throws": a/b\\c * <d>|!',
    "赤いボールが空中を飛んでいてその後ろで女の人が見ている",
    "Кто бросает мяч? " * 14,
    "con",
)
"""Two that differ in a sign only, one of more bytes than a pass has, one of 238 letters, the name of a device."""


@pytest.fixture
def scene(imported, until, tmp_path) -> bpy.types.Scene:
    """The ball with its prompt answered, seen by a small camera with Cycles; exports go to tmp_path."""
    from blender_addon import look
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    found = bpy.context.scene
    add_camera(found, (0, -4, 1.2), (1.4, 0, 0), WIDTH, HEIGHT)
    found.render.engine = "CYCLES"
    found.cycles.samples, found.cycles.use_denoising = 1, False
    look.prepare(found)
    exported(found, tmp_path)
    return found


def exported(scene: bpy.types.Scene, folder: Path, *kinds: str, first: int = 3, last: int = 3) -> Path:
    """Set the export of these kinds and frames up, and run it where there are any."""
    settings = scene.legs4d_export
    for kind in ("png", "exr", "masks", "movie", "ply", "spz", "json", "otio"):
        setattr(settings, f"use_{kind}", kind in kinds)
    settings.folder = str(folder / "export")
    settings.span, settings.frame_start, settings.frame_end = "CUSTOM", first, last
    if kinds:
        assert bpy.ops.legs4d.export() == {"FINISHED"}
    return folder / "export"


def picture(path: Path) -> np.ndarray:
    """[H, W, channels] as stored, rows from below."""
    with imbuf.load(str(path)).with_buffer() as buffer:
        return np.array(buffer)


def f12(scene: bpy.types.Scene, frame: int, path: Path) -> Path:
    """Render Image of a frame into a PNG."""
    image = scene.render.image_settings
    image.media_type, image.file_format = "IMAGE", "PNG"
    image.color_mode = "RGBA" if scene.render.film_transparent else "RGB"
    scene.frame_set(frame)
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return path


def test_camera_markers_border_and_step_are_followed(scene, tmp_path) -> None:
    first = scene.camera
    second = add_camera(scene, (3, -3, 1.2), (1.4, 0, 0.8), WIDTH, HEIGHT)
    for frame, camera in ((1, first), (4, second)):
        scene.timeline_markers.new(camera.name, frame=frame).camera = camera
    scene.render.use_border, scene.render.border_max_x, scene.frame_step = True, 0.5, 2
    scene.legs4d_export.template = "{camera}_{frame}"
    folder = exported(scene, tmp_path, "png", first=3, last=6)
    assert {path.name for path in folder.iterdir()} == {"Camera_3.png", "Camera_001_5.png"}
    for frame, name in ((3, "Camera_3.png"), (5, "Camera_001_5.png")):
        np.testing.assert_array_equal(picture(folder / name), picture(f12(scene, frame, tmp_path / f"{frame}.png")))


def test_prompts_of_any_signs_and_names_with_slashes(scene, imported, tmp_path) -> None:
    """Safe, distinct names inside the folder; the prompts as typed in the metadata."""
    from blender_addon.cache import storage
    from blender_addon.layers import layers

    key = imported.layers[0].answer_key
    answer = storage.find(imported.empty).answer(key)
    for prompt in SIGNS:
        layers.take_answer(imported, layers.add(imported, prompt), key, answer, scene)
    markers = [marker.name for marker in scene.timeline_markers]
    assert len(set(markers)) == len(markers) == 2 * (1 + len(SIGNS))
    assert all(len(name.encode()) <= 63 and ("start" in name or "end" in name) for name in markers)
    imported.empty.name = "../cap:ture/a"
    folder = exported(scene, tmp_path, "exr", "masks", "json")
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and folder in path.parents)
    assert len(names) == 1 + 1 + 1 + len(SIGNS)
    assert not [name for name in names if set(name) & set('\\/:*?"<>|')]
    assert len({name.casefold() for name in names}) == len(names)
    exr = next(folder.glob("*.exr"))
    channels = read_exr(exr)
    prompts = {PROMPT, *SIGNS} - {SIGNS[3]} | {SIGNS[3].strip()}
    said = tmp_path / "said.json"
    library("-c", _SAID, str(exr), str(folder), str(said))
    typed, of_files = json.loads(said.read_text())
    assert set(typed.values()) == set(of_files) == prompts
    assert all(f"{name}.V" in channels for name in typed)
    written = json.loads(next(folder.glob("*.json")).read_text())
    assert {layer["mask"] for layer in written["layers"]} == set(typed)


_SAID = """
import json, pathlib, sys, OpenEXR
from PIL import Image
header = OpenEXR.File(sys.argv[1]).header()
masks = [Image.open(path).info["Description"] for path in sorted(pathlib.Path(sys.argv[2]).glob("*.png"))]
pathlib.Path(sys.argv[3]).write_text(json.dumps([json.loads(header["legs4d/masks"]), masks]))
"""


def test_a_template_cannot_lead_out_of_the_folder(scene, tmp_path) -> None:
    scene.legs4d_export.template = "../{frame}"
    with pytest.raises(RuntimeError, match="out of the folder"):
        exported(scene, tmp_path, "json", "ply")


def test_a_composite_keeps_its_users_compositor_and_is_exported_whole(scene, imported, tmp_path) -> None:
    """The user's compositor inverts; splats are in picture, EXR and masks, and behind a board they are not."""
    tree = bpy.data.node_groups.new("mine", "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    source = tree.nodes.new("CompositorNodeRLayers")
    source.scene = scene
    invert, end = tree.nodes.new("CompositorNodeInvert"), tree.nodes.new("NodeGroupOutput")
    tree.links.new(source.outputs["Image"], invert.inputs["Color"])
    tree.links.new(invert.outputs[0], end.inputs[0])
    scene.compositing_node_group = tree
    mesh = bpy.data.meshes.new("board")
    mesh.from_pydata([(-9, 0.2, -1.5), (9, 0.2, -1.5), (9, 9, -1.5), (-9, 9, -1.5)], [], [(0, 1, 2, 3)])
    board = bpy.data.objects.new("board", mesh)
    board.parent = scene.camera
    scene.collection.objects.link(board)
    bpy.ops.legs4d.composite()
    assert scene.compositing_node_group == tree and end.inputs[0].links[0].from_node == invert
    second = add_camera(scene, (0.3, -4, 1.2), (1.4, 0, 0), WIDTH, HEIGHT)
    board.parent = second
    scene.timeline_markers.new("cut", frame=2).camera = second
    inside = imported.scene_frame(imported.layers[0].intervals[0].peak)
    folder = exported(scene, tmp_path, "png", "exr", "masks", first=inside, last=inside)
    shown = picture(next(path for path in folder.glob("*.png") if "Mask" not in path.name))
    np.testing.assert_array_equal(shown, picture(f12(scene, inside, tmp_path / "f12.png")))
    assert second.name == bpy.data.scenes[f"{scene.name} splats"].camera.name
    found = read_exr(next(folder.glob("*.exr")))
    assert found["Highlight.V"].max() > 0.5
    assert found[f"Mask {PROMPT}.V"].max() > 0.5
    assert picture(next(folder.glob("*Mask*")))[..., :3].max() > 0.5
    np.testing.assert_allclose(found["Depth.V"][:5], 1.5, rtol=0.05)
    assert found[f"Mask {PROMPT}.V"][:5].max() == 0.0


def test_both_eyes_and_stretched_time(scene, imported, tmp_path) -> None:
    """Stereoscopy writes a file an eye; at Old 100, New 200 frame 2n is what n was, JSON and markers included."""
    inside = imported.scene_frame(imported.layers[0].intervals[0].peak)
    scene.legs4d_export.highlight = "COLOR"
    plain = exported(scene, tmp_path / "plain", "ply", "json", first=inside, last=inside)
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 200
    scene.render.use_multiview = True
    folder = exported(scene, tmp_path, "ply", "png", "json", first=2 * inside, last=2 * inside)
    assert next(folder.glob("*.ply")).read_bytes() == next(plain.glob("*.ply")).read_bytes()
    eyes = [picture(path).astype(float) for path in sorted(folder.glob("*.png"))]
    assert [path.stem[-2:] for path in sorted(folder.glob("*.png"))] == ["_L", "_R"]
    assert np.abs(eyes[0] - eyes[1]).mean() > 0.1
    one, two = (json.loads(next(each.glob("*.json")).read_text())["layers"][0] for each in (plain, folder))
    assert one["curves"] == two["curves"]
    assert two["intervals"][0]["scene_start"] == 2 * one["intervals"][0]["scene_start"]


def test_strips_give_the_picture_and_the_scene_its_passes(scene, imported, tmp_path) -> None:
    strips = scene.sequence_editor_create().strips
    strip = strips.new_effect("red", "COLOR", channel=1, frame_start=1, length=30)
    strip.color = (1, 0, 0)
    inside = imported.scene_frame(imported.layers[0].intervals[0].peak)
    folder = exported(scene, tmp_path, "png", "exr", first=inside, last=inside)
    red = picture(next(folder.glob("*.png")))
    assert (red[..., 0] > 250).all() and (red[..., 1] < 5).all()
    assert read_exr(next(folder.glob("*.exr")))[f"Matte {PROMPT}.V"].max() > 0.5


def test_a_frame_that_is_not_here_ends_the_render(scene, imported, tmp_path) -> None:
    """It would show another one; so would an export or a bake. What is there is rendered when that is asked for."""
    from blender_addon.cache import storage

    frames = storage.find(imported.empty).path / "frames"
    (frames / "000004.block").unlink()
    camera = scene.camera
    scene.timeline_markers.new("cut", frame=1).camera = camera
    with pytest.raises(RuntimeError):
        f12(scene, 5, tmp_path / "five.png")
    assert not (tmp_path / "five.png").exists()
    assert scene.camera == camera and scene.timeline_markers["cut"].camera == camera
    f12(scene, 3, tmp_path / "three.png")
    with pytest.raises(RuntimeError, match="1 of 2 capture frames"):
        exported(scene, tmp_path, "png", first=4, last=5)
    with pytest.raises(RuntimeError, match="capture frames"):
        bpy.ops.legs4d.bake(filepath=str(tmp_path / "baked.blend"))
    assert not (tmp_path / "baked.blend").exists()
    scene.legs4d_render.render_missing = True
    assert f12(scene, 5, tmp_path / "five.png").exists()


def test_the_frame_that_nodes_are_bound_at_is_needed_and_its_answer_is_not(scene, imported) -> None:
    """No picture shows it: it only tells what hangs on which node."""
    from blender_addon.cache import storage
    from blender_addon.cache.missing import missing
    from blender_addon.sequence import nodes

    cache = storage.find(imported.empty)
    collection = nodes.replace(imported, [])
    nodes.add(imported, collection, nodes.NEAR, np.zeros(3), np.array([1.0, 0, 0, 0]), 0.1)
    bound, shown = 0, imported.scene_frame(4)
    imported.its.bound_at = bound
    answer = cache.path / "prompts" / imported.layers[0].answer_key / f"{bound:06d}.block"
    answer.unlink()
    assert missing(imported, (shown,)) == ""
    assert "1 of 1 capture frames" in missing(imported, (imported.scene_frame(bound),))
    (cache.path / "frames" / f"{bound:06d}.block").unlink()
    assert f"1 of 2 capture frames of '{imported.empty.name}' are not on this machine ({bound});" in missing(
        imported, (shown,)
    )


def test_a_baked_file_has_all_its_points_wherever_it_is(scene, imported, tmp_path) -> None:
    """Baked from a saved file into another folder, moved from there, opened without the add-on."""
    scene.frame_start, scene.frame_end = 2, 3
    (tmp_path / "work").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work" / "shot.blend"))
    assert bpy.ops.legs4d.bake(filepath=str(tmp_path / "farm" / "shot.blend")) == {"FINISHED"}
    (tmp_path / "farm").rename(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-c", _POINTS, str(tmp_path / "elsewhere" / "shot.blend")], capture_output=True, text=True
    )
    assert "COUNTS" in done.stdout, done.stderr
    counts = json.loads(done.stdout.split("COUNTS", 1)[1].splitlines()[0])
    assert counts == [len(cloud.points) for cloud in imported.clouds]


_POINTS = """
import bpy, json, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
depsgraph, found = bpy.context.evaluated_depsgraph_get(), []
for name in ("ball static", "ball moving"):
    item = bpy.data.objects[name]
    item.modifiers["4-LEGS"].show_viewport = False
bpy.context.view_layer.update()
for name in ("ball static", "ball moving"):
    geometry = bpy.data.objects[name].evaluated_get(depsgraph).evaluated_geometry()
    found.append(len(geometry.pointcloud.points))
print("COUNTS", json.dumps(found))
"""


def test_a_baked_file_has_the_selections_of_its_grades_and_leaves_their_arrows(imported, tmp_path) -> None:
    from blender_addon import names
    from blender_addon.selection import grades, selecting

    scene = bpy.context.scene
    scene.frame_start = scene.frame_end = 3
    points = sum(len(cloud.points) for cloud in imported.clouds)
    selecting.choose_weights(imported, (np.arange(points) % 3 == 0).astype(float))
    made = grades.add(imported, "SELECTION")
    grades.add(imported, "RAMP")
    arrow = imported.its.grades[1].handle
    arrow.parent = None
    bpy.context.view_layer.update()
    assert bpy.ops.legs4d.bake(filepath=str(tmp_path / "shot.blend")) == {"FINISHED"}
    done = subprocess.run(
        [sys.executable, "-c", _SELECTED, str(tmp_path / "shot.blend"), names.selection_attribute(made)],
        capture_output=True,
        text=True,
    )
    assert "COUNTS" in done.stdout, done.stderr
    counts = json.loads(done.stdout.split("COUNTS", 1)[1].splitlines()[0])
    assert sum(counts) == (points + 2) // 3 and all(counts)
    bpy.context.view_layer.update()
    assert imported.its.grades[1].handle == arrow


_SELECTED = """
import bpy, json, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
bpy.context.scene.frame_set(3)
clouds = [bpy.data.objects[name] for name in ("ball static", "ball moving")]
for item in clouds:
    item.modifiers["4-LEGS"].show_viewport = False
depsgraph, found = bpy.context.evaluated_depsgraph_get(), []
for item in clouds:
    geometry = item.evaluated_get(depsgraph).evaluated_geometry()
    found.append(sum(one.value == 1.0 for one in geometry.pointcloud.attributes[sys.argv[2]].data))
print("COUNTS", json.dumps(found))
"""


def test_usd_follows_keys_of_the_sequence_and_of_a_ramps_arrow(imported, tmp_path) -> None:
    from blender_addon import names
    from blender_addon.selection import grades

    scene, empty = bpy.context.scene, imported.empty
    scene.frame_set(1)
    scene.frame_start, scene.frame_end = 1, 2
    imported.empty[names.grade_property(grades.add(imported, "RAMP"), "gain")] = (0.0, 0.0, 0.0)
    arrow = imported.its.grades[0].handle
    for frame, aside, beyond in ((1, 0.0, 1e3), (2, 5.0, -1e3)):
        empty.location.x, arrow.location.z = aside, beyond
        empty.keyframe_insert("location", frame=frame)
        arrow.keyframe_insert("location", frame=frame)
    scene.frame_set(1)
    assert bpy.ops.legs4d.export_usd(filepath=str(tmp_path / "points.usda")) == {"FINISHED"}
    text = (tmp_path / "points.usda").read_text()

    def samples(name: str) -> list[np.ndarray]:
        listed = text.split(f"{name}.timeSamples = {{", 1)[1].split("}", 1)[0].strip().splitlines()
        return [np.array(re.findall(r"[-+.\de]+", line.split(":", 1)[1]), float).reshape(-1, 3) for line in listed]

    first, second = samples("points")
    still = slice(0, imported.its.num_static)
    np.testing.assert_allclose(
        second[still] - first[still], np.tile([5.0, 0, 0], (imported.its.num_static, 1)), atol=1e-3
    )
    first, second = samples("displayColor")
    assert first.max() > 0.1 and second.max() == 0.0


def test_a_ramp_is_where_its_arrow_is_after_the_origin_was_set(imported) -> None:
    from blender_addon.selection import grades

    scene = bpy.context.scene
    grades.add(imported, "RAMP")
    bpy.ops.object.select_all(action="DESELECT")
    for part in (imported.empty, *imported.objects):
        part.select_set(True)
    bpy.context.view_layer.objects.active = imported.dynamic_object
    bpy.context.view_layer.update()
    scene.cursor.location = (1, 2, 3)
    bpy.ops.object.origin_set(type="ORIGIN_CURSOR")
    bpy.context.view_layer.update()
    imported.static_object.matrix_parent_inverse.translation.z += 2.0
    imported.dynamic_object.matrix_parent_inverse.translation.z += 2.0
    imported.empty.update_tag()
    bpy.context.view_layer.update()
    evaluated = type(imported)(imported.empty.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    assert imported.to_world != imported.empty.matrix_world
    np.testing.assert_allclose(np.array(evaluated.to_world), np.array(imported.to_world), atol=1e-5)
    ramps = [grades.at(one, 1)[0].ramp for one in (evaluated, imported)]
    np.testing.assert_allclose(*ramps, atol=1e-5)


def test_scale_0_and_holdouts_of_the_engine(scene, imported, tmp_path) -> None:
    """As Cycles: what has no extent is not seen; what is held out cuts a hole."""
    scene.render.engine, scene.render.film_transparent = "LEGS4D_SPLATS", True
    image = scene.render.image_settings
    image.media_type, image.file_format, image.color_mode = "IMAGE", "PNG", "RGBA"

    def alpha() -> np.ndarray:
        scene.frame_set(3)
        scene.render.filepath = str(tmp_path / "a.png")
        bpy.ops.render.render(write_still=True)
        return picture(tmp_path / "a.png")[..., 3] / 255

    whole = alpha()
    imported.static_object.is_holdout = True
    assert alpha().max() == 0.0
    imported.static_object.is_holdout = False
    imported.empty.scale = (0, 0, 0)
    assert alpha().max() == 0.0
    imported.empty.scale = (1, 1, 1)
    np.testing.assert_array_equal(alpha(), whole)
    scene.camera.data.type = "PANO"
    with pytest.raises(RuntimeError, match="no perspective"):
        alpha()
