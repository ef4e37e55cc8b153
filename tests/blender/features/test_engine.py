"""The engine "4-LEGS splats" against the library's rasteriser and a person's settings."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import PROMPT, library
from mathutils import Matrix, Vector
from pictures import add_camera, psnr, read_exr, srgb

WIDTH, HEIGHT = 60, 40


@pytest.fixture
def camera(addon) -> bpy.types.Object:
    """A camera that stands askew, in a scene of WIDTH × HEIGHT."""
    return add_camera(bpy.context.scene, (0.4, -4.0, 1.3), (1.35, 0.06, 0.1), WIDTH, HEIGHT)


@pytest.fixture
def scene(imported, camera, until, tmp_path) -> bpy.types.Scene:
    """The imported ball with its prompt answered, before the engine."""
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    found = bpy.context.scene
    found.render.engine = "LEGS4D_SPLATS"
    found.view_settings.view_transform = "Standard"
    image = found.render.image_settings
    image.media_type, image.color_depth = "MULTI_LAYER_IMAGE", "32"
    imported.empty.legs4d.mode = "NONE"
    return found


@pytest.fixture
def rendered(scene, tmp_path) -> object:
    """`rendered()`: the passes of the current frame, by OpenEXR's own reader, rows from the top."""

    def render(name: str = "picture") -> dict[str, np.ndarray]:
        scene.render.filepath = str(tmp_path / f"{name}.exr")
        bpy.ops.render.render(write_still=True)
        found = read_exr(tmp_path / f"{name}.exr")
        return {channel.partition(".")[2]: values for channel, values in found.items()}  # without the view layer's name

    return render


def library_picture(runs: Path, out: Path, frame: float, camera: bpy.types.Object) -> dict[str, np.ndarray]:
    """The library's own picture through the same camera, whose numbers are found here by hand: no shift, square pixels.

    Args:
        frame: capture frame, whole.
    """
    upright = np.array(Matrix.Rotation(-np.pi / 2, 4, "X"))
    to_camera = np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(np.array(camera.matrix_world)) @ upright
    focal = camera.data.lens / camera.data.sensor_width * WIDTH
    np.savez(out, w2c=to_camera, k=[[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]], frame=frame)
    library("-c", _PICTURE, str(runs / "ball"), str(out))
    return dict(np.load(out))


_PICTURE = f"""
import sys, numpy as np
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
run, asked = Run.open(sys.argv[1]), np.load(sys.argv[2])
cameras = Cameras(asked["w2c"][None].astype(np.float32), asked["k"][None].astype(np.float32), {WIDTH}, {HEIGHT}, (0,))
made = render(run.frame(int(asked["frame"])).torch(), cameras, near=run.info["near"], depth=True)
np.savez(sys.argv[2], color=made.color[0].clamp(0, 1), alpha=made.alpha[0], depth=(made.depth / made.alpha)[0])
"""


def test_the_render_is_the_rasterisers(scene, rendered, runs, camera, tmp_path, record_property) -> None:
    scene.frame_set(5)
    found = rendered()
    expected = library_picture(runs, tmp_path / "expected.npz", 4, camera)
    similarity = psnr(srgb(found["Combined"][..., :3]), expected["color"])
    record_property("psnr", similarity)
    assert similarity > 70
    np.testing.assert_allclose(found["Coverage.A"], expected["alpha"], atol=1e-3)
    seen = expected["alpha"] > 0.5
    np.testing.assert_allclose(found["Depth.Z"][seen], expected["depth"][seen], rtol=1e-3)


def test_a_captured_color_is_the_same_color_under_standard(scene, runs, camera, tmp_path) -> None:
    import imbuf

    image = scene.render.image_settings
    image.media_type, image.file_format, image.color_depth = "IMAGE", "PNG", "8"
    scene.frame_set(5)
    scene.render.dither_intensity = 0.0
    scene.render.filepath = str(tmp_path / "picture.png")
    bpy.ops.render.render(write_still=True)
    with imbuf.load(scene.render.filepath).with_buffer() as buffer:
        found = np.array(buffer)[::-1][..., :3] / 255.0
    expected = library_picture(runs, tmp_path / "expected.npz", 4, camera)["color"]
    np.testing.assert_allclose(found, expected, atol=1.01 / 255)


def test_masks_highlight_and_tint(scene, imported, rendered) -> None:
    from blender_addon.layers import layers

    start, end, _, _ = layers.intervals(imported.layers[0])[0]
    scene.frame_set(imported.scene_frame((start + end) // 2))
    plain = rendered("plain")
    imported.empty.legs4d.mode = "HIGHLIGHT"
    imported.layers[0].color = (0.0, 0.0, 1.0)
    lit = rendered("lit")
    mask, highlight = lit[f"Mask {PROMPT}.V"], lit["Highlight.V"]
    on_ball = highlight > 0.9
    assert 0.001 < on_ball.mean() < 0.2
    assert mask[on_ball].min() > 0.5
    more = lit["Combined"][on_ball] - plain["Combined"][on_ball]
    assert more[:, 2].mean() > 0.1
    assert np.abs(lit["Combined"] - plain["Combined"])[highlight < 1e-4].max() < 1e-3
    scene.frame_set(imported.scene_frame(0))
    before = rendered("before")
    assert before["Highlight.V"].max() < 1e-3
    assert before[f"Mask {PROMPT}.V"].max() < 0.99


def test_a_border_is_cut_out_of_the_whole_picture(scene, rendered) -> None:
    whole = rendered("whole")["Combined"]
    render = scene.render
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.3, 0.8, 0.1, 0.55
    part = rendered("part")["Combined"]
    assert part.shape == (18, 30, 4)
    np.testing.assert_allclose(part, whole[18:36, 18:48], atol=1e-3)
    render.use_crop_to_border = False
    framed = rendered("framed")["Combined"]
    np.testing.assert_allclose(framed[18:36, 18:48], whole[18:36, 18:48], atol=1e-3)
    assert not framed[:17].any()


def test_objects_are_seen_where_they_were_put(scene, imported, camera, rendered) -> None:
    step = Vector((0.3, -0.2, 0.1))
    imported.empty.location += step
    moved = rendered("moved")["Combined"]
    imported.empty.location -= step
    camera.location -= step
    np.testing.assert_allclose(moved, rendered("stepped")["Combined"], atol=2e-3)


def test_transparent_film_and_what_a_view_layer_excludes(scene, imported, rendered) -> None:
    scene.render.film_transparent = True
    imported.static_object.hide_render = True
    alone = rendered("alone")
    assert 0.001 < (alone["Combined"][..., 3] > 0.5).mean() < 0.3
    assert alone["Depth.Z"][alone["Combined"][..., 3] == 0].min() > 1e9
    hidden = bpy.data.collections.new("Hidden")
    scene.collection.children.link(hidden)
    for item in (imported.empty, imported.static_object, imported.dynamic_object):
        for collection in item.users_collection:
            collection.objects.unlink(item)
        hidden.objects.link(item)
    scene.view_layers[0].layer_collection.children["Hidden"].exclude = True
    assert not rendered("excluded")["Combined"].any()


def test_motion_blur_is_the_mean_over_the_shutter(scene, imported, camera, rendered) -> None:
    from blender_addon.layers import layers

    start, _, _, _ = layers.intervals(imported.layers[0])[0]
    frame = imported.scene_frame(start)
    camera.keyframe_insert("location", frame=frame)
    camera.location.x += 0.5
    camera.keyframe_insert("location", frame=frame + 1)
    render = scene.render
    moments = []
    for subframe in (0.25, 0.75):
        scene.frame_set(frame, subframe=subframe)
        moments.append(rendered("moment")["Combined"])
    scene.frame_set(frame)
    render.use_motion_blur, render.motion_blur_position, render.motion_blur_shutter = True, "START", 1.0
    scene.legs4d_render.motion_steps = 2
    blurred = rendered("blurred")["Combined"]
    np.testing.assert_allclose(blurred, np.mean(moments, axis=0), atol=2e-3)
    assert np.abs(moments[0] - moments[1]).max() > 0.1
    assert scene.frame_current_final == frame


def test_the_time_curve_says_what_is_rendered(scene, imported, rendered, runs, camera, tmp_path) -> None:
    from blender_addon.sequence import timing

    timing.write(imported.empty, [1, 100], [6.0, 6.0])
    scene.frame_set(50)
    expected = library_picture(runs, tmp_path / "expected.npz", 6, camera)["color"]
    assert psnr(srgb(rendered()["Combined"][..., :3]), expected) > 70


def test_the_frame_and_the_node_groups_are_as_before(scene, imported, rendered) -> None:
    from blender_addon import look

    scene.frame_set(7)
    rendered()
    assert scene.frame_current == 7
    assert imported.static_object.modifiers[look.MODIFIER].show_render
    assert not imported.static_object.get("legs4d:resting")


def test_no_backend_is_an_error_that_says_so(scene, tmp_path, monkeypatch) -> None:
    from blender_addon.engine import service

    monkeypatch.setenv("LEGS4D_STATE_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(service, "FIRST_SECONDS", 0.5)
    scene.render.filepath = str(tmp_path / "none.exr")
    with pytest.raises(RuntimeError, match="No backend is running"):
        bpy.ops.render.render(write_still=True)


def test_pictures_are_laid_over_each_other_by_depth() -> None:
    from blender_addon.engine import picture

    def flat(color: float, alpha: float, depth: float) -> picture.Passes:
        combined = np.full((1, 1, 4), color * alpha, np.float32)
        combined[..., 3] = alpha
        return {"combined": combined, "alpha": combined[..., 3], "depth": np.full((1, 1), depth, np.float32)}

    for one, other in ((flat(1.0, 0.5, 2.0), flat(0.2, 1.0, 5.0)), (flat(0.2, 1.0, 5.0), flat(1.0, 0.5, 2.0))):
        laid = picture.laid_over(one, other)
        np.testing.assert_allclose(laid["combined"][0, 0], [0.6, 0.6, 0.6, 1.0], atol=1e-6)
        assert laid["depth"][0, 0] == 2.0
    np.testing.assert_allclose(picture.over(flat(1.0, 0.25, 2.0), (0.4, 0.4, 0.4))["combined"][0, 0, 0], 0.55)


def test_viewports_get_a_coarse_picture_then_the_full_one(scene, imported, until) -> None:
    from blender_addon.engine import preview, shot
    from blender_addon.engine.camera import View

    view = View(np.linalg.inv(np.eye(4)), 50.0, 50.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    placed = shot.placements(scene, bpy.context.view_layer)
    depsgraph, style = bpy.context.evaluated_depsgraph_get(), shot.Style(None, False)

    def bodies(one: View) -> list[shot.Body]:
        return [shot.body(0, placed[0], [shot.instant(depsgraph, placed, one)], style, preview.FADING[:1])]

    mine = preview.Preview()
    full, coarse = bodies(view), bodies(view.reduced(4))
    preview.ask(mine, full, coarse)
    assert mine.asked is not None and not mine.asked.is_full
    until(lambda: mine.asked is None, "the coarse picture")
    assert mine.passes["combined"].shape == (10, 15, 4)
    preview.ask(mine, full, coarse)
    until(lambda: mine.asked is None, "the full picture")
    assert mine.passes["combined"].shape == (HEIGHT, WIDTH, 4)
    preview.ask(mine, full, coarse)
    assert mine.asked is None, "nothing changed, nothing is asked"


def test_composite_with_cycles_by_depth(scene, imported, camera, rendered, runs, tmp_path) -> None:
    """A board cuts through the scene: before it splats, behind it none."""
    import bmesh

    mesh = bpy.data.meshes.new("Board")
    shape = bmesh.new()
    bmesh.ops.create_grid(shape, x_segments=1, y_segments=1, size=1.0)
    shape.to_mesh(mesh)
    shape.free()
    board = bpy.data.objects.new("Board", mesh)
    scene.collection.objects.link(board)
    forward = camera.matrix_world.to_3x3() @ Vector((0, 0, -1))
    board.location = camera.location + 2.0 * forward + camera.matrix_world.to_3x3() @ Vector((-1.0, 0, 0))
    board.rotation_euler = camera.rotation_euler
    expected = library_picture(runs, tmp_path / "expected.npz", 0, camera)
    assert bpy.ops.legs4d.composite() == {"FINISHED"}
    assert bpy.ops.legs4d.composite() == {"FINISHED"}
    assert [item.name for item in bpy.data.scenes] == ["Scene", "Scene splats"]
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "OPEN_EXR", "32"
    scene.frame_set(1)
    scene.render.filepath = str(tmp_path / "both.exr")
    bpy.ops.render.render(write_still=True)
    both = read_exr(tmp_path / "both.exr")["RGBA"]
    right, left = np.s_[:, WIDTH // 2 + 2 :], np.s_[5:-5, 5 : WIDTH // 2 - 5]
    assert psnr(srgb(both[right][..., :3]), expected["color"][right]) > 40
    behind = expected["depth"][left] > 2.2
    assert behind.mean() > 0.5
    assert np.abs(srgb(both[left][..., :3]) - expected["color"][left])[behind].mean() > 0.05


def test_a_picture_tells_its_progress_and_can_be_cancelled(scene, imported, camera) -> None:
    from blender_addon import engine, wire
    from blender_addon.engine import shot
    from blender_addon.engine.camera import View
    from blender_addon.engine.service import Cancelled

    view = View(np.eye(4), 50.0, 50.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    placed = [shot.Placement(imported, (imported.static_object,))]
    moment = shot.instant(bpy.context.evaluated_depsgraph_get(), placed, view)
    asked = shot.body(0, placed[0], [moment] * 64, shot.Style(None, False), ("combined",))
    heard: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        engine.ask(wire.Kind.RENDER, asked, lambda: bool(heard), lambda done, total: heard.append((done, total)))
    assert heard and heard[-1][1] == 64
    asked["samples"] = asked["samples"][:1]
    assert engine.ask(wire.Kind.RENDER, asked).arrays["combined"].shape == (HEIGHT, WIDTH, 4)


_LOOK = """
import sys, json, numpy as np, torch
from backend.compute.look import Graded, Layer, show
from legs4d.gaussians.gaussians import Gaussians
from legs4d.portable.look import Amounts, Grade
a = {name: torch.as_tensor(values) for name, values in np.load(sys.argv[1]).items()}
cloud = Gaussians(a["means"], a["quats"], a["scales"], a["opacities"], a["colors"], a["opacities"] > 0)
told = json.loads(sys.argv[2])
layers = [Layer(**layer) for layer in told["layers"]]
grades = [Graded(Grade(**told["grade"]), 0, None, 1.0)]
made = show(cloud, a["relevancy"], layers, Amounts(**told["amounts"]), torch.zeros(3), grades)
np.savez(sys.argv[1], rgb=made.gaussians.rgb, opacities=made.gaussians.opacities)
"""


@pytest.mark.parametrize("mode", ["HIGHLIGHT", "DESATURATE", "ISOLATE"])
def test_backend_and_add_on_show_layers_alike(scene, imported, tmp_path, mode) -> None:
    """The same Gaussians under the same layers, by the backend's formulas and by the add-on's."""
    import json
    from dataclasses import asdict

    from blender_addon import names
    from blender_addon.export import gaussians
    from blender_addon.layers import layers, presets
    from blender_addon.selection import grades
    from blender_addon.sequence import highlighter

    start, end, _, _ = layers.intervals(imported.layers[0])[0]
    frame = imported.scene_frame((start + end) // 2)
    imported.empty.legs4d.mode = mode
    scene.frame_set(frame)
    plain = gaussians.read(imported, frame, baked=False)
    grade_id, graded = grades.add(imported, "LAYER", imported.layers[0].layer_id), {"exposure": -0.5, "saturation": 0.7}
    for name, value in graded.items():
        imported.empty[names.grade_property(grade_id, name)] = value
    baked = gaussians.read(imported, frame, baked=True)
    (layer,) = imported.layers
    (weight,) = layers.weights(imported, frame)
    parts = [highlighter.levels_of(cloud, layer.layer_id) / np.float32(255) for cloud in imported.clouds]
    file = tmp_path / "look.npz"
    fields = ("means", "quats", "scales", "opacities", "colors")
    np.savez(file, **{name: getattr(plain, name) for name in fields}, relevancy=np.concatenate(parts)[:, None])
    shown = {"weight": weight.weight, "threshold": weight.threshold, "softness": weight.softness}
    told = {
        "layers": [{**shown, "color": list(layer.color)}],
        "amounts": {**asdict(presets.amounts(imported.empty, frame))},
        "grade": graded,
    }
    library("-c", _LOOK, str(file), json.dumps(told))
    with np.load(file) as theirs:
        np.testing.assert_allclose(0.5 + 0.28209479 * baked.colors, theirs["rgb"], atol=2e-3)
        np.testing.assert_allclose(baked.opacities, theirs["opacities"], atol=2e-3)


def test_deleted_points_and_grades_reach_the_backend(rendered, imported) -> None:
    """All static points deleted are the picture without their object; a grade of the others selected is one of all."""
    from blender_addon import names
    from blender_addon.selection import grades, selecting

    still = imported.static_object
    selecting.choose_weights(
        imported, np.arange(imported.its.num_static + imported.its.num_dynamic) < imported.its.num_static
    )
    bpy.ops.legs4d.delete_points()
    bpy.ops.legs4d.select_all(action="ALL")
    chosen = grades.add(imported, "SELECTION")
    imported.empty[names.grade_property(chosen, "exposure")] = -1.0
    by_mask = rendered()
    bpy.ops.legs4d.show_points(what="DELETED")
    still.hide_render = True
    grades.remove(imported, chosen)
    plain = rendered()
    imported.empty[names.grade_property(grades.add(imported, "ALL"), "exposure")] = -1.0
    by_hand = rendered()
    np.testing.assert_array_equal(by_mask["Combined"], by_hand["Combined"])
    assert by_hand["Combined"][..., 3].max() > 0.5
    # Composited encoded: half the light is not exactly half the picture at soft edges.
    middle = plain["Combined"][..., 3] > 0.99
    np.testing.assert_allclose(by_hand["Combined"][middle][:, :3], 0.5 * plain["Combined"][middle][:, :3], atol=0.02)


def test_a_ramp_reaches_the_backend(rendered, imported) -> None:
    """One that is a step is a selection of what lies above it; one without end is half a grade everywhere."""
    from mathutils import Matrix

    from blender_addon import names
    from blender_addon.selection import grades, selecting
    from blender_addon.sequence import attributes
    from blender_addon.sequence.properties import cloud_of

    def placed(child: bpy.types.Object) -> np.ndarray:
        matrix = np.array(child.matrix_world)
        return attributes.read(cloud_of(child), names.POSITION) @ matrix[:3, :3].T + matrix[:3, 3]

    def grade(where: str) -> str:
        made = grades.add(imported, where)
        imported.empty[names.grade_property(made, "gain")] = (0.2, 1.0, 1.0)
        return made

    heights = np.concatenate([placed(child)[:, 2] for child in (imported.static_object, imported.dynamic_object)])
    step = float(np.median(heights)) + 1e-3
    selecting.choose_weights(imported, (heights > step).astype(float))
    made = grade("SELECTION")
    by_selection = rendered()
    grades.remove(imported, made)
    made = grade("RAMP")
    arrow = imported.its.grades[0].handle
    arrow.matrix_world = Matrix.Translation((0, 0, step)) @ Matrix.Scale(1e-5, 4)
    by_ramp = rendered()
    np.testing.assert_allclose(by_ramp["Combined"], by_selection["Combined"], atol=1e-3)
    assert by_ramp["Combined"][..., 0].std() > 0
    arrow.matrix_world = Matrix.Translation((0, 0, -5e5)) @ Matrix.Scale(1e6, 4)
    halfway = rendered()
    grades.remove(imported, made)
    imported.empty[names.grade_property(grade("ALL"), "strength")] = 0.5
    np.testing.assert_allclose(halfway["Combined"], rendered()["Combined"], atol=1e-3)
