"""Measures what control nodes cost in Blender, at 300k points that all hang on them.

    .venv-blender/bin/python scripts/bench/blender/nodes.py [--points 300000] [--frames 24] [--nodes 2048]

A frame change of a capture without empties, with 100 of its nodes as empties that nobody touched, with all of those
keyed, and with all nodes as empties; a node that is dragged, from the move to the points; and what *Apply Motion*
makes, 60 nodes that bend points that the capture does not move. Milliseconds, and in brackets the main thread's time on
the CPU, which a busy machine changes less. The targets are those of playback, 40 ms, and of a click, 100 ms; *Apply
Motion* is done once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.blender.playback import empty_file, enable_addon, show, write_run

SUBJECT = "Control nodes in Blender"
FRAME_MS, DRAG_MS = 40.0, 100.0
TIMES = 9
STILL = np.array([1.0, 0, 0, 0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300_000)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--nodes", type=int, default=2048)
    options = figures.parse(parser)
    with tempfile.TemporaryDirectory(prefix="legs4d-bench-") as scratch:
        _moving(Path(scratch), options)
        _still(Path(scratch), options)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _moving(scratch: Path, options: argparse.Namespace) -> None:
    enable_addon(scratch)
    cache = write_run(scratch / "cache", options.points, options.frames)
    cache.write_table("nodes", _nodes(cache.frame(0)["means"], options))
    shown, scene = show(cache, None), bpy.context.scene
    bpy.context.view_layer.objects.active = shown.empty
    _change(options)
    _told("a frame, no empties", FRAME_MS, *_change(options))
    bpy.ops.legs4d.bring_nodes(most=100)
    _told("a frame, 100 empties", FRAME_MS, *_change(options))
    found = [one for one in shown.empty.children if "legs4d_node" in one]
    _told("one of 100 nodes dragged", DRAG_MS, *_dragged(found[0]))
    for number, node in enumerate(found):
        for frame in (1, options.frames):
            node.location = (0.1 * np.sin(number + frame), 0.1, 0)
            node.keyframe_insert("location", frame=frame)
    _told("a frame, 100 empties keyed: all points bend", FRAME_MS, *_change(options))
    _told("one of them dragged", DRAG_MS, *_dragged(found[0]))
    bpy.ops.legs4d.bring_nodes(most=0)
    scene.frame_set(1)
    _told(f"a frame, all {options.nodes} empties", FRAME_MS, *_change(options))


def _still(scratch: Path, options: argparse.Namespace) -> None:
    from blender_addon.cache import storage
    from blender_addon.cache.frames import Description, RunCache
    from blender_addon.portable.motion_file import BendFile, MotionFile, write
    from blender_addon.sequence import display
    from blender_addon.sequence.sequence import Sequence

    (scratch / "still").mkdir()
    empty_file(scratch / "still")
    cache = RunCache.create(scratch / "still", Description("still", "still", "1", 1, options.points, 0, 30.0))
    rng, count = np.random.default_rng(0), options.points
    means = rng.normal(size=(count, 3)).astype("f4")
    values = {"means": means, "quats": np.tile(STILL, (count, 1)), "scales": np.full((count, 3), 0.01)}
    cache.write_static({**values, "colors": np.zeros((count, 3)), "opacities": np.full(count, 0.9)})
    none = {"scales": np.zeros((0, 3)), "opacities": np.zeros(0), "born": np.zeros(0), "died": np.zeros(0)}
    cache.write_dynamic(none)
    storage.adopt(cache)
    shown = Sequence.create(cache.description, bpy.context.scene.collection)
    display.update(shown.empty)
    bends = np.concatenate([rng.normal(size=(options.frames, 60, 3)) * 0.1, np.tile(STILL, (options.frames, 60, 1))], 2)
    rest, quiet = means[:60].astype(float), np.zeros((options.frames, 3))
    motion = MotionFile(quiet, np.tile(STILL, (options.frames, 1)), np.zeros(3), 24.0, "all", BendFile(rest, bends))
    (scratch / "motion.json").write_bytes(write(motion))
    bpy.context.view_layer.objects.active = shown.empty
    _told("Apply Motion, 60 nodes", None, *_timed(lambda: _apply(scratch / "motion.json"), 1))
    _told("a frame, 60 nodes bend what stands still", FRAME_MS, *_change(options))
    _told("one of them dragged, what stands still", DRAG_MS, *_dragged(shown.empty.children[-1]))


def _apply(path: Path) -> None:
    bpy.ops.legs4d.apply_motion(filepath=str(path), start_frame=1)


def _nodes(means: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Nodes among the points, which turn and sway; each point hangs on four."""
    rng, frames = np.random.default_rng(1), options.frames
    rest = means[rng.choice(len(means), options.nodes, replace=False)]
    pose = np.empty((frames, options.nodes, 7), "f4")
    for frame in range(frames):
        half = 0.02 * frame
        pose[frame, :, :3] = rest + 0.05 * np.sin(0.3 * frame + rest[:, ::-1])
        pose[frame, :, 3:] = [np.cos(half), 0, 0, np.sin(half)]
    index = rng.integers(0, options.nodes, (len(means), 4)).astype("i4")
    return {"rest": rest, "pose": pose, "index": index, "weight": np.full((len(means), 4), 0.25, "f4")}


def _change(options: argparse.Namespace) -> tuple[float, float]:
    frames = iter(range(7, 10**9, 7))
    return _timed(lambda: bpy.context.scene.frame_set(1 + next(frames) % options.frames))


def _dragged(node: bpy.types.Object) -> tuple[float, float]:
    def drag() -> None:
        node.location.x += 0.01
        bpy.context.view_layer.update()

    return _timed(drag)


def _timed(step: Callable[[], object], times: int = TIMES) -> tuple[float, float]:
    """Medians of the wall's and of the CPU's milliseconds."""
    found = []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.thread_time()
        step()
        found.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.thread_time() - cpu)))
    wall_ms, cpu_ms = np.median(found, axis=0)
    return float(wall_ms), float(cpu_ms)


def _told(what: str, aim: float | None, wall: float, cpu: float) -> None:
    print(f"  {what:46} {wall:7.1f} ms ({cpu:6.1f})", flush=True)
    figures.record(SUBJECT, what, f"{wall:.0f} ms ({cpu:.0f} of CPU)", aim="" if aim is None else f"≤ {aim:.0f} ms")


if __name__ == "__main__":
    raise SystemExit(main())
