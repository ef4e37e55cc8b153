"""Turntables of objects that `roads.py` made, as one page: each road from all sides, what is a guess framed in red.

    python scripts/bench/generate/turntables.py FILMS ROADS OUT.png [CLIP…] [--road inflate --road 8_views]
        [--turns FOLDER]

A row an object and road, eight level sides from the front on, in the middle of its time; before each row is the video's
picture. A side is a guess where less than half of what it shows was seen by any picture given. --turns has each go
round once, a hundred pictures, while it moves, beside the video and framed in the same way: FOLDER/CLIP-ROAD.mp4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench.generate.judged import page, read
from legs4d.effects.video import write_video
from legs4d.gaussians.gaussians import dc_from_rgb
from legs4d.gaussians.store.run import Run
from legs4d.generate.resizing import resized
from legs4d.language.object_scores import turned
from legs4d.raster.rasterise import render
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.camera import Cameras

CLIPS = ("fox", "man", "truck", "expressive", "kenney", "knight")
SIDE, FRAME = 160, 3
DEGREES = tuple(range(0, 360, 45))
GUESS = np.array([0.85, 0.1, 0.1], np.float32)
TURN, TURN_FPS = 100, 24
"""Pictures of a film, and of its second."""
SHOWN = 0.5
"""Share of what a side shows that was seen, below which it is a guess."""


def around(run: Run, frame: int, every: Sequence[float], device: torch.device) -> list[NDArray[np.float32]]:
    """Pictures of a run's frame, turned by so many degrees from its front, with a red frame where they are guesses."""
    front = run.cameras("train").take([0])
    front = front.scaled(SIDE / front.width)
    center = np.array(run.info["center"])
    cameras = Cameras.together([turned(front, center, run.up, degrees) for degrees in every])
    now, near = run.frame(frame), run.info["near"]
    told = run.seen(frame)
    known = np.ones(len(now), np.float32) if told is None else (told > 0).astype(np.float32)
    shown = render(now.torch(device), cameras, background=torch.ones(3, device=device), near=near)
    # What was seen drawn white on black, all else black: its share of the alpha.
    white = now.replace(colors=dc_from_rgb(np.repeat(known[:, None], 3, axis=1)), sh_rest=None)
    lit = render(white.torch(device), cameras, background=torch.zeros(3, device=device), near=near).color[..., 0]
    share = lit.sum(dim=(1, 2)) / shown.alpha.sum(dim=(1, 2)).clamp(min=1e-6)
    pictures = []
    for picture, seen in zip(shown.color.clamp(0, 1).cpu().numpy(), share.tolist(), strict=True):
        if seen < SHOWN:
            for edge in (np.s_[:FRAME], np.s_[-FRAME:], np.s_[:, :FRAME], np.s_[:, -FRAME:]):
                picture[edge] = GUESS
        pictures.append(picture)
    return pictures


def film(run: Run, sources: list[NDArray[np.float32]], path: Path, device: torch.device) -> None:
    """A run going round once, beside its video's pictures [S, S, 3]."""
    with write_video(path, TURN_FPS) as write:
        for number in range(TURN):
            # There and back, so that nothing leaps where it ends.
            frame = round((1 - abs(2 * number / (TURN - 1) - 1)) * (run.num_frames - 1))
            (side,) = around(run, frame, [360 * number / TURN], device)
            write(np.concatenate([sources[frame * len(sources) // run.num_frames], side], axis=1))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("films", type=Path)
    arguments.add_argument("roads", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("clips", nargs="*", default=[*CLIPS])
    arguments.add_argument("--road", action="append", help="folders of ROADS/CLIP; by default inflate and 8_views")
    arguments.add_argument("--turns", type=Path, metavar="FOLDER", help="films of them going round, too")
    arguments.add_argument("--engine", default="auto")
    asked = arguments.parse_args()
    device = choose_device(asked.engine)
    rows = []
    for clip in asked.clips:
        files = sorted((asked.films / f"{clip}_pose0").glob("*.png"), key=lambda file: int(file.stem))
        sources = [resized(read(file), SIDE, SIDE) for file in files]
        sources = [source[..., :3] + 1 - source[..., 3:] for source in sources]
        for road in asked.road or ["inflate", "8_views"]:
            run = Run.open(asked.roads / clip / road)
            rows.append(np.stack([sources[len(files) // 2], *around(run, run.num_frames // 2, DEGREES, device)]))
            if asked.turns is not None:
                film(run, sources, asked.turns / f"{clip}-{road}.mp4", device)
    page(rows, asked.out)


if __name__ == "__main__":
    main()
