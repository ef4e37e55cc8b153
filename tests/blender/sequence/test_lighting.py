"""Lamps on splats: what reflects is lit by its flattest side, and shadows fall from splats."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from conftest import ANGLE, DISTANCE, SIZE
from pictures import linear


def look_of(made) -> None:
    from blender_addon import look

    look.sync(made.empty)


def lamp(toward: tuple[float, float, float]) -> bpy.types.Object:
    """A sun that gives a white surface across its rays a radiance of 1; rays go `toward`."""
    from mathutils import Vector

    light = bpy.data.lights.new("Sun", "SUN")
    light.energy, light.angle = np.pi, 0.0
    made = bpy.data.objects.new("Sun", light)
    bpy.context.scene.collection.objects.link(made)
    made.rotation_euler = Vector(toward).to_track_quat("-Z", "Y").to_euler()
    return made


def light(made, **values: float) -> None:
    for name, value in values.items():
        made.empty[f"legs4d:{name}"] = value
    made.empty.update_tag()


def discs(*parts: tuple[tuple[float, float, float], float, float]) -> dict[str, np.ndarray]:
    """Opaque flat splats: (middle, turn about z, size), which at no turn look at the camera, along -y."""
    turns = np.array([turn for _, turn, _ in parts])
    count = len(parts)
    return {
        "means": np.array([middle for middle, _, _ in parts]),
        "quats": np.column_stack((np.cos(turns / 2), np.zeros((count, 2)), np.sin(turns / 2))),
        "scales": np.array([(size, 0.002, size) for _, _, size in parts]),
        "rgb": np.full((count, 3), 0.7),
        "opacities": np.full(count, 0.99),
    }


@pytest.mark.parametrize("reflect", [0.0, 0.5, 1.0])
def test_lamps_light_the_splats_by_their_flattest_side(splats, photo, reflect) -> None:
    turn = np.radians(40)
    made = splats(discs(((-0.8, 0, 0), -turn, 0.2), ((0.8, 0, 0), turn, 0.2)))
    lamp((1, 1, 0))  # from the left of the camera
    look_of(made)
    light(made, reflect=reflect)
    picture = photo(64)
    ahead, captured = np.radians([5, 85]), linear(np.array(0.7))
    expected = captured * (1 - reflect + reflect * np.cos(ahead))
    middle = SIZE // 2
    off = round(0.8 * SIZE / 2 / np.tan(ANGLE / 2) / DISTANCE)
    found = [linear(picture[middle - 1 : middle + 1, middle + side * off, 0]).mean() for side in (-1, 1)]
    np.testing.assert_allclose(found, expected, atol=0.03)


def wall(away: float) -> None:
    """Behind the origin, seen from the camera."""
    mesh = bpy.data.meshes.new("Wall")
    mesh.from_pydata([(-2, away, -2), (2, away, -2), (2, away, 2), (-2, away, 2)], [], [(0, 1, 2, 3)])
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Wall", mesh))


def shadow(picture: np.ndarray, across: float, away: float) -> float:
    """Light on the wall so far right of the middle, as a share of that twice as far."""
    at = round(across * SIZE / 2 / np.tan(ANGLE / 2) / (DISTANCE + away))
    there, lit = linear(picture[SIZE // 2, [SIZE // 2 + at, SIZE // 2 + 2 * at], 0])
    return float(there / lit)


def test_splats_throw_shadows_beyond_a_gap(splats, photo) -> None:
    wall(1.0)
    made = splats(discs(((-0.5, 0, 0), 0.0, 0.15)))
    lamp((1, 1, 0))  # the shadow falls onto the wall at x = 0.5
    look_of(made)
    light(made, shadow_gap=0.0)

    assert shadow(photo(16), 0.5, 1.0) == pytest.approx(1.0, abs=0.02)
    made.its.shadows = True
    assert shadow(photo(16), 0.5, 1.0) < 0.3
    light(made, shadow_gap=1.3)
    assert shadow(photo(16), 0.5, 1.0) < 0.3  # 1.41 away
    light(made, shadow_gap=1.5)
    assert shadow(photo(16), 0.5, 1.0) == pytest.approx(1.0, abs=0.02)


def test_without_a_gap_shadows_begin_at_the_splat(splats, photo) -> None:
    wall(0.5)
    made = splats(discs(((-0.25, 0, 0), 0.0, 0.1)))
    lamp((1, 1, 0))
    look_of(made)
    light(made, shadow_gap=0.0)
    made.its.shadows = True
    assert shadow(photo(16), 0.25, 0.5) < 0.35


@pytest.mark.parametrize("scale", [(10, 10, 10), (-1, 1, 1), (-10, 10, 10), (1, -1, 1)], ids=str)
def test_light_falls_from_its_lamp_on_scaled_and_mirrored_sequences(splats, photo, scale) -> None:
    turn = np.radians(40)
    made = splats(discs(((0, 0, 0), turn, 0.2 / abs(scale[0]))))
    made.empty.scale, made.its.pixel_angle = scale, 0.0
    lamp((1, 1, 0))
    look_of(made)
    light(made, reflect=1.0)
    toward = np.array([-np.sin(turn), np.cos(turn)]) / scale[:2]  # a normal goes by the inverse, transposed
    facing = abs(toward @ [1, 1]) / np.linalg.norm(toward) / np.sqrt(2)
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 1)
    assert linear(photo(32)[middle, middle, 0]).mean() == pytest.approx(linear(np.array(0.7)) * facing, abs=0.03)


def test_lamps_light_splats_of_files_of_before(splats, photo) -> None:
    """Their materials, which all sequences of a file share, knew no lamps."""
    made = splats(discs(((0, 0, 0), 0.0, 0.2)))
    look_of(made)
    for material in bpy.data.materials:
        material["legs4d:version"] = 3
        reflects = [one for one in material.node_tree.nodes if one.type == "BSDF_DIFFUSE"]
        assert len(reflects) == 1
        material.node_tree.nodes.remove(reflects[0])
    made.static_object.modifiers["4-LEGS"].node_group["legs4d:layers"] = "11:0::[]"
    look_of(made)
    lamp((0, 1, 0))
    light(made, reflect=1.0)
    assert linear(photo(32)[SIZE // 2, SIZE // 2, 0]) == pytest.approx(linear(np.array(0.7)), abs=0.05)
