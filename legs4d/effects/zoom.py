"""Zoom on the action: cameras move to the box around what a prompt names, follow it, and return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from legs4d.effects.film import Picture, ease, intervals_of, lit
from legs4d.errors import PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, boxes_of
from legs4d.grounding.boxes import box_around_all
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import Shot

FILL = 0.5
"""Of the picture's shorter side that the box's diagonal takes up."""

RAMP_SECONDS = 0.4
"""That the way there takes, and the way back."""

STEADY_SECONDS = 0.06
"""Standard deviation of the filter that steadies the boxes' path: two frames at 30 a second."""

_TINY = 1e-9


@dataclass(frozen=True)
class Action:
    """Where to look in each frame: center [T, 3] and one radius, scene units; amount [T] in 0..1, how far to go."""

    center: NDArray[np.float64]
    radius: float
    amount: NDArray[np.float64]


def zoom(run: Run, shots: list[Shot], grounding: Grounding, *, near: float, fill: float = FILL) -> list[Picture]:
    """The film with its cameras moved to the action while the prompt holds.

    A camera goes towards it on a straight line as near as the near plane allows, and narrows its field of view
    for the rest.

    Args:
        shots: the film.
        near: near plane, scene units.
        fill: 0..1, see FILL.

    Raises:
        PromptError: the prompt holds nowhere, or nothing takes part.
    """
    action = find_action(run, grounding)
    return [
        Picture(
            _toward(picture.cameras, action, picture.frame, fill, near),
            picture.frame,
            grounding,
            picture.amount,
        )
        for picture in lit(shots, grounding)
    ]


def find_action(run: Run, grounding: Grounding) -> Action:
    """Where a prompt's action is over time; between intervals the way from one to the next."""
    boxes = {frame: box_around_all(found) for frame, found in boxes_of(run, grounding).items()}
    if not boxes:
        intervals_of(grounding)
        raise PromptError(f"nothing takes part in {grounding.prompt!r}", where="prompt", fix="name what acts")
    frames, centers = list(boxes), np.array([box.center for box in boxes.values()], np.float64)
    everywhere = np.stack([np.interp(range(run.num_frames), frames, centers[:, axis]) for axis in range(3)], axis=1)
    ramp = max(round(RAMP_SECONDS * run.info["fps"]), 1)
    return Action(
        gaussian_filter1d(everywhere, STEADY_SECONDS * run.info["fps"], axis=0, mode="nearest"),
        float(np.median([box.radius for box in boxes.values()])),
        _amount(grounding, ramp),
    )


def _amount(grounding: Grounding, ramp: int) -> NDArray[np.float64]:
    """[T] 1 in the intervals, with ramps before and after them, or within where the sequence begins or ends."""
    last = len(grounding.relevancy) - 1
    frames = np.arange(last + 1)
    amount = np.zeros(last + 1)
    for interval in grounding.intervals:
        begin, end = max(interval.start - ramp, 0), min(interval.end + ramp, last)
        amount = np.maximum(amount, ease(np.minimum(frames - begin, end - frames) / ramp))
    return amount


def _toward(cameras: Cameras, action: Action, frame: int, fill: float, near: float) -> Cameras:
    center, amount = action.center[frame], float(action.amount[frame])
    rotation = cameras.world_to_camera[:, :3, :3].astype(np.float64)
    places = cameras.centers.astype(np.float64)
    offset = places - center
    distance = np.maximum(np.linalg.norm(offset, axis=1), _TINY)
    # How far away the action fills the picture as wanted, and how near a camera may come.
    focal = cameras.intrinsics[:, 1, 1].astype(np.float64)
    wanted = 2 * focal * action.radius / (fill * min(cameras.width, cameras.height))
    nearest = np.minimum(np.maximum(wanted, near + action.radius), distance)
    narrower = np.maximum(nearest / wanted, 1)
    moved = places + amount * (center + offset * (nearest / distance)[:, None] - places)
    turned = np.stack([_turned(r, center - p, amount) for r, p in zip(rotation, moved, strict=True)])
    poses = np.repeat(np.eye(4)[None], len(cameras), axis=0)
    poses[:, :3, :3], poses[:, :3, 3] = turned, -np.einsum("cij,cj->ci", turned, moved)
    return Cameras(
        poses.astype(np.float32),
        _narrowed(cameras, narrower**amount, amount),
        cameras.width,
        cameras.height,
        cameras.ids,
    )


def _turned(rotation: NDArray[np.float64], toward: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    """World to camera [3, 3], turned by `amount` of what is missing to look along `toward`, without rolling."""
    seen = rotation @ (toward / max(float(np.linalg.norm(toward)), _TINY))
    axis = np.cross(seen, [0.0, 0.0, 1.0])
    length = np.linalg.norm(axis)
    if length < _TINY:
        return rotation
    angle = np.arctan2(length, seen[2])
    return Rotation.from_rotvec(amount * angle * axis / length).as_matrix() @ rotation


def _narrowed(cameras: Cameras, factor: NDArray[np.float64], amount: float) -> NDArray[np.float32]:
    """Intrinsics with the focal lengths times `factor` [C], and the principal point moved to the middle."""
    intrinsics = cameras.intrinsics.astype(np.float64)
    middle = np.array([cameras.width / 2, cameras.height / 2])
    intrinsics[:, (0, 1), (0, 1)] *= factor[:, None]
    intrinsics[:, :2, 2] += amount * (middle - intrinsics[:, :2, 2])
    return intrinsics.astype(np.float32)
