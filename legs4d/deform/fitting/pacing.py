"""Which pictures a fit looks at while it has not taken up all of them: those next that it already explains best.

So motion is followed from moment to moment where it is slow, and where it is fast, from both sides (self-paced
learning, Kumar, Packer and Koller 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.deform.footage.opening import Opening

NEWEST = 0.5
"""Share of a step's pictures that are of those taken up last."""
NEW = 0.2
"""Share of the pictures so far that were taken up last."""
NEIGHBOURS = 2
"""Pictures before and after whose errors count for each: one alone may not show what moves."""


@dataclass
class Pacing:
    """Pictures in the order in which they are taken up.

    Attributes:
        opening: what it begins with.
        steps: until all pictures are taken up; every: steps after which it is looked which are next.
        order: [F] int64, those taken up first; taken: how many are.
        by_time: [F] int64, all pictures in the order of their times.
    """

    opening: Opening
    steps: int
    every: int
    seed: int
    by_time: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.order, self.taken = self.opening.order.copy(), self.opening.count

    def due(self, step: int) -> bool:
        """Whether it is to be looked before this step which pictures are next."""
        return step < self.steps and step % self.every == 0

    def wanted(self, step: int) -> int:
        """How many pictures are to be taken up before this step."""
        first, count = self.opening.count, len(self.order)
        return round(first + (count - first) * step / self.steps)

    def take_up(self, errors: NDArray[np.float64], step: int) -> None:
        """Those next that are explained best.

        Args:
            errors: [F] of all pictures.
        """
        before = self.taken
        smooth = np.empty(len(errors))
        ordered = np.pad(errors[self.by_time], NEIGHBOURS, mode="edge")
        smooth[self.by_time] = np.convolve(ordered, np.ones(2 * NEIGHBOURS + 1), mode="valid")
        left = self.order[before:]
        self.order = np.concatenate([self.order[:before], left[np.argsort(smooth[left], kind="stable")]])
        self.taken = max(before, self.wanted(step))

    def draw(self, step: int, batch: int) -> NDArray[np.int64]:
        """[every, batch] pictures of the steps from this one on; the same whenever it is asked."""
        chance = np.random.default_rng([self.seed, step])
        newest = (np.arange(batch) < NEWEST * batch) & (self.taken > self.opening.count)
        first = np.where(newest, int((1 - NEW) * self.taken), 0)
        steps = min(self.every, self.steps - step)
        return self.order[chance.integers(np.broadcast_to(first, (steps, batch)), self.taken)]
