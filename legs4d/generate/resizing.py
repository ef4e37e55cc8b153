"""Pictures of objects in another size: colours times alpha, so that nothing of the background comes in at edges."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.scene.images import as_bytes, as_unit


def resized(picture: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """[H, W, C] → [height, width, C], straight between pixels, blurred first where pixels are lost."""
    if picture.shape[:2] == (height, width):
        return picture
    values = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(values, (height, width), mode="bilinear", antialias=True)
    return made[0].permute(1, 2, 0).numpy()


def within(picture: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """A picture [H, W, C] made smaller where a side has more pixels than `most`."""
    share = most / max(picture.shape[:2])
    if share >= 1:
        return picture
    height, width = (max(1, round(side * share)) for side in picture.shape[:2])
    return resized(picture, width, height)


def scaled(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Square pictures [..., S, S, C] → [..., size, size, C] uint8."""
    if pictures.shape[-2] == size:
        return pictures
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    made = np.stack([as_bytes(resized(as_unit(picture), size, size)) for picture in flat])
    return made.reshape(*pictures.shape[:-3], *made.shape[1:])


def square(picture: NDArray[np.float32], crop: tuple[float, float, float], size: int) -> NDArray[np.uint8]:
    """[size, size, 4] uint8 of what a square of a picture [H, W, 4] (0..1) shows, transparent outside of the picture.

    Args:
        crop: (left, top, side), pixels.
    """
    left, top, side = crop
    height, width = picture.shape[:2]
    around = max(0, *(int(np.ceil(v)) for v in (-left, -top, left + side - width, top + side - height)))
    padded = np.pad(picture, ((around, around), (around, around), (0, 0)))
    values = torch.from_numpy(padded).permute(2, 0, 1)[None]
    # Where each new pixel's middle lies: blurred first where pixels are lost, as sampling alone would skip some.
    if side > size:
        values = torch.nn.functional.interpolate(values, scale_factor=size / side, mode="bilinear", antialias=True)
    share = torch.tensor([values.shape[3] / padded.shape[1], values.shape[2] / padded.shape[0]])
    at = (torch.arange(size) + 0.5) / size * side
    x, y = (at + left + around) * share[0], (at + top + around) * share[1]
    grid = torch.stack(torch.meshgrid(y / values.shape[2] * 2 - 1, x / values.shape[3] * 2 - 1, indexing="ij"), dim=-1)
    found = torch.nn.functional.grid_sample(values, grid.flip(-1)[None], align_corners=False)
    return as_bytes(found[0].permute(1, 2, 0).numpy())
