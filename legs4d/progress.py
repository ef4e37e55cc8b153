"""How long work tells of itself, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a stage is.

    Attributes:
        stage: its name, a word or several joined by underscores.
        done, total: steps or frames done, of how many.
        loss: the training loss, where there is one.
        seconds_left: estimate for this stage, where there is one.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None
    seconds_left: float | None = None


OnProgress = Callable[[Progress], None]
