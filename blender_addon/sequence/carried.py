"""Points that hang on a run's control nodes: between two captured frames they go with these, not straight on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cache.frames import RunCache
from ..portable.between import carried

Array = np.ndarray[Any, Any]


class Carried:
    """Which of a run's moving points hang on which nodes; none where no deformation made it."""

    def __init__(self, cache: RunCache) -> None:
        nodes, first = cache.table("nodes"), cache.description.num_static
        self._follows: Array = np.empty(0, np.intp)
        if not nodes:
            return
        index, weight = nodes["index"][first:], nodes["weight"][first:]
        self._follows = np.flatnonzero((weight > 0).any(axis=1))
        self._bound = index[self._follows], weight[self._follows]
        self._pose: Array = nodes["pose"]

    @property
    def is_any(self) -> bool:
        """Whether any point hangs on nodes."""
        return len(self._follows) > 0

    def place(
        self,
        position: Array,
        rotation: Array,
        now: tuple[Array, Array],
        then: tuple[Array, Array],
        frame: int,
        share: float,
    ) -> None:
        """Put those that hang on nodes where they are the share of the way from a frame to the next, in place.

        Args:
            position, rotation: [M, 3], [M, 4] of all moving points, to be overwritten.
            now, then: the same in the two frames.
        """
        rows, poses = self._follows, (self._pose[frame], self._pose[frame + 1])
        parts = [(means[rows], quats[rows]) for means, quats in (now, then)]
        position[rows], rotation[rows] = carried(parts[0], parts[1], self._bound, poses, share)
