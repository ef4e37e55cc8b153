"""From Gaussians of every frame to one set that moves: what a pass made is the start of a fit to the video.

The first frame's Gaussians are carried by control nodes (SC-GS, Huang et al. 2024), which follow the video by optical
flow first and then, with everything else, by rendering. What the pass made of every frame, seen from the sides, is
looked at beside the video, so that what the video does not show stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import DeformSettings
from legs4d.config.base import LearningRates
from legs4d.config.deform import GrowthSettings
from legs4d.deform.result import seen_shares
from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.drawing import drawn
from legs4d.generate.fitting import carried, pictures_of, spread
from legs4d.generate.motion.track import track
from legs4d.generate.onepass.cameras import L4GM
from legs4d.generate.onepass.passes import NEAR
from legs4d.generate.onepass.views import SideViews
from legs4d.generate.resizing import scaled
from legs4d.priors.flow.dis import DisFlow
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras

ASIDE = (
    *((0.0, azimuth) for azimuth in (45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)),
    *((25.0, azimuth) for azimuth in (0.0, 90.0, 180.0, 270.0)),
    *((-25.0, azimuth) for azimuth in (45.0, 135.0, 225.0, 315.0)),
)
"""From where the pass's result is looked at: degrees above the video's elevation, and azimuth."""
STEEPEST = 80.0
"""Elevation in degrees beyond which no camera looks."""
MOST_MOMENTS = 64
"""Of so many frames at most, spread over the video, the pass's result is looked at: it bounds memory."""
TRUE, MADE = 2, 2
"""Pictures of a step: of the video, and of the pass's result."""
VISITS = 400
"""Steps for each frame of a short video."""
RATES = LearningRates(means=4e-4, quats=2e-3, scales=1e-2, opacities=5e-2, colors=1e-2)
BENDING_RATE = 1e-2
"""Of poses: higher than a fit's from nothing, as they begin near where they belong."""
SQUARE = 20.0
"""Weight of squared differences, beside the absolute ones: for outlines that are where nothing is."""
RIGID = 0.02
"""Weight: the pass's result tells how deep limbs are, so that rigidity need not."""


@dataclass(frozen=True)
class Refining:
    """How much work it is.

    Attributes:
        steps: of the fit; a short video gets fewer, see `VISITS`.
        nodes: control nodes.
        steady_weight: see `NodesSettings`.
        grown: Gaussians at the end, in those of the first frame.
    """

    steps: int = 2000
    nodes: int = 512
    steady_weight: float = 0.02
    grown: float = 2.0
    seed: int = 0

    @classmethod
    def of(cls, device: torch.device) -> Refining:
        return cls(steps=4000) if device.type == "cuda" else cls()


@dataclass(frozen=True)
class Shown:
    """What is true of an object.

    Attributes:
        video: [T, S, S, 4] uint8 RGBA, colours times alpha.
        front: the video's camera, of S × S pixels.
        sides: [K, S, S, 4] uint8 true pictures of the first moment from elsewhere, K may be 0.
        side_cameras: theirs; None without any.
        elevation: of the video's camera, degrees above the object.
    """

    video: NDArray[np.uint8]
    front: Cameras
    sides: NDArray[np.uint8]
    side_cameras: Cameras | None
    elevation: float

    @classmethod
    def of(cls, video: NDArray[np.uint8], cameras: Cameras, sides: SideViews | None, elevation: float) -> Shown:
        """Of a video and the cameras of a pass, of any size; views that a helper invented are not true."""
        size = video.shape[1]
        cameras = cameras.scaled(size / cameras.width)
        if sides is None or sides.source != "user":
            return cls(video, cameras.take([0]), video[:0], None, elevation)
        return cls(
            video, cameras.take([0]), scaled(sides.pictures, size), cameras.take(np.arange(1, len(cameras))), elevation
        )


class Refinement:
    """A fit of one set of Gaussians that moves to a video, from those that a pass made of each frame.

    Args:
        shown: what is true.
        loose: frame → numpy Gaussians of the pass, in the world of the cameras. Of several passes, each of them: the
            fit starts from the first one's, and looks at the mean of their pictures.
        reporter: is told of the frames that are looked at.
    """

    def __init__(
        self,
        shown: Shown,
        loose: Sequence[Callable[[int], Gaussians]],
        how: Refining,
        device: torch.device,
        reporter: StageReporter,
    ) -> None:
        count = len(shown.video)
        images, cameras, frames = [shown.video], [shown.front] * count, [np.arange(count)]
        if shown.side_cameras is not None:
            images.append(shown.sides)
            cameras.append(shown.side_cameras)
            frames.append(np.zeros(len(shown.sides), np.int64))
        self._true = true = sum(len(some) for some in images)
        aside = _aside(shown.elevation, shown.video.shape[1])
        looked_at = np.unique(np.linspace(0, count - 1, min(count, MOST_MOMENTS)).round().astype(int))
        for number, frame in enumerate(looked_at.tolist()):
            reporter.step(number, len(looked_at))
            images.append(drawn([each(frame).torch(device) for each in loose], aside, NEAR))
            cameras.append(aside)
            frames.append(np.full(len(aside), frame))
        self._count, of = count, np.concatenate(frames)
        pictures = pictures_of(np.concatenate(images), Cameras.together(cameras), of, count, device)
        first = loose[0](0)
        chance = np.random.default_rng(how.seed)
        steps = min(how.steps, VISITS * count)
        numbers = (chance.integers(0, true, (steps, TRUE)), chance.integers(true, len(of), (steps, MADE)))
        self.fit = carried(first, pictures, _settings(len(first), how, steps), NEAR, np.concatenate(numbers, axis=1))

    def follow(self, reporter: StageReporter) -> None:
        """Put the nodes where optical flow has them: what the fit starts from."""
        if self._count > 1:
            track(self.fit, DisFlow(), np.arange(self._count), reporter)

    def seen(self) -> NDArray[np.float32]:
        """[N] 0..1 how much true pictures show of each Gaussian, see `seen_shares`."""
        return seen_shares(self.fit, self._true)


def _aside(elevation: float, size: int) -> Cameras:
    above, azimuths = zip(*ASIDE, strict=True)
    return L4GM.cameras(np.clip(elevation + np.array(above), -STEEPEST, STEEPEST), azimuths, size)


def _settings(count: int, how: Refining, steps: int) -> DeformSettings:
    return DeformSettings(
        enough_pixels=1,
        steps=steps,
        pictures_per_step=TRUE + MADE,
        rates=RATES,
        deformation_rate=BENDING_RATE,
        square_weight=SQUARE,
        growth=GrowthSettings(max_gaussians=int(how.grown * count)),
        nodes=spread(how.nodes, count, RIGID, how.steady_weight),
        seed=how.seed,
    )
