"""Masks put onto Gaussians in closed form: how many pixels of each mask each Gaussian fills.

With W the compositing weights (pixels × Gaussians) and B the masks (pixels × masks), A = Wᵀ B is one pass of the lift
that language takes (`raster.lift`). A Gaussian's share in a mask is A divided by the pixels that it fills in the mask's
picture: FlashSplat's optimum (Shen et al. 2024, equation 9) thresholds that, LUDVIG (Marrie et al. 2025, equation 4)
keeps it as a mean. Ids are the same in all frames of a run, so frames add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import go_on
from legs4d.raster.lift import lift_weights
from legs4d.scene.camera import Cameras
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
    parts: list[tuple[NDArray[np.int64], scipy.sparse.coo_array, scipy.sparse.coo_array]] = []
    views: list[NDArray[np.int32]] = []
    known: list[NDArray[np.int64]] = []
    pictures = 0
    for gaussians, masks in frames:
        check()
        if masks.identity is not None:
            known.append(masks.identity)
            values, which = np.unique(masks.identity, return_inverse=True)
            index = np.append(which, -1)[masks.index]
            index = _with_unsure(index, masks.unsure, len(values))
            entries, mass = _lifted(gaussians, masks, index, len(values) + 1, near, device, threads)
            entries, mass = _sure(entries, mass, len(values))
            entries = scipy.sparse.coo_array((entries.data, (entries.row, values[entries.col])), shape=_OPEN)
            seen = scipy.sparse.coo_array(mass[:, None])
        else:
            entries, seen = _by_picture(gaussians, masks, near, device, threads)
            views.append(masks.view + pictures)
            pictures += len(masks.cameras)
        parts.append((slots(masks.frame), entries, seen))
    if known:
        return _of_things(parts, np.unique(np.concatenate(known)), count)
    rows = [len(view) for view in views]
    return Evidence(
        _joined([(slot, entries) for slot, entries, _ in parts], count, rows),
        _joined([(slot, seen) for slot, _, seen in parts], count, [seen.shape[1] for _, _, seen in parts]),
        np.concatenate(views) if views else np.zeros(0, np.int32),
    )


def _with_unsure(index: NDArray[np.integer], unsure: NDArray[np.bool_] | None, row: int) -> NDArray[np.integer]:
    """Masks [C, H, W, K] of pixels, changed in place: those that say nothing are in one row of their own."""
    if unsure is not None:
        index[unsure] = -1
        index[unsure, 0] = row
    return index


def _sure(
    entries: scipy.sparse.coo_array, mass: NDArray[np.float32], rows: int
) -> tuple[scipy.sparse.coo_array, NDArray[np.float32]]:
    """Without what Gaussians fill of pixels that say nothing, whose row is the one after the last."""
    unsure = entries.col == rows
    left = mass.copy()
    np.subtract.at(left, entries.row[unsure], entries.data[unsure])
    kept = (entries.data[~unsure], (entries.row[~unsure], entries.col[~unsure]))
    return scipy.sparse.coo_array(kept, shape=(len(mass), rows)), np.maximum(left, 0)


_LEAST_PIXELS = 1e-3
"""Of a Gaussian in a mask, below which a GPU's rounding might have made them."""
_OPEN = (np.iinfo(np.int32).max, np.iinfo(np.int32).max)
"""A shape for entries whose columns are identities, of which nobody knows how many there are."""


def _lifted(
    gaussians: Gaussians,
    masks: FrameMasks,
    index: NDArray[np.integer],
    rows: int,
    near: float,
    device: str,
    threads: int | None,
) -> tuple[scipy.sparse.coo_array, NDArray[np.float32]]:
    """The pixels of each row that Gaussians fill, and of all."""
    weights, rows_of = (index >= 0).astype(np.float32), index.astype(np.int32)
    if device != "cpu":
        return _lifted_on(device, gaussians, masks.cameras, rows_of, weights, rows, near)
    entries, mass = lift_weights(gaussians, masks.cameras, rows_of, weights, rows, near, threads)
    return entries.tocoo(), mass


def _lifted_on(
    device: str,
    gaussians: Gaussians,
    cameras: Cameras,
    index: NDArray[np.int32],
    weights: NDArray[np.float32],
    rows: int,
    near: float,
) -> tuple[scipy.sparse.coo_array, NDArray[np.float32]]:
    """As `_lifted`, by csrc/cuda: what a table of ones and zeros lifts to; one more row is all pixels."""
    import torch

    from legs4d.raster.cuda_lift import lift_table, tile_pixel_map

    whole = np.full((*index.shape[:3], 1), rows, np.int32)
    every = np.concatenate([index, whole], axis=3)
    ones = np.concatenate([weights, np.ones(whole.shape, np.float32)], axis=3)
    tiled = tile_pixel_map(every, ones, rows + 1, device)
    sums, _ = lift_table(gaussians.torch(device), cameras, tiled, torch.eye(rows + 1, device=device), near)
    there = torch.nonzero(sums[:, :rows] > _LEAST_PIXELS)
    values = sums[there[:, 0], there[:, 1]]
    row, column = there.cpu().numpy().T
    shape = (len(gaussians), rows)
    return scipy.sparse.coo_array((values.cpu().numpy(), (row, column)), shape=shape), sums[:, rows].cpu().numpy()


def _by_picture(
    gaussians: Gaussians, masks: FrameMasks, near: float, device: str, threads: int | None
) -> tuple[scipy.sparse.coo_array, scipy.sparse.coo_array]:
    """As `_lifted`, with what is seen by picture: one more mask in each, which has all its pixels."""
    count, pictures, n = len(masks), len(masks.cameras), len(gaussians)
    if device != "cpu":  # a table of all pictures' masks at once would be large
        return _one_by_one(gaussians, masks, near, device)
    every = (count + np.arange(pictures, dtype=np.int32))[:, None, None, None]
    index = np.concatenate([masks.index, np.broadcast_to(every, (*masks.index.shape[:3], 1))], axis=3)
    if masks.unsure is not None:
        index[masks.unsure] = -1
    both, _ = _lifted(gaussians, masks, index, count + pictures, near, device, threads)
    of_mask = both.col < count
    return (
        scipy.sparse.coo_array((both.data[of_mask], (both.row[of_mask], both.col[of_mask])), shape=(n, count)),
        scipy.sparse.coo_array((both.data[~of_mask], (both.row[~of_mask], both.col[~of_mask] - count)), (n, pictures)),
    )


def _one_by_one(
    gaussians: Gaussians, masks: FrameMasks, near: float, device: str
) -> tuple[scipy.sparse.coo_array, scipy.sparse.coo_array]:
    """As `_by_picture`, picture by picture."""
    entries, seen = [], []
    for at in range(len(masks.cameras)):
        some = masks.take_views([at])
        index = _with_unsure(some.index.copy(), some.unsure, len(some))
        found, mass = _lifted(gaussians, some, index, len(some) + 1, near, device, None)
        found, mass = _sure(found, mass, len(some))
        entries.append(found)
        seen.append(scipy.sparse.coo_array(mass[:, None]))
    order = np.argsort(np.argsort(masks.view, kind="stable"), kind="stable")
    together = scipy.sparse.csc_array(scipy.sparse.hstack(entries))[:, order]
    return together.tocoo(), scipy.sparse.coo_array(scipy.sparse.hstack(seen))


def _of_things(
    parts: list[tuple[NDArray[np.int64], scipy.sparse.coo_array, scipy.sparse.coo_array]],
    identities: NDArray[np.int64],
    count: int,
) -> Evidence:
    """Of masks with identities: a column each, whatever the picture."""
    pixels = scipy.sparse.csr_array((count, len(identities)), dtype=np.float32)
    mass = np.zeros(count)
    for slot, entries, seen in parts:
        column = np.searchsorted(identities, entries.col)
        pixels = pixels + scipy.sparse.csr_array((entries.data, (slot[entries.row], column)), shape=pixels.shape)
        np.add.at(mass, slot[seen.row], seen.data)
    seen_all = scipy.sparse.csr_array(mass.astype(np.float32)[:, None])
    return Evidence(pixels, seen_all, np.zeros(len(identities), np.int32), identities)


def _joined(
    parts: list[tuple[NDArray[np.int64], scipy.sparse.coo_array]], count: int, columns: list[int]
) -> scipy.sparse.csr_array:
    """Frames' columns side by side, their rows at their slots."""
    first = np.concatenate([[0], np.cumsum(columns)]).astype(np.int64)
    rows = [slot[entries.row] for slot, entries in parts]
    cols = [entries.col + first[at] for at, (_, entries) in enumerate(parts)]
    data = [entries.data for _, entries in parts]
    if not parts:
        return scipy.sparse.csr_array((count, 0), dtype=np.float32)
    entries = (np.concatenate(data), (np.concatenate(rows), np.concatenate(cols)))
    return scipy.sparse.csr_array(entries, shape=(count, int(first[-1])))


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
