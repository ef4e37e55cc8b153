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


def test_splats_throw_shadows_beyond_a_gap(splats, photo) -> None:
    wall = bpy.data.meshes.new("Wall")
    wall.from_pydata([(-2, 1, -2), (2, 1, -2), (2, 1, 2), (-2, 1, 2)], [], [(0, 1, 2, 3)])
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Wall", wall))
    made = splats(discs(((-0.5, 0, 0), 0.0, 0.15)))
    lamp((1, 1, 0))  # the shadow falls onto the wall at x = 0.5
    look_of(made)
    light(made, shadow_gap=0.0)

    def shadow() -> float:
        picture = photo(16)
        at = SIZE // 2 + round(0.5 * SIZE / 2 / np.tan(ANGLE / 2) / (DISTANCE + 1))
        lit = linear(picture[SIZE // 2, SIZE // 2 + 2 * (at - SIZE // 2), 0])
        return float(linear(picture[SIZE // 2, at, 0]) / lit)

    assert shadow() == pytest.approx(1.0, abs=0.02)
    made.its.shadows = True
    assert shadow() < 0.3
    light(made, shadow_gap=1.3)
    assert shadow() < 0.3  # 1.41 away
    light(made, shadow_gap=1.5)
    assert shadow() == pytest.approx(1.0, abs=0.02)
