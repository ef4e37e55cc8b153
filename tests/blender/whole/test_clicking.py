"""A click on drawn points means their sequence, unless something else lies before them."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector

REGION = SimpleNamespace(width=400, height=400)
DISTANCE = 6.0


@pytest.fixture
def view(imported):
    """From above the moving points' middle, 1 unit a 100 pixels at their distance; (view, its place)."""
    from blender_addon import names
    from blender_addon.sequence import attributes

    moving = imported.dynamic_object
    points = attributes.read(moving.data, names.POSITION)
    place = moving.matrix_world @ Vector(points.mean(0).tolist()) + Vector((0, 0, DISTANCE))
    view_matrix = Matrix.Translation(place).inverted()
    scale, near, far = DISTANCE / 2, 0.1, 100.0
    window = Matrix.Identity(4)
    window[0][0] = window[1][1] = scale
    window[2][2], window[2][3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    window[3][2], window[3][3] = -1, 0
    seen = SimpleNamespace(
        view_matrix=view_matrix,
        window_matrix=window,
        perspective_matrix=window @ view_matrix,
        is_perspective=True,
        view_perspective="PERSP",
    )
    return seen, place


def hidden_sky(imported) -> None:
    """The static points, a dome and what stands in it, would lie between."""
    imported.static_object.hide_set(True)
    bpy.context.view_layer.update()


def test_points_are_clicked_where_they_are_drawn(imported, view) -> None:
    from blender_addon.whole import clicking

    hidden_sky(imported)
    shown, child = clicking.meant(bpy.context, REGION, view[0], (200.0, 200.0))
    assert (shown.empty, child) == (imported.empty, imported.dynamic_object)
    assert clicking.meant(bpy.context, REGION, view[0], (2.0, 390.0)) is None, "nothing is drawn there"
    bpy.ops.object.select_all(action="DESELECT")
    clicking.select(bpy.context, shown, child, False)
    assert imported.empty.select_get() and child.select_get() and bpy.context.view_layer.objects.active == child
    clicking.select(bpy.context, shown, child, True)
    assert not imported.empty.select_get() and not child.select_get(), "Shift-click takes it out"


def test_what_lies_before_the_points_is_left_to_blender(imported, view) -> None:
    from blender_addon.whole import clicking

    hidden_sky(imported)
    seen, place = view
    middle = (200.0, 200.0)
    before, behind = place - Vector((0, 0, DISTANCE / 2)), place - Vector((0, 0, DISTANCE * 2))
    bpy.ops.mesh.primitive_plane_add(size=2, location=before)
    plane = bpy.context.object
    bpy.context.view_layer.update()
    assert clicking.meant(bpy.context, REGION, seen, middle) is None, "a mesh is nearer"
    plane.location = behind
    bpy.context.view_layer.update()
    assert clicking.meant(bpy.context, REGION, seen, middle) is not None, "a mesh is farther"
    bpy.ops.object.light_add(location=before)
    bpy.context.view_layer.update()
    assert clicking.meant(bpy.context, REGION, seen, middle) is None, "a light's icon is clicked"
    assert np.isfinite(clicking.under(bpy.context, REGION, seen, middle)[2])
