"""How well masks of what moves agree with a dataset's own: intersection over union, recall, precision, seconds."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="a dataset with masks; they are only compared with")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--every", type=int, default=1, help="compare every so many frames")
    options = figures.parse(parser)
    sequence = open_sequence(options.dataset, options.scale)
    truth = sequence.masks("train", 0)
    if truth is None or isinstance(sequence, MotionMasks):
        parser.error("the dataset has no masks of its own to compare with")
    motion = MotionMasks(sequence)
    started = time.perf_counter()
    motion.prepare()
    learnt = time.perf_counter() - started
    common = either = true = found = 0
    frames = range(0, sequence.num_frames, options.every)
    started = time.perf_counter()
    for frame in frames:
        found_here, told = motion.masks("train", frame), sequence.masks("train", frame)
        assert found_here is not None and told is not None
        a, b = found_here > 0.5, told > 0.5
        common, either = common + int((a & b).sum()), either + int((a | b).sum())
        true, found = true + int(b.sum()), found + int(a.sum())
        print(f"frame {frame}: IoU {(a & b).sum() / max(1, (a | b).sum()):.2f}", flush=True)
    seconds = (time.perf_counter() - started) / len(frames)
    scored = f"IoU {common / either:.3f}, recall {common / true:.3f}, precision {common / found:.3f}"
    print(f"{scored}; backgrounds {learnt:.1f} s, then {seconds:.2f} s a frame of {len(truth)} cameras")
    what = f"masks of what moves, scale {options.scale:g}, {len(frames)} frames × {len(truth)} cameras"
    figures.record("Footage without masks", what, f"{scored}; {seconds:.2f} s a frame")


if __name__ == "__main__":
    main()
