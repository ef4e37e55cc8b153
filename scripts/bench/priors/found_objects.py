"""How well `legs4d objects` did, against a dataset's own object masks: foreground by camera, and one id an object.

python scripts/bench/priors/found_objects.py FOUND.objects DATASET
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.priors.objects.folder import mask_place, read_table
from legs4d.scene.images import majority_resize, read_labels
from legs4d.scene.readers import open_sequence

SUBJECT = "Objects found in footage"
LEAST = 40
"""Pixels of a true object that count as showing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path)
    parser.add_argument("dataset", type=Path)
    asked = parse(parser)
    sequence = open_sequence(asked.dataset, found=False)
    names = {one.id: one.name for one in read_table(asked.found)[0]}
    ids = sequence.cameras("train", 0).ids
    shared, either = np.zeros(len(ids)), np.zeros(len(ids))
    called: dict[int, Counter[int]] = defaultdict(Counter)
    overlap: dict[int, list[float]] = defaultdict(list)
    for frame, number in enumerate(sequence.frame_numbers):
        for camera, name in enumerate(ids):
            true = sequence.objects("train", frame, [camera])
            if true is None:
                raise SystemExit(f"{asked.dataset} has no object masks to compare with")
            height, width = true.shape[1:]
            labels = majority_resize(read_labels(mask_place(asked.found, name, number)), width, height)
            shared[camera] += ((labels > 0) & (true[0] > 0)).sum()
            either[camera] += ((labels > 0) | (true[0] > 0)).sum()
            for identity in np.unique(true[true > 0]).tolist():
                here = true[0] == identity
                if here.sum() < LEAST:
                    continue
                values, counts = np.unique(labels[here], return_counts=True)
                best = int(values[counts.argmax()])
                called[identity][best] += 1
                mask = labels == best
                overlap[identity].append(float((mask & here).sum() / (mask | here).sum()) if best else 0.0)
    by_camera = shared / np.maximum(either, 1)
    for camera in np.argsort(by_camera):
        print(f"camera {ids[camera]:4}  foreground IoU {by_camera[camera]:.3f}")
    print(f"mean over cameras {by_camera.mean():.3f}, of all pixels {shared.sum() / either.sum():.3f}")
    where = f"{asked.dataset.name}, {len(ids)} cameras × {sequence.num_frames} frames"
    told = f"{by_camera.mean():.3f} (the worst {by_camera.min():.2f})"
    record(SUBJECT, f"{where}: foreground IoU, mean over cameras", told, aim="≥ 0.80")
    for identity, many in sorted(called.items()):
        best, times = many.most_common(1)[0]
        told = f"{times / many.total():.1%} of {many.total()} views call it {best} ({names.get(best, 'nothing')})"
        print(f"object {identity}: {told}, IoU {np.mean(overlap[identity]):.2f}")
        record(
            SUBJECT, f"{where}: true object {identity}", f"{told}, IoU {np.mean(overlap[identity]):.2f}", aim="≥ 90 %"
        )


if __name__ == "__main__":
    main()
