"""What `legs4d video` is given of a film: pictures and masks in DreamScene4D's layout, its camera and the floor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from bench.video.judging import Capture, Film, objects_of


def write_video(film: Film, capture: Capture, frames: range, placed: range, folder: Path) -> None:
    """Write `JPEGImages/video`, `Annotations/video` and `camera.json`.

    Args:
        frames: of the film, whose pictures and masks are written.
        placed: of which the camera file tells where the camera is: the first alone where it stands.
    """
    numbers = objects_of(capture)
    for kind in ("JPEGImages/video", *(f"Annotations/video/{n:03d}" for n in numbers)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for frame in frames:
        picture, ids = np.rint(film.picture(frame) * 255).astype(np.uint8), film.ids(frame)
        Image.fromarray(picture).save(folder / f"JPEGImages/video/{frame:05d}.png")
        for number in numbers:
            mask = ((ids == number) * 255).astype(np.uint8)
            Image.fromarray(mask).save(folder / f"Annotations/video/{number:03d}/{frame:05d}.png")
    cameras = [(frame, film.camera(frame)) for frame in placed]
    up = capture.up.tolist()
    told = {
        "w": cameras[0][1].width,
        "h": cameras[0][1].height,
        "up": up,
        "floor": [*up, capture.floor],
        "cameras": [
            {"w2c": own.world_to_camera[0].tolist(), "k": own.intrinsics[0].tolist(), "frame": frame}
            for frame, own in cameras
        ],
    }
    (folder / "camera.json").write_text(json.dumps(told))
