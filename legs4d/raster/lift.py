"""The transpose of rendering: from pixels back to the Gaussians that made them. Imports no torch."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.kernel_views import active_tiles, camera_options
from legs4d.scene.camera import Cameras


def has_cuda_kernels() -> bool:
    """Whether csrc/cuda was compiled; imports nothing."""
    return find_spec("legs4d._csrc_cuda") is not None


def lift_weights(
    gaussians: Gaussians,
    cameras: Cameras,
    index: NDArray[np.int32],
    weight: NDArray[np.float32],
    num_rows: int,
    near: float,
    threads: int | None = None,
    region: NDArray[np.bool_] | None = None,
) -> tuple[scipy.sparse.csr_array, NDArray[np.float32]]:
    """Wᵀ B and Wᵀ 1, with W the compositing weights (pixels × Gaussians) and B a sparse mixture of rows per pixel.

    A feature map F = B G then lifts to Gaussians as (Wᵀ B) G / (Wᵀ B 1), without F ever existing.

    Args:
        gaussians: N Gaussians as numpy arrays.
        cameras: C views.
        index: [C, H, W, K] int32 in -1..num_rows-1, the rows each pixel mixes; -1 is no row.
        weight: [C, H, W, K] float32 ≥ 0, how much of each.
        num_rows: R, the rows of G.
        near: scene units, as in `render`.
        threads: CPU threads, all by default. The result does not depend on it.
        region: [C, H, W] bool, pixels that matter; tiles without one are not looked at, as if nothing filled them.

    Returns:
        Wᵀ B as [N, R] float32, and Wᵀ 1 as [N] float32: the pixels, over all views, that each Gaussian fills.

    Raises:
        ValueError: arrays of the wrong shape, or an index past the last row.
    """
    (rows, columns, values), mass = _entries(gaussians, cameras, index, weight, num_rows, near, threads, region)
    matrix = scipy.sparse.coo_array((values, (rows, columns)), shape=(len(gaussians), num_rows))
    return matrix.tocsr(), mass


def lift_few(
    gaussians: Gaussians,
    cameras: Cameras,
    index: NDArray[np.int32],
    weight: NDArray[np.float32],
    num_rows: int,
    near: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`lift_weights` of few rows: Wᵀ B as a whole array [N, R], in less time than a sparse one takes to be sorted."""
    (rows, columns, values), mass = _entries(gaussians, cameras, index, weight, num_rows, near)
    places = rows.astype(np.int64) * num_rows + columns
    found = np.bincount(places, values, len(gaussians) * num_rows)
    return found.reshape(len(gaussians), num_rows).astype(np.float32), mass


def _entries(
    gaussians: Gaussians,
    cameras: Cameras,
    index: NDArray[np.int32],
    weight: NDArray[np.float32],
    num_rows: int,
    near: float,
    threads: int | None = None,
    region: NDArray[np.bool_] | None = None,
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]], NDArray[np.float32]]:
    """(Gaussians, rows and values of Wᵀ B, of which several may share a place; Wᵀ 1)."""
    threads = threads or default_threads()
    rendering = _csrc.project(
        means=np.ascontiguousarray(gaussians.means, np.float32),
        quats=np.ascontiguousarray(gaussians.quats, np.float32),
        scales=np.ascontiguousarray(gaussians.scales, np.float32),
        opacities=np.ascontiguousarray(gaussians.opacities, np.float32),
        channels=np.zeros((len(gaussians), 0), np.float32),
        **camera_options(cameras, near),
        antialiased=False,
        depth_channel=False,
        frozen=None,
        active_tiles=None if region is None else active_tiles(region),
        threads=threads,
    )
    rows, columns, values, mass = rendering.lift(
        np.ascontiguousarray(index, np.int32),
        np.ascontiguousarray(weight, np.float32),
        num_rows,
        len(gaussians),
        threads,
    )
    return (rows, columns, values), mass


def lift_table(
    gaussians: Gaussians,
    cameras: Cameras,
    index: NDArray[np.int32],
    weight: NDArray[np.float32],
    table: NDArray[np.float32],
    near: float,
    threads: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(Wᵀ B) T and Wᵀ B 1: what the pixels that a Gaussian fills say, and how many of them say something.

    Args:
        table: T, [R, D] float32, what each row of the map stands for; any width.
        gaussians, cameras, index, weight, near, threads: see `lift_weights`.

    Returns:
        [N, D] and [N] float32. `raster.cuda_lift.lift_table` gives the same on a GPU.

    Raises:
        ValueError: as `lift_weights`, or the table is no matrix.
    """
    if table.ndim != 2:
        raise ValueError(f"the table is {table.shape}, expected [R, D]")
    weights, _ = lift_weights(gaussians, cameras, index, weight, len(table), near, threads)
    return weights @ table.astype(np.float32, copy=False), np.asarray(weights.sum(axis=1), np.float32)
