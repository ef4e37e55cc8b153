"""Masks put onto Gaussians in closed form: how many pixels of each mask each Gaussian fills.

With W the compositing weights (pixels × Gaussians) and B the masks (pixels × masks), A = Wᵀ B is one pass of the lift
that language takes (`raster.lift`). A Gaussian's share in a mask is A divided by the pixels that it fills in the mask's
picture: FlashSplat's optimum (Shen et al. 2024, equation 9) thresholds that, LUDVIG (Marrie et al. 2025, equation 4)
keeps it as a mean. Ids are the same in all frames of a run, so frames add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import go_on
from legs4d.raster.lift import lift_weights
from legs4d.segment.masks.frame_masks import FrameMasks


@dataclass(frozen=True)
class Evidence:
    """What masks say of G Gaussians, over all frames and pictures.

    Attributes:
        pixels: [G, R] float32, how many pixels of each mask, or thing, a Gaussian fills; outlines left out.
        seen: [G, V] float32, how many pixels of each picture it fills; V is 1, all pictures together, where masks have
            identities.
        view: [R] int32, the picture of each mask; 0 where V is 1.
        identity: [R] int64, which thing a column is; None where masks have none and are columns of their own.
    """

    pixels: scipy.sparse.csr_array
    seen: scipy.sparse.csr_array
    view: NDArray[np.int32]
    identity: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def mass(self) -> NDArray[np.float32]:
        """[G] pixels that each Gaussian fills, over all pictures."""
        return np.asarray(self.seen.sum(axis=1), np.float32)

    def shares(self) -> scipy.sparse.csc_array:
        """[G, R] 0..1, how much of what each Gaussian shows of a mask's picture is in the mask."""
        pixels = self.pixels.tocoo()
        if self.seen.shape[1] == 1:
            of = self.seen.toarray()[:, 0][pixels.row]
        else:
            of = looked_up(self.seen, pixels.row, self.view[pixels.col])
        values = np.minimum(pixels.data / np.maximum(of, np.finfo(np.float32).tiny), 1)
        return scipy.sparse.csc_array((values, (pixels.row, pixels.col)), shape=pixels.shape)


Slots = Callable[[int], NDArray[np.int64]]
"""Frame → the place among G of each of its Gaussians, in the order of `Run.frame`."""


def lift_masks(
    frames: Iterable[tuple[Gaussians, FrameMasks]],
    slots: Slots,
    count: int,
    near: float,
    *,
    device: str = "cpu",
    threads: int | None = None,
    check: Callable[[], None] = go_on,
) -> Evidence:
    """Lift the masks of all frames; either all have identities, or none.

    Args:
        frames: numpy Gaussians and what masks say of their pictures.
        slots: where a frame's Gaussians stand among `count`.
        near: near plane, scene units.
        device: "cpu", or "cuda" where csrc/cuda is built.
        threads: CPU threads, all by default.
        check: called before each frame; what it raises ends the work.
    """
    parts: list[tuple[NDArray[np.int64], scipy.sparse.csr_array, scipy.sparse.csr_array]] = []
    views: list[NDArray[np.int32]] = []
    known: list[NDArray[np.int64]] = []
    pictures = 0
    for gaussians, masks in frames:
        check()
        if masks.identity is not None:
            values, which = np.unique(masks.identity, return_inverse=True)
            entries, mass = _lifted(gaussians, masks, which, len(values), near, device, threads)
            known.append(values)
            seen = _column(mass)
        else:
            entries, seen = _by_picture(gaussians, masks, near, device, threads)
            views.append(masks.view + pictures)
            pictures += len(masks.cameras)
        parts.append((slots(masks.frame), entries, seen))
    if known:
        identities = np.unique(np.concatenate(known))
        columns = [np.searchsorted(identities, values) for values in known]
        pixels = _together([(slot, entries) for slot, entries, _ in parts], columns, (count, len(identities)))
        seen_all = _together([(slot, seen) for slot, _, seen in parts], [np.zeros(1, int)] * len(parts), (count, 1))
        return Evidence(pixels, seen_all, np.zeros(len(identities), np.int32), identities)
    return Evidence(
        _side_by_side([(slot, entries) for slot, entries, _ in parts], count),
        _side_by_side([(slot, seen) for slot, _, seen in parts], count),
        np.concatenate(views) if views else np.zeros(0, np.int32),
    )


def _lifted(
    gaussians: Gaussians,
    masks: FrameMasks,
    row_of: NDArray[np.integer],
    rows: int,
    near: float,
    device: str,
    threads: int | None,
) -> tuple[scipy.sparse.csr_array, NDArray[np.float32]]:
    """The pixels of each row that Gaussians fill, and of all that say something.

    Args:
        row_of: [R] the row of each mask, 0..rows-1.
    """
    if device != "cpu":
        from legs4d.segment.lifting_cuda import lift_rows

        return lift_rows(gaussians, masks, row_of, rows, near, device)
    index = np.append(row_of, -1).astype(np.int32)[masks.index]
    if masks.unsure is not None:  # what says nothing is a row of its own
        index[masks.unsure] = -1
        index[masks.unsure, 0] = rows
    weights = (index >= 0).astype(np.float32)
    entries, mass = lift_weights(gaussians, masks.cameras, index, weights, rows + 1, near, threads)
    unsure = entries[:, [rows]].toarray()[:, 0]
    return entries[:, :rows], np.maximum(mass - unsure, 0)


def _by_picture(
    gaussians: Gaussians, masks: FrameMasks, near: float, device: str, threads: int | None
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """As `_lifted`, with what is seen by picture: one more mask in each, which has all its pixels."""
    count, pictures = len(masks), len(masks.cameras)
    if device != "cpu":  # a table of all pictures' masks at once would be large
        return _one_by_one(gaussians, masks, near, device)
    every = (count + np.arange(pictures, dtype=np.int32))[:, None, None, None]
    index = np.concatenate([masks.index, np.broadcast_to(every, (*masks.index.shape[:3], 1))], axis=3)
    if masks.unsure is not None:
        index[masks.unsure] = -1
    weights = (index >= 0).astype(np.float32)
    both, _ = lift_weights(gaussians, masks.cameras, index, weights, count + pictures, near, threads)
    return both[:, :count], both[:, count:]


def _one_by_one(
    gaussians: Gaussians, masks: FrameMasks, near: float, device: str
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """As `_by_picture`, picture by picture."""
    parts, seen, columns = [], [], []
    every = np.arange(len(gaussians))
    for at in range(len(masks.cameras)):
        some = masks.take_views([at])
        entries, mass = _lifted(gaussians, some, np.arange(len(some)), len(some), near, device, None)
        parts.append((every, entries))
        columns.append(np.flatnonzero(masks.view == at))
        seen.append((every, _column(mass)))
    shape = (len(gaussians), len(masks))
    return _together(parts, columns, shape), _side_by_side(seen, len(gaussians))


def _column(mass: NDArray[np.float32]) -> scipy.sparse.csr_array:
    """[N, 1] of [N]."""
    rows = np.arange(len(mass) + 1, dtype=np.int32)
    return scipy.sparse.csr_array((mass, np.zeros(len(mass), np.int32), rows), shape=(len(mass), 1))


_Part = tuple[NDArray[np.int64], scipy.sparse.csr_array]
"""Slots of rows, and these."""


def _side_by_side(parts: list[_Part], count: int) -> scipy.sparse.csr_array:
    """Columns one after the other, rows at their slots."""
    first = np.concatenate([[0], np.cumsum([entries.shape[1] for _, entries in parts])]).astype(np.int64)
    columns = [np.arange(start, end) for start, end in pairwise(first)]
    return _together(parts, columns, (count, int(first[-1])))


def _together(
    parts: list[_Part], columns: Sequence[NDArray[np.integer]], shape: tuple[int, int]
) -> scipy.sparse.csr_array:
    """The sum of parts whose rows and columns go to these places."""
    if len(parts) == 1:
        ((slot, entries),) = parts
        if entries.shape == shape and all(_in_order(places) for places in (slot, columns[0])):
            return entries
    rows = [slot[np.repeat(np.arange(len(slot)), np.diff(entries.indptr))] for slot, entries in parts]
    cols = [places[entries.indices] for (_, entries), places in zip(parts, columns, strict=True)]
    if not parts:
        return scipy.sparse.csr_array(shape, dtype=np.float32)
    placed = (np.concatenate([entries.data for _, entries in parts]), (np.concatenate(rows), np.concatenate(cols)))
    return scipy.sparse.csr_array(placed, shape=shape)


def _in_order(places: NDArray[np.integer]) -> bool:
    return bool((places == np.arange(len(places))).all())


def looked_up(
    matrix: scipy.sparse.csr_array, rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The entries at these places."""
    stored = matrix.tocsr()
    stored.sum_duplicates()
    keys = np.repeat(np.arange(stored.shape[0], dtype=np.int64), np.diff(stored.indptr)) * stored.shape[1]
    keys += stored.indices
    wanted = rows.astype(np.int64) * stored.shape[1] + columns
    return np.asarray(stored.data[np.searchsorted(keys, wanted)])
