"""Contact sheets of generated clips: a row of eight frames each, and what is true of them.

python scripts/training/show_synthetic.py out/sheet.png --count 16 --seed 1 --actions fly throw
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository

from training.synthetic.scenes import Generator
from training.synthetic.schema import ACTIONS, COLORS, OBJECTS, Clips, Facts, Shown
from training.synthetic.words.holdout import SPLITS

ZOOM = 2
TEXT_WIDTH = 420


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--actions", nargs="+", choices=ACTIONS, default=ACTIONS, metavar="ACTION")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    clips = Generator(args.seed, args.device, args.split).clips(args.count, tuple(args.actions))
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    sheet(clips).save(args.picture)


def sheet(clips: Clips) -> Image.Image:
    """Clips as rows, with their facts beside them."""
    rows = [_row(frames) for frames in clips.frames.cpu()]
    height, width = rows[0].shape[:2]
    image = Image.new("RGB", (width + TEXT_WIDTH, (height + 4) * len(rows)), "white")
    draw = ImageDraw.Draw(image)
    for index, row in enumerate(rows):
        top = index * (height + 4)
        image.paste(Image.fromarray(row.numpy()), (0, top))
        for line, text in enumerate(describe(clips.facts, index)):
            draw.text((width + 8, top + 4 + 14 * line), text, fill="black", font_size=12)
    return image


def _row(frames: Tensor) -> Tensor:
    """[8, 3, S, S] → [h, w, 3]."""
    large = frames.repeat_interleave(ZOOM, 2).repeat_interleave(ZOOM, 3)
    large = torch.nn.functional.pad(large, (0, 2), value=255)
    return large.permute(2, 0, 3, 1).flatten(1, 2)


def describe(facts: Facts, clip: int) -> list[str]:
    """A line for each entity."""
    lines = []
    for entity in range(facts.object.shape[1]):
        values = {name: int(value[clip, entity]) for name, value in vars(facts).items()}
        if values["object"] < 0:
            continue
        colors = " ".join(name for bit, name in enumerate(COLORS) if values["colors"] >> bit & 1)
        other = f" {OBJECTS[values['other']]}" if values["other"] >= 0 else ""
        doubt = "" if values["clear"] else " (unclear)"
        shown = Shown(values["shown"]).name
        lines.append(f"{shown:6} {colors} {OBJECTS[values['object']]}: {ACTIONS[values['action']]}{other}{doubt}")
    return lines


if __name__ == "__main__":
    main()
