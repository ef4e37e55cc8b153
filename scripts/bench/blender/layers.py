"""Measures what prompt layers cost in Blender: a frame change at 300k moving points with 1 layer and with 40, in turn.

    .venv-blender/bin/python scripts/bench/blender/layers.py [--points 300000] [--layers 40] [--frames 8] [--changes 40]

All layers are active, each with relevancies of its own. Prints the median of each, their difference, what of it is the
bare `foreach_set` of as many attributes; in brackets the main thread's time on the CPU, which a busy machine does not
change. The target is 15 ms more than one layer.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.blender import playback

TARGET_MS = 15.0
ROUNDS = 3
"""One layer and many are measured in turn, as the machine is not the same from minute to minute."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300_000, help="moving points")
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--changes", type=int, default=40, help="frame changes measured a round")
    options = figures.parse(parser)
    with tempfile.TemporaryDirectory(prefix="legs4d-bench-") as scratch:
        return _measure(Path(scratch), options)


def _measure(scratch: Path, options: argparse.Namespace) -> int:
    playback.enable_addon(scratch)
    cache = playback.write_run(scratch / "cache", options.points, options.frames)
    keys = _write_answers(cache, options)
    one = playback.show(cache, None)
    bpy.data.objects.remove(one.static_object) if one.static_object else None
    times: dict[int, list[float]] = {1: [], options.layers: []}
    worked: dict[int, list[float]] = {count: [] for count in times}
    for _ in range(ROUNDS):
        for count in times:
            _have_layers(one, cache, keys[: count - 1])
            playback.change_frames(options.frames, options.frames)
            used = time.thread_time()
            times[count] += playback.change_frames(options.changes, options.frames)
            worked[count].append((time.thread_time() - used) * 1e3 / options.changes)
    medians = {count: float(np.median(values)) for count, values in times.items()}
    more = medians[options.layers] - medians[1]
    cpu = float(np.median(worked[options.layers]) - np.median(worked[1]))
    bare = _bare_ms(one, options.layers - 1)
    for count, median in medians.items():
        print(f"  {f'{count} layers':44} median {median:6.1f} ms")
    print(f"  {'more':44} {more:13.1f} ms ({cpu:.1f}), of which bare foreach_set {bare:.1f} ms")
    label = f"{options.layers} layers instead of one, {options.points} points: more a frame change"
    said = f"{more:.0f} ms ({cpu:.0f} of CPU)"
    figures.record("Layers in Blender", label, said, aim=f"{TARGET_MS:g} ms")
    print(f"load {os.getloadavg()[0]:.1f}: target {'met' if more <= TARGET_MS else 'missed'}")
    return 0 if more <= TARGET_MS else 1


def _write_answers(cache, options: argparse.Namespace) -> list[str]:
    """The keys of answers of their own for all layers but the first."""
    from blender_addon.cache.frames import Answer

    rng, keys = np.random.default_rng(1), [f"key{number:02}" for number in range(options.layers - 1)]
    for key in keys:
        answer = Answer(key, ((0, options.frames - 1, 0, 1.0),), (1.0,) * options.frames)
        cache.write_answer(key, answer, np.zeros(0, "u1"))
        for frame in range(options.frames):
            cache.write_relevancy(key, frame, rng.integers(0, 256, options.points, "u1"))
    return keys


def _have_layers(shown, cache, keys: list[str]) -> None:
    """Give the sequence the layers of these answers beside its first."""
    from blender_addon.layers import layers
    from blender_addon.sequence import display

    scene = bpy.context.scene
    while len(shown.layers) > 1:
        layers.remove(shown, shown.layers[1].layer_id, scene)
    for key in keys:
        layers.take_answer(shown, layers.add(shown, key), key, cache.answer(key), scene)
    display.update(shown.empty)


def _bare_ms(shown, count: int) -> float:
    """Setting as many attributes from an array at hand."""
    from blender_addon.sequence import attributes

    cloud = shown.dynamic_object.data
    values = np.random.default_rng(0).random(len(cloud.points), np.float32)
    attributes.write(cloud, "bare", "FLOAT", values)

    def write() -> None:
        for _ in range(count):
            attributes.write(cloud, "bare", "FLOAT", values)

    return float(np.median([playback.timed_ms(write) for _ in range(10)]))


if __name__ == "__main__":
    raise SystemExit(main())
