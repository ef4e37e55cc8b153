"""Films an animated glTF model as a D-NeRF capture: one camera a frame, RGBA, and where its vertices truly are.

    .venv-blender/bin/python scripts/bench/blender/film_gltf.py MODEL ANIMATION OUT [--frames 150] [--size 400]
        [--hold SHARE]

OUT then holds `transforms_train.json`, `transforms_test.json`, `train/`, `test/` and `truth.npz` (vertices [T, V, 3] in
the world of the cameras, up to 3,000 of them) and `surface.npz` (points [T', P, 3] of its surface in every third frame,
spread evenly when the film is half over). What is there is not filmed again, so that a killed call goes on.
Materials are unlit, the longest side of all that the model reaches is 1, the lens and distance are L4GM's. Finally the
test pictures are filmed with another seed, and how well both agree is printed: what no model can surpass. With --hold
the model stands as it does at that share of its animation in all pictures: what is missed then is not its motion.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

import bpy
import imbuf
import numpy as np
from mathutils import Matrix

# The rig alone: the add-on as a whole wants its copy of the wire format, which its build makes.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "blender_addon" / "capture"))
from rig import GOLDEN, View, camera_matrix  # type: ignore[import-not-found]  # by the path above

ANGLE, DISTANCE = math.radians(49.1), 1.5
"""Horizontal field of view, and scene units from the middle (L4GM)."""
ELEVATIONS = math.radians(-30), math.radians(75)
VERTICES, POINTS = 3000, 12_000
EVERY = 3
"""Frames of which one tells where points of the surface are."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", type=Path)
    arguments.add_argument("animation")
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--frames", type=int, default=150)
    arguments.add_argument("--test", type=int, default=20)
    arguments.add_argument("--size", type=int, default=400)
    arguments.add_argument("--samples", type=int, default=64)
    arguments.add_argument("--hold", type=float, metavar="SHARE", help="of the animation, 0..1: one pose throughout")
    asked = arguments.parse_args()
    scene = load(asked.model, asked.animation)
    moments = times(scene, asked.frames)
    if asked.hold is not None:
        moments = [moments[round(asked.hold * (len(moments) - 1))]] * len(moments)
    normalise(scene, moments)
    set_up(scene, asked.size, asked.samples)
    generator = np.random.default_rng(0)
    places = positions(asked.frames, generator.permutation(asked.frames))
    tested = np.linspace(0, asked.frames - 1, asked.test).round().astype(int)
    test_places = positions(asked.test, generator.permutation(asked.test), turned=0.37)
    film(scene, asked.out, "train", list(range(asked.frames)), places, moments, 0)
    film(scene, asked.out, "test", tested.tolist(), test_places, moments, 0)
    film(scene, asked.out, "again", tested.tolist(), test_places, moments, 1)
    vertices(scene, asked.out / "truth.npz", moments)
    surface(scene, asked.out / "surface.npz", moments)
    print(f"{asked.out.name}: filmed again with another seed, {agreement(asked.out):.1f} dB on white")


def load(model: Path, animation: str) -> bpy.types.Scene:
    """The model alone, playing this animation."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # As the shape of bones the importer makes a ball of radius 1, a mesh of the scene that no picture shows.
    bpy.ops.import_scene.gltf(filepath=str(model), disable_bone_shape=True)
    scene = bpy.context.scene
    found = False
    for owner in [*bpy.data.objects, *bpy.data.shape_keys]:
        data = owner.animation_data
        if data is None:
            continue
        data.action = None
        for track in data.nla_tracks:
            track.mute = track.name != animation
            track.is_solo = False
            found |= not track.mute
    if not found:
        tracks = {
            t.name
            for o in [*bpy.data.objects, *bpy.data.shape_keys]
            if o.animation_data
            for t in o.animation_data.nla_tracks
        }
        raise SystemExit(f"{model}: has no animation {animation!r}, but {sorted(tracks)}")
    for material in bpy.data.materials:
        unlit(material)
    return scene


def unlit(material: bpy.types.Material) -> None:
    """Show the base colour as it is."""
    tree = material.node_tree
    shader = next((node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    output = next((node for node in tree.nodes if node.type == "OUTPUT_MATERIAL"), None)
    if shader is None or output is None:
        return
    emission = tree.nodes.new("ShaderNodeEmission")
    base = shader.inputs["Base Color"]
    if base.is_linked:
        tree.links.new(base.links[0].from_socket, emission.inputs["Color"])
    else:
        emission.inputs["Color"].default_value = base.default_value
    tree.links.new(emission.outputs[0], output.inputs["Surface"])


def times(scene: bpy.types.Scene, count: int) -> list[float]:
    """The scene's frame, with its fraction, of each picture: all of the animation."""
    strips = [
        strip
        for owner in [*bpy.data.objects, *bpy.data.shape_keys]
        if owner.animation_data
        for track in owner.animation_data.nla_tracks
        if not track.mute
        for strip in track.strips
    ]
    first, last = min(s.frame_start for s in strips), max(s.frame_end for s in strips)
    return np.linspace(first, last, count).tolist()


def show(scene: bpy.types.Scene, moment: float) -> None:
    scene.frame_set(int(moment), subframe=moment - int(moment))


def world_mesh(scene: bpy.types.Scene) -> tuple[np.ndarray, np.ndarray]:
    """(vertices [V, 3], triangles [F, 3] of them) of all meshes as they are shown now."""
    graph = bpy.context.evaluated_depsgraph_get()
    found: list[np.ndarray] = []
    corners: list[np.ndarray] = []
    for thing in scene.objects:
        if thing.type != "MESH" or thing.hide_render:
            continue
        mesh = thing.evaluated_get(graph).data
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        matrix = np.array(thing.evaluated_get(graph).matrix_world)
        mesh.calc_loop_triangles()
        three = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("vertices", three)
        corners.append(three.reshape(-1, 3) + sum(len(part) for part in found))
        found.append(points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(found), np.concatenate(corners)


def world_vertices(scene: bpy.types.Scene) -> np.ndarray:
    """[V, 3] of all meshes as they are shown now."""
    return world_mesh(scene)[0]


def normalise(scene: bpy.types.Scene, moments: list[float]) -> None:
    """Put all that the model reaches about the origin, its longest side 1."""
    corners = []
    for moment in moments[:: max(1, len(moments) // 30)]:
        show(scene, moment)
        points = world_vertices(scene)
        corners += [points.min(axis=0), points.max(axis=0)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    size, middle = float((high - low).max()), (high + low) / 2
    root = bpy.data.objects.new("middle", None)
    scene.collection.objects.link(root)
    for thing in list(scene.objects):
        if thing.parent is None and thing is not root:
            thing.parent = root
    root.matrix_world = Matrix.Scale(1 / size, 4) @ Matrix.Translation([-float(x) for x in middle])


def set_up(scene: bpy.types.Scene, size: int, samples: int) -> None:
    scene.render.engine = "CYCLES"
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.use_persistent_data = True
    image = scene.render.image_settings
    image.file_format, image.color_mode, image.color_depth = "PNG", "RGBA", "8"
    scene.render.dither_intensity = 0
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.max_bounces, cycles.use_denoising = "CPU", samples, 0, False
    cycles.use_adaptive_sampling, cycles.adaptive_threshold, cycles.adaptive_min_samples = True, 0.004, 8
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit, lens.lens_unit, lens.angle, lens.clip_start = "HORIZONTAL", "FOV", ANGLE, 0.01
    scene.camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(scene.camera)


def positions(count: int, order: np.ndarray, turned: float = 0.0) -> list[np.ndarray]:
    """A camera a picture, spread evenly over a band of the sphere, in this order."""
    low, high = (math.sin(e) for e in ELEVATIONS)
    height = low + (high - low) * (np.arange(count) + 0.5) / count
    azimuth = 2 * math.pi * (GOLDEN * np.arange(count) + turned)
    flat = np.sqrt(1 - height**2)
    points = DISTANCE * np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], axis=1)
    return [points[i] for i in order]


def film(
    scene: bpy.types.Scene,
    out: Path,
    split: str,
    which: list[int],
    places: list[np.ndarray],
    moments: list[float],
    seed: int,
) -> None:
    """Take the pictures that are not there yet, and write where they were taken from."""
    folder, frames = out / split, []
    folder.mkdir(parents=True, exist_ok=True)
    scene.cycles.seed = seed
    for number, (frame, place) in enumerate(zip(which, places, strict=True)):
        matrix = camera_matrix(View(number, split == "test", place, np.zeros(3)))
        name = f"r_{number:03d}"
        frames.append(
            {
                "file_path": f"./{split}/{name}",
                "time": frame / max(len(moments) - 1, 1),
                "transform_matrix": matrix.tolist(),
            }
        )
        if (folder / f"{name}.png").exists():
            continue
        show(scene, moments[frame])
        scene.camera.matrix_world = Matrix(matrix.tolist())
        scene.render.filepath = str(folder / "part.png")
        bpy.ops.render.render(write_still=True)
        os.replace(folder / "part.png", folder / f"{name}.png")
    if split != "again":
        content = {"camera_angle_x": ANGLE, "frames": frames}
        (out / f"transforms_{split}.json").write_text(json.dumps(content))


def vertices(scene: bpy.types.Scene, path: Path, moments: list[float]) -> None:
    """Where vertices are at each time; those of the model at rest that lie in one place are one."""
    if path.exists():
        return
    show(scene, moments[0])
    _, first = np.unique(world_vertices(scene).round(5), axis=0, return_index=True)
    chosen = np.random.default_rng(0).permutation(np.sort(first))[:VERTICES]
    track = []
    for moment in moments:
        show(scene, moment)
        track.append(world_vertices(scene)[chosen])
    np.savez_compressed(path, vertices=np.array(track, np.float32))


def surface(scene: bpy.types.Scene, path: Path, moments: list[float]) -> None:
    """Where points of the surface are in every third frame; they are spread evenly over it in the middle one."""
    if path.exists():
        return
    chance = np.random.default_rng(0)
    show(scene, moments[len(moments) // 2])
    vertices, corners = world_mesh(scene)
    a, b, c = (vertices[corners[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    of = chance.choice(len(corners), POINTS, p=area / area.sum())
    share = chance.dirichlet(np.ones(3), POINTS).astype(np.float32)
    track = []
    for moment in moments[::EVERY]:
        show(scene, moment)
        track.append((world_vertices(scene)[corners[of]] * share[..., None]).sum(axis=1))
    np.savez_compressed(path, points=np.array(track, np.float32))


def agreement(out: Path) -> float:
    """dB, mean over the test pictures, between those filmed with two seeds."""
    found = []
    for path in sorted((out / "test").glob("r_*.png")):
        one, other = (on_white(folder / path.name) for folder in (out / "test", out / "again"))
        found.append(-10 * math.log10(max(float(((one - other) ** 2).mean()), 1e-10)))
    return sum(found) / len(found)


def on_white(path: Path) -> np.ndarray:
    with imbuf.load(str(path)).with_buffer() as buffer:
        pixels = np.array(buffer)[::-1].astype(np.float32) / 255
    return pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:]


if __name__ == "__main__":
    main()
