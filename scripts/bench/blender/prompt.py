"""Measures what an artist waits for: a small request's round trip, and from a typed prompt to its highlight.

    .venv-blender/bin/python scripts/bench/blender/prompt.py RUN_FOLDER "a prompt" [--times 5]

Starts a backend on the run's parent folder, imports the run into an empty Blender file and asks. Targets: 2 ms median
for the round trip, 500 ms beside the query itself for the prompt.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from tools import build_extension

from bench import figures

TARGET_ROUND_TRIP_MS, TARGET_PROMPT_MS = 2.0, 500.0
ROUND_TRIPS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("--times", type=int, default=5)
    options = figures.parse(parser)
    with (
        tempfile.TemporaryDirectory(prefix="legs4d-bench-") as scratch,
        backend(options.run.resolve().parent, Path(scratch) / "state"),
    ):
        return _measure(Path(scratch), options)


@contextmanager
def backend(root: Path, state: Path) -> Iterator[None]:
    """A backend for runs under `root`, which the add-on finds by the folder of its state."""
    os.environ["LEGS4D_STATE_DIR"] = str(state)
    serve = [str(ROOT / ".venv" / "bin" / "legs4d"), "serve", "--root", str(root)]
    with subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _measure(scratch: Path, options: argparse.Namespace) -> int:
    session = enable_addon(scratch)
    session.link.connect()
    _wait(session, lambda: session.link.ready)
    trips = [_round_trip(session) for _ in range(ROUND_TRIPS)]
    bpy.ops.legs4d.import_run(run=options.run.name)
    from blender_addon.sequence import sequence

    _wait(session, lambda: sequence.find(bpy.context.scene) and not session.transfers.pending)
    shown = sequence.find(bpy.context.scene)[0]
    waits = [_prompt(session, shown, options.prompt) for _ in range(options.times + 1)][1:]
    seconds, queries = np.array(waits).T * 1e3
    trip, beside = float(np.median(trips)), float(np.median(seconds - queries))
    print(f"{shown.empty.legs4d.num_static + shown.empty.legs4d.num_dynamic} points, load {os.getloadavg()[0]:.1f}")
    print(f"  round trip of a small request        median {trip:6.2f} ms, 95% {np.percentile(trips, 95):6.2f} ms")
    print(f"  prompt to highlight                  median {np.median(seconds):6.0f} ms")
    print(f"  of it the query itself               median {np.median(queries):6.0f} ms, all else {beside:.0f} ms")
    figures.record("Prompts in Blender", "round trip of a small request", trip, "ms", aim=f"{TARGET_ROUND_TRIP_MS} ms")
    figures.record(
        "Prompts in Blender", "prompt to highlight beside the query", beside, "ms", aim=f"{TARGET_PROMPT_MS} ms"
    )
    met = trip <= TARGET_ROUND_TRIP_MS and beside <= TARGET_PROMPT_MS
    print("targets met" if met else "targets missed")
    session.link.disconnect()
    return 0 if met else 1


def enable_addon(scratch: Path):
    """The session of the add-on as its zip would have it, enabled in an empty file, its cache in `scratch`."""
    package = build_extension.assemble(scratch / "extension")
    sys.path.insert(0, str(package.parent))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="blender_addon")
    bpy.context.preferences.addons["blender_addon"].preferences.cache_folder = str(scratch / "cache")
    from blender_addon.link import session

    return session.current


def _wait(session, condition: Callable[[], object], pause: float = 0.002) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing happened for two minutes: {session.link.status.sentence} {session.link.message}")
        session.pump()
        time.sleep(pause)


def _round_trip(session) -> float:
    """Milliseconds from asking to the answer's callback on the main thread."""
    answered: list[float] = []
    started = time.perf_counter()
    session.link.client.request("jobs", on_reply=lambda _: answered.append(time.perf_counter()))
    while not answered:
        session.pump()
        time.sleep(0.0001)
    return (answered[0] - started) * 1e3


def _prompt(session, shown, prompt: str) -> tuple[float, float]:
    """Seconds until the current frame's highlight is on the points, and what of it the backend's query took."""
    from blender_addon.layers import layers
    from blender_addon.sequence import highlighter

    taken: list[float] = []
    original = session.link.client.request

    def listening(kind, body=None, *, on_reply=None, **rest):
        def replied(reply):
            taken.append(reply.body["seconds"])
            on_reply(reply)

        return original(kind, body, on_reply=replied if kind == "query" else on_reply, **rest)

    session.link.client.request = listening
    for layer in list(shown.layers):
        layers.remove(shown, layer.layer_id, bpy.context.scene)
    started = time.perf_counter()
    bpy.ops.legs4d.ask(prompt=prompt)
    layer_id = shown.layers[0].layer_id

    def visible() -> bool:
        found = [highlighter.levels_of(cloud, layer_id) for cloud in shown.clouds]
        return any(levels is not None and levels.any() for levels in found)

    _wait(session, visible, pause=0.02)  # the add-on's own timer looks as often
    seconds = time.perf_counter() - started
    _wait(session, lambda: not session.questions.busy)
    session.link.client.request = original
    return seconds, taken[0]


if __name__ == "__main__":
    raise SystemExit(main())
