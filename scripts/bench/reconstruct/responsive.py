"""How soon a command on large pictures says something, how long it is silent, and how soon Ctrl-C ends it.

    .venv/bin/python scripts/bench/reconstruct/responsive.py [--size 3840x2160] [--cameras 6] [--frames 2] [--stops 8]

`legs4d train` is started on a made capture and interrupted at moments spread over a first, undisturbed minute. Prints
the first line's delay from the start of the process, the longest silence, and the longest time from Ctrl-C to the exit.
Aims: 2 s each.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

import numpy as np
from PIL import Image

from bench import figures
from tests.synthetic import Scene, write_dataset

SHRUNK = 8
PROGRAM = (sys.executable, "-m", "legs4d", "train")


class Watched:
    """A command on a terminal of its own, and when it wrote what."""

    def __init__(self, *arguments: object) -> None:
        self._end, there = pty.openpty()
        self.started = time.monotonic()
        self._process = subprocess.Popen([*PROGRAM, *map(str, arguments)], stdout=there, stderr=there, close_fds=True)
        os.close(there)
        self.lines: list[tuple[float, str]] = []
        """Seconds from the start, and what was written."""

    def watch(self, seconds: float) -> bool:
        """Read what it writes, for so long; whether it has ended by then."""
        os.set_blocking(self._end, False)
        while time.monotonic() - self.started < seconds:
            if not self._read() and self._process.poll() is not None:
                return True
            time.sleep(0.01)
        return self._process.poll() is not None

    def interrupt(self, patience: float = 60) -> float:
        """Seconds from Ctrl-C to the exit; raises RuntimeError when the exit code is not 130."""
        asked = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        while self._process.poll() is None and time.monotonic() - asked < patience:
            self._read()
            time.sleep(0.005)
        took = time.monotonic() - asked
        self._process.kill()
        if self._process.wait() != 130:
            said = "".join(text for _, text in self.lines)[-500:]
            raise RuntimeError(f"ended with {self._process.returncode} {took:.1f} s after Ctrl-C: {said}")
        return took

    def _read(self) -> bool:
        try:
            text = os.read(self._end, 65536).decode(errors="replace")
        except (BlockingIOError, OSError):  # nothing yet; or the other end is closed
            return False
        self.lines.append((time.monotonic() - self.started, text))
        return bool(text)

    def silences(self) -> list[tuple[float, float]]:
        """(how long, from when), longest first."""
        times = [0.0, *(at for at, _ in self.lines)]
        return sorted(((after - before, before) for before, after in pairwise(times)), reverse=True)


def write_large(folder: Path, width: int, height: int, cameras: int, frames: int) -> Path:
    """A made capture of large pictures: small ones, drawn out, since only their number of pixels matters here."""
    small = Scene(frames, width // SHRUNK, height // SHRUNK, num_train=cameras, num_test=1)
    dataset = write_dataset(folder, small)
    for path in [*dataset.glob("*/*/*.jpg"), *dataset.glob("*/*/*.png")]:
        with Image.open(path) as picture:
            larger = picture.resize((width, height), Image.Resampling.NEAREST)
        larger.save(path)
    for path in dataset.glob("*_meta.json"):
        meta = json.loads(path.read_text())
        scaled = np.diag([width / small.width, height / small.height, 1.0])
        meta.update(w=width, h=height, k=[[(scaled @ np.array(k)).tolist() for k in row] for row in meta["k"]])
        path.write_text(json.dumps(meta))
    return dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--stops", type=int, default=8)
    parser.add_argument("--watched", type=float, default=60, help="seconds of the undisturbed run")
    options = figures.parse(parser)
    width, height = map(int, options.size.split("x"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and what they start
    with tempfile.TemporaryDirectory() as scratch:
        dataset = write_large(Path(scratch) / "dataset", width, height, options.cameras, options.frames)
        watched = Watched(dataset, "--out", Path(scratch) / "run")
        watched.watch(options.watched)
        longest = watched.silences()[:3]
        print(f"{options.size}, {options.cameras} cameras, load {os.getloadavg()[0]:.1f}")
        print(f"first line after {watched.lines[0][0]:.2f} s")
        print("longest silences: " + ", ".join(f"{seconds:.1f} s from {at:.1f} s on" for seconds, at in longest))
        exits = [watched.interrupt()]
        for stop in range(1, options.stops + 1):
            again = Watched(dataset, "--out", Path(scratch) / f"run{stop}")
            at = options.watched * stop / (options.stops + 1)
            again.watch(at)
            exits.append(again.interrupt())
            print(f"Ctrl-C at {at:.0f} s: ended after {exits[-1]:.2f} s", flush=True)
        print(f"longest from Ctrl-C to the exit: {max(exits):.2f} s")
    shown = f"{options.size}, {options.cameras} cameras"
    subject = "Large pictures"
    figures.record(subject, f"{shown}: first line of `train`", watched.lines[0][0], "s", aim="≤ 2 s")
    figures.record(subject, f"{shown}: longest silence", longest[0][0], "s", aim="≤ 2 s")
    figures.record(subject, f"{shown}: from Ctrl-C to the exit, the longest", max(exits), "s", aim="≤ 2 s")


if __name__ == "__main__":
    main()
