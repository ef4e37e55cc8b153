"""A thing of a run made to move as something in a video of anywhere does, and a contact sheet of it.

scripts/bench/segment/follow_video.py RUN SELECTION VIDEO --box LEFT,TOP,RIGHT,BOTTOM --out FOLDER [--camera 0]

`animate` follows what it knows: videos of the run's own scene. Of another one there is no run, so a relief is made of
the video's first picture: what the box holds is cut out (GrabCut) and blown up, all else is a wall behind it. That is
a run as any other, standing where RUN's camera sees the selection, and `animate` follows the video with it; the motion
that comes of that, FOLDER/relief_moved/motion.json, is given to the selection. FOLDER/sheet.png has the video, the
relief that follows it, and RUN in which the selection moves likewise.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.animate.footage.video import MotionVideo
from legs4d.animate.tracking.motions import body_of
from legs4d.animate.work import animate_run
from legs4d.commands import Animate
from legs4d.context import Context
from legs4d.gaussians.gaussians import Gaussians, concatenate, dc_from_rgb
from legs4d.gaussians.part import BELONGS
from legs4d.gaussians.selections import Selection, read_selection, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.priors.depth.inflation import Inflation
from legs4d.priors.masks.grabcut import GrabCut
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.images import area_resize
from legs4d.segment.views import near_of, view_of

WIDTH = 256
"""Pixels of the relief."""
WALL = 1.6
"""Of the thing's distance: where all else is."""
ANGLE = 50.0
"""Degrees that the video's camera is taken to see from left to right."""
SHOWN = 6
"""Columns of the sheet."""
Picture = NDArray[np.float32]


def relief(
    folder: Path, picture: Picture, mask: NDArray[np.bool_], center: NDArray[np.float64], view: Cameras
) -> Cameras:
    """Write a run of a picture [H, W, 3] and of what moves in it [H, W], whose middle is at `center`; its camera looks
    as `view` does."""
    height, width = picture.shape[:2]
    heights = Inflation().disparity(picture[None], mask[None].astype(np.float32))[0]
    focal = width / 2 / np.tan(np.radians(ANGLE) / 2)
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
    away = float(np.linalg.norm(center - view.centers[0]))
    rows, columns = np.mgrid[:height, :width] + 0.5
    ray = np.stack([(columns - width / 2) / focal, (rows - height / 2) / focal, np.ones_like(rows)], -1)
    behind = cv2.inpaint((picture * 255).astype(np.uint8), mask.astype(np.uint8) * 255, 5, cv2.INPAINT_TELEA) / 255
    front = away * (1 - heights / focal)
    thing, wall = (ray * front[..., None])[mask], (ray * (WALL * away)).reshape(-1, 3)
    parts = [_splats(wall, behind.reshape(-1, 3), WALL * away / focal), _splats(thing, picture[mask], away / focal)]
    # The camera looks as the run's does, and stands so that the thing's middle is where the selection's is.
    pose = view.world_to_camera[0].astype(np.float64).copy()
    pose[:3, 3] = body_of(parts[1].means, parts[1].opacities).center - pose[:3, :3] @ center
    whole = concatenate(*parts)
    whole = whole.replace(means=((whole.means - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32))
    camera = Cameras(pose[None].astype(np.float32), lens[None], width, height, (0,))
    run = Run.create(folder)
    with run.lock():
        run.begin_stage("import", MadeFrom({}, 1, by="a picture"))
        run.write_geometry(whole, whole.take(slice(0)), 1)
        run.write_cameras(camera, None, np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))
        run.set_info(near=0.01 * away, center=center.tolist(), radius=away, fps=1.0, up=[0.0, -1.0, 0.0])
        weights = (np.arange(len(whole)) >= len(wall)).astype(np.float32)
        write_selection(run, Selection("thing", weights, None, {"steps": []}))
        run.frames_done("import", {0: 0.0})
        run.finish_stage("import")
    return camera


def _splats(means: NDArray[np.float64], rgb: NDArray[np.floating], pixel: float) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=means.astype(np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        scales=np.full((count, 3), 0.6 * pixel, np.float32),
        opacities=np.full(count, 0.95, np.float32),
        colors=dc_from_rgb(np.asarray(rgb, np.float32)),
        is_foreground=np.zeros(count, bool),
    )


def pictures(run: Run, camera: Cameras, frames: list[int]) -> list[NDArray[np.uint8]]:
    """Of these frames of a run."""
    found = []
    for frame in frames:
        with torch.no_grad():
            color = render(run.frame(frame).torch(), camera, near=near_of(run)).color[0]
        found.append(np.rint(color.clamp(0, 1).numpy() * 255).astype(np.uint8))
    return found


def sheet(rows: list[list[NDArray[np.uint8]]], out: Path) -> None:
    """Pictures in rows, all as wide as the first."""
    width = rows[0][0].shape[1]

    def sized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = width, round(picture.shape[0] * width / picture.shape[1])
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))

    lines = [np.concatenate([sized(picture) for picture in row], axis=1) for row in rows]
    Image.fromarray(np.concatenate(lines)).save(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("selection")
    parser.add_argument("video", type=Path)
    parser.add_argument("--box", required=True, help="around what moves, pixels of the video's first picture")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", metavar="FIRST:LAST", help="of the video; all by default")
    parser.add_argument("--camera", type=int, default=0, help="of RUN, through which all is seen")
    asked = parser.parse_args()
    span = None if asked.frames is None else [int(value) for value in asked.frames.split(":")]
    run, out = Run.open(asked.run), asked.out
    video = MotionVideo(asked.video, None if span is None else (span[0], span[1]))
    height = round(WIDTH * video.height / video.width)
    box = np.array([asked.box.split(",")], np.float32)
    mask = GrabCut().masks(video.read(0, video.width, video.height), box)
    moment = run.frame(0)
    thing = moment.take(read_selection(run, asked.selection).frame(run, 0) >= BELONGS)
    view = view_of(run, asked.camera, 0)
    for name in ("relief", "relief_moved", "moved"):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    first = video.read(0, WIDTH, height)
    cut = area_resize(mask[0], WIDTH, height) > 0.5
    camera = relief(out / "relief", first, cut, body_of(thing.means, thing.opacities).center, view)
    context = Context("auto", tell=print)
    followed = Animate(
        run=str(out / "relief"),
        selection="thing",
        motion=str(asked.video),
        camera="0",
        frames=span,
        out=str(out / "relief_moved"),
    )
    print(animate_run(followed, context))
    given = Animate(
        run=str(asked.run),
        selection=asked.selection,
        motion=str(out / "relief_moved" / "motion.json"),
        out=str(out / "moved"),
    )
    animate_run(given, context)
    frames = np.linspace(0, video.num_frames - 1, SHOWN).round().astype(int).tolist()
    filmed = [np.rint(video.read(frame, WIDTH, height) * 255).astype(np.uint8) for frame in frames]
    rows = [filmed, pictures(Run.open(out / "relief_moved"), camera, frames)]
    sheet([*rows, pictures(Run.open(out / "moved"), view, frames)], out / "sheet.png")
    print(f"wrote {out / 'sheet.png'}")


if __name__ == "__main__":
    main()
