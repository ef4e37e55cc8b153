"""From when to when a Gaussian is there: between what contradicts it before, and what does after."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from legs4d.reconstruct.births.evidence import Evidence

SHOWN = 0.5
"""Pixels, over all views, that a Gaussian has to fill for a frame to say anything of it."""
WRONG = 0.12
"""Mean absolute difference over what a Gaussian fills, from which a frame contradicts it."""
OUTSIDE = 0.8
"""Share of what a foreground Gaussian fills where no foreground is near, from which a frame contradicts it."""
MANY = 0.01
"""Share of the moving Gaussians that have to end between two frames for those in between to be looked at."""
TWICE = 2
"""Frames that have to contradict an end: one alone may be a blur, or a mask that errs."""

STRAYS = 0.5
"""Share of the pixels, over all views, that nothing explains, from which a frame is no picture of what was tracked."""
FEW = 0.25
"""Share of the frames that may be such in a row; where there are more, the light has changed."""


def straying(lack: list[float]) -> list[bool]:
    """Which of the known frames lack `STRAYS` of their pixels between others that do not: a flash, or a black frame.

    Their colours would be taken for the light's, and show in all frames up to the next known ones. The first and the
    last never count: nothing says that what begins or ends there does not go on.
    """
    off = [one > STRAYS for one in lack]
    found = [False] * len(off)
    begin = 0
    for strays, group in groupby(off):
        end = begin + len(list(group))
        if strays and begin > 0 and end < len(off) and end - begin <= max(1, FEW * len(off)):
            found[begin:end] = [True] * (end - begin)
        begin = end
    return found


def said(evidence: Evidence, rows: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """([K] a frame bears a foreground Gaussian out, [K] it contradicts it); neither where it does not show it."""
    mass = evidence.mass[rows]
    filled = np.maximum(mass, SHOWN)
    contradicted = (evidence.wrong[rows] > WRONG * filled) | (evidence.outside[rows] > OUTSIDE * filled)
    shown = mass > SHOWN
    return shown & ~contradicted, shown & contradicted


def said_by(evidence: list[Evidence], rows: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[F, K] each: `said` by F frames."""
    told = [said(one, rows) for one in evidence]
    return np.stack([one[0] for one in told]), np.stack([one[1] for one in told])


def spans(
    borne_out: NDArray[np.bool_], contradicted: NDArray[np.bool_], known: list[int], num_frames: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """[K] first and last frame alive, from what the known frames (ascending) say [F, K].

    Those that say nothing leave it alive. One that nothing bears out and `TWICE` contradict never is: first after last.
    """
    count = borne_out.shape[1]
    born, died = np.zeros(count, np.int32), np.full(count, num_frames - 1, np.int32)
    for into, order in ((born, range(len(known))), (died, range(len(known) - 1, -1, -1))):
        step = 1 if into is born else -1
        settled, against, last = np.zeros(count, np.bool_), np.zeros(count, np.int64), into.copy()
        for position in order:
            settled |= borne_out[position]
            here = contradicted[position] & ~settled
            against += here
            last[here] = known[position] + step
        ends = against >= TWICE
        into[ends] = last[ends]
    return born, died


def sharpened(
    died: NDArray[np.int32], known: list[int], num_frames: int, rows: slice, look_at: Callable[[int], Evidence]
) -> NDArray[np.int32]:
    """The ends [K] in frames between the known ones, after a look at these where much ends."""
    found = died.copy()
    for before, after in pairwise(known):
        ending = died == after - 1
        if after == before + 1 or after - 1 == num_frames - 1 or ending.mean() < MANY:
            continue
        open_ = ending.copy()
        for frame in range(before + 1, after):
            gone = open_ & said(look_at(frame), rows)[1]
            found[gone] = frame - 1
            open_ &= ~gone
    return found
