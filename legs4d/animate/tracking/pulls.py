"""What is known of a motion beside the frame: where it was going, what it stands on, how far a depth map has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import ALONG, Body, Motion, Sight
from legs4d.animate.tracking.refine import Pull
from legs4d.animate.tracking.stage import Stage
from legs4d.scene.camera import Cameras

TOUCHES = 0.3
"""Pixels by which what stands on a plane may be off it."""
LOWEST = 0.02
"""Share of the object's points that may be below what it stands on: at its outline they are soft."""
DEPTH_FIT = 0.5
"""Share of the pixels beside the object, those that fit best, on which a depth map's scale and shift are fitted."""
LEAST_PIXELS = 30
DEPTH_PIXELS = 0.5
"""Pixels of change along the ray that a depth map is believed to."""


def toward(camera: Cameras, body: Body, course: Motion, loose: Sequence[float]) -> Pull:
    """Near a motion: within `loose` [6] pixels of it."""
    sight, sure = Sight.of(camera, body, course), 1 / np.asarray(loose, np.float64)
    return lambda motion: sight.change_between(course, motion, body) * sure


@dataclass(frozen=True)
class Plane:
    """Points x with normal · x = height; the normal is unit, and points to where the object is."""

    normal: NDArray[np.float64]
    height: float


class Contact:
    """The object touches a plane.

    Args:
        points: [N, 3] of the object at rest.
        plane: that it stands on.
    """

    def __init__(self, camera: Cameras, body: Body, points: NDArray[np.float32], plane: Plane) -> None:
        self._camera, self._body, self._plane = camera, body, plane
        self._points = points[:: max(1, len(points) // 2000)].astype(np.float64)

    @classmethod
    def below(cls, camera: Cameras, body: Body, points: NDArray[np.float32], up: NDArray[np.float64]) -> Contact:
        """With the plane that the object stands on at rest."""
        heights = points.astype(np.float64) @ up
        return cls(camera, body, points, Plane(up, float(np.quantile(heights, LOWEST))))

    def gap(self, motion: Motion) -> float:
        """Scene units from the plane up to the object's lowest points; below 0 where it is in it."""
        normal = self._plane.normal @ motion[:3, :3]
        heights = self._points @ normal + self._plane.normal @ motion[:3, 3]
        return float(np.quantile(heights, LOWEST)) - self._plane.height

    def __call__(self, motion: Motion) -> NDArray[np.float64]:
        pixel = Sight.of(self._camera, self._body, motion).units[0]
        return np.array([self.gap(motion) / (TOUCHES * pixel)])

    def settled(self, motion: Motion) -> Motion:
        """A motion moved along the ray, where the picture says least, until the object touches the plane; as it is
        where the ray hardly comes nearer to the plane."""
        ray = Sight.of(self._camera, self._body, motion).axes[ALONG]
        falls = float(ray @ self._plane.normal)
        if abs(falls) < 0.15:
            return motion
        lowered = motion.copy()
        lowered[:3, 3] -= ray * (self.gap(motion) / falls)
        return lowered


def by_depth(stage: Stage, motion: Motion, disparity: NDArray[np.float32]) -> Pull | None:
    """As far away as a depth map has what is seen of the object now; None where the map says nothing.

    Args:
        motion: near the right one; across the ray it is taken as it is.
        disparity: [H, W] 1 / depth but for a scale and a shift, which are fitted on what is not the object; not finite
            where it says nothing.
    """
    made = stage.predict([motion])
    share, depth, alpha = (x[0].detach().cpu().numpy() for x in (made.share, made.depth, made.alpha))
    known = np.isfinite(disparity)
    beside, held = known & (share < 0.02) & (alpha > 0.95) & (depth > stage.near), known & (share > 0.9)
    if beside.sum() < LEAST_PIXELS or held.sum() < LEAST_PIXELS:
        return None
    scale, shift = _fit(disparity[beside].astype(np.float64), 1 / depth[beside].astype(np.float64))
    told = scale * disparity[held] + shift
    sound = told > 1e-6
    if scale <= 0 or sound.sum() < LEAST_PIXELS:
        return None
    nearer = float(np.median((1 / told[sound]) / depth[held][sound]))
    sight = Sight.of(stage.camera, stage.body, motion)
    there, body = sight.distance * nearer, stage.body
    unit = DEPTH_PIXELS * sight.units[ALONG]
    center = torch.as_tensor(stage.camera.centers[0]).numpy().astype(np.float64)

    def pull(tried: Motion) -> NDArray[np.float64]:
        middle = tried[:3, :3] @ body.center + tried[:3, 3]
        return np.array([(float(np.linalg.norm(middle - center)) - there) / unit])

    return pull


def _fit(values: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """(scale, shift) with scale · values + shift ≈ truth, by the half that fits best (least trimmed squares)."""
    inside = np.ones(len(values), bool)
    scale, shift = 1.0, 0.0
    for _ in range(8):
        columns = np.stack([values[inside], np.ones(inside.sum())], 1)
        scale, shift = np.linalg.lstsq(columns, truth[inside], rcond=None)[0]
        off = np.abs(scale * values + shift - truth)
        inside = off <= np.quantile(off, DEPTH_FIT)
    return float(scale), float(shift)
