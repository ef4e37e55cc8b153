"""A follower led through a whole video: what was fitted is kept, and what cannot be followed is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from legs4d.animate.footage.filming import Filmed
from legs4d.animate.footage.video import MotionVideo
from legs4d.animate.tracking.follow import Follower
from legs4d.animate.tracking.motions import Motion, Sight
from legs4d.animate.tracking.refine import Fit, OutOfSight
from legs4d.animate.tracking.stage import Stage
from legs4d.errors import DatasetError, Legs4dError

KEEP_EVERY = 5.0
"""Seconds after which fits are kept."""
MOST_LOST = 6
"""Frames in a row in which the object may be hidden; where it is in the meantime is told by its course."""
LEFT = 0.35
"""Share of its pixels of the first frame, of which an object that is leaving shows less."""

Step = Callable[[int, int, float | None], object]
"""Told how many frames are done, of how many, and the last one's residual; what it raises ends the work."""


def follow_clip(follower: Follower, filmed: Filmed, video: MotionVideo, step: Step, keep: Callable[[], None]) -> None:
    """Fit all frames that are not fitted yet.

    Args:
        keep: stores the follower's state; also called when the work ends before its time.

    Raises:
        DatasetError: the object leaves the picture, or is lost; the camera moves, there is a cut.
        Legs4dError: it is not in the first frame as it should be.
    """
    last, lost = time.monotonic(), _trailing(follower.fits)
    try:
        while (done := len(follower.fits)) < video.num_frames:
            step(done, video.num_frames, follower.fits[-1].residual if done else None)
            before = follower.fits[-1].motion if done else np.eye(4)
            try:
                fit = follower.step(filmed.seen(done, before))
            except OutOfSight:
                raise _gone("leaves the picture", done, video) from None
            lost = lost + 1 if not fit.information.any() else 0
            if done == 0 and lost:
                raise Legs4dError(
                    f"the object does not look there as in the run (only {fit.agreeing:.0%} of it)",
                    where=f"{video.path}, frame {video.first}",
                    fix="say by --start how it is moved and turned there, or choose another --frame",
                )
            if lost > MOST_LOST:
                raise _gone("is hidden, or lost,", done - MOST_LOST, video)
            if fit.share < LEFT * follower.fits[0].share and _at_border(follower.stage, fit.motion):
                raise _gone("leaves the picture", done, video)
            if time.monotonic() - last > KEEP_EVERY:
                keep()
                last = time.monotonic()
    finally:
        if follower.fits:
            keep()
    step(video.num_frames, video.num_frames, None)


def _at_border(stage: Stage, motion: Motion) -> bool:
    """Whether the object's middle is outside of the picture, or its radius reaches out."""
    sight = Sight.of(stage.camera, stage.body, motion)
    reach = stage.body.radius / sight.units[0]
    size = np.array([stage.camera.width, stage.camera.height])
    return bool((sight.pixel < reach).any() or (sight.pixel > size - reach).any())


def _gone(what: str, frame: int, video: MotionVideo) -> Legs4dError:
    number = video.first + frame
    fix = "film it so that it stays in sight"
    if frame > 1:
        fix = f"follow what comes before, by --frames {video.first}:{number - 1}: its fits are kept"
    return DatasetError(f"the object {what} from frame {number} on", where=str(video.path), fix=fix)


def _trailing(fits: Sequence[Fit]) -> int:
    """How many of the last frames were lost."""
    count = 0
    for fit in reversed(fits):
        if fit.information.any():
            break
        count += 1
    return count
