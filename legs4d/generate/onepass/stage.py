"""A video of any length as a run, chunk by chunk: each begins with the frame that the one before ended with, and sees
what that looked like from the sides (Ren et al. 2024, section 3.3). What a finished chunk gave is on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from legs4d.config.onepass import OnePassSettings
from legs4d.context import QUIET, Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM
from legs4d.generate.onepass.checkpoint import describe
from legs4d.generate.onepass.passes import BETWEEN, NEAR, Moment, Passes, unit
from legs4d.generate.onepass.views import SideViews
from legs4d.scene.camera import Cameras

STAGE = "object"
RATE = 15.0
"""Frames a second that L4GM takes."""
SHOWN = 512
"""Pixels along a side of what a run's cameras show."""
UP = (0.0, 1.0, 0.0)
_WHY = {"user": "views that were given", "none": "the video alone"}


@dataclass(frozen=True)
class Footage:
    """What is made into Gaussians.

    Attributes:
        pictures: [T, S, S, 4] uint8 RGBA, colours times alpha, S the network's.
        fps: pictures a second.
        sides: the object from elsewhere at the first moment; None where nothing is known of that.
        notes: what should be known of it, a sentence each.
    """

    pictures: NDArray[np.uint8]
    fps: float
    sides: SideViews | None
    notes: tuple[str, ...] = ()


def taken(count: int, fps: float, stride: int) -> NDArray[np.int64]:
    """Which of a video's frames are made: all, or one of every few so that at least RATE a second are left."""
    return np.arange(0, count, stride or max(1, int(fps / RATE)))


def chunks(count: int, length: int) -> list[range]:
    """Frames of the passes: each but the first begins with the last of the one before.

    Args:
        count: frames; length: the most of a pass, 2 at least where there are several.
    """
    if count <= length:
        return [range(count)]
    return [range(first, min(first + length, count)) for first in range(0, count - 1, length - 1)]


@dataclass(frozen=True)
class OnePassObject:
    """One run's object: what is to be made from what, with what."""

    run: Run
    footage: Footage
    passes: Passes
    settings: OnePassSettings
    context: Context = QUIET

    def finish(self) -> None:
        """Do what is not done yet. The caller holds the run's lock, has begun `STAGE` in it, and finishes it.

        Raises:
            Legs4dError: there is no network for interpolation, and it is wanted.
            Stopped: the stop signal is set; chunks that are done are kept.
        """
        networks = self.passes.networks
        if self.settings.interpolate and networks.interp is None:
            what = "moments between frames are wanted, and there is no network for them"
            raise Legs4dError(what, where="--interpolate", fix="give interp.safetensors after recon.safetensors")
        if not self.run.has_geometry:
            self._lay_out()
        self._reconstruct()
        if self.settings.interpolate:
            self._interpolate()

    # -- what is there ---------------------------------------------------------------------------------------------

    @property
    def _every(self) -> int:
        """Of the run's frames, one of so many is one of the video's."""
        return BETWEEN + 1 if self.settings.interpolate else 1

    @property
    def _frames(self) -> NDArray[np.int64]:
        return taken(len(self.footage.pictures), self.footage.fps, self.settings.stride)

    def _video(self, frames: range) -> Tensor:
        return unit(self.footage.pictures[self._frames[frames.start : frames.stop]])

    def _chunks(self) -> list[range]:
        return chunks(len(self._frames), max(2, self.settings.chunk or self.passes.variant.frames))

    def _lay_out(self) -> None:
        count = self._every * (len(self._frames) - 1) + 1
        nothing = _nothing()
        cameras = self.passes.cameras
        self.run.write_geometry(nothing, nothing, count, max_loose=len(cameras) * self.passes.variant.splat_side**2)
        stride = int(self._frames[1]) if len(self._frames) > 1 else 1
        fps = self.footage.fps / stride * self._every
        zero = np.zeros((len(cameras), 3), np.float32)
        self.run.write_cameras(cameras, None, zero, zero)
        self.run.set_info(
            fps=fps,
            times=[frame / fps for frame in range(count)],
            frame_numbers=list(range(count)),
            up=list(UP),
            down=[-x for x in UP],
            kind="generated",
            cameras_move=False,
            center=[0.0, 0.0, 0.0],
            radius=L4GM.distance,
            near=NEAR,
            background=[1.0, 1.0, 1.0],
            cameras="virtual",
            report={
                "method": "onepass",
                **describe(self.passes.networks),
                "stride": stride,
                "prior": self._source,
                "why": _WHY.get(self._source, f"views that {self._source} invents"),
                "warnings": [*self.footage.notes, *self._warnings()],
            },
        )

    def describe(self) -> list[str]:
        """Add to the run's report which share of the first moment's Gaussians is of a picture that was taken; what
        should be known of the result, a sentence each."""
        seen, report = self.run.seen(0), self.run.info["report"]
        share = 0.0 if seen is None else round(float((seen > 0).mean()), 3)
        self.run.set_info(report={**report, "seen": share})
        return [str(sentence) for sentence in report["warnings"]]

    @property
    def _source(self) -> str:
        return "none" if self.footage.sides is None else self.footage.sides.source

    def _warnings(self) -> Iterator[str]:
        """What a user should know of the result."""
        if self._source == "none" and self.passes.variant.knows_what_is_missing:
            yield "Its sides and its back are a guess: the video shows the front alone."
        elif self._source == "none":
            yield (
                "Only the front is there: L4GM makes nothing where it is given no picture. Give --views, or a helper "
                "that invents them."
            )
        elif self._source != "user":
            yield f"Its sides and its back were invented by {self._source}."
        if self.passes.variant.knows_what_is_missing:
            own = self.passes.variant
            yield f"Made by {own.name}, legs4d's own small network: {own.size} pixels, what is unseen is blurred."

    # -- the passes ------------------------------------------------------------------------------------------------

    def _reconstruct(self) -> None:
        done = set(self.run.stages[STAGE].done_frames)
        every, parts = self._every, self._chunks()
        reporter = self.context.reporter("reconstructing")
        for number, frames in enumerate(parts):
            reporter.step(number, len(parts))
            if all(every * frame in done for frame in frames):
                continue
            # Of a frame that two chunks share, the first one's Gaussians are kept.
            fresh = range(frames.start + (number > 0), frames.stop)
            moments = self.passes.moments(self._video(frames), self._beside(number, frames))
            for frame, moment in zip(frames, moments, strict=True):
                if frame in fresh:
                    self._write(every * frame, moment)
            self.run.frames_done(STAGE, {every * frame: 0.0 for frame in fresh})
        reporter.step(len(parts), len(parts))

    def _beside(self, number: int, frames: range) -> Tensor | None:
        """The other views of a chunk's first moment."""
        if number > 0:
            return self.passes.sides_of(self.run.loose(self._every * frames.start))
        return None if self.footage.sides is None else unit(self.footage.sides.pictures)

    def _interpolate(self) -> None:
        done = set(self.run.stages[STAGE].done_frames)
        pairs = len(self._frames) - 1
        reporter = self.context.reporter("interpolating")
        after: Tensor | None = None
        for pair in range(pairs):
            reporter.step(pair, pairs)
            between = range(self._every * pair + 1, self._every * (pair + 1))
            if all(frame in done for frame in between):
                after = None
                continue
            before = self._drawn(pair) if after is None else after
            after = self._drawn(pair + 1)
            moments = self.passes.between(self._video(range(pair, pair + 2)), (before, after))
            for frame, moment in zip(between, moments, strict=True):
                self._write(frame, moment)
            self.run.frames_done(STAGE, dict.fromkeys(between, 0.0))
        reporter.step(pairs, pairs)

    def _drawn(self, frame: int) -> Tensor:
        return self.passes.sides_of(self.run.loose(self._every * frame))

    def _write(self, frame: int, moment: Moment) -> None:
        real = moment.view == 0
        if frame == 0 and self._source == "user":
            real |= True
        self.run.write_loose(frame, moment.gaussians, seen=real)


def cameras_of(sides: SideViews | None, elevation: float) -> Cameras:
    """Cameras of the video and of the other views: as told, or L4GM's four."""
    azimuths = AZIMUTHS if sides is None else (0.0, *sides.azimuths)
    return L4GM.cameras(elevation, azimuths, SHOWN)


def _nothing() -> Gaussians:
    zero = np.zeros
    return Gaussians(
        zero((0, 3), np.float32),
        zero((0, 4), np.float32),
        zero((0, 3), np.float32),
        zero(0, np.float32),
        zero((0, 3), np.float32),
        zero(0, np.bool_),
    )
