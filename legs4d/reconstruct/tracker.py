"""Tracking by the device: step by step, or on CUDA by captured steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from legs4d.gaussians.gaussians import Gaussians
from legs4d.reconstruct.captured.tracker import CapturedTracker
from legs4d.reconstruct.observation import Observation
from legs4d.reconstruct.tracking import Motion, PlainTracker


@dataclass(frozen=True)
class Tracker(PlainTracker):
    """See `PlainTracker`. Keep it from frame to frame: on CUDA it has captured its steps in the first."""

    def track(
        self,
        motion: Motion,
        static: Gaussians,
        observed: Observation,
        frame: int,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Gaussians, float]:
        if observed.images.is_cuda:
            return self.captured.track(motion, static, observed, frame, check)
        return super().track(motion, static, observed, frame, check)

    @cached_property
    def captured(self) -> CapturedTracker:
        """What is kept between frames."""
        return CapturedTracker(self)
