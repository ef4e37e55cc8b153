"""Bullet time: time stops at the moment that a prompt is about, the camera circles it, and time goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.effects.film import Picture, ease, lit, moment
from legs4d.errors import Legs4dError
from legs4d.gaussians.store import Run
from legs4d.grounding import Grounding
from legs4d.grounding.boxes import box_around_all, boxes_around
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import Shot

SECONDS = 4.0
"""That a full circle takes, with no haste at its ends."""


def bullet_time(run: Run, shots: list[Shot], grounding: Grounding, seconds: float = SECONDS) -> list[Picture]:
    """The film with a circle in it where it shows the prompt's moment.

    Each camera turns about the vertical through what takes part, so that the circle begins and ends in the film's own
    picture.

    Args:
        shots: the film.
        seconds: of the circle, > 0.

    Raises:
        PromptError: the prompt holds nowhere.
        Legs4dError: the film does not show that moment.
    """
    stop = moment(grounding)
    at = next((i for i, shot in enumerate(shots) if shot.frame == stop), None)
    if at is None:
        raise Legs4dError(
            f"the camera path never shows frame {stop}, the prompt's moment",
            where="--cameras",
            fix="use a path through all frames",
        )
    down = np.asarray(run.info["down"], np.float64)
    center = moment_center(run, grounding, stop)
    angles = 2 * np.pi * ease(np.arange(1, max(round(seconds * run.info["fps"]), 1)) / (seconds * run.info["fps"]))
    circle = [
        Picture(turned(shots[at].cameras, center, -down, angle), stop, grounding, 1.0) for angle in angles.tolist()
    ]
    film = lit(shots, grounding)
    return [*film[: at + 1], *circle, *film[at:]]


def moment_center(run: Run, grounding: Grounding, frame: int) -> NDArray[np.float64]:
    """[3] middle of what takes part in a frame; the scene's where no Gaussian does."""
    part = grounding.part(frame)
    boxes = boxes_around(run.frame(frame).take(part)) if part.any() else []
    return np.asarray(box_around_all(boxes).center if boxes else run.info["center"], np.float64)


def turned(cameras: Cameras, center: NDArray[np.float64], axis: NDArray[np.float64], angle: float) -> Cameras:
    """Cameras carried around an axis through a point.

    Args:
        center: [3] scene units.
        axis: [3] unit vector; seen along it from its tip, the cameras go counter-clockwise.
        angle: radians.
    """
    turn = Rotation.from_rotvec(angle * axis).as_matrix()
    back = np.eye(4)  # the inverse of x → turn (x - center) + center
    back[:3, :3], back[:3, 3] = turn.T, center - turn.T @ center
    moved = (cameras.world_to_camera.astype(np.float64) @ back).astype(np.float32)
    return Cameras(moved, cameras.intrinsics, cameras.width, cameras.height, cameras.ids)
