"""Measures how long Blender's interface waits for each operator of the extension, at 300k moving points.

    .venv-blender/bin/python scripts/bench/blender/waits.py [--points 300000] [--frames 48]

What a person does to points, layers, time and cameras, one after the other, and the longest of all. Of what is done in
pieces or beside a thread it is the longest that the interface waits at once. In brackets is the main thread's time on
the CPU, which a busy machine changes less. The target is 50 ms. Clicks on things have a bench of their own
(`click.py`).
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import bpy
import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.blender.playback import change_frames, enable_addon, show, timed_ms, write_run

WAIT_MS = 50.0
TIMES = 3
SUBJECT = "What Blender's interface waits for"

Step = Callable[[], object]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300_000, help="moving points")
    parser.add_argument("--frames", type=int, default=48)
    options = figures.parse(parser)
    with tempfile.TemporaryDirectory(prefix="legs4d-bench-") as scratch:
        return _measure(Path(scratch), options)


def _measure(scratch: Path, options: argparse.Namespace) -> int:
    enable_addon(scratch)
    cache = write_run(scratch / "cache", options.points, options.frames)
    shown = show(cache, None)
    scene = bpy.context.scene
    scene.frame_end = options.frames
    _activate(shown.empty)
    _add_camera(scene)
    change_frames(options.frames, options.frames)
    waits: dict[str, tuple[float, float]] = {}
    for name, (before, step) in {**_on_points(shown), **_on_layers(shown, cache), **_on_time(shown)}.items():
        waits[name] = _measured(shown, before, step)
    waits |= _in_pieces(shown, scratch)
    waits |= _last(shown)
    width = max(map(len, waits))
    for name, (wall, cpu) in sorted(waits.items(), key=lambda item: -item[1][1]):
        print(f"  {name:{width}} {wall:7.1f} ms ({cpu:6.1f})")
    longest = max(waits, key=lambda name: waits[name][1])
    wall, cpu = waits[longest]
    said = f"{longest}: {wall:.0f} ms ({cpu:.0f} of CPU)"
    print(f"{options.points} points, {options.frames} frames; the longest of {len(waits)} operators is {said}")
    figures.record(SUBJECT, f"the longest of {len(waits)} operators", said, aim=f"{WAIT_MS:.0f} ms")
    late = [name for name, (_, cpu) in waits.items() if cpu > WAIT_MS]
    print(f"load {os.getloadavg()[0]:.1f}: target {'missed by ' + ', '.join(late) if late else 'met'}")
    return 1 if late else 0


def _measured(shown, before: Step | None, step: Step) -> tuple[float, float]:
    """The median of the wall's and of the CPU's milliseconds; what was deleted or hidden comes back in between."""
    found = []
    for _ in range(TIMES):
        if before is not None:
            before()
        _activate(shown.empty)
        found.append(_timed(step))
        if any(name in shown.dynamic_object.data.attributes for name in ("deleted", "hidden")):
            bpy.ops.legs4d.show_points(what="BOTH")
    wall, cpu = np.median(found, axis=0)
    return float(wall), float(cpu)


def _timed(step: Step) -> tuple[float, float]:
    used = time.thread_time()
    wall = timed_ms(step)
    return wall, (time.thread_time() - used) * 1e3


def _longest_piece(pieces: Generator[float, None, object]) -> tuple[float, float]:
    found = []
    while True:
        try:
            found.append(_timed(lambda: next(pieces)))
        except StopIteration:
            return max(wall for wall, _ in found), max(cpu for _, cpu in found)


def _activate(item: bpy.types.Object) -> None:
    for other in bpy.context.view_layer.objects:
        other.select_set(other == item)
    bpy.context.view_layer.objects.active = item


def _add_camera(scene: bpy.types.Scene) -> None:
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.location, camera.rotation_euler = (0.0, -8.0, 0.0), (np.pi / 2, 0.0, 0.0)
    scene.collection.objects.link(camera)


def _on_points(shown) -> dict[str, tuple[Step | None, Step]]:
    """Selecting and taking away, by name: what goes before, unmeasured, and the step."""
    from blender_addon.selection import edits, selecting
    from blender_addon.selection.regions import Region

    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    lasso = 0.6 * np.column_stack((np.cos(turn), np.sin(turn) * (1 + 0.3 * np.cos(5 * turn))))
    view = np.diag([0.3, 0.3, 0.1, 1.0])
    cube = bpy.data.objects.new("box", None)
    bpy.context.scene.collection.objects.link(cube)

    def drawn(corners: np.ndarray) -> Step:
        region = Region("SCREEN", view, corners)
        return lambda: selecting.choose(shown, lambda child: region)

    ops, box = bpy.ops.legs4d, drawn(np.array([(-0.5, -0.5), (0.4, 0.6)]))
    return {
        "select by box": (None, box),
        "select by lasso": (None, drawn(lasso)),
        "select by an object's box": (None, lambda: ops.select_object(box=cube.name)),
        "select by size": (None, lambda: ops.select_size(low=0.005)),
        "select by slenderness": (None, lambda: ops.select_size(by="NEEDLE", low=0.5)),
        "select by opacity": (None, lambda: ops.select_opacity(low=0.0, high=1.0)),
        "select by layer": (None, lambda: ops.select_layer()),
        "select all": (None, lambda: ops.select_all(action="ALL")),
        "invert the selection": (box, lambda: ops.select_all(action="INVERT")),
        "delete": (box, lambda: ops.delete_points()),
        "hide": (box, lambda: ops.hide_points()),
        "crop": (box, lambda: ops.crop_points()),
        "restore": (lambda: (box(), ops.delete_points()), lambda: ops.show_points(what="BOTH")),
        "keep the largest piece, before its thread": (None, lambda: edits.LargestPiece(shown)),
        "keep a selection": (box, lambda: ops.keep_selection(label="part")),
        "select what is kept": (None, lambda: ops.select_kept(label="part")),
        "a grade of everything": (None, lambda: ops.add_grade(where="ALL")),
        "a grade of what is selected": (box, lambda: ops.add_grade(where="SELECTION")),
        "a grade less": (None, lambda: ops.remove_grade()),
    }


def _on_layers(shown, cache) -> dict[str, tuple[Step | None, Step]]:
    """What a person does to prompt layers."""
    from blender_addon.cache.frames import prompt_key
    from blender_addon.layers import layers
    from blender_addon.sequence import display

    key, made = prompt_key("a prompt"), ""

    def add() -> None:
        nonlocal made
        made = layers.add(shown, "another")
        display.update(shown.empty)

    def take() -> None:
        layers.take_answer(shown, made, key, cache.answer(key), bpy.context.scene)
        display.update(shown.empty)

    def change(owner: object, name: str, values: list[object]) -> Step:
        turns = itertools.cycle(values)
        return lambda: setattr(owner, name, next(turns))

    ops, its = bpy.ops.legs4d, shown.empty.legs4d
    return {
        "a new layer": (None, add),
        "its answer": (None, take),
        "another threshold": (None, change(shown.layers[0], "threshold", [0.4, 0.5])),
        "another look": (None, change(its, "mode", ["DESATURATE", "HIGHLIGHT"])),
        "another detail": (None, change(its, "detail", [0.2, 0.25])),
        "a duplicate of a layer": (None, lambda: ops.duplicate_layer()),
        "a layer less": (lambda: ops.duplicate_layer(), lambda: ops.remove_layer()),
    }


def _on_time(shown) -> dict[str, tuple[Step | None, Step]]:
    """Effects, and the time that the scene shows."""
    ops, its = bpy.ops.legs4d, shown.empty.legs4d
    return {
        "another start": (None, lambda: setattr(its, "start_frame", 3 - its.start_frame)),
        "cut by cameras": (None, lambda: ops.cut(to="MARKERS", replace=True)),
        "cut as strips": (None, lambda: ops.cut(to="STRIPS")),
        "fade the highlight": (None, lambda: ops.fade(what="HIGHLIGHT")),
        "fade color out": (None, lambda: ops.fade(what="DESATURATE")),
        "a zoom": (None, lambda: ops.zoom()),
        "a time curve": (None, lambda: ops.remap_time(speed=0.5)),
        "bullet time": (None, lambda: ops.bullet_time()),
        "no time curve": (lambda: ops.remap_time(), lambda: ops.reset_time()),
        "real time": (None, lambda: ops.match_rate(to="TIME")),
        "retime layers": (None, lambda: ops.retime()),
        "go to the action": (None, lambda: ops.go_to()),
    }


def _in_pieces(shown, scratch: Path) -> dict[str, tuple[float, float]]:
    """The longest piece of what is done in pieces."""
    from blender_addon.effects import follower
    from blender_addon.selection import edits, selecting
    from blender_addon.things import motion

    scene, layer = bpy.context.scene, shown.layers[0]
    found = {"a follower of a layer, a piece": _longest_piece(follower.of_layer(scene, shown, layer))}
    bpy.ops.legs4d.select_all(action="ALL")
    found["a follower of points, a piece"] = _longest_piece(follower.of_selection(scene, shown))
    written = motion.export(scene, shown.empty, shown, scratch / "motion.json")
    found["export a motion, a piece"] = _longest_piece(written)
    selecting.choose_none(shown)
    largest = edits.LargestPiece(shown).find()
    found["keep the largest piece, after its thread"] = _timed(lambda: largest.keep(shown))
    bpy.ops.legs4d.show_points(what="BOTH")
    return found


def _last(shown) -> dict[str, tuple[float, float]]:
    """What leaves more sequences, or the points in another mode: once each."""
    from blender_addon.things import separate

    found = {}
    bpy.ops.legs4d.select_layer()
    found["separate, a piece"] = _longest_piece(separate.separate(shown, "part"))
    _activate(shown.empty)
    for child in shown.objects:
        child.select_set(True)
    found["duplicate the object"] = _timed(lambda: bpy.ops.object.duplicate())
    bpy.ops.object.delete()
    _activate(shown.dynamic_object)
    found["enter edit mode"] = _timed(lambda: bpy.ops.object.mode_set(mode="EDIT"))
    bpy.ops.pointcloud.select_random()
    found["delete in edit mode"] = _timed(lambda: bpy.ops.pointcloud.delete())
    found["leave edit mode"] = _timed(lambda: bpy.ops.object.mode_set(mode="OBJECT"))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
