"""Words on a run that was taken apart: which segment they name at which scale, and how clean the answer's edges are.

scripts/bench/segment/words.py CAPTURE RUN --words "1=a man" "2=a woman" "5=a door" [--part 1:0.2]

Masks are those of CAPTURE's objects (`objects/CAMERA/FRAME.png`), and of one of them also its uppermost share, which is
a man's head; nobody says which mask is what (`.pt`, as SAM leaves them). Prints of each prompt the segments that it
names with no scale, 0 and 1 (`legs4d segment --prompt WORDS --scale S`), as Gaussians and as the object whose they are;
and, in the held-out cameras where the prompt is surest, the IoU of its mask with the object's true one, by Gaussians'
own relevancy (`legs4d query`) and by segments (`legs4d query --segments`), with what each took. RUN is not changed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.segment.segments import border, overlap
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.grounding.masks import render_views
from legs4d.grounding.query import Grounding, query
from legs4d.grounding.selecting import by_segments, relevancy_of
from legs4d.segment.choose import for_prompt, weights_of
from legs4d.segment.segments import Segments, read_segments
from legs4d.segment.stage import find_masks, segment_run
from legs4d.segment.views import near_of

SUBJECT = "Segments"
FRAMES = (0, 8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--words", nargs="+", required=True, metavar="ID=WORDS", help="what an object is called")
    parser.add_argument("--part", default="1:0.2", metavar="ID:SHARE", help="whose uppermost share is a mask, too")
    asked = figures.parse(parser)
    whose, share = asked.part.split(":")
    with tempfile.TemporaryDirectory(prefix="legs4d-bench-") as scratch:
        copy = shutil.copytree(asked.run, Path(scratch) / "run")
        write_masks(asked.capture, Run.open(copy), Path(scratch) / "masks", int(whose), float(share))
        run = Run.open(copy)
        segment_run(run, find_masks(run, str(Path(scratch) / "masks")))
        for said in asked.words:
            number, words = said.split("=", 1)
            judge(run, read_segments(run), asked.capture, int(number), words)


def write_masks(capture: Path, run: Run, folder: Path, whose: int, share: float) -> None:
    """`CAMERA/FRAME.pt` of training pictures: a mask an object, and the uppermost share of one of them."""
    for camera in run.cameras("train").ids:
        (folder / str(camera)).mkdir(parents=True)
        for frame in FRAMES:
            ids = true_ids(capture, camera, frame)
            masks = [ids == one for one in np.unique(ids[ids > 0])]
            rows = np.flatnonzero((ids == whose).any(axis=1))
            if len(rows):
                upper = rows[0] + share * (rows[-1] + 1 - rows[0])
                masks.append((ids == whose) & (np.arange(len(ids)) < upper)[:, None])
            torch.save(torch.from_numpy(np.array(masks)), folder / str(camera) / f"{frame}.pt")


def true_ids(capture: Path, camera: int, frame: int) -> NDArray[np.int64]:
    """[H, W] object ids."""
    return np.asarray(Image.open(capture / "objects" / str(camera) / f"{frame:06d}.png"), np.int64)


def judge(run: Run, segments: Segments, capture: Path, number: int, words: str) -> None:
    """Print all of one prompt."""
    started = time.thread_time()
    (plain,) = query(run, [words])
    asked = time.thread_time() - started
    if not plain.intervals:
        print(f"“{words}” was not found")
        return
    values, least = relevancy_of(run, plain)
    told = []
    for scale in (None, 0.0, 1.0):
        chosen = for_prompt(segments, values, least, words, scale)
        belongs = weights_of(segments, chosen.segments) >= 0.5
        told.append(f"{'surest' if scale is None else f'scale {scale:g}'} {int(belongs.sum())}{owner(run, belongs)}")
    print(f"“{words}”: {'; '.join(told)}")
    started = time.thread_time()
    try:
        whole, _ = by_segments(run, segments, plain)
    except Legs4dError as error:
        print(error)
        return
    more = time.thread_time() - started
    one, other = (seen(run, found, capture, number) for found in (plain, whole))
    said = f"{one[0]:.3f} (boundary {one[1]:.3f}) by Gaussians, {other[0]:.3f} ({other[1]:.3f}) by segments"
    print(f"  IoU {said}; {1e3 * asked:.0f} ms of processor to answer, {1e3 * more:.0f} more by segments")
    encoder = str(run.info["encoder"]).split(":")[0]
    figures.record(SUBJECT, f"{encoder}, “{words}”: IoU in held-out views", said)
    figures.record(SUBJECT, f"{encoder}, “{words}”: Gaussians, by scale", "; ".join(told))


def owner(run: Run, belongs: NDArray[np.bool_]) -> str:
    """Which object most of them are of, and how much of it they are."""
    ids = run.object_ids(0)
    if ids is None:
        return ""
    chosen = ids[belongs[: len(ids)]]
    numbers, counts = np.unique(chosen[chosen >= 0], return_counts=True)
    if not len(numbers):
        return " of none"
    best = int(numbers[counts.argmax()])
    return f" (object {best + 1}: {counts.max() / max(1, (ids == best).sum()):.0%} of it)"


def seen(run: Run, found: Grounding, capture: Path, number: int) -> tuple[float, float]:
    """(IoU, boundary IoU) of a prompt's mask with an object's in the held-out cameras, where it holds most."""
    frame = max(found.intervals, key=lambda interval: interval.score).peak
    test = run.cameras("test", frame)
    mask = render_views(run, found, frame, test, near=near_of(run)).mask
    true = np.stack([true_ids(capture, camera, frame) == number for camera in test.ids])
    return overlap(mask, true), overlap(border(mask), border(true))


if __name__ == "__main__":
    main()
