"""List many runs as the server does, the first time and again, and after one of them has changed.

scripts/bench/server/listing.py [--runs 1000] [--frames 150]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from backend.runs.library import MAX_LISTED, Library
from backend.runs.paths import Roots
from bench import figures
from tests.synthetic import Scene, write_run


def copies(root: Path, count: int, frames: int) -> None:
    """So many finished runs under `root`, of so many frames by what their run.json says."""
    run = write_run(root / "0000", Scene(num_frames=2, width=48, height=32, num_train=2, num_test=1), language=False)
    state = json.loads((run.path / "run.json").read_text())
    state["geometry"]["num_frames"] = frames
    state["info"]["frame_numbers"] = list(range(frames))
    for record in state["stages"].values():
        if record["done_frames"]:
            record["done_frames"] = list(range(1, frames))
    for number in range(count):
        folder = root / f"{number:04d}"
        (folder / "run.zarr" / "dynamic").mkdir(parents=True, exist_ok=True)
        (folder / "run.zarr/dynamic/zarr.json").write_bytes((run.path / "run.zarr/dynamic/zarr.json").read_bytes())
        (folder / "run.json").write_text(json.dumps(state))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=150)
    arguments = figures.parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copies(root, arguments.runs, arguments.frames)
        library = Library(Roots([root]))
        for title in ("first time", "again", "after one changed"):
            if title == "after one changed":
                os.utime(root / "0000" / "run.json")
            started, worked = time.perf_counter(), time.process_time()
            runs, problems, _ = library.runs()
            seconds, cpu = time.perf_counter() - started, time.process_time() - worked
            print(f"{title:18}{len(runs):6} runs{seconds:8.3f} s ({cpu:.3f} s of CPU)")
            figures.record("Server", f"{len(runs)} runs listed, {title}", f"{cpu:.3f} s of CPU")
            assert len(runs) == min(arguments.runs, MAX_LISTED) and not problems, problems[:1]


if __name__ == "__main__":
    main()
