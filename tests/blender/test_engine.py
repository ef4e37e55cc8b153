"""The engine "4-LEGS splats" against Blender's own camera maths, the library's rasteriser, and a person's settings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from conftest import LIBRARY, PROMPT, ROOT, library_environment
from mathutils import Matrix, Vector

WIDTH, HEIGHT = 60, 40


@pytest.fixture
def camera(addon) -> bpy.types.Object:
    """A camera that stands askew, in a scene of WIDTH × HEIGHT."""
    scene = bpy.context.scene
    made = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(made)
    made.location, made.rotation_euler = (0.4, -4.0, 1.3), (1.35, 0.06, 0.1)
    scene.camera = made
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    return made


def seen_by_blender(scene: bpy.types.Scene, camera: bpy.types.Object, point: Vector) -> tuple[float, float]:
    """Pixels from the upper left corner, by Blender's own function."""
    x, y, _ = world_to_camera_view(scene, camera, point)
    render = scene.render
    scale = render.resolution_percentage / 100
    return x * render.resolution_x * scale, (1 - y) * render.resolution_y * scale


LENSES = {
    "plain": lambda scene, lens: None,
    "long lens": lambda scene, lens: setattr(lens, "lens", 120.0),
    "shifted": lambda scene, lens: (setattr(lens, "shift_x", 0.2), setattr(lens, "shift_y", -0.35)),
    "vertical fit": lambda scene, lens: (setattr(lens, "sensor_fit", "VERTICAL"), setattr(lens, "sensor_height", 18.0)),
    "horizontal fit, upright": lambda scene, lens: (
        setattr(lens, "sensor_fit", "HORIZONTAL"),
        setattr(scene.render, "resolution_y", 100),
    ),
    "upright": lambda scene, lens: setattr(scene.render, "resolution_y", 100),
    "half size": lambda scene, lens: setattr(scene.render, "resolution_percentage", 50),
    "oblong pixels": lambda scene, lens: setattr(scene.render, "pixel_aspect_x", 1.5),
    "parallel": lambda scene, lens: (setattr(lens, "type", "ORTHO"), setattr(lens, "ortho_scale", 5.0)),
}


@pytest.mark.parametrize("change", LENSES.values(), ids=LENSES.keys())
def test_cameras_see_what_blenders_camera_sees(camera, change) -> None:
    from blender_addon.engine.camera import view

    scene = bpy.context.scene
    change(scene, camera.data)
    bpy.context.view_layer.update()
    render = scene.render
    width = render.resolution_x * render.resolution_percentage // 100
    height = render.resolution_y * render.resolution_percentage // 100
    depsgraph = bpy.context.evaluated_depsgraph_get()
    projection = camera.calc_matrix_camera(
        depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    )
    ours = view(projection, camera.matrix_world, width, height)
    tolerance = 0.1 if ours.setback else 1e-3
    for point in ((0, 0, 0), (0.8, 0.5, 0.3), (-1.0, 1.0, 1.0)):
        x, y, z = (ours.world_to_camera @ np.array([*point, 1.0]))[:3]
        found = (ours.fx * x / z + ours.cx, ours.fy * y / z + ours.cy)
        assert found == pytest.approx(seen_by_blender(scene, camera, Vector(point)), abs=tolerance)
        depth = -(camera.matrix_world.inverted() @ Vector(point)).z
        assert z - ours.setback == pytest.approx(depth, abs=1e-3)


def test_reduced_and_cropped_views_show_the_same_points() -> None:
    from blender_addon.engine.camera import View

    whole = View(np.eye(4), 50.0, 50.0, 30.0, 20.0, WIDTH, HEIGHT)
    point = np.array([0.3, -0.2, 2.0])
    at = np.array([whole.fx * point[0] / point[2] + whole.cx, whole.fy * point[1] / point[2] + whole.cy])
    part, small = whole.cropped(10, 5, 20, 20), whole.reduced(4)
    assert (part.fx * 0.15 + part.cx, part.fy * -0.1 + part.cy) == pytest.approx(tuple(at - [10, 5]))
    assert (small.fx * 0.15 + small.cx, small.fy * -0.1 + small.cy) == pytest.approx(tuple(at / 4))
    assert (small.width, small.height) == (15, 10)


@pytest.fixture
def scene(imported, camera, until, tmp_path) -> bpy.types.Scene:
    """The imported ball with its prompt answered, before the engine."""
    from blender_addon import session

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
        return read_exr(tmp_path / f"{name}.exr")

    return render


def read_exr(path: Path) -> dict[str, np.ndarray]:
    """Channels without the view layer's name."""
    code = (
        "import OpenEXR, numpy, sys; parts = OpenEXR.File(sys.argv[1]).parts;"
        "numpy.savez(sys.argv[2], **{n.partition('.')[2]: c.pixels for p in parts for n, c in p.channels.items()})"
    )
    target = path.with_suffix(".npz")
    subprocess.run([LIBRARY / "python", "-c", code, path, target], check=True, env=library_environment(), cwd=ROOT)
    with np.load(target, allow_pickle=False) as arrays:
        return dict(arrays)


def library_picture(runs: Path, out: Path, frame: float, camera: bpy.types.Object) -> dict[str, np.ndarray]:
    """The library's own picture through the same camera, whose numbers are found here by hand: no shift, square pixels.

    Args:
        frame: capture frame, whole.
    """
    upright = np.array(Matrix.Rotation(-np.pi / 2, 4, "X"))
    to_camera = np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(np.array(camera.matrix_world)) @ upright
    focal = camera.data.lens / camera.data.sensor_width * WIDTH
    np.savez(out, w2c=to_camera, k=[[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]], frame=frame)
    subprocess.run([LIBRARY / "python", "-c", _PICTURE, runs / "ball", out], check=True, env=library_environment())
    return dict(np.load(out))


_PICTURE = f"""
import sys, numpy as np
from legs4d.gaussians.store import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
run, asked = Run.open(sys.argv[1]), np.load(sys.argv[2])
cameras = Cameras(asked["w2c"][None].astype(np.float32), asked["k"][None].astype(np.float32), {WIDTH}, {HEIGHT}, (0,))
made = render(run.frame(int(asked["frame"])).torch(), cameras, near=run.info["near"], depth=True)
np.savez(sys.argv[2], color=made.color[0].clamp(0, 1), alpha=made.alpha[0], depth=(made.depth / made.alpha)[0])
"""


def srgb(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one - other) ** 2)))


def test_the_render_is_the_rasterisers(scene, rendered, runs, camera, tmp_path, record_property) -> None:
    scene.frame_set(5)
    found = rendered()
    expected = library_picture(runs, tmp_path / "expected.npz", 4, camera)
    similarity = psnr(srgb(found["Combined"][..., :3]), expected["color"])
    record_property("psnr", similarity)
    assert similarity > 70
    np.testing.assert_allclose(found["Alpha.V" if "Alpha.V" in found else "Alpha.A"], expected["alpha"], atol=1e-3)
    seen = expected["alpha"] > 0.5
    np.testing.assert_allclose(found["Depth.Z"][seen], expected["depth"][seen], rtol=1e-3)
