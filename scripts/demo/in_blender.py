"""The demo's work inside Blender: `capture FOLDER` films the scene, `one FOLDER` films it by one camera that moves,
small, `walk FOLDER` likewise as an ordinary video, and `show OUT` drives the extension on a run. `even FOLDER` and `odd
FOLDER` take the pictures of every other camera, for a capture that then has them.

Runs in .venv-blender; `scripts/demo/demo.py` calls it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Color

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository
from tools import build_extension

from demo import scene as demo_scene

CENTER, RADIUS = (0.0, -0.05, 0.95), 3.1
ARC, LOWEST, HIGHEST, ANGLE = math.radians(140), math.radians(10), math.radians(30), math.radians(62)
WIDTH, HEIGHT, SAMPLES = 160, 120, 8
NUM_TRAIN, NUM_TEST = 12, 2
INITIAL_POINTS = 20_000
ONE_SIZE = 86, 64
"""Pixels of the moving camera's pictures."""
ONE_ARC, ONE_ELEVATION = math.radians(70), math.radians(18)
"""How far it goes, as somebody with a phone might in two seconds."""
WALK_SIZE, WALK_ARC = (320, 240), math.radians(40)
"""Of an ordinary video, as `scripts/bench/video/walk.py` takes it: pixels, and how far its camera goes."""

SHOW_WIDTH, SHOW_HEIGHT = 240, 180
SHOW_ARC, SHOW_RADIUS, SHOW_HEIGHT_ABOVE = math.radians(50), 2.9, 0.75
"""The camera of the film swings through this arc, inside that of the filming cameras."""

PATIENCE = 120.0
"""Seconds to wait for the backend."""


def enable(folder: Path) -> None:
    """Starts from an empty file with the extension, as its build lays it out, enabled."""
    package = build_extension.assemble(folder)
    sys.path.insert(0, str(package.parent))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=package.name)


def capture(folder: Path) -> None:
    """Films the demo scene through the capture operator, and notes what the animation says happens when."""
    _set_up_all(folder)
    _capture(folder)


def capture_half(folder: Path, which: int) -> None:
    """Takes the pictures of cameras whose number is even (0) or odd (1), if they are not there."""
    from blender_addon.capture.operators import plan
    from blender_addon.capture.session import Capture

    _set_up_all(folder)
    if (folder / "train_meta.json").exists():
        return
    with Capture(bpy.context.scene, bpy.context.view_layer, plan(bpy.context)) as job:
        for shot in job.remaining():
            if shot.view.camera_id % 2 == which:
                job.aim(shot)
                job.render()
                job.store(shot)


def _set_up_all(folder: Path) -> None:
    settings = _set_up(folder)
    settings.num_train, settings.num_test = NUM_TRAIN, NUM_TEST
    settings.center, settings.radius, settings.arc = CENTER, RADIUS, ARC
    settings.lowest, settings.highest, settings.angle = LOWEST, HIGHEST, ANGLE
    settings.width, settings.height = WIDTH, HEIGHT


def capture_one(folder: Path) -> None:
    """The same scene by a single camera that goes around it meanwhile, small, and one to test by."""
    _capture_by_one(folder, 1, ONE_SIZE, ONE_ARC)


def capture_walk(folder: Path) -> None:
    """An ordinary video of the scene: one camera that walks past it."""
    _capture_by_one(folder, 0, WALK_SIZE, WALK_ARC)


def _capture_by_one(folder: Path, num_test: int, size: tuple[int, int], arc: float) -> None:
    settings = _set_up(folder)
    settings.is_one, settings.num_test, settings.arrangement = True, num_test, "RING"
    settings.center, settings.radius, settings.angle = CENTER, RADIUS, ANGLE
    settings.highest, settings.width, settings.height = HIGHEST, *size
    settings.arc, settings.lowest = arc, ONE_ELEVATION
    _capture(folder)


def _set_up(folder: Path) -> Any:
    """The scene with its captions, and the properties of its capture into a folder."""
    scene = demo_scene.build()
    settings = scene.legs4d_capture
    for name in demo_scene.ACTS:
        settings.foreground.add().target = bpy.data.objects[name]
    bpy.ops.legs4d.capture_captions_from_actions(surroundings="an empty living room")
    settings.folder, settings.samples, settings.initial_points = str(folder), SAMPLES, INITIAL_POINTS
    return settings


def _capture(folder: Path) -> None:
    if not (folder / "train_meta.json").exists():  # else only what follows was interrupted
        bpy.ops.legs4d.capture()
    expected = {prompt: _expected(*act) for prompt, act in demo_scene.PROMPTS.items()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))


def _expected(name: str, number: int) -> dict[str, int]:
    """Object id and interval, frames from 0, of an act as the object's NLA strip has it."""
    strip = bpy.data.objects[name].animation_data.nla_tracks[0].strips[number]
    first = bpy.context.scene.frame_start
    return {
        "object": list(demo_scene.ACTS).index(name) + 1,
        "start": int(strip.frame_start) - first,
        "end": int(strip.frame_end) - first,
    }


def show(out: Path) -> None:
    """Imports the run through a backend that the extension starts, asks the prompts, renders, exports, saves."""
    from blender_addon import look
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.command, chosen.root = str(SCRIPTS.parent / ".venv"), str(out)
    chosen.cache_folder = str(out / "cache")
    bpy.ops.legs4d.start_backend()
    try:
        wait(lambda: session.current.link.ready, "the backend")
        bpy.ops.legs4d.import_run(run="run")
        wait(lambda: sequence.find(bpy.context.scene), "the sequence")
        wait(lambda: not session.current.transfers.pending, "the frames")
        for prompt in demo_scene.PROMPTS:
            bpy.ops.legs4d.ask(prompt=prompt)
            wait(lambda: not session.current.questions.busy, f"the answer to '{prompt}'")
    finally:
        bpy.ops.legs4d.stop_backend()
    scene = bpy.context.scene
    look.prepare(scene)
    _film(scene)
    _export(scene, out)
    _note_colors(scene, out)
    scene.frame_set(scene.frame_start)
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "demo.blend"))


def wait(condition: Callable[[], object], what: str) -> None:
    """Pumps the extension, as its timer does in the interface, until the condition holds."""
    from blender_addon.link import session

    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            link = session.current.link
            raise SystemExit(f"{what} did not come within {PATIENCE:.0f} s: {link.status.sentence} {link.message}")
        session.current.pump()
        time.sleep(0.01)


def _film(scene: bpy.types.Scene) -> None:
    """A camera that swings around the scene once over its frames, and the render settings."""
    lens = bpy.data.cameras.new("Film")
    camera = bpy.data.objects.new("Film", lens)
    scene.collection.objects.link(camera)
    lens.lens_unit, lens.angle = "FOV", ANGLE
    target = bpy.data.objects.new("Film target", None)
    target.location = CENTER
    scene.collection.objects.link(target)
    constraint = camera.constraints.new("TRACK_TO")
    constraint.target = target
    for frame in range(scene.frame_start, scene.frame_end + 1):
        share = (frame - scene.frame_start) / max(scene.frame_end - scene.frame_start, 1)
        azimuth = -math.pi / 2 + SHOW_ARC * (share - 0.5)
        offset = np.array([math.cos(azimuth), math.sin(azimuth), 0.0]) * SHOW_RADIUS
        camera.location = np.array(CENTER) + offset + [0, 0, SHOW_HEIGHT_ABOVE]
        camera.keyframe_insert("location", frame=frame)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    # Splats are as blurred as pixels are wide: one ray through each pixel's middle says it all.
    scene.cycles.samples, scene.cycles.use_pixel_jitter, scene.cycles.use_denoising = 1, False, False
    scene.render.resolution_x, scene.render.resolution_y = SHOW_WIDTH, SHOW_HEIGHT
    scene.render.fps = demo_scene.FPS


def _export(scene: bpy.types.Scene, out: Path) -> None:
    """The film as PNG with the intervals; of one frame also the compositing layers and the Gaussians."""
    settings = scene.legs4d_export
    settings.folder, settings.template = str(out / "export"), "highlight_{frame:04d}"
    settings.use_exr, settings.overwrite = False, False
    bpy.ops.legs4d.export()
    first = next(iter(sorted(marker.frame for marker in scene.timeline_markers)), scene.frame_start)
    settings.span, settings.frame_start, settings.frame_end = "CUSTOM", first, first
    settings.use_png, settings.use_exr, settings.use_ply, settings.use_json = False, True, True, False
    bpy.ops.legs4d.export()


def _note_colors(scene: bpy.types.Scene, out: Path) -> None:
    """The colours that prompts light up in, sRGB in bytes: each takes the one that is least like what it names."""
    from blender_addon.sequence import sequence

    layers = sequence.find(scene)[0].its.layers
    colors = {layer.prompt: Color(layer.color).from_scene_linear_to_srgb() for layer in layers}
    rounded = {prompt: [round(255 * value) for value in color] for prompt, color in colors.items()}
    (out / "export" / "colors.json").write_text(json.dumps(rounded))


WORK: dict[str, Callable[[Path], None]] = {
    "capture": capture,
    "even": partial(capture_half, which=0),
    "odd": partial(capture_half, which=1),
    "one": capture_one,
    "walk": capture_walk,
    "show": show,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*WORK])
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        enable(Path(scratch))
        WORK[chosen.what](chosen.folder.resolve())
        bpy.ops.preferences.addon_disable(module="blender_addon")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
