"""Animate against the truth: rotation and place of the demo's box, door and ball, filmed by a camera that is new.

    scripts/bench/segment/film_motions.py OUT      (in Blender's Python: see there)
    scripts/bench/segment/animate.py RUN OUT/demo [--objects box,door,ball]

RUN is a run of the demo's capture, with its objects.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.animate.tracking.follow import Follower, FollowSettings
from legs4d.animate.tracking.kept import state_of
from legs4d.animate.tracking.motions import Motion, Sight
from legs4d.animate.tracking.smooth import SmoothSettings, smoothed
from legs4d.animate.tracking.stage import Stage
from legs4d.animate.tracking.visible import visible_share
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.priors.flow.dis import DisFlow
from legs4d.scene.camera_path import read_camera_path
from legs4d.scene.images import as_unit, read_picture

NAMES = {"box": "a wooden box", "door": "a door", "ball": "a red ball"}
NUMBERS = {"ball": 3, "box": 4, "door": 5}
"""Ids in the capture's object masks."""
ROUND = {"ball": 0}
"""Things that look alike however they turn about one of their own axes: no picture tells that turn. The ball's stripes
lie about its first axis, so that what is judged is where this axis points."""
Errors = NDArray[np.float64]


def errors(
    motions: list[Motion], truth: NDArray[np.float64], stage: Stage, axis: NDArray[np.float64] | None = None
) -> Errors:
    """[T, 3] degrees, and of the distance per cent across the ray and along it, signed.

    Args:
        axis: [3] at rest, of what looks alike however it turns about this.
    """
    found = []
    for motion, true in zip(motions, truth, strict=True):
        sight = Sight.of(stage.camera, stage.body, true)
        off = sight.change_between(true, motion, stage.body) * sight.units
        turn = Rotation.from_matrix(motion[:3, :3] @ true[:3, :3].T).magnitude()
        if axis is not None:
            turn = np.arccos(np.clip((motion[:3, :3] @ axis) @ (true[:3, :3] @ axis), -1, 1))
        found.append((np.degrees(turn), 100 * np.hypot(*off[:2]) / sight.distance, 100 * off[2] / sight.distance))
    return np.array(found)


def judge(
    run: Run, filmed: Path, name: str, device: str, verbose: bool, flow: bool, keep: Path | None
) -> tuple[Errors, Errors, float, float]:
    """Errors of the frames as fitted and as smoothed, and wall and processor seconds a frame."""
    camera = read_camera_path(filmed / "camera.json", 1).shots[0].cameras
    objects, ids = read_objects(run), run.object_ids(0)
    assert objects is not None and ids is not None
    member = ids == objects.ids.index(NUMBERS[name])
    near = float(run.info["near"])
    stage = Stage(run.frame(0), member, camera, near, torch.device(device), visible_share(run, 0, near))
    files = sorted((filmed / "frames").glob("*.png"))
    follower = Follower(
        stage, lambda t: as_unit(read_picture(files[t]))[..., :3], FollowSettings(), flow=DisFlow() if flow else None
    )
    wall, spent = time.perf_counter(), time.process_time()
    for _ in files:
        follower.step()
    wall, spent = (
        (now - then) / len(files) for now, then in ((time.perf_counter(), wall), (time.process_time(), spent))
    )
    if keep is not None:
        np.savez(keep / f"{filmed.name}_{name}.npz", **state_of(follower.fits))  # type: ignore[arg-type]
    placed = np.array(json.loads((filmed / "truth.json").read_text())[NAMES[name]])
    truth = placed @ np.linalg.inv(placed[0])
    motions = follower.motions()
    even = smoothed(motions, [fit.information for fit in follower.fits], camera, stage.body, SmoothSettings())
    axis = placed[0, :3, ROUND[name]] / np.linalg.norm(placed[0, :3, ROUND[name]]) if name in ROUND else None
    raw, final = errors(motions, truth, stage, axis), errors(even, truth, stage, axis)
    if verbose:
        for t, fit in enumerate(follower.fits):
            told = "  ".join(f"{a:4.1f}° {b:.2f} {c:5.2f}" for a, b, c in (raw[t], final[t]))
            print(f"    {t:3} {told}  residual {fit.residual:.3f} agreeing {fit.agreeing:.2f} pixels {fit.share:.0f}")
    return raw, final, wall, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("filmed", type=Path, nargs="+")
    parser.add_argument("--objects", default="box,door,ball")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--no-flow", action="store_true", help="begin frames on course alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the fits as arrays")
    parser.add_argument("--verbose", action="store_true")
    asked = figures.parse(parser)
    run = Run.open(asked.run)
    for filmed in asked.filmed:
        for name in asked.objects.split(","):
            raw, final, wall, spent = judge(
                run, filmed, name, asked.device, asked.verbose, not asked.no_flow, asked.keep
            )
            for what, found in (("as fitted", raw), ("smoothed", final)):
                mean, worst = np.abs(found).mean(0), np.abs(found).max(0)
                told = f"{mean[0]:.1f}° (most {worst[0]:.1f}), across {mean[1]:.2f} % ({worst[1]:.2f}), "
                told += f"along {mean[2]:.2f} % ({worst[2]:.2f})"
                print(f"  {filmed.name} {name} {what}: {told}; {wall:.2f} s a frame, {spent:.2f} of processor")
            figures.record("Animate", f"{filmed.name}: {name}", told, aim="≤ 3°, across ≤ 0.3 %, along ≤ 2 %")
            aim = "≤ 1 s" if asked.device == "cuda" else "≤ 8 s"
            figures.record(
                "Animate", f"{name}: a frame, {asked.device}", f"{wall:.2f} s ({spent:.2f} of processor)", aim=aim
            )


if __name__ == "__main__":
    main()
