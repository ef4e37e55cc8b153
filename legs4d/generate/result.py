"""A generated object as a run: its Gaussians in every frame, cameras around it, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.deform.fit import Fit
from legs4d.deform.result import write_result
from legs4d.gaussians.store.run import Run
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras
from legs4d.scene.paths import orbit

AROUND, AROUND_SIZE, AROUND_ELEVATION = 8, 512, 12.0
"""Cameras that nobody filmed with, in a circle: pixels of their pictures, degrees above."""

ROOM = 1.25
"""Of the distance from which the object just fits: an orbit comes somewhat nearer."""


@dataclass(frozen=True)
class Made:
    """What came of a source.

    Attributes:
        fit: finished.
        count: frames; fps: of them.
        front: the video's camera.
        up: [3] unit.
        seen: [N] 0..1, see `deform.result.write_result`.
    """

    fit: Fit
    count: int
    fps: float
    front: Cameras
    up: NDArray[np.float64]
    seen: NDArray[np.float32]


def write_object(run: Run, made: Made, made_from: dict[str, Any], report: dict[str, Any]) -> None:
    """Store all frames, the video's camera and a circle of others; the caller holds the run's lock.

    Args:
        made_from, report: for run.json.
    """
    means = made.fit.gaussians_at(0.0).numpy().means
    center, count = np.median(means, axis=0), made.count
    # What is long towards the video's camera has to fit into pictures from its side.
    extent = float(np.quantile(np.linalg.norm(means - center, axis=1), 0.98))
    half = np.arctan(made.front.width / 2 / made.front.intrinsics[0, 0, 0])
    away = float(np.linalg.norm(made.front.centers[0] - center))
    radius = max(away, ROOM * extent / float(np.sin(half)))
    moments = np.arange(count) / max(count - 1, 1)
    write_result(made.fit, run, moments, StageReporter("writing").step, seen=made.seen)
    large = made.front.scaled(AROUND_SIZE / made.front.width)
    circle = orbit(center, radius, -made.up, AROUND, large, elevation=AROUND_ELEVATION)
    cameras = Cameras.together([large, circle])
    ids = tuple(range(len(cameras)))
    cameras = Cameras(cameras.world_to_camera, cameras.intrinsics, cameras.width, cameras.height, ids)
    nothing = np.zeros((len(cameras), 3), np.float32)
    run.write_cameras(cameras, None, nothing, nothing)
    run.set_info(
        kind="generated",
        near=made.fit.near,
        center=center.tolist(),
        radius=radius,
        up=[float(x) for x in made.up],
        down=[-float(x) for x in made.up],
        floor=float(np.quantile(means @ -made.up, 0.995)),
        background=[1.0, 1.0, 1.0],
        cameras="virtual",
        fps=made.fps,
        times=[frame / made.fps for frame in range(count)],
        frame_numbers=list(range(count)),
        cameras_move=False,
        made_from=made_from,
        report={**report, "seen": round(float((made.seen > 0).mean()), 3)},
    )


def describe(run: Run) -> dict[str, Any]:
    """What is told of such a run, JSON."""
    report = run.info["report"]
    return {
        "run": str(run.path),
        "kind": run.info["kind"],
        **{name: report[name] for name in ("method", "prior", "why")},
        "frames": run.num_frames,
        "gaussians": run.count(0),
        "seen": report["seen"],
        "seconds": {name: round(stage.seconds, 1) for name, stage in run.stages.items()},
        "warnings": report["warnings"],
    }
