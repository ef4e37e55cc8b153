"""Which Gaussians are beside each other: what fills in those that no picture shows, and tells pieces apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from legs4d.gaussians.gaussians import Gaussians

NEIGHBOURS = 8
ROUNDS = 8
"""Of asking neighbours: how many Gaussians deep what no picture shows is filled."""
WEAK = 4.0
"""Times the trusted mass from which a Gaussian needs nobody's advice."""
REACH = 3.0
"""Of the sum of two Gaussians' largest standard deviations: farther apart they do not touch."""
_NOBODY = 1e-9
"""Pixels below which neither a Gaussian nor its neighbours say anything."""
_COLOR = 0.15
"""RGB that two neighbours may differ in and still look like one thing."""


@dataclass(frozen=True)
class Neighbours:
    """The K nearest of each of N Gaussians.

    Attributes:
        index: [N, K] int32, itself not among them.
        touches: [N, K] bool, whether they are near enough to touch.
        likeness: [N, K] float32, 0..1 by distance and colour.
    """

    index: NDArray[np.int32]
    touches: NDArray[np.bool_]
    likeness: NDArray[np.float32]

    @classmethod
    def of(cls, gaussians: Gaussians, count: int = NEIGHBOURS, threads: int = -1) -> Neighbours:
        """Of numpy Gaussians."""
        n = len(gaussians)
        count = min(count, n - 1)
        if count < 1:
            none = np.zeros((n, 0))
            return cls(none.astype(np.int32), none.astype(bool), none.astype(np.float32))
        means = gaussians.means
        found, index = cKDTree(means).query(means, k=count + 1, workers=threads)
        # Where several lie at one place, a Gaussian need not be its own first neighbour.
        own = index == np.arange(n)[:, None]
        own[~own.any(axis=1), -1] = True
        distance, index = found[~own].reshape(n, count), index[~own].reshape(n, count)
        reach = gaussians.scales.max(axis=1)
        touches = distance <= REACH * (reach[:, None] + reach[index])
        spread = np.maximum(distance[:, -1:], np.finfo(np.float32).tiny)
        colors = ((gaussians.rgb[:, None] - gaussians.rgb[index]) ** 2).sum(axis=2)
        likeness = np.exp(-((distance / spread) ** 2) - colors / (2 * _COLOR**2))
        return cls(index.astype(np.int32), touches, likeness.astype(np.float32))

    def at(self, slots: NDArray[np.int64], count: int) -> Neighbours:
        """The same among `count` Gaussians, of which these are those at `slots` [N]; the others have no neighbours."""
        index = np.repeat(np.arange(count, dtype=np.int32)[:, None], self.index.shape[1], axis=1)
        index[slots] = slots[self.index]
        touches, likeness = np.zeros(index.shape, bool), np.zeros(index.shape, np.float32)
        touches[slots], likeness[slots] = self.touches, self.likeness
        return Neighbours(index, touches, likeness)

    def filled(
        self, shares: scipy.sparse.csr_array, mass: NDArray[np.float32], trusted: float, rounds: int = ROUNDS
    ) -> scipy.sparse.csr_array:
        """Shares [N, S] in which Gaussians that fill few pixels are told by their neighbours, the more the fewer.

        What hardly any picture shows peeps out beside other things: its own share is chance. Round by round,
        f = (m f + t Σ w c f') / (m + t Σ w c), with w the likeness of neighbours and c how sure they are by now.

        Args:
            mass: m, [N] pixels that each fills; 0 where no picture shows it.
            trusted: t, pixels with which a Gaussian has as much to say of itself as all its neighbours together.
        """
        weak = np.flatnonzero(mass < WEAK * trusted)
        if not len(weak) or trusted <= 0 or not self.index.shape[1]:
            return shares
        beside = self.index[weak]
        weight = self.likeness[weak] * self.touches[weak]
        weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
        sure = (mass / (mass + trusted)).astype(np.float32)
        own, told = scipy.sparse.csr_array(shares[weak]), shares
        strong = np.ones(len(mass), np.float32)
        strong[weak] = 0
        kept = scipy.sparse.csr_array(scipy.sparse.diags_array(strong) @ shares)
        rows = np.repeat(np.arange(len(weak)), beside.shape[1])
        place = (np.ones(len(weak), np.float32), (weak, np.arange(len(weak))))
        back = scipy.sparse.csr_array(place, shape=(len(mass), len(weak)))
        for _ in range(rounds):
            pull = trusted * weight * sure[beside]
            total = mass[weak] + pull.sum(axis=1)
            scale = np.divide(1, total, out=np.zeros_like(total), where=total > _NOBODY)
            asked = scipy.sparse.csr_array((pull.ravel(), (rows, beside.ravel())), shape=(len(weak), len(mass)))
            said = scipy.sparse.diags_array(mass[weak]) @ own + asked @ told
            told = scipy.sparse.csr_array(kept + back @ (scipy.sparse.diags_array(scale) @ said))
            sure[weak] = total / (total + trusted)
        return told

    def pieces(self, members: NDArray[np.integer]) -> NDArray[np.int32]:
        """[M] which piece each of these Gaussians belongs to: those that touch, or have one between them that does."""
        place = np.full(len(self.index), -1, np.int64)
        place[members] = np.arange(len(members))
        beside = place[self.index[members]]
        ok = (beside >= 0) & self.touches[members]
        rows = np.repeat(np.arange(len(members)), ok.sum(axis=1))
        links = scipy.sparse.csr_array((np.ones(len(rows), bool), (rows, beside[ok])), shape=(len(members),) * 2)
        return np.asarray(connected_components(links, directed=False)[1], np.int32)
