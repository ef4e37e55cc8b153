"""`legs4d video` against the truth, of one camera that walks past the demo's scene.

    .venv-blender/bin/python scripts/demo/in_blender.py walk WALK
    scripts/bench/video/walk.py WALK CAPTURE WORK [--camera found,given] [--full]

WALK is the video with object masks; CAPTURE the same scene filmed by cameras all around (`make demo` leaves
out/demo/capture), by which it is judged as `judging.py` tells. The camera is found, or its true way and the floor are
given in a file; what is found is as large as the way of its camera says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from bench.video.judging import SUBJECT, Capture, Film, judge, new_figures, objects_of, tell
from legs4d.commands import Video
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from legs4d.video.work import make_video_run


def write_video(walk: Sequence, capture: Capture, folder: Path) -> None:
    """Pictures and masks in DreamScene4D's layout, and the true camera with the floor."""
    for kind in ("JPEGImages/video", *(f"Annotations/video/{n:03d}" for n in objects_of(capture))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    cameras = []
    for frame in range(walk.num_frames):
        picture = np.rint(walk.images("train", frame)[0] * 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"JPEGImages/video/{frame:05d}.png")
        for number in objects_of(capture):
            mask = ((ids_of(walk, frame) == number) * 255).astype(np.uint8)
            Image.fromarray(mask).save(folder / f"Annotations/video/{number:03d}/{frame:05d}.png")
        own = walk.cameras("train", frame)
        cameras.append({"w2c": own.world_to_camera[0].tolist(), "k": own.intrinsics[0].tolist(), "frame": frame})
    floor = [*capture.up.tolist(), capture.floor]
    told = {"w": own.width, "h": own.height, "up": capture.up.tolist(), "floor": floor, "cameras": cameras}
    (folder / "camera.json").write_text(json.dumps(told))


def ids_of(walk: Sequence, frame: int) -> np.ndarray:
    found = walk.objects("train", frame)
    assert found is not None, "the video has object masks"
    return found[0]


def film_of(walk: Sequence, run: Run) -> Film:
    """The video as it truly was filmed."""
    frames = range(walk.num_frames)
    true, own = (np.stack([at(frame).centers[0] for frame in frames]) for at in (cameras_of(walk), cameras_of(run)))
    ways = [float(np.linalg.norm(way - way.mean(axis=0), axis=1).mean()) for way in (true, own)]
    unit = ways[0] / ways[1] if ways[1] > 1e-6 else 1.0
    return Film(
        lambda frame: ids_of(walk, frame), lambda frame: walk.images("train", frame)[0], cameras_of(walk), None, unit
    )


def cameras_of(what: Sequence | Run):
    return lambda frame: what.cameras("train", frame).take([0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walk", type=Path)
    parser.add_argument("capture", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--camera", default="found,given")
    parser.add_argument("--full", action="store_true", help="not lite")
    parser.add_argument("--every", type=int, default=4, help="frames between two that are judged")
    given = parse(parser)
    capture, walk = Capture.read(given.capture), open_sequence(given.walk)
    video = given.work / "video"
    write_video(walk, capture, video)
    for route in given.camera.split(","):
        out = given.work / route
        began = time.process_time()
        asked = Video(
            source=str(video),
            out=str(out),
            camera="found" if route == "found" else None,
            camera_file=str(video / "camera.json") if route == "given" else None,
            fps=float(walk.fps),
            lite=not given.full,
            scale=1.0,
        )
        made = make_video_run(asked, Context("auto", tell=print))
        how = f"camera that walks, {route}, {'full' if given.full else 'lite'}"
        print(
            f"{how}: {time.process_time() - began:.0f} s of cores; {made['camera']['route']}: {made['camera']['why']}"
        )
        run = Run.open(out)
        film = film_of(walk, run)
        if route == "found":
            focal = float(run.cameras("train", 0).intrinsics[0, 0, 0] / walk.cameras("train", 0).intrinsics[0, 0, 0])
            print(f"focal length {focal:.3f} of the true one; a unit is {film.unit:.3f} of the scene's")
            record(SUBJECT, f"demo, {how}: focal length, of the true one", focal)
        found = new_figures()
        judge(run, capture, film, list(range(0, walk.num_frames, given.every)), found)
        tell(found, how)


if __name__ == "__main__":
    main()
