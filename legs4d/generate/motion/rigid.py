"""Points moved as rigidly as possible to where pictures say that some of them are (Sorkine and Alexa 2007)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]
ROUNDS = 12
"""Of finding turns, then places."""
HELD = 1e-3
"""Weight of staying where it was, which decides where nothing else does."""


@dataclass(frozen=True)
class Graph:
    """K points at rest, each tied to its neighbours.

    Attributes:
        rest: [K, 3]; ties: [E, 2] pairs; weights: [E].
    """

    rest: Array
    ties: NDArray[np.int64]
    weights: Array

    @classmethod
    def of(cls, rest: Array, neighbours: int = 8) -> Graph:
        """Each tied to its nearest; all together in one piece."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        distance, near = cKDTree(rest).query(rest, k=min(neighbours + 1, len(rest)))
        pairs = {(min(i, j), max(i, j)) for i, row in enumerate(near[:, 1:].tolist()) for j in row if i != j}
        while True:
            ties = np.array(sorted(pairs), np.int64).reshape(-1, 2)
            graph = coo_matrix((np.ones(len(ties)), ties.T), shape=(len(rest), len(rest)))
            count, part = connected_components(graph, directed=False)
            if count == 1:
                break
            first = np.flatnonzero(part == part[0])
            others = np.flatnonzero(part != part[0])
            away, which = cKDTree(rest[first]).query(rest[others])
            at = int(away.argmin())
            pairs.add((min(first[which[at]], others[at]), max(first[which[at]], others[at])))
        spacing = float(np.median(distance[:, 1:])) if len(rest) > 1 else 1.0
        length = np.linalg.norm(rest[ties[:, 0]] - rest[ties[:, 1]], axis=1)
        return cls(rest, ties, 1 / (1 + (length / spacing) ** 2))

    def moved(self, before: Array, wanted: Array, trust: Array) -> tuple[Array, Array]:
        """(places [K, 3], turns [K, 4] wxyz from rest).

        Args:
            before: [K, 3] where they were.
            wanted: [K, 3] where pictures have them.
            trust: [K, 3] how much that counts in each axis, against ties of weight 1 at most; 0 where nothing is known.
        """
        count, (i, j) = len(self.rest), self.ties.T
        laplacian = np.zeros((count, count))
        np.add.at(laplacian, (i, i), self.weights)
        np.add.at(laplacian, (j, j), self.weights)
        np.add.at(laplacian, (i, j), -self.weights)
        np.add.at(laplacian, (j, i), -self.weights)
        factors = [cho_factor(laplacian + np.diag(trust[:, axis] + HELD)) for axis in range(3)]
        edges = self.rest[i] - self.rest[j]
        now = before.copy()
        turns = self._turns(now, edges)
        for _ in range(ROUNDS):
            both = (turns[i] + turns[j]) / 2
            pull = self.weights[:, None] * np.einsum("exy,ey->ex", both, edges)
            right = trust * wanted + HELD * before
            np.add.at(right, i, pull)
            np.add.at(right, j, -pull)
            now = np.stack([cho_solve(factors[axis], right[:, axis]) for axis in range(3)], axis=1)
            turns = self._turns(now, edges)
        quats = Rotation.from_matrix(turns).as_quat()[:, [3, 0, 1, 2]]
        return now, quats

    def _turns(self, now: Array, edges: Array) -> Array:
        """[K, 3, 3] the turn that brings each point's ties at rest closest to those now."""
        i, j = self.ties.T
        product = self.weights[:, None, None] * (now[i] - now[j])[:, :, None] * edges[:, None, :]
        total = np.zeros((len(self.rest), 3, 3))
        np.add.at(total, i, product)
        np.add.at(total, j, product)
        left, _, right = np.linalg.svd(total + 1e-12 * np.eye(3))
        sign = np.sign(np.linalg.det(left @ right))
        left[:, :, 2] *= sign[:, None]
        return np.asarray(left @ right)
