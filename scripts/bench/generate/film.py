"""Films animated glTF models as `legs4d object` may be given them: a video from the front, views, a turntable.

    .venv-blender/bin/python scripts/bench/generate/film.py GLTF_FOLDER OUT [CLIP…] [--sync] [--below]

OUT gets CLIP_pose0/*.png (the video, camera at azimuth 0), CLIP_sync/*.png (4DGen's 16 pseudo views of the first
moment; with --sync of all), CLIP_turntable/*.png (the first moment, turned about its axis) and CLIP_novel/*.png with
cameras.json: what results are judged on, from cameras that nothing else uses, at all times. With --below, CLIP_below
has the first moment's sixteen from below. What is there is not filmed again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench.blender.film_gltf import load, normalise, set_up, show, times

CLIPS = {
    "fox": ("Fox.glb", "Survey"),
    "man": ("CesiumMan.glb", "Anim_0"),
    "truck": ("CesiumMilkTruck.glb", "Anim_0"),
    "expressive": ("RobotExpressive.glb", "Robot_Dance"),
    "kenney": ("KenneyCharacter/KenneyCharacter.glb", "walk"),
    "knight": ("KayKitKnight.glb", "1H_Melee_Attack_Chop"),
    "mannequin": ("Mannequiny.glb", "fight_kick_root.001"),
    "robot": ("GodotRobot.glb", "walk"),
    "morph": ("MorphStressTest.glb", "TheWave"),
    "sphere": ("AnimatedMorphSphere/AnimatedMorphSphere.gltf", "Globe"),
    # On these settings are chosen, and on no other.
    "fox-run": ("Fox.glb", "Run"),
    "wave": ("RobotExpressive.glb", "Robot_Wave"),
    "knight-walk": ("KayKitKnight.glb", "Walking_A"),
}
FRAMES, SIZE, SAMPLES = 16, 256, 8
ANGLE, DISTANCE, REACH = math.radians(40), 2.5, 1.3
"""4DGen's camera, and the longest side of all that a model reaches."""
SYNC = (30.0, [*np.arange(0, 180, 22.5), *np.arange(-180, 0, 22.5)])
TURNTABLE = (15.0, 24)
"""Elevation in degrees, pictures in a round."""
NOVEL = 16


def camera(elevation: float, azimuth: float, distance: float = DISTANCE) -> np.ndarray:
    """[4, 4] camera to world in Blender's axes; azimuth 0 looks at a model's front, and grows towards its left."""
    e, a = math.radians(elevation), math.radians(azimuth)
    back = np.array([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])
    right = np.array([math.cos(a), math.sin(a), 0.0])
    matrix = np.eye(4)
    matrix[:3, :4] = np.stack([right, np.cross(back, right), back, distance * back], axis=1)
    return matrix


def novel_cameras(generator: np.random.Generator) -> list[tuple[float, float]]:
    """(elevation, azimuth) in degrees, spread over a band, none within 12° of the front."""
    found: list[tuple[float, float]] = []
    while len(found) < NOVEL:
        azimuth = (360 * 0.618034 * (len(found) + generator.random())) % 360
        elevation = math.degrees(math.asin(generator.uniform(math.sin(math.radians(-15)), math.sin(math.radians(50)))))
        if min(azimuth, 360 - azimuth) > 12:
            found.append((elevation, azimuth))
    return found


def take(
    scene: bpy.types.Scene, moment: float, place: tuple[float, float], path: Path, distance: float = DISTANCE
) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    show(scene, moment)
    lens: Any = scene.camera
    lens.matrix_world = Matrix(camera(*place, distance).tolist())
    part = path.with_name("part.png")
    scene.render.filepath = str(part)
    bpy.ops.render.render(write_still=True)
    os.replace(part, path)


def film(models: Path, name: str, out: Path, sync: bool, below: bool) -> None:
    model, animation = CLIPS[name]
    scene = load(models / model, animation)
    # A loop's last moment is its first.
    moments = times(scene, FRAMES + 1)[:FRAMES]
    normalise(scene, moments)
    root = bpy.data.objects["middle"]
    root.matrix_world = Matrix.Scale(REACH, 4) @ root.matrix_world
    set_up(scene, SIZE, SAMPLES)
    lens: Any = scene.camera
    lens.data.angle = ANGLE
    elevation, azimuths = SYNC
    for number, moment in enumerate(moments):
        take(scene, moment, (0, 0), out / f"{name}_pose0" / f"{number}.png")
    for number, azimuth in enumerate(azimuths):
        for frame, moment in enumerate(moments if sync else moments[:1]):
            take(scene, moment, (elevation, azimuth), out / f"{name}_sync" / f"{frame}_0_{number}_rgba.png")
        if below:
            take(scene, moments[0], (-elevation, azimuth), out / f"{name}_below" / f"0_0_{number}_rgba.png")
    elevation, count = TURNTABLE
    for number in range(count):
        take(scene, moments[0], (elevation, 360 * number / count), out / f"{name}_turntable" / f"{number:02d}.png")
    told = []
    for number, place in enumerate(novel_cameras(np.random.default_rng(1))):
        take(scene, moments[number % FRAMES], place, out / f"{name}_novel" / f"{number:02d}.png")
        told.append({"frame": number % FRAMES, "elevation": place[0], "azimuth": place[1]})
    (out / f"{name}_novel" / "cameras.json").write_text(json.dumps({"distance": DISTANCE, "views": told}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("models", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("clips", nargs="*", default=[*CLIPS])
    arguments.add_argument("--sync", action="store_true")
    arguments.add_argument("--below", action="store_true")
    asked = arguments.parse_args()
    for name in asked.clips:
        film(asked.models, name, asked.out, asked.sync, asked.below)


if __name__ == "__main__":
    main()
