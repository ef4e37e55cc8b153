"""Importing a sequence of splats end to end, beside the least it could take; and opening a run of either format.

    .venv/bin/python scripts/bench/splats/import_splats.py [--frames 60] [--gaussians 300000] [--folder DIR]

The files have 62 properties (degree 3). Floor: the same bytes read, and as many as the run holds written and synced.
Every row is of one run of this script; ratios hold better than times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.import_splats import import_splats
from legs4d.gaussians.store.run import Run
from legs4d.portable.ply.writer import ply_parts
from legs4d.portable.splats import Splats

MB = 1e6


def splats(count: int, frame: int, still: Splats | None) -> Splats:
    """Any Gaussians; with `still`, the same ones moved a little."""
    chance = np.random.default_rng(frame)
    if still is not None:
        return Splats(**{**vars(still), "means": still.means + np.float32(0.01 * frame)})
    quats = chance.normal(size=(count, 4)).astype(np.float32)
    return Splats(
        means=chance.normal(size=(count, 3)).astype(np.float32),
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        scales=np.exp(chance.normal(size=(count, 3)) - 4).astype(np.float32),
        opacities=chance.random(count).astype(np.float32),
        colors=chance.normal(size=(count, 3)).astype(np.float32),
        sh_rest=0.1 * chance.normal(size=(count, 15, 3)).astype(np.float32),
    )


def write(folder: Path, frames: int, count: int, *, loose: bool) -> int:
    """A sequence; with `loose`, of frames made apart, of other counts. Returns its bytes."""
    folder.mkdir()
    still = None if loose else splats(count, 0, None)
    size = 0
    for frame in range(frames):
        parts = ply_parts(splats(count - 7 * frame if loose else count, frame, still))
        size += sum(map(len, parts))
        (folder / f"{frame:04}.ply").write_bytes(b"".join(parts))
    return size


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def floor(source: Path, run: Path, target: Path) -> float:
    """Seconds of reading the source's bytes and writing the run's, synced file by file."""

    def work() -> None:
        for file in sorted(source.iterdir()):
            file.read_bytes()
        for file in run.rglob("c*"):
            if file.is_file():
                with open(target, "wb") as out:
                    out.write(bytes(file.stat().st_size))
                    out.flush()
                    os.fsync(out.fileno())
        target.unlink()

    return timed(work)


def open_all(path: Path) -> None:
    """Open a run and read one frame, as a viewer does first."""
    run = Run.open(path)
    run.frame(0)


def opening(folder: Path, frames: int) -> tuple[float, float]:
    """Median seconds of opening a run of format 1 and the same of format 2, in turns."""
    plain = splats(100_000, 0, None)
    gaussians = Gaussians(
        plain.means, plain.quats, plain.scales, plain.opacities, plain.colors, np.ones(len(plain), bool)
    )
    paths = []
    for version in (1, 2):
        run = Run.create(folder / f"format{version}")
        state = json.loads((run.path / "run.json").read_text())
        (run.path / "run.json").write_text(json.dumps({**state, "format": version}))
        run = Run.open(run.path)
        run.write_geometry(gaussians, gaussians, frames)
        paths.append(run.path)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(25):
        for kept, path in zip(times, paths, strict=True):
            kept.append(timed(lambda path=path: open_all(path)))  # type: ignore[misc]
    return float(np.median(times[0])), float(np.median(times[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--gaussians", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    options = figures.parse(parser)
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        for name, loose in (("the same Gaussians", False), ("without identity", True)):
            source, out = folder / "source", folder / "run"
            size = write(source, options.frames, options.gaussians, loose=loose)
            took = timed(lambda source=source, out=out: import_splats([source], out))  # type: ignore[misc]
            least = floor(source, out, folder / "floor")
            print(
                f"{name}: {options.frames} frames, {size / MB:.0f} MB: {took:.1f} s, {size / MB / took:.0f} MB/s; "
                f"floor {least:.1f} s, {size / MB / least:.0f} MB/s; ratio {took / least:.2f}"
            )
            said = f"{size / MB / took:.0f} MB/s; {took / least:.2f} times the floor"
            figures.record("Files of splats", f"import of {options.frames} frames, {name}", said, aim="100 MB/s")
            shutil.rmtree(source)
            shutil.rmtree(out)
        one, two = opening(folder, options.frames)
        print(f"opening and a frame: format 1 {1e3 * one:.1f} ms, format 2 {1e3 * two:.1f} ms; ratio {two / one:.2f}")
        figures.record("Files of splats", "opening format 2 against format 1", two / one, "times", aim="1.1 times")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
