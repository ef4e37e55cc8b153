"""Break datasets of every layout in thousands of ways: what comes of each is one sentence, or what was filmed.

    python scripts/tools/fuzz/datasets.py [--count 20000] [--seed 0] [--train 10] [--seeds FOLDER]

With --seeds, the good datasets are those of that folder, which are made where there are none (videos need FFmpeg for
that). Prints what came of it; exits with 1 and what was done to the dataset when anything else happens.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from tests.scene.readers.fuzz import SCENE, Tally, draws, fuzz_one, train_one, write_seeds
from tests.synthetic import Scene


def good_datasets(folder: Path, scene: Scene | None = None) -> dict[str, Path]:
    """One of each layout in that folder, made unless they are there."""
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(made, ignore_errors=True)
        write_seeds(made, scene)
        made.rename(folder)
    return {path.name: path for path in sorted(folder.iterdir())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="datasets")
    parser.add_argument("--seed", type=int, default=0, help="number of the first of each layout")
    parser.add_argument("--train", type=int, default=10, help="of those that are read, so many are trained on")
    parser.add_argument("--seeds", type=Path, help="keep the good datasets there")
    parser.add_argument("--keep-going", action="store_true", help="tell of all that fail, not only of the first")
    options = parser.parse_args()
    tally, failed, began = Tally(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        kept = options.seeds or Path(name) / "seeds"
        seeds, filmed = good_datasets(kept / "flat"), good_datasets(kept / "filmed", SCENE)
        for position, (layout, number) in enumerate(draws(seeds, options.seed, options.count)):
            folder = Path(name) / "broken"
            try:
                fuzz_one(seeds, layout, number, folder, tally)
            except AssertionError as error:
                print(f"WRONG: {error}", flush=True)
                failed += 1
                if not options.keep_going:
                    return 1
            shutil.rmtree(folder)
            if (position + 1) % 1000 == 0:
                print(f"{position + 1} datasets, {tally.read} read", file=sys.stderr, flush=True)
        every = max(1, len(tally.trainable) // max(1, options.train))
        outcomes = [train_one(filmed, *drawn, Path(name)) for drawn in tally.trainable[::every][: options.train]]
    print(
        f"{options.count} datasets in {time.monotonic() - began:.0f} s: {tally.read} read, "
        f"{sum(tally.refused.values())} refused in a sentence "
        f"({', '.join(f'{layout} {count}' for layout, count in sorted(tally.refused.items()))}), {failed} wrong; "
        f"trained {outcomes.count('trained')}, refused on training {len(outcomes) - outcomes.count('trained')}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
