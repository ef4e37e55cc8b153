"""`legs4d video` against the truth, of one camera that walks past the demo's scene.

    .venv-blender/bin/python scripts/demo/in_blender.py walk WALK
    scripts/bench/video/walk.py WALK CAPTURE WORK [--camera found,given] [--full]

WALK is the video with object masks; CAPTURE the same scene filmed by cameras all around (`make demo` leaves
out/demo/capture), by which it is judged as `judging.py` tells. The camera is found, or its true way and the floor are
given in a file; what is found is as large as the way of its camera says.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from bench.video.given import write_video
from bench.video.judging import SUBJECT, Capture, Film, judge, new_figures, tell
from legs4d.commands import Video
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from legs4d.video.work import make_video_run


def film_of(walk: Sequence) -> Film:
    """The video as it truly was filmed."""

    def ids(frame: int) -> NDArray[np.uint8]:
        found = walk.objects("train", frame)
        assert found is not None, "the video has object masks"
        return found[0]

    return Film(
        ids,
        lambda frame: walk.images("train", frame)[0],
        lambda frame: walk.cameras("train", frame).take([0]),
        None,
        1.0,
    )


def unit_of(film: Film, run: Run) -> float:
    """How many of the capture's units one of the run's is, by the way that the camera goes in both."""
    true, own = (
        np.stack([at(frame).centers[0] for frame in range(run.num_frames)])
        for at in (film.camera, lambda frame: run.cameras("train", frame))
    )
    ways = [float(np.linalg.norm(way - way.mean(axis=0), axis=1).mean()) for way in (true, own)]
    return ways[0] / ways[1] if ways[1] > 1e-6 else 1.0


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
    true = film_of(walk)
    write_video(true, capture, range(walk.num_frames), range(walk.num_frames), video)
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
        film = replace(true, unit=unit_of(true, run))
        if route == "found":
            focal = float(run.cameras("train", 0).intrinsics[0, 0, 0] / walk.cameras("train", 0).intrinsics[0, 0, 0])
            print(f"focal length {focal:.3f} of the true one; a unit is {film.unit:.3f} of the scene's")
            record(SUBJECT, f"demo, {how}: focal length, of the true one", focal)
        found = new_figures()
        judge(run, capture, film, list(range(0, walk.num_frames, given.every)), found)
        tell(found, how)


if __name__ == "__main__":
    main()
