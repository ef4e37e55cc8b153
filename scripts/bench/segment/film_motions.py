"""The demo scene filmed by one still camera, with the demo's own motion and with others; where every object truly is.

    .venv-blender/bin/python scripts/bench/segment/film_motions.py OUT [MOTION…]

OUT/MOTION/ gets frames/*.png, camera.json (a camera path's file, which `animate --camera` takes) and truth.json
{object: [T, 4, 4] world from object}, all in the axes of the demo's capture. "demo" is what is judged; on the others
settings are chosen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from demo import scene as demo_scene

WIDTH, HEIGHT, SAMPLES, ANGLE = 160, 120, 8, np.radians(62)
CAMERA, TARGET = (-0.75, -2.75, 1.75), (0.0, -0.3, 0.8)
"""Nobody of the capture stands there."""
TO_CAPTURE = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)
"""From Blender's axes to the capture's."""
OBJECTS = ("a red ball", "a wooden box", "a door")
Motion = Callable[[float], dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]]
"""Share of the clip, 0..1 → object → (shift, Euler angles) that are added to how it stands in the first frame."""


def _tumble(s: float) -> dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]:
    lifted = 0.5 * np.sin(np.pi * min(1.0, s))
    return {
        "a wooden box": ((0.35 * s, -0.15 * s, lifted), (1.1 * s, -0.5 * s, 0.9 * s)),
        "a door": ((0, 0, 0), (0, 0, -0.8 * np.sin(np.pi * s))),
        "a red ball": ((0.9 * s, -0.4 * s, 0.25 * np.sin(2 * np.pi * s)), (0.0, 1.0 * s, 0.6 * s)),
    }


def _slide(s: float) -> dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]:
    return {
        "a wooden box": ((-0.3 * s, 0.25 * s, 0.0), (0, 0, -0.7 * s)),
        "a door": ((0, 0, 0), (0, 0, -1.0 * s * s)),
        "a red ball": ((0.6 * s, 0.5 * s, 0.4 * s * (1 - s)), (0.4 * s, 0.3 * s, 0.0)),
    }


MOTIONS: dict[str, Motion | None] = {"demo": None, "tumble": _tumble, "slide": _slide}


def film(out: Path, motion: Motion | None) -> None:
    """All frames, the camera and the truth."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene: Any = demo_scene.build()
    scene.cycles.samples, scene.render.resolution_x, scene.render.resolution_y = SAMPLES, WIDTH, HEIGHT
    scene.render.image_settings.file_format = "PNG"
    camera: Any = scene.camera
    camera.location = CAMERA
    focus = bpy.data.objects.new("Focus", None)
    focus.location = TARGET
    scene.collection.objects.link(focus)
    aim = camera.constraints.new("TRACK_TO")
    aim.target = focus
    camera.data.lens_unit, camera.data.sensor_fit, camera.data.angle = "FOV", "HORIZONTAL", float(ANGLE)
    scene.frame_set(demo_scene.FIRST_FRAME)
    things: dict[str, Any] = {name: bpy.data.objects[name] for name in OBJECTS}
    rest = {name: (np.array(t.location), np.array(t.rotation_euler)) for name, t in things.items()}
    if motion is not None:
        for thing in scene.objects:
            thing.animation_data_clear()
    truth: dict[str, list[list[list[float]]]] = {name: [] for name in OBJECTS}
    (out / "frames").mkdir(parents=True, exist_ok=True)
    for number in range(demo_scene.NUM_FRAMES):
        if motion is None:
            scene.frame_set(demo_scene.FIRST_FRAME + number)
        else:
            for name, (shift, turn) in motion(number / (demo_scene.NUM_FRAMES - 1)).items():
                things[name].location, things[name].rotation_euler = rest[name][0] + shift, rest[name][1] + turn
            scene.view_layers[0].update()
        for name, thing in things.items():
            truth[name].append((TO_CAPTURE @ np.array(thing.matrix_world)).tolist())
        scene.render.filepath = str(out / "frames" / f"{number:06d}.png")
        bpy.ops.render.render(write_still=True)
    pose = TO_CAPTURE @ np.array(camera.matrix_world) @ np.diag([1.0, -1.0, -1.0, 1.0])
    focal = WIDTH / 2 / np.tan(ANGLE / 2)
    lens = [[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]]
    told = {"w": WIDTH, "h": HEIGHT, "cameras": [{"w2c": np.linalg.inv(pose).tolist(), "k": lens, "frame": 0}]}
    (out / "camera.json").write_text(json.dumps(told))
    (out / "truth.json").write_text(json.dumps(truth))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "motion", nargs="*", default=list(MOTIONS), help="of " + ", ".join(MOTIONS) + "; all by default"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.motion if name not in MOTIONS]:
        parser.error(f"there is no motion {unknown[0]}; there are {', '.join(MOTIONS)}")
    for name in options.motion:
        film(options.out / name, MOTIONS[name])
