"""The video's frames as the fit sees them: in the scene's colours, and checked for what cannot be followed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from legs4d.animate.footage import colors
from legs4d.animate.footage.video import MOST_CHANGED, MotionVideo, Still, compare_surroundings
from legs4d.animate.tracking.motions import Motion
from legs4d.animate.tracking.stage import Stage
from legs4d.errors import DatasetError

ALIKE = 0.6
"""Correlation of the first frame with the scene, below which it is another scene."""
MOST_MOVED = 0.5
"""Share of the patches beside the object that may lie elsewhere than in the first frame."""
SUDDEN = 0.35
"""Share of the picture that shows something else from one frame to the next after a cut."""
SOLID = 0.9
"""Share of a pixel that is filled where the scene says what is seen."""

Picture = NDArray[np.float32]


class Filmed:
    """Frames of a video through a stage's camera.

    Args:
        start: where the object is in the first frame.

    Raises:
        DatasetError: the first frame does not show the scene.
    """

    def __init__(self, video: MotionVideo, stage: Stage, start: Motion) -> None:
        self._video, self._stage = video, stage
        with torch.no_grad():
            made = stage.predict([start])
        rendered, alpha, share = (x[0].cpu().numpy() for x in (made.color, made.alpha, made.share))
        own, solid = self._read(0), alpha > SOLID
        self._map = colors.between(own, rendered, solid)
        self.first = self._map(own)
        found = colors.alike(self.first, rendered, solid)
        if found < ALIKE:
            raise DatasetError(
                f"its first frame does not show this scene (they are alike by {max(found, 0):.2f} of 1, "
                f"{ALIKE:g} is needed)",
                where=str(video.path),
                fix="check --camera and --frame, or give a video that begins as the run looks from there",
            )
        self._share, self._changed = share, 0.0

    def read(self, frame: int) -> Picture:
        """[H, W, 3] of a frame, in the scene's colours."""
        return self.first if frame == 0 else self._map(self._read(frame))

    def seen(self, frame: int, thing: Motion) -> Picture:
        """The same, brought to the first frame's exposure by what is beside the object, once that was looked at.

        Args:
            thing: where the object was last.

        Raises:
            DatasetError: the camera moved, or there is a cut.
        """
        picture = self.read(frame)
        if frame == 0:
            return picture
        beside = self._beside(thing)
        picture = colors.between(picture, self.first, beside)(picture)
        still = compare_surroundings(self.first, picture, beside)
        self._refuse(frame, still)
        self._changed = still.changed
        return picture

    def _refuse(self, frame: int, still: Still) -> None:
        number, where = self._video.first + frame, str(self._video.path)
        fix = "film with a camera that stands still"
        if frame > 1:
            fix += f", or follow what comes before: --frames {self._video.first}:{number - 1}"
        if still.changed - self._changed > SUDDEN and still.changed > MOST_CHANGED * MOST_MOVED:
            what = f"frame {number} shows something else than the one before, so that there is a cut"
            raise DatasetError(what, where=where, fix=fix.replace("film with a camera that stands still, or ", ""))
        if still.moved > MOST_MOVED:
            what = f"its camera moves: in frame {number} {still.moved:.0%} of what stands still is elsewhere"
            raise DatasetError(what, where=where, fix=fix)
        if still.changed > MOST_CHANGED:
            what = f"in frame {number} {still.changed:.0%} of what is not the object looks otherwise than at first"
            raise DatasetError(what, where=where, fix=fix)

    def _beside(self, thing: Motion) -> NDArray[np.bool_]:
        with torch.no_grad():
            share = self._stage.predict([thing]).share[0].cpu().numpy()
        reach = max(2, round(0.03 * share.shape[1]))
        return ~binary_dilation((share > 0.05) | (self._share > 0.05), iterations=reach)

    def _read(self, frame: int) -> Picture:
        return self._video.read(frame, self._stage.camera.width, self._stage.camera.height)
