"""The object followed through a video, frame after frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.bend import LEAST_PIXELS, Bender, Bends, BendSettings
from legs4d.animate.tracking.kept import fits_of, state_of
from legs4d.animate.tracking.motions import Motion, Sight, on_course
from legs4d.animate.tracking.pulls import Contact, by_depth, toward
from legs4d.animate.tracking.refine import Fit, OutOfSight, Pull, RefineSettings, refine
from legs4d.animate.tracking.stage import Stage
from legs4d.animate.tracking.start import Flow, best_of, by_flow

Picture = NDArray[np.float32]
Disparity = Callable[[int], NDArray[np.float32] | None]
"""Frame → [H, W] 1 / depth but for scale and shift, not finite where it is not known; None where there is none."""


@dataclass(frozen=True)
class FollowSettings:
    """How a clip is followed; chosen on motions that nothing is judged on (docs/animate.md).

    Attributes:
        refine: of a frame.
        loose: [6] pixels (of 160) by which a frame may be off the course of those before.
        lost: share of the object that has to look as predicted; with less, the frame says nothing of it.
        sure: and from which the look of what was unknown is learned.
        bend: how an object bends, where no rigid motion explains a frame; None: it never does.
    """

    refine: RefineSettings = field(default_factory=RefineSettings)
    loose: tuple[float, ...] = (6.0, 6.0, 2.0, 4.0, 4.0, 4.0)
    lost: float = 0.3
    sure: float = 0.6
    bend: BendSettings | None = field(default_factory=BendSettings)


class Follower:
    """Follows one object.

    Args:
        stage: with the object at rest.
        read: frame → [H, W, 3] 0..1, of the camera's size.
        settings: how.
        start: where the object is in the first frame.
        flow: finds large moves; None: none is looked for.
        contact: what it touches all the time.
        disparity: depth maps.
        kept: what `state` gave before; at most `most` frames of it count.
    """

    def __init__(
        self,
        stage: Stage,
        read: Callable[[int], Picture],
        settings: FollowSettings,
        *,
        start: Motion | None = None,
        flow: Flow | None = None,
        contact: Contact | None = None,
        disparity: Disparity | None = None,
        kept: dict[str, NDArray[np.generic]] | None = None,
        most: int | None = None,
    ) -> None:
        self.stage, self.settings, self._read = stage, settings, read
        self._start = np.eye(4) if start is None else start
        self._flow, self._contact, self._disparity = flow, contact, disparity
        self.fits: list[Fit] = fits_of(kept)[:most]
        stage.correct(self.frame(0), self._start)
        self._bender = None if settings.bend is None else Bender(stage, settings.bend)
        self._take(self.fits[-1].bends if self.fits else None)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that is known so far, as arrays."""
        return state_of(self.fits)

    def frame(self, number: int) -> torch.Tensor:
        """[H, W, 3] on the stage's device."""
        return torch.as_tensor(self._read(number), dtype=torch.float32, device=self.stage.device)

    def step(self, picture: Picture | None = None) -> Fit:
        """Fit the next frame, or this picture of it. Raises OutOfSight when the object is not in it."""
        number, own = len(self.fits), self.settings
        frame = self.frame(number) if picture is None else torch.as_tensor(picture, device=self.stage.device)
        stage, pulls = self.stage, list[Pull]()
        if number == 0:
            begin, blurs = self._start, own.refine.blurs[1:]
        else:
            before = [fit.motion for fit in self.fits[-2:]]
            course = on_course(before, stage.body)
            begin, blurs = self._begin(frame, course, before[-1]), own.refine.blurs
            loose = [pixels * stage.camera.width / 160 for pixels in own.loose]
            pulls.append(toward(stage.camera, stage.body, begin, loose))
            if self._contact is not None:
                pulls.append(self._contact)
        fit = refine(stage, frame, begin, own.refine, pulls, blurs)
        disparity = None if self._disparity is None or number == 0 else self._disparity(number)
        if disparity is not None:
            far = by_depth(stage, fit.motion, disparity)
            if far is not None:
                pulls.append(far)
                fit = refine(stage, frame, fit.motion, own.refine, pulls, blurs[-1:])
        if number:
            fit = self._bent(frame, fit, pulls)
        if fit.agreeing < own.lost:
            # What covers the object would draw it along.
            unknown = course if number else self._start
            fit = replace(fit, motion=unknown, information=np.zeros((6, 6)))
        self.fits.append(fit)
        return fit

    def _bent(self, frame: torch.Tensor, fit: Fit, pulls: list[Pull]) -> Fit:
        """The fit with nodes, where the object looks too unlike for its shape."""
        bender, own = self._bender, self.settings
        now = self.fits[-1].bends
        if bender is None or fit.agreeing >= self.fits[0].agreeing - bender.settings.suspicious:
            return replace(fit, bends=now)
        if fit.share < LEAST_PIXELS * len(bender.nodes):
            return replace(fit, bends=now)
        found = bender.fit(frame, fit.motion)
        if found is None:
            return replace(fit, bends=now)
        bender.take(found)
        return replace(refine(self.stage, frame, fit.motion, own.refine, pulls, own.refine.blurs[-1:]), bends=found)

    def _take(self, bends: NDArray[np.float32] | None) -> None:
        if self._bender is not None:
            self._bender.take(bends)

    def _begin(self, frame: torch.Tensor, course: Motion, last: Motion) -> Motion:
        starts = [course, last]
        for near in (course, last) if self._flow is not None else ():
            try:
                found = by_flow(self.stage, frame, near, self._flow)  # type: ignore[arg-type]
            except OutOfSight:
                continue
            if found is not None:
                starts.append(found)
                break
        return best_of(self.stage, frame, starts)

    def learn(self, motions: Sequence[Motion]) -> None:
        """Take the look of what the run does not know from the frames in which the object was found. Not before all are
        done: what is painted on too early holds the object where it is painted."""
        for number, (fit, motion) in enumerate(zip(self.fits, motions, strict=True)):
            if number and fit.agreeing > self.settings.sure:
                self._take(fit.bends)
                self.stage.learn(self.frame(number), motion)
        self._take(None)

    @property
    def bends(self) -> Bends | None:
        """How the object bends in the frames so far; None where it does not."""
        if self._bender is None or all(fit.bends is None for fit in self.fits):
            return None
        return self._bender.nodes.over([fit.bends for fit in self.fits])

    def motions(self) -> list[Motion]:
        """Of all frames so far, from rest.

        What the first frame is met by is not quite where the object is known to be, as the scene is no perfect picture
        of itself; later frames are off by about as much, as the camera sees it.
        """
        camera, body = self.stage.camera, self.stage.body
        off = Sight.of(camera, body, self._start).change_between(self._start, self.fits[0].motion, body)
        return [Sight.of(camera, body, fit.motion).changed(fit.motion, -off) for fit in self.fits]
