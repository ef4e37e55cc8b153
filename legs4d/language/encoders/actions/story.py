"""What there is to say of a run's objects, frame by frame, as few states that many frames share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.motion.recognised import ACTIONS, LIKELY, Recognised

MOST_STATES = 61
"""That an embedding has room for."""
TRIFLES = ("approach", "still", "shake", "slide", "walk", "hold", "held", "roll")
"""Actions that are left out, one after the other, of runs in which more happens than there is room for."""


@dataclass(frozen=True)
class Deed:
    """One of the things that an object does in a state.

    Attributes:
        action: of `motion.recognised.ACTIONS`.
        other: the row of who takes part, -1 for nobody.
        sure: 0..1, mean over the state's frames.
    """

    action: str
    other: int
    sure: float


@dataclass(frozen=True)
class State:
    """All that an object does at a time.

    Attributes:
        row: of the object.
        deeds: in the order of ACTIONS.
    """

    row: int
    deeds: tuple[Deed, ...]


@dataclass(frozen=True)
class Story:
    """Of O objects in T frames.

    Attributes:
        states: at most MOST_STATES.
        at: [T, O] the state that each object is in, -1 for one that is left out.
    """

    states: tuple[State, ...]
    at: NDArray[np.int64]


def tell(found: Recognised) -> Story:
    """The same for the same."""
    left_out: set[str] = set()
    for trifle in (None, *TRIFLES, *ACTIONS):
        if trifle is not None:
            left_out.add(trifle)
        keys = [[_key(found, t, row, left_out) for row in range(found.count)] for t in range(found.frames)]
        known = dict.fromkeys(key for row in range(found.count) for key in [keys[t][row] for t in range(found.frames)])
        if len(known) <= MOST_STATES:
            break
    number = {key: i for i, key in enumerate(list(known)[:MOST_STATES])}
    at = np.array([[number.get(key, -1) for key in row] for row in keys], np.int64).reshape(found.frames, found.count)
    states = [
        State(key[0], tuple(Deed(action, other, _sure(found, at == i, action)) for action, other in key[1]))
        for key, i in number.items()
    ]
    return Story(tuple(states), at)


_Key = tuple[int, tuple[tuple[str, int], ...]]


def _key(found: Recognised, frame: int, row: int, left_out: set[str]) -> _Key:
    deeds = tuple(
        (action, int(found.other[action][frame, row]))
        for action in ACTIONS
        if action not in left_out and action in found.sure and found.sure[action][frame, row] >= LIKELY
    )
    return row, deeds


def _sure(found: Recognised, where: NDArray[np.bool_], action: str) -> float:
    return float(found.sure[action][where].mean())
