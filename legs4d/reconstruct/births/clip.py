"""A tracked clip, as births are looked for in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import TrackingSettings
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.reconstruct.observation import CameraColors, Observation
from legs4d.scene.stage import Stage


@dataclass(frozen=True)
class Clip:
    """A tracked clip, and how it was seen.

    Attributes:
        static: N Gaussians; dynamic: frame → the M that move. Numpy.
        num_frames: T.
        objects: [M] which object each of these is, -1 for none; ids: [K] what masks call the objects.
        observe: frame → its training pictures in the processor's memory, with object masks where there are any; those
            of all frames that are looked at would take a gigabyte of a GPU's.
        floor: height of the floor along `stage.down`, scene units.
        still: whether the cameras stand still.
        tracking: how the clip was tracked.
        entered: (first, last) frame [M] in which each of the moving ones is there; None for all in all frames.
    """

    static: Gaussians
    dynamic: Callable[[int], Gaussians]
    num_frames: int
    objects: NDArray[np.int64]
    ids: NDArray[np.int64]
    observe: Callable[[int], Observation]
    colors: CameraColors
    stage: Stage
    floor: float
    still: bool
    tracking: TrackingSettings
    entered: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None

    @property
    def device(self) -> torch.device:
        """That does the work."""
        return self.colors.gain.device

    @property
    def spans(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """[M] first and [M] last frame in which each of the moving ones is there."""
        if self.entered is not None:
            return self.entered
        whole = np.zeros(len(self.objects), np.int32)
        return whole, whole + self.num_frames - 1

    def moving(self, frame: int) -> Gaussians:
        """The M moving ones, transparent where they are not there."""
        born, died = self.spans
        return ended(self.dynamic(frame), (born <= frame) & (frame <= died))

    def at(self, frame: int) -> Gaussians:
        """All Gaussians in a frame."""
        return concatenate(self.static, self.moving(frame))


def ended(gaussians: Gaussians, alive: NDArray[np.bool_]) -> Gaussians:
    """Gaussians of which those that are not alive are transparent."""
    return gaussians.replace(opacities=gaussians.opacities * alive)
