"""Grades along an arrow: as far as it points, where it points, and nowhere once it points nowhere."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from conftest import ANGLE, DISTANCE, SIZE
from mathutils import Matrix
from pictures import linear, srgb

ASIDE, RGB = 0.7, (0.7, 0.4, 0.4)


@pytest.fixture
def graded(splats) -> object:
    """Two splats beside each other, half a unit up their own axis, and a ramp to black."""
    from blender_addon import look, names
    from blender_addon.selection import grades

    made = splats(
        {
            "means": np.array([[-ASIDE, 0, 0.5], [ASIDE, 0, 0.5]]),
            "quats": np.tile([1.0, 0, 0, 0], (2, 1)),
            "scales": np.full((2, 3), 0.15),
            "rgb": np.tile(RGB, (2, 1)),
            "opacities": np.full(2, 0.99),
        }
    )
    made.empty.location.z = -0.5
    made.its.mode = "NONE"
    made.empty[names.grade_property(grades.add(made, "RAMP"), "gain")] = (0.0, 0.0, 0.0)
    bpy.context.view_layer.update()
    look.sync(made.empty)
    return made


def colors(picture: np.ndarray) -> list[np.ndarray]:
    """In the middle of the left and of the right splat, sRGB-encoded."""
    off = round(ASIDE * SIZE / 2 / np.tan(ANGLE / 2) / DISTANCE)
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 1)
    return [picture[middle, SIZE // 2 + x - 1 : SIZE // 2 + x + 1, :3].mean(axis=(0, 1)) for x in (-off, off)]


@pytest.mark.parametrize("keyed", [False, True])
def test_a_ramp_grades_along_an_arrow_that_can_be_moved_and_keyed(graded, photo, keyed) -> None:
    from blender_addon.selection import grades
    from blender_addon.sequence.properties import cloud_of

    arrow, scene = graded.its.grades[0].handle, bpy.context.scene
    arrow.matrix_world = Matrix.Translation((-2, 0, 0)) @ Matrix.Rotation(np.pi / 2, 4, "Y") @ Matrix.Scale(4, 4)
    if keyed:
        for path in ("location", "scale", "rotation_euler"):
            arrow.keyframe_insert(path, frame=8)
        arrow.scale = (0.1, 0.1, 0.1)
        arrow.keyframe_insert("scale", frame=1)
        scene.frame_set(8)
    bpy.context.view_layer.update()
    along = [(x + 2) / 4 for x in (-ASIDE, ASIDE)]
    captured = linear(np.array(RGB))
    for color, share in zip(colors(photo(4)), along, strict=True):
        np.testing.assert_allclose(color, srgb(captured * (1 - share)), atol=0.02)
    found = grades.colored(graded, cloud_of(graded.static_object), 8, np.tile(captured, (2, 1)))
    np.testing.assert_allclose(found[:, 0], captured[0] * (1 - np.array(along)), atol=1e-4)
    grades.remove(graded, graded.its.grades[0].grade_id)
    assert not [item for item in bpy.data.objects if "ramp" in item.name]


@pytest.mark.parametrize("how", ["flat", "without extent", "gone"])
def test_a_ramp_whose_arrow_points_nowhere_grades_nothing(graded, photo, how) -> None:
    from blender_addon.selection import grades

    arrow = graded.its.grades[0].handle
    if how == "gone":
        bpy.data.objects.remove(arrow)
    else:
        arrow.scale = (0, 1, 1) if how == "flat" else (0, 0, 0)
    bpy.context.view_layer.update()
    for color in colors(photo(4)):
        np.testing.assert_allclose(color, RGB, atol=0.02)
    assert grades.at(graded, 1)[0].ramp == (0, 0, 0, 0)
    grades.remove(graded, graded.its.grades[0].grade_id)
    assert not graded.its.grades
