"""Makes the extension's sample of a cached run: its most important points and all answers, in one small zip.

    .venv-blender/bin/python scripts/demo/sample.py CACHE/RUN build/sample.legs4d [--most 5000000]

The build of the extension takes `build/sample.legs4d` into the zip where it is there; `make demo` makes it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository
from tools import build_extension

MOST_BYTES = 5_000_000
LESS = 0.85
"""How many of the points are kept where the last try was too large."""
NAME = "sample"


def make(source: Path, out: Path, most: int = MOST_BYTES) -> int:
    """Writes the sample; returns its bytes.

    Args:
        source: a run's folder in a cache, of points with identity, all frames and answers complete.
        most: bytes that it may have.
    """
    from blender_addon.cache.frames import RunCache

    cache, share = RunCache.open(source), 1.0
    if cache.missing_frames():
        raise SystemExit(f"{source} has not all frames; import the run whole first.")
    out.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with tempfile.TemporaryDirectory() as scratch:
            thinned(cache, Path(scratch), share)
            part = out.with_suffix(".part")
            _pack(Path(scratch), part)
        if part.stat().st_size <= most:
            part.replace(out)
            return out.stat().st_size
        share *= min(LESS, most / part.stat().st_size)


def thinned(cache: Any, root: Path, share: float) -> None:
    """A cache under `root` with this share of the run's points, the most important first."""
    from blender_addon.cache.frames import RunCache

    its = cache.description
    still = np.flatnonzero(cache.ranks("STATIC") <= share)
    moving = np.flatnonzero(cache.ranks("DYNAMIC") <= share)
    changing = tuple(name for name in its.changing if name != "sh_rest")
    counts = {"num_static": len(still), "num_dynamic": len(moving), "num_loose": 0}
    description = replace(its, run_id=NAME, run=NAME, sh=0, changing=changing, **counts)
    made = RunCache.create(root, description)
    made.write_static(_rows(cache.static(), still))
    made.write_dynamic(_rows(cache.dynamic(), moving))
    for frame in range(its.num_frames):
        made.write_frame(frame, _rows(cache.frame(frame), moving))
    for key in cache.prompt_keys():
        answer = cache.answer(key)
        if answer is None or cache.missing_relevancy(key):
            continue
        made.write_answer(key, answer, cache.static_relevancy(key)[still])
        for frame in range(its.num_frames):
            made.write_relevancy(key, frame, cache.relevancy(key, frame)[moving])


def _rows(arrays: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """These points of a block, as floats again where it keeps integers; view dependence is left out."""
    from blender_addon.cache.frames import STEPS

    return {
        name: values[chosen] * STEPS[name] if name in STEPS and values.dtype != np.float32 else np.array(values[chosen])
        for name, values in arrays.items()
    }


def _pack(folder: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            packed.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a run's folder in the extension's cache")
    parser.add_argument("out", type=Path)
    parser.add_argument("--most", type=int, default=MOST_BYTES, help="bytes that the sample may have")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.path.insert(0, str(build_extension.assemble(Path(scratch)).parent))
        print(f"{options.out}: {make(options.source, options.out, options.most) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
