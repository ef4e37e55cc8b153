"""What is recognised of objects over time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from legs4d.motion.measures import runs
from legs4d.motion.tracks import Floats

ACTIONS = (
    *("fly", "fall", "rise", "bounce", "roll", "slide", "spin", "shake", "topple", "open", "close", "still"),
    *("held", "carried", "thrown", "caught", "kicked", "lifted", "put down", "approach"),
    *("walk", "run", "jump", "hold", "carry", "throw", "catch", "kick", "lift", "set down"),
)
"""What motion tells. The second row happens to a thing, the third is what a being does: `PAIRS` says with what."""

PAIRS = {
    "hold": "held",
    "carry": "carried",
    "throw": "thrown",
    "catch": "caught",
    "kick": "kicked",
    "lift": "lifted",
    "set down": "put down",
}
"""What somebody does, and what that is for the thing."""

LIKELY = 0.5
"""How sure an action has to be, to be said to happen."""
PAUSE = 1
"""Frames in which it may be less sure without ending."""


@dataclass(frozen=True)
class Happening:
    """One object does one thing.

    Attributes:
        object: its place in `Tracks`.
        action: of `ACTIONS`.
        start, end: first and last frame.
        sure: 0..1, mean over them.
        other: the other object that takes part, as `object`; -1 for none.
    """

    object: int
    action: str
    start: int
    end: int
    sure: float
    other: int = -1


@dataclass
class Recognised:
    """Of O objects in T frames.

    Attributes:
        sure: action → [T, O] 0..1; actions that never happen are left out.
        other: action → [T, O] the other object that takes part, -1 for none.
    """

    frames: int
    count: int
    sure: dict[str, Floats] = field(default_factory=dict)
    other: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def note(self, action: str, who: int, when: slice | NDArray, sure: float | Floats, other: int = -1) -> None:
        """An object does something in some frames; what was noted with more certainty stays."""
        if action not in ACTIONS:
            raise ValueError(action)
        curve = self.sure.setdefault(action, np.zeros((self.frames, self.count)))
        with_it = self.other.setdefault(action, np.full((self.frames, self.count), -1))
        old, new = curve[when, who], np.broadcast_to(sure, curve[when, who].shape)
        with_it[when, who] = np.where(new > old, other, with_it[when, who])
        curve[when, who] = np.maximum(old, new)

    def happenings(self) -> list[Happening]:
        """Everything that is likely, by object and time."""
        found = []
        for action, sure in self.sure.items():
            for who in range(self.count):
                for start, end in _stretches(sure[:, who] >= LIKELY):
                    others = self.other[action][start : end + 1, who]
                    other = int(np.bincount(others[others >= 0]).argmax()) if (others >= 0).any() else -1
                    mean = float(sure[start : end + 1, who].mean())
                    found.append(Happening(who, action, start, end, mean, other))
        return sorted(found, key=lambda one: (one.object, one.start, one.end, one.action))


def _stretches(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last), pauses of up to `PAUSE` frames filled."""
    joined: list[tuple[int, int]] = []
    for first, last in runs(flags):
        if joined and first - joined[-1][1] <= PAUSE + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
