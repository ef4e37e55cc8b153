"""How long `legs4d objects` takes a picture, by step, and what its networks take alone.

python scripts/bench/priors/objects_time.py DATASET --out FOLDER [--device cuda]

The networks' own time is what threads were in them: of processors on a CPU, of the clock on a GPU, where they wait for
it. Pictures are those of the training cameras.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.config import DatasetSettings
from legs4d.context import Context
from legs4d.priors.objects.cutting import Cutters
from legs4d.priors.objects.find import Helpers, find_objects, open_helpers
from legs4d.priors.objects.sightings import Finders
from legs4d.scene.readers import open_sequence

SUBJECT = "Objects found in footage"


class Timed:
    """A helper whose calls are counted and timed."""

    spent: ClassVar[dict[str, list[float]]] = defaultdict(lambda: [0, 0.0, 0.0])
    """Name → calls, seconds by the clock, seconds of processors."""
    _lock = Lock()

    def __init__(self, helper: Any, name: str) -> None:
        self._helper, self._name = helper, name

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._helper, method)

        def timed(*given: Any) -> Any:
            clock, processor = time.perf_counter(), time.thread_time()
            found = call(*given)
            with self._lock:
                told = self.spent[self._name]
                told[0] += 1
                told[1] += time.perf_counter() - clock
                told[2] += time.thread_time() - processor
            return found

        return timed


def timed(helpers: Helpers) -> Helpers:
    """The same ones, timed."""
    finders, cutters = helpers.finders, helpers.cutters
    boxes, people, cutter = (
        None if helper is None else Timed(helper, name)
        for helper, name in ((finders.boxes, "boxes"), (finders.people, "people"), (cutters.people, "pose"))
    )
    masks = Timed(cutters.masks, "masks")
    return Helpers(Finders(boxes, people), Cutters(masks, cutter), helpers.made_from, helpers.missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the folder of objects to make; it is replaced")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cameras", default="", metavar="NAME,…", help="of these alone: three at least")
    parser.add_argument("--priors", type=Path, help="folder of weights, if not the usual one")
    asked = parse(parser)
    device = torch.device(asked.device)
    shutil.rmtree(asked.out, ignore_errors=True)
    chosen = DatasetSettings(cameras=asked.cameras.split(",") if asked.cameras else [])
    sequence = open_sequence(asked.dataset, chosen, found=False)
    count = sequence.num_frames * len(sequence.cameras("train", 0))
    began = time.perf_counter()
    helpers = timed(open_helpers(device, asked.priors))
    opened = time.perf_counter() - began
    prepare = getattr(sequence, "prepare", None)
    began = time.perf_counter()
    if prepare is not None:
        prepare(Context())
    prepared = time.perf_counter() - began
    clock, processor = time.perf_counter(), time.process_time()
    told = find_objects(sequence, asked.out, helpers)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    for one in told["objects"]:
        print(f"{one['id']} {one['name']}, frames {one['frames']}, sure to {one['confidence']:.2f}")
    print(f"{count} pictures; networks opened in {opened:.1f} s, what moves found in {prepared:.1f} s")
    for step, seconds in told["seconds"].items():
        print(f"  {step:6} {seconds / count:.4f} s a picture")
    for name, (calls, wall, own) in Timed.spent.items():
        each, core = 1e3 * wall / calls, 1e3 * own / calls
        print(f"  {name:6} {calls} calls, {each:.1f} ms each by the clock, {core:.1f} ms of a core")
    print(f"{clock / count:.4f} s a picture by the clock, {processor / count:.3f} s of processors")
    where = "on the GPU" if device.type == "cuda" else f"on a CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        record(SUBJECT, f"basketball, {count} pictures {where}", f"{clock / count:.3f} s a picture", aim="0.1 s")
    else:
        alone = sum(own for _, _, own in Timed.spent.values())
        what = f"{processor / count:.2f} s of a core a picture, {processor / alone:.2f} times the networks alone"
        record(SUBJECT, f"basketball, {count} pictures {where}", what, aim="2 s, or 1.2 times")
        print(what)


if __name__ == "__main__":
    main()
