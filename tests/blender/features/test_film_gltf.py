"""The bench's films of glTF models: how large a model is, is told by what pictures show of it."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector

SIZE = 0.1
"""Sides of the block, scene units."""
LIFT = 0.3
"""How far its bone lifts it."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small block on a bone that lifts it, as glTF."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add(size=SIZE)
    block = bpy.context.object
    block.data.materials.append(bpy.data.materials.new("plain"))
    bpy.ops.object.armature_add()
    rig = bpy.context.object
    block.parent = rig
    block.modifiers.new("rig", "ARMATURE").object = rig
    block.vertex_groups.new(name="Bone").add(range(8), 1.0, "ADD")
    bone = rig.pose.bones["Bone"]
    for frame, height in ((1, 0.0), (11, LIFT)):
        bone.location = Vector((0, height, 0))
        bone.keyframe_insert("location", frame=frame)
    rig.animation_data.action.name = "Lift"
    path = tmp_path / "block.glb"
    bpy.ops.export_scene.gltf(filepath=str(path), export_animation_mode="ACTIONS")
    return path


def test_a_skinned_model_fills_its_film_by_itself(model: Path) -> None:
    from bench.blender import film_gltf

    scene = film_gltf.load(model, "Lift")
    moments = film_gltf.times(scene, 5)
    assert len(film_gltf.world_vertices(scene)) == 24  # of the block: three at each corner, one a side
    film_gltf.normalise(scene, moments)
    reached = []
    for moment in moments:
        film_gltf.show(scene, moment)
        reached.append(film_gltf.world_vertices(scene))
    corners = np.concatenate(reached)
    sides = corners.max(axis=0) - corners.min(axis=0)
    np.testing.assert_allclose(sorted(sides), [SIZE / (SIZE + LIFT)] * 2 + [1.0], atol=1e-4)
    np.testing.assert_allclose(corners.max(axis=0) + corners.min(axis=0), 0, atol=1e-4)


def test_points_of_the_surface_stay_on_it_through_the_film(model: Path, tmp_path: Path) -> None:
    from bench.blender import film_gltf

    scene = film_gltf.load(model, "Lift")
    moments = film_gltf.times(scene, 7)
    film_gltf.normalise(scene, moments)
    film_gltf.surface(scene, tmp_path / "surface.npz", moments)
    with np.load(tmp_path / "surface.npz") as file:
        points = file["points"]
    assert points.shape == (3, film_gltf.POINTS, 3)
    side = SIZE / (SIZE + LIFT)
    for frame, moment in zip(points, moments[:: film_gltf.EVERY], strict=True):
        film_gltf.show(scene, moment)
        vertices = film_gltf.world_vertices(scene)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        away = np.minimum(np.abs(frame - low), np.abs(frame - high))  # of the planes of the six sides
        assert away.min(axis=1).max() < 1e-4
        assert (frame > low - 1e-4).all() and (frame < high + 1e-4).all()
        # Spread evenly: a sixth of them on each side, in the middle of it on average.
        top = frame[np.abs(frame[:, 2] - high[2]) < 1e-4]
        assert 0.12 < len(top) / len(frame) < 0.22
        np.testing.assert_allclose(top.mean(axis=0)[:2], (low + high)[:2] / 2, atol=0.1 * side)
