"""Fuzzes the readers of splat files: each gets files that are valid, and files that are spoiled as its format allows.

.venv/bin/python scripts/tools/fuzz/splats.py [--format ply spz splat sog gltf usd] [--files 20000] \
    [--seed 0] [--keep FOLDER]

A valid file must be read. Of any file a reader may only return sound Gaussians or raise SplatFileError or DatasetError
(one sentence), within TIME seconds, and never use more memory than twice what the file's header tells of plus MEMORY.
What a file was is told by its seed: `--seed N --files 1` makes it again. Exit status 1 when a reader failed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.gltf import read_gltf
from legs4d.gaussians.formats.sog import read_sog
from legs4d.gaussians.formats.usd import read_usd
from legs4d.portable.files import read_splats
from legs4d.portable.sh import COEFFICIENTS
from legs4d.portable.splats import SplatFileError, Splats
from tools.fuzz.makers import gltf, ply, sog, splat, spz, usd
from tools.fuzz.makers.dice import Dice

TIME = 10.0
"""Seconds a file."""
MEMORY = 64 << 20
"""Bytes beyond twice what a header tells of."""
VALID = 0.2
"""Share of files that are left as they were made."""


@dataclass(frozen=True)
class Format:
    """How files of one kind are made, spoiled and read.

    Attributes:
        make: a valid file's content.
        spoil: another content, of a valid one.
        declared: bytes that the header of any content tells a reader to hold; 0 where it has none.
        read: the reader; may raise SplatFileError or DatasetError.
        suffix: of the file's name.
    """

    make: Callable[[Dice], bytes]
    spoil: Callable[[Dice, bytes], bytes]
    declared: Callable[[bytes], int]
    suffix: str
    read: Callable[[Path], Splats] = read_splats


FORMATS = {
    "ply": Format(ply.make, ply.spoil, ply.declared, ".ply"),
    "spz": Format(spz.make, spz.spoil, spz.declared, ".spz"),
    "splat": Format(splat.make, splat.spoil, splat.declared, ".splat"),
    "sog": Format(sog.make, sog.spoil, sog.declared, ".sog", read_sog),
    "gltf": Format(gltf.make, gltf.spoil, gltf.declared, ".glb", read_gltf),
    "usd": Format(usd.make, usd.spoil, usd.declared, ".usd", read_usd),
}


@dataclass
class Findings:
    """What became of the files of one format.

    Attributes:
        outcomes: how many were read, and how many refused, by the sentences' first words.
        failures: seed and what the reader did wrong.
        slowest: seconds.
        most_memory: bytes beyond twice what the header told of.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0
    most_memory: int = 0


def fuzz(name: str, files: int, seed: int, folder: Path, keep: Path | None = None) -> Findings:
    """Read `files` files of a format, made from the seeds from `seed` on.

    Args:
        folder: for the file that is being read.
        keep: where files stay whose reader failed.
    """
    kind, found = FORMATS[name], Findings()
    path = folder / f"fuzz{kind.suffix}"
    for number in range(seed, seed + files):
        dice = Dice(np.random.default_rng([number, sum(name.encode())]))
        content = kind.make(dice)
        valid = dice.chance(VALID)
        content = content if valid else kind.spoil(dice, content)
        path.write_bytes(content)
        wrong = _try(kind, path, content, valid, found)
        if wrong:
            found.failures.append((number, wrong))
            if keep:
                (keep / f"{name}_{number}{kind.suffix}").write_bytes(content)
    return found


def _try(kind: Format, path: Path, content: bytes, valid: bool, found: Findings) -> str | None:
    """Read one file and note what came of it; returns what was wrong."""
    before, begun = _start_peak(), time.perf_counter()
    wrong, splats = None, None
    try:
        with _alarm(TIME):
            splats = kind.read(path)
        wrong = unsound(splats)
        found.outcomes["read"] += 1
    except (SplatFileError, DatasetError) as error:
        sentence = str(error)
        found.outcomes[_gist(error.what)] += 1
        if "\n" in sentence or str(path) not in sentence:
            wrong = f"its sentence is not one, or names no file: {sentence!r}"
        elif valid and "Gaussians have numbers that are not finite" not in sentence:
            wrong = f"a valid file was refused: {sentence}"
    except Exception as error:  # whatever a reader lets through is what is looked for
        wrong = f"{type(error).__name__}: {error}"
    took = time.perf_counter() - begun
    held = 0 if splats is None else sum(v.nbytes for v in vars(splats).values() if isinstance(v, np.ndarray))
    beyond = _peak() - before - 2 * max(held, kind.declared(content))
    found.slowest, found.most_memory = max(found.slowest, took), max(found.most_memory, beyond)
    if took > TIME:
        return f"took {took:.0f} s"
    if beyond > MEMORY:
        return f"used {beyond >> 20} MiB more than twice what its header tells of"
    return wrong


def unsound(splats: Splats) -> str | None:
    """What is wrong with Gaussians that a reader returned."""
    count = len(splats)
    shapes: dict[str, tuple[int, ...]] = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}
    if not count:
        return "returned none"
    for name, shape in shapes.items():
        values: Any = getattr(splats, name)
        if values.shape != (count, *shape) or values.dtype != np.float32:
            return f"{name} is {values.dtype} {values.shape}"
        if not np.isfinite(values).all():
            return f"{name} is not finite"
    rest = splats.sh_rest
    if rest is not None and (rest.shape[1] not in COEFFICIENTS[1:] or rest.shape != (count, rest.shape[1], 3)):
        return f"sh_rest is {rest.shape}"
    if rest is not None and not np.isfinite(rest).all():
        return "sh_rest is not finite"
    if np.abs(np.linalg.norm(splats.quats.astype(np.float64), axis=1) - 1).max() > 1e-5:
        return "quats are not unit"
    if splats.scales.min() <= 0 or splats.opacities.min() < 0 or splats.opacities.max() > 1:
        return "scales or opacities are out of range"
    if not np.isfinite([*splats.up, *splats.origin]).all() or not any(splats.up):
        return f"up is {splats.up}, origin {splats.origin}"
    if any(len(values) != count for values in splats.extra.values()):
        return "extra has another length"
    return None


def _gist(what: str) -> str:
    """A sentence without its numbers and names, to count its kind."""
    words = [word for word in what.split() if word.isascii() and word.strip(".,:;").isalpha()]
    return " ".join(words[:6])


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Ends what takes longer; where there are no such signals (Windows) the time is only looked at afterwards."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError(f"took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _start_peak() -> int:
    """Forget the highest memory so far (Linux); returns what is held now, bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def _peak() -> int:
    """The highest memory since `_start_peak`, bytes; 0 where the system does not tell."""
    return _status("VmHWM")


def _status(key: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(key)), 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--files", type=int, default=20_000, help="of each format")
    parser.add_argument("--seed", type=int, default=0, help="of the first file")
    parser.add_argument("--keep", type=Path, help="folder for files whose reader failed")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name in options.format:
            begun = time.perf_counter()
            found = fuzz(name, options.files, options.seed, Path(folder), options.keep)
            failed = failed or bool(found.failures)
            took = time.perf_counter() - begun
            print(
                f"{name}: {options.files} files in {took:.0f} s, {len(found.failures)} failures; "
                f"slowest {found.slowest:.2f} s, at most {found.most_memory / 2**20:.1f} MiB beyond twice the declared"
            )
            for outcome, count in found.outcomes.most_common(25):
                print(f"  {count:7d}  {outcome}")
            for seed, wrong in found.failures[:20]:
                print(f"  seed {seed}: {wrong}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
