"""Depth without learned weights: a silhouette blown up like a balloon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, map_coordinates
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import cg

from legs4d.errors import Legs4dError

_RESIDUE = 1e-4
"""Of the right side, at which conjugate gradients end: some thousandths of a pixel."""
_LONGEST = 160
"""Pixels of a silhouette's longer side, beyond which it is solved for coarser ones: the time grows with its cube."""
_NEXT = ((-1, 0), (1, 0), (0, -1), (0, 1))


class Inflation:
    """See `protocols.DepthPrior`. It needs masks, and knows of the things in them alone.

    √u where ∇²u = −4 inside of the silhouette and u = 0 on its edge: of a disc a half ball, of a bar half an
    elliptic cylinder, √2 as high as it is wide to either side.
    """

    def disparity(self, pictures: NDArray[np.float32], masks: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """[T, H, W] pixels that the surface stands out towards the camera; 0 outside of the masks.

        Raises:
            Legs4dError: there are no masks.
        """
        if masks is None:
            fix = "give masks, or put a learned helper's weights there, see `legs4d priors`"
            raise Legs4dError("blows up silhouettes, and there are no masks", where="inflation", fix=fix)
        found = np.zeros(pictures.shape[:3], np.float32)
        for mask, heights in zip(masks, found, strict=True):
            parts, _ = label(mask >= 0.5)
            for number, place in enumerate(find_objects(parts), 1):
                inside = parts[place] == number
                heights[place][inside] = _blown_up(inside)
        return found


def _blown_up(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[P] height in pixels of those inside, in their order."""
    step = -(-max(inside.shape) // _LONGEST)
    if step == 1:
        return np.sqrt(_poisson(inside))
    rows, columns = (-(-size // step) for size in inside.shape)
    whole = np.zeros((rows * step, columns * step), np.bool_)
    whole[: inside.shape[0], : inside.shape[1]] = inside
    coarse = whole.reshape(rows, step, columns, step).mean(axis=(1, 3)) >= 0.5
    heights = np.zeros(coarse.shape)
    heights[coarse] = step * np.sqrt(_poisson(coarse))
    where = (np.stack(np.nonzero(inside)) + 0.5) / step - 0.5
    return np.asarray(map_coordinates(heights, where, order=1, mode="nearest"))


def _poisson(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[P] u of the pixels inside, in their order. The edge runs between pixels, half a step from their middles."""
    rows = np.full((inside.shape[0] + 2, inside.shape[1] + 2), -1)
    count = int(inside.sum())
    rows[1:-1, 1:-1][inside] = np.arange(count)
    middle = rows[1:-1, 1:-1][inside]
    around = np.stack([rows[1 + y : rows.shape[0] - 1 + y, 1 + x : rows.shape[1] - 1 + x][inside] for y, x in _NEXT])
    # a neighbour outside is −u, so that u is 0 half-way to it
    diagonal = 4.0 + (around < 0).sum(axis=0)
    to = around >= 0
    i, j = np.concatenate([middle, np.broadcast_to(middle, around.shape)[to]]), np.concatenate([middle, around[to]])
    values = np.concatenate([diagonal, np.full(int(to.sum()), -1.0)])
    matrix = coo_matrix((values, (i, j)), shape=(count, count)).tocsc()
    found, _ = cg(matrix, np.full(count, 4.0), rtol=_RESIDUE, maxiter=20 * sum(inside.shape))
    return np.maximum(found, 0)
