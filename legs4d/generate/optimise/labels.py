"""Views of later frames, where those that are given show the first frame alone: what follows the video is looked at.

4DGen has a helper predict views of every frame. Views of the first frame, repeated for all others, say that nothing
moves: a field that bends then holds still what the video alone shows to move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.deform.fit import Fit
from legs4d.generate.drawing import drawn
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras

MOST_MOMENTS = 64
"""Frames that are looked at, spread over the video: all together are kept as bytes."""


def labels(
    followed: Fit, around: Cameras, count: int, reporter: StageReporter
) -> tuple[NDArray[np.uint8], Cameras, NDArray[np.int64]]:
    """Pictures [F, S, S, 4] (colours times alpha), their cameras, and the frame of each, 1 to `count` - 1.

    Args:
        followed: a shape that follows the video, at its end.
        around: cameras of the given views.
        count: frames of the video, 2 at least.
    """
    moments = np.unique(np.linspace(1, count - 1, min(count - 1, MOST_MOMENTS)).round().astype(np.int64))
    pictures = []
    for number, frame in enumerate(moments.tolist()):
        reporter.step(number, len(moments))
        pictures.append(drawn([followed.gaussians_at(frame / (count - 1))], around, followed.near))
    return np.concatenate(pictures), Cameras.together([around] * len(moments)), np.repeat(moments, len(around))
