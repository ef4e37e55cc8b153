"""The engine's views against Blender's own camera maths."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from pictures import add_camera

WIDTH, HEIGHT = 60, 40


@pytest.fixture
def camera(addon) -> bpy.types.Object:
    """A camera that stands askew, in a scene of WIDTH × HEIGHT."""
    return add_camera(bpy.context.scene, (0.4, -4.0, 1.3), (1.35, 0.06, 0.1), WIDTH, HEIGHT)


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
    seen = view(projection, camera.matrix_world, width, height)
    tolerance = 0.1 if seen.setback else 1e-3
    for point in ((0, 0, 0), (0.8, 0.5, 0.3), (-1.0, 1.0, 1.0)):
        x, y, z = (seen.world_to_camera @ np.array([*point, 1.0]))[:3]
        found = (seen.fx * x / z + seen.cx, seen.fy * y / z + seen.cy)
        assert found == pytest.approx(seen_by_blender(scene, camera, Vector(point)), abs=tolerance)
        depth = -(camera.matrix_world.inverted() @ Vector(point)).z
        assert z - seen.setback == pytest.approx(depth, abs=1e-3)


def test_reduced_views_show_the_same_points() -> None:
    from blender_addon.engine.camera import View

    whole = View(np.eye(4), 50.0, 50.0, 30.0, 20.0, WIDTH, HEIGHT)
    point = np.array([0.3, -0.2, 2.0])
    at = np.array([whole.fx * point[0] / point[2] + whole.cx, whole.fy * point[1] / point[2] + whole.cy])
    small = whole.reduced(4)
    assert (small.fx * 0.15 + small.cx, small.fy * -0.1 + small.cy) == pytest.approx(tuple(at / 4))
    assert (small.width, small.height) == (15, 10)


def test_an_animation_that_cuts_to_a_panorama_is_refused_at_its_first_frame(camera) -> None:
    from blender_addon.engine.engine import animation_problem

    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 20
    around = bpy.data.objects.new("around", bpy.data.cameras.new("around"))
    around.data.type = "PANO"
    for frame, item in ((1, camera), (8, around), (12, camera), (40, around)):
        scene.timeline_markers.new(item.name, frame=frame).camera = item
    scene.frame_current = 1
    assert animation_problem(scene).startswith("From frame 8: 'around' is no perspective")
    scene.frame_current = 12  # what is over, and what comes after the end, is nobody's trouble
    assert animation_problem(scene) == ""
