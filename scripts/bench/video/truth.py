"""`legs4d video` against the truth: each of a capture's cameras taken as an ordinary video of one camera that stands.

    scripts/bench/video/truth.py CAPTURE WORK [--cameras 0,4,8] [--frames 0:23] [--full]

CAPTURE has cameras all around and object masks (`make demo` leaves out/demo/capture). Each camera's pictures and
masks become a video with a camera file, which tells its pose and the floor, as one who knows his studio would. It is
judged as `judging.py` tells.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse
from bench.video.given import write_video
from bench.video.judging import Capture, Film, judge, new_figures, tell
from legs4d.commands import Video
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.video.work import make_video_run


def film_of(capture: Capture, camera: int) -> Film:
    """One of the capture's cameras as the video."""
    return Film(
        lambda frame: capture.ids(frame)[camera],
        lambda frame: capture.sequence.images("train", frame, [camera])[0],
        lambda frame: capture.cameras.take([camera]),
        camera,
        1.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cameras", default="0,4,8")
    parser.add_argument("--frames", default=None)
    parser.add_argument("--full", action="store_true", help="not lite")
    parser.add_argument("--every", type=int, default=4, help="frames between two that are judged")
    given = parse(parser)
    capture = Capture.read(given.capture)
    first, last = map(int, given.frames.split(":")) if given.frames else (0, capture.sequence.num_frames - 1)
    found = new_figures()
    for camera in map(int, given.cameras.split(",")):
        folder = given.work / f"camera{camera}"
        film = film_of(capture, camera)
        write_video(film, capture, range(first, last + 1), range(1), folder / "video")
        began = time.perf_counter()
        make_video_run(
            Video(
                source=str(folder / "video"),
                out=str(folder / "run"),
                camera_file=str(folder / "video" / "camera.json"),
                fps=float(capture.sequence.fps),
                lite=not given.full,
                scale=1.0,
            ),
            Context("auto", tell=print),
        )
        run = Run.open(folder / "run")
        print(f"camera {camera}: {time.perf_counter() - began:.0f} s, {run.info['report']['seconds']}", flush=True)
        judge(run, capture, film, list(range(0, last + 1 - first, given.every)), found)
    tell(found, f"cameras {given.cameras}, {'full' if given.full else 'lite'}")


if __name__ == "__main__":
    main()
