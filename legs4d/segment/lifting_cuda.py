"""The lift of a frame's masks by csrc/cuda: masks go up to the device, what Gaussians are in comes down.

Pixels get their rows, and sums their sparse form, on the device: numpy takes several times as long for that as the
kernels for the lift.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.segment.masks.frame_masks import FrameMasks

LEAST_PIXELS = 1e-3
"""Of a Gaussian in a mask, below which a GPU's rounding might have made them."""


def lift_rows(
    gaussians: Gaussians, masks: FrameMasks, row_of: NDArray[np.integer], rows: int, near: float, device: str
) -> tuple[scipy.sparse.csr_array, NDArray[np.float32]]:
    """How many pixels of each row each Gaussian fills, and how many in all, of pixels that say something.

    Args:
        gaussians: N, as numpy arrays.
        row_of: [R] the row of each mask, 0..rows-1.
        near: near plane, scene units.
        device: with csrc/cuda.

    Returns:
        ([N, rows] float32, [N] float32).
    """
    from legs4d.raster.cuda_lift import lift_table, tile_pixel_map

    index, weight = pixel_rows(masks, row_of, rows, device)
    tiled = tile_pixel_map(index, weight, rows + 1, device)
    none = np.zeros((len(gaussians), 0), np.float32)  # no colours go up
    placed = gaussians.replace(colors=none, sh_rest=None).torch(device)
    sums, _ = lift_table(placed, masks.cameras, tiled, torch.eye(rows + 1, device=device), near)
    return sparse_of(sums[:, :rows]), sums[:, rows].cpu().numpy()


def pixel_rows(
    masks: FrameMasks, row_of: NDArray[np.integer], rows: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `cuda_lift.tile_pixel_map` takes, on the device; one row more has every pixel that says something.

    Returns:
        [C, H, W, K + 1] int32 and float32.
    """
    table = torch.as_tensor(np.append(row_of, -1).astype(np.int32), device=device)
    of_mask = table[torch.as_tensor(masks.index, device=device).long()]
    whole = torch.full((*of_mask.shape[:3], 1), rows, dtype=torch.int32, device=device)
    index = torch.cat([of_mask, whole], dim=3)
    if masks.unsure is not None:
        index.masked_fill_(torch.as_tensor(masks.unsure, device=device)[..., None], -1)
    return index, (index >= 0).float()


def sparse_of(sums: torch.Tensor) -> scipy.sparse.csr_array:
    """What of [N, rows] is more than rounding, as it comes from the device: in order of rows and columns."""
    there = sums > LEAST_PIXELS
    starts = torch.nn.functional.pad(there.sum(dim=1, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0))
    columns = torch.nonzero(there)[:, 1].to(torch.int32)
    return scipy.sparse.csr_array(
        (sums[there].cpu().numpy(), columns.cpu().numpy(), starts.cpu().numpy()), shape=tuple(sums.shape)
    )
