"""Bullet time: time stops at the moment that a prompt is about, the camera circles it, and time goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.effects.film import Picture, ease, lit, moment
from legs4d.errors import Legs4dError, PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding
from legs4d.grounding.boxes import box_around_all, boxes_around
from legs4d.portable.up import find_up
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import Shot

SECONDS = 4.0
"""That a full circle takes, with no haste at its ends."""

FULL = 360.0
"""Degrees."""


def bullet_time(
    run: Run, shots: list[Shot], grounding: Grounding, seconds: float = SECONDS, degrees: float = FULL
) -> list[Picture]:
    """The film with a circle in it where it shows the prompt's moment.

    Each camera turns about the vertical through what takes part, so that the circle begins and ends in the film's own
    picture. Less than a full circle is swung through to either side and back, for scenes filmed from one side.

    Args:
        shots: the film.
        seconds: of the circle, > 0.
        degrees: from end to end, in 0..360.

    Raises:
        PromptError: the prompt holds nowhere, or nothing takes part in it.
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
    up = -_down(run, shots[at].cameras)
    center = moment_center(run, grounding, stop)
    count = max(round(seconds * run.info["fps"]), 1)
    circle = [
        Picture(turned(shots[at].cameras, center, up, angle), stop, grounding, 1.0)
        for angle in angles_of(count, degrees)[:-1].tolist()
    ]
    film = lit(shots, grounding)
    return [*film[: at + 1], *circle, *film[at:]]


def angles_of(count: int, degrees: float) -> NDArray[np.float64]:
    """[count] radians after each of `count` pictures' steps, the last back where it began."""
    share = ease(np.arange(1, count + 1) / count)
    if degrees >= FULL:
        return 2 * np.pi * share
    return np.radians(degrees) / 2 * np.sin(2 * np.pi * share)


def moment_center(run: Run, grounding: Grounding, frame: int) -> NDArray[np.float64]:
    """[3] middle of what takes part in a frame.

    Raises:
        PromptError: nothing does.
    """
    part = grounding.part(frame)
    boxes = boxes_around(run.frame(frame).take(part)) if part.any() else []
    if not boxes:
        raise PromptError(f"nothing takes part in {grounding.prompt!r}", where="prompt", fix="name what acts")
    return np.asarray(box_around_all(boxes).center, np.float64)


def _down(run: Run, cameras: Cameras) -> NDArray[np.float64]:
    """[3] unit; by the film's own cameras where the run, imported without its footage, has none."""
    return -run.up if run.has_cameras or "up" in run.info else -find_up(cameras.world_to_camera)


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
