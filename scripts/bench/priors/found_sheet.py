"""A page of what `legs4d objects` found, over the footage: a row a camera, a column a frame, a colour a thing.

python scripts/bench/priors/found_sheet.py FOUND.objects DATASET --out PAGE.png [--cameras 1 5 9] [--frames 0 8 16]

Names stand at the things' upper left corners, with their numbers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.effects.pages.contact_sheet import contact_sheet
from legs4d.priors.objects.folder import mask_place, read_table
from legs4d.scene.images import majority_resize, read_labels
from legs4d.scene.readers import open_sequence

COLORS = np.array([[255, 80, 60], [60, 150, 255], [255, 210, 0], [80, 220, 120], [220, 90, 255], [0, 220, 220]])
SHARE = 0.55
"""Of a thing's colour over its pixels."""
WIDTH = 320
"""Pixels of a picture on the page."""
SOME = 6
"""Cameras and frames that are shown, where none are named."""


def shown(
    picture: NDArray[np.float32], labels: NDArray[np.uint8], names: dict[int, str], width: int = WIDTH
) -> NDArray[np.float32]:
    """A picture [H, W, 3] with its things [H, W] in colour and by name, `width` pixels wide."""
    page = picture.copy()
    for number in np.unique(labels[labels > 0]).tolist():
        here = labels == number
        page[here] = (1 - SHARE) * page[here] + SHARE * COLORS[(number - 1) % len(COLORS)] / 255
    image = Image.fromarray(np.rint(np.clip(page, 0, 1) * 255).astype(np.uint8))
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.BOX)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for number in np.unique(labels[labels > 0]).tolist():
        rows, columns = np.nonzero(labels == number)
        at = columns.min() * width / labels.shape[1], max(0, rows.min() * width / labels.shape[1] - 14)
        draw.text(at, f"{number} {names.get(number, '')}", (255, 255, 255), font, stroke_width=1, stroke_fill=(0, 0, 0))
    return np.asarray(image, np.float32) / np.float32(255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cameras", type=int, nargs="+", help="ids; by default some, spread evenly")
    parser.add_argument("--frames", type=int, nargs="+")
    asked = parser.parse_args()
    sequence = open_sequence(asked.dataset, found=False)
    names = {one.id: one.name for one in read_table(asked.found)[0]}
    ids = list(sequence.cameras("train", 0).ids)
    cameras = asked.cameras or [ids[i] for i in np.linspace(0, len(ids) - 1, min(SOME, len(ids))).round().astype(int)]
    last = sequence.num_frames - 1
    frames = asked.frames or np.linspace(0, last, min(SOME, last + 1)).round().astype(int).tolist()
    rows = {}
    for camera in cameras:
        at = ids.index(camera)
        rows[f"camera {camera}"] = [
            shown(picture, majority_resize(labels, picture.shape[1], picture.shape[0]), names)
            for frame in frames
            for picture in [sequence.images("train", frame, [at])[0]]
            for labels in [read_labels(mask_place(asked.found, camera, sequence.frame_numbers[frame]))]
        ]
    contact_sheet(
        asked.out, rows, [f"frame {frame}" for frame in frames], f"{asked.found.name}: {', '.join(names.values())}"
    )
    print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
