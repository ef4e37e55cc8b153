"""The room of the demo scene: textured walls and floor, furniture, lights. Nothing in it moves."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Vector

Color = tuple[float, float, float]

AMBIENT = 0.34
"""Share of a surface's colour that it shows without light: indirect light for the price of none, and without noise."""

WALL_HEIGHT = 3.6
WEST, EAST, SOUTH, NORTH = -3.3, 3.3, -3.5, 2.1
DOOR_LEFT, DOOR_WIDTH, DOOR_HEIGHT = -0.5, 1.0, 2.0


def build_room(collection: bpy.types.Collection) -> None:
    """Floor, walls with a doorway in the north one, rug, pictures, shelf, sofa, plant and lights."""
    _floor_and_walls(collection)
    _doorway(collection)
    _furniture(collection)
    _pictures(collection)
    _plant(collection)
    _lights(collection)


def matte(name: str, color: Color) -> bpy.types.Material:
    """A diffuse material of one colour (linear RGB)."""
    material, node = _new_material(name)
    rgb = node.nodes.new("ShaderNodeRGB")
    rgb.outputs[0].default_value = (*color, 1)
    _shade(node, rgb.outputs[0])
    return material


def patterned(
    name: str, colors: Sequence[Sequence[float]], texture: str, scale: tuple[float, float, float], **settings: float
):
    """A diffuse material whose colours are a ramp over a procedural texture of the object's own coordinates.

    Args:
        colors: two or more, linear RGB.
        texture: `"NOISE"`, `"WAVE_X"`, `"WAVE_RINGS"`, `"CHECKER"` or `"BRICK"`.
        scale: of the texture coordinates, per axis.
        settings: further inputs of the texture node, by name.
    """
    material, tree = _new_material(name)
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    mapping = tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Scale"].default_value = scale
    tree.links.new(coordinates.outputs["Object"], mapping.inputs["Vector"])
    node = _texture_node(tree, texture)
    tree.links.new(mapping.outputs["Vector"], node.inputs["Vector"])
    for key, value in settings.items():
        node.inputs[key].default_value = value
    if texture in ("CHECKER", "BRICK"):
        for socket, color in zip(("Color1", "Color2", "Mortar"), colors, strict=False):
            if socket in node.inputs:
                node.inputs[socket].default_value = (*color, 1)
        _shade(tree, node.outputs["Color"])
        return material
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    while len(ramp.color_ramp.elements) < len(colors):
        ramp.color_ramp.elements.new(0.5)
    for i, color in enumerate(colors):
        ramp.color_ramp.elements[i].position = 0.25 + 0.5 * i / (len(colors) - 1)
        ramp.color_ramp.elements[i].color = (*color, 1)
    tree.links.new(node.outputs["Fac" if texture == "NOISE" else "Factor"], ramp.inputs[0])
    _shade(tree, ramp.outputs["Color"])
    return material


def box(
    name: str,
    size: Color,
    location: Color,
    material: bpy.types.Material,
    collection: bpy.types.Collection,
    *,
    turn: float = 0.0,
    bevel: float = 0.0,
) -> bpy.types.Object:
    """A box of `size` (x, y, z metres) centred on `location`, turned by `turn` radians about z."""
    x, y, z = (s / 2 for s in size)
    corners = [(-x, -y, -z), (x, -y, -z), (x, y, -z), (-x, y, -z), (-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)]
    faces = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    made = add_mesh(name, np.array(corners), [list(f) for f in faces], material, collection, smooth=False)
    made.location, made.rotation_euler.z = location, turn
    if bevel:
        modifier = made.modifiers.new("Bevel", "BEVEL")
        modifier.width, modifier.segments = bevel, 3
    return made


def ball(
    name: str,
    radius: float,
    location: Color,
    material: bpy.types.Material,
    collection: bpy.types.Collection,
    squash: Color = (1, 1, 1),
    segments: int = 32,
) -> bpy.types.Object:
    """A smooth sphere, scaled by `squash`."""
    rings = segments // 2
    polar = np.linspace(0.02, np.pi - 0.02, rings)
    turn = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    grid = np.stack(
        [
            np.outer(np.sin(polar), np.cos(turn)),
            np.outer(np.sin(polar), np.sin(turn)),
            np.outer(np.cos(polar), np.ones_like(turn)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    faces = [
        [
            r * segments + s,
            (r + 1) * segments + s,
            (r + 1) * segments + (s + 1) % segments,
            r * segments + (s + 1) % segments,
        ]
        for r in range(rings - 1)
        for s in range(segments)
    ]
    faces += [list(range(segments)), [(rings - 1) * segments + s for s in range(segments)][::-1]]
    made = add_mesh(name, grid * radius * np.array(squash), faces, material, collection)
    made.location = location
    return made


def add_mesh(
    name: str,
    points: np.ndarray,
    faces: list[list[int]],
    material: bpy.types.Material,
    collection: bpy.types.Collection,
    *,
    smooth: bool = True,
) -> bpy.types.Object:
    """A mesh object linked to `collection`."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points.tolist(), [], faces)
    mesh.materials.append(material)
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(faces))
    made = bpy.data.objects.new(name, mesh)
    collection.objects.link(made)
    return made


def _new_material(name: str) -> tuple[bpy.types.Material, bpy.types.NodeTree]:
    material = bpy.data.materials.new(name)
    tree = material.node_tree
    tree.nodes.clear()
    return material, tree


def _shade(tree: bpy.types.NodeTree, color: bpy.types.NodeSocket) -> None:
    """Diffuse reflection plus the ambient share as emission."""
    diffuse, glow = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeEmission")
    glow.inputs["Strength"].default_value = AMBIENT
    both, output = tree.nodes.new("ShaderNodeAddShader"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(color, diffuse.inputs["Color"])
    tree.links.new(color, glow.inputs["Color"])
    tree.links.new(diffuse.outputs[0], both.inputs[0])
    tree.links.new(glow.outputs[0], both.inputs[1])
    tree.links.new(both.outputs[0], output.inputs["Surface"])


def _texture_node(tree: bpy.types.NodeTree, texture: str) -> bpy.types.Node:
    kinds = {"NOISE": "ShaderNodeTexNoise", "CHECKER": "ShaderNodeTexChecker", "BRICK": "ShaderNodeTexBrick"}
    node = tree.nodes.new(kinds.get(texture, "ShaderNodeTexWave"))
    if texture == "WAVE_X":
        node.wave_type, node.bands_direction = "BANDS", "X"
    if texture == "WAVE_RINGS":
        node.wave_type, node.rings_direction = "RINGS", "Z"
    return node


def _floor_and_walls(collection: bpy.types.Collection) -> None:
    planks = patterned(
        "wooden floor",
        [(0.42, 0.22, 0.10), (0.33, 0.16, 0.07), (0.16, 0.08, 0.04)],
        "BRICK",
        (1.0, 1.0, 1.0),
        **{"Scale": 1.0, "Brick Width": 2.2, "Row Height": 0.32, "Mortar Size": 0.012, "Bias": 0.0},
    )
    paper = patterned(
        "striped wallpaper", [(0.50, 0.58, 0.52), (0.62, 0.66, 0.54)], "WAVE_X", (1, 1, 1), Scale=0.42, Distortion=0.0
    )
    panel = patterned("wainscot", [(0.20, 0.30, 0.30), (0.25, 0.36, 0.35)], "WAVE_X", (1, 1, 1), Scale=0.9)
    rail = matte("rail", (0.78, 0.70, 0.55))
    width, depth = EAST - WEST, NORTH - SOUTH
    middle_y = (NORTH + SOUTH) / 2
    box("floor", (width, depth, 0.1), (0, middle_y, -0.05), planks, collection)
    for name, length, place, turn in (
        ("west wall", depth, (WEST, middle_y), np.pi / 2),
        ("east wall", depth, (EAST, middle_y), np.pi / 2),
        ("south wall", width, (0, SOUTH), 0.0),
    ):
        _wall(name, length, place, turn, (paper, panel, rail), collection)
    left, right = DOOR_LEFT - WEST, EAST - DOOR_LEFT - DOOR_WIDTH
    _wall("north wall, left", left, (WEST + left / 2, NORTH), 0.0, (paper, panel, rail), collection)
    _wall("north wall, right", right, (EAST - right / 2, NORTH), 0.0, (paper, panel, rail), collection)
    above = WALL_HEIGHT - DOOR_HEIGHT
    box(
        "north wall, above the door",
        (DOOR_WIDTH, 0.1, above),
        (DOOR_LEFT + DOOR_WIDTH / 2, NORTH, DOOR_HEIGHT + above / 2),
        paper,
        collection,
    )
    rings = patterned(
        "woven rug", [(0.50, 0.07, 0.06), (0.72, 0.42, 0.16), (0.10, 0.14, 0.30)], "WAVE_RINGS", (1, 1, 1), Scale=0.55
    )
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    rim = np.stack([2.0 * np.cos(turn), 1.25 * np.sin(turn), np.full(48, 0.012)], axis=-1)
    add_mesh("rug", rim, [list(range(48))], rings, collection).location.y = -0.15


def _wall(
    name: str,
    length: float,
    place: tuple[float, float],
    turn: float,
    materials: tuple,
    collection: bpy.types.Collection,
) -> None:
    paper, panel, rail = materials
    box(name, (length, 0.1, WALL_HEIGHT), (*place, WALL_HEIGHT / 2), paper, collection, turn=turn)
    box(f"{name}, wainscot", (length, 0.14, 0.8), (*place, 0.4), panel, collection, turn=turn)
    box(f"{name}, rail", (length, 0.18, 0.07), (*place, 0.83), rail, collection, turn=turn)


def _doorway(collection: bpy.types.Collection) -> None:
    frame = matte("door frame", (0.80, 0.74, 0.62))
    centre = DOOR_LEFT + DOOR_WIDTH / 2
    for x in (DOOR_LEFT - 0.05, DOOR_LEFT + DOOR_WIDTH + 0.05):
        box("door frame", (0.1, 0.22, DOOR_HEIGHT + 0.1), (x, NORTH, DOOR_HEIGHT / 2 + 0.05), frame, collection)
    box("door frame", (DOOR_WIDTH + 0.2, 0.22, 0.1), (centre, NORTH, DOOR_HEIGHT + 0.05), frame, collection)
    # Dark, because nobody sees it before the door opens: what was never seen cannot be reconstructed.
    hall = matte("dark hall", (0.003, 0.003, 0.004))
    box("dark hall", (DOOR_WIDTH + 0.1, 0.04, DOOR_HEIGHT), (centre, NORTH + 0.1, DOOR_HEIGHT / 2), hall, collection)


def _furniture(collection: bpy.types.Collection) -> None:
    cloth = patterned("sofa cloth", [(0.10, 0.18, 0.34), (0.15, 0.26, 0.44)], "NOISE", (1, 1, 1), Scale=3.0)
    cushion = patterned("cushion", [(0.75, 0.36, 0.08), (0.85, 0.55, 0.2)], "WAVE_X", (1, 1, 1), Scale=1.8)
    x = EAST - 0.5
    box("sofa seat", (0.8, 1.7, 0.4), (x, 0.2, 0.25), cloth, collection, bevel=0.06)
    box("sofa back", (0.25, 1.7, 0.55), (x + 0.3, 0.2, 0.65), cloth, collection, bevel=0.06)
    for y in (-0.6, 1.0):
        box("sofa arm", (0.8, 0.2, 0.6), (x, y, 0.35), cloth, collection, bevel=0.06)
    box("cushion", (0.16, 0.45, 0.42), (x + 0.08, 0.65, 0.66), cushion, collection, bevel=0.06)
    wood = patterned("shelf wood", [(0.28, 0.14, 0.06), (0.40, 0.22, 0.10)], "NOISE", (6, 1, 1), Scale=1.2)
    x = WEST + 0.25
    box("shelf", (0.34, 1.5, 0.9), (x, 0.2, 0.45), wood, collection, bevel=0.02)
    shades = [(0.55, 0.10, 0.08), (0.12, 0.30, 0.45), (0.75, 0.60, 0.20), (0.20, 0.42, 0.20), (0.45, 0.18, 0.40)]
    for i, shade in enumerate(shades):
        size = (0.2, 0.13, 0.30 + 0.05 * (i % 3))
        box(f"book {i + 1}", size, (x, -0.25 + 0.15 * i, 0.9 + size[2] / 2), matte("book cover", shade), collection)
    ball("vase", 0.15, (x, 0.72, 1.06), matte("vase glaze", (0.15, 0.45, 0.50)), collection, squash=(1, 1, 1.15))


def _pictures(collection: bpy.types.Collection) -> None:
    frame = matte("picture frame", (0.24, 0.12, 0.05))
    sunset = [(0.85, 0.50, 0.15), (0.75, 0.20, 0.15), (0.15, 0.12, 0.35)]
    sea = [(0.05, 0.20, 0.40), (0.20, 0.55, 0.60), (0.85, 0.85, 0.70)]
    for i, (colors, (x, y), turn, width) in enumerate(
        [
            (sunset, (-1.75, NORTH - 0.06), 0.0, 1.2),
            (sea, (1.85, NORTH - 0.06), 0.0, 1.3),
            (sea, (WEST + 0.06, -1.7), np.pi / 2, 1.3),
            (sunset, (EAST - 0.06, -1.9), np.pi / 2, 1.3),
        ]
    ):
        box(f"picture frame {i + 1}", (width + 0.14, 0.06, 0.94), (x, y, 1.75), frame, collection, turn=turn)
        canvas = patterned(f"painting {i + 1}", colors, "NOISE", (1, 1, 1.6), Scale=1.3, Detail=1.0)
        box(f"picture {i + 1}", (width, 0.09, 0.8), (x, y, 1.75), canvas, collection, turn=turn)


def _plant(collection: bpy.types.Collection) -> None:
    place = Vector((2.55, 1.45, 0))
    pot = matte("flower pot", (0.60, 0.25, 0.12))
    leaf = patterned("leaves", [(0.05, 0.22, 0.06), (0.14, 0.42, 0.10)], "NOISE", (1, 1, 1), Scale=5.0)
    box("flower pot", (0.4, 0.4, 0.42), (place.x, place.y, 0.21), pot, collection, bevel=0.08)
    for i in range(7):
        turn, height = 2.4 * i, 0.62 + 0.13 * i
        at = (place.x + 0.2 * np.cos(turn), place.y + 0.2 * np.sin(turn), height)
        made = ball(f"leaf {i + 1}", 0.26, at, leaf, collection, squash=(1.0, 0.55, 0.28), segments=16)
        made.rotation_euler = (0.0, -0.5, turn)


def _lights(collection: bpy.types.Collection) -> None:
    """A warm sun through the open roof, and a cool one from the other side to give the shadows a colour."""
    for name, color, strength, direction in (
        ("sun", (1.0, 0.93, 0.80), 1.9, (0.55, 0.75, -1.55)),
        ("sky", (0.75, 0.86, 1.0), 0.75, (-0.8, 0.35, -1.1)),
    ):
        light = bpy.data.lights.new(name, "SUN")
        light.color, light.energy, light.angle = color, strength, 0.03
        made = bpy.data.objects.new(name, light)
        made.rotation_mode = "QUATERNION"
        made.rotation_quaternion = Vector(direction).to_track_quat("-Z", "Y")
        collection.objects.link(made)
