"""Reading splat files into arrays: our readers beside gsply and plyfile, in one run.

.venv/bin/python scripts/bench/splats/splat_io.py [--gaussians 300000] [--repeats 7] [--folder FOLDER]

The .ply has the 62 properties of 3DGS. All readers take turns, the best of the repeats counts, files are in the page
cache. The readers of legs4d and gsply give separate arrays of positions, rotations and so on; legs4d's also activates
them (linear scales, opacities, unit rotations) and checks that they are finite. plyfile's table is copied into one
array a property. The floor is reading the file's bytes into memory.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gsply
import numpy as np
import plyfile

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.portable.ply.file import read_ply
from legs4d.portable.ply.writer import ply_parts
from legs4d.portable.splats import Splats
from legs4d.portable.spz import read_spz
from legs4d.portable.spz_writer import VERSIONS, spz_bytes


def scene(count: int) -> Splats:
    """Gaussians of degree 3 whose numbers are spread as a trained scene's are."""
    rng = np.random.default_rng(0)
    quats = rng.normal(size=(count, 4))
    return Splats(
        means=rng.normal(0, 3, (count, 3)).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        scales=np.exp(rng.normal(-4, 1, (count, 3))).astype(np.float32),
        opacities=rng.beta(2, 1, count).astype(np.float32),
        colors=rng.normal(0, 1, (count, 3)).astype(np.float32),
        sh_rest=rng.laplace(0, 0.05, (count, 15, 3)).clip(-1, 1).astype(np.float32),
        up=(0.0, 1.0, 0.0),
    )


def _columns(path: Path) -> list[Any]:
    vertex = plyfile.PlyData.read(path)["vertex"]
    return [np.array(vertex[name]) for name in vertex.data.dtype.names]


def compare(path: Path, readers: dict[str, Callable[[Path], Any]], repeats: int) -> dict[str, float]:
    """Best seconds of each reader, which take turns."""
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(repeats):
        for name, read in readers.items():
            gc.collect()
            begun = time.perf_counter()
            read(path)
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def report(title: str, path: Path, count: int, best: dict[str, float]) -> None:
    """A line a reader: its time and rates, and how many times as fast as gsply it is."""
    size = path.stat().st_size
    print(f"{title}: {count} Gaussians, {size / 1e6:.1f} MB")
    for name, seconds in best.items():
        rates = f"{size / seconds / 1e6:7.0f} MB/s  {count / seconds / 1e6:6.2f} M Gaussians/s"
        print(f"  {name:8s} {1000 * seconds:7.1f} ms  {rates}  {best['gsply'] / seconds:5.2f}x gsply")
    seconds = best["legs4d"]
    said = f"{size / seconds / 1e6:.0f} MB/s, {best['gsply'] / seconds:.2f} times gsply"
    figures.record("Files of splats", f"reading {title}, {count} Gaussians", said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="for the files; a temporary one by default")
    options = figures.parse(parser)
    splats = scene(options.gaussians)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "scene.ply"
        path.write_bytes(b"".join(ply_parts(splats, sh_degree=3)))
        readers: dict[str, Callable[[Path], Any]] = {
            "legs4d": read_ply,
            "gsply": gsply.plyread,
            "plyfile": _columns,
            "floor": lambda path: np.fromfile(path, np.uint8),
        }
        report(".ply", path, options.gaussians, compare(path, readers, options.repeats))
        for version in VERSIONS:
            path = Path(folder) / f"scene_{version}.spz"
            path.write_bytes(spz_bytes(splats, version=version))
            readers = {"legs4d": read_spz, "gsply": gsply.read_spz, "floor": lambda path: np.fromfile(path, np.uint8)}
            report(f".spz version {version}", path, options.gaussians, compare(path, readers, options.repeats))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
