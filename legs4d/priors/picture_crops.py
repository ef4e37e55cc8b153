"""Crops of pictures around boxes, resized for a network, and masks put back where the crops were."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample, interpolate


def grown(boxes: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Boxes [N, 4] with `share` of their width and height added, half on each side."""
    borders = (boxes[:, 2:] - boxes[:, :2]) * (share / 2)
    return np.concatenate([boxes[:, :2] - borders, boxes[:, 2:] + borders], axis=1)


def squares(boxes: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Squares [N, 4] around the middles of boxes [N, 4], `factor` times as large as their longer sides."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) * (factor / 2)
    return np.concatenate([middles - half, middles + half], axis=1)


def clipped(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Boxes [N, 4] without what is outside a picture."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limits).astype(np.float32)


def as_tensor(picture: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    """[1, 3, H, W] of [H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).to(device).permute(2, 0, 1)[None]


def crop(picture: torch.Tensor, box: NDArray[np.float32], height: int, width: int) -> torch.Tensor:
    """[1, C, height, width]: a box (left, top, right, bottom) of [1, C, H, W], black where it is outside.

    Shrinking averages: the picture is first reduced where a pixel of the crop covers several of it.
    """
    left, top, right, bottom = map(float, box)
    shrink = max((right - left) / width, (bottom - top) / height)
    factor = 1.0
    if shrink > 1.5:
        size = [max(1, round(side / shrink)) for side in picture.shape[2:]]
        factor = size[1] / picture.shape[3]
        picture = interpolate(picture, size=size, mode="area")
    rows, columns = picture.shape[2:]
    xs = (left + (right - left) * (torch.arange(width, device=picture.device) + 0.5) / width) * factor
    ys = (top + (bottom - top) * (torch.arange(height, device=picture.device) + 0.5) / height) * factor
    grid = torch.stack(torch.meshgrid(2 * xs / columns - 1, 2 * ys / rows - 1, indexing="xy"), dim=-1)[None]
    return grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def put_back(mask: torch.Tensor, box: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """[height, width] with a mask [h, w] of a crop where its box is, 0 elsewhere."""
    left, top, right, bottom = map(float, box)
    found = np.zeros((height, width), np.float32)
    x0, x1 = max(0, int(np.floor(left))), min(width, int(np.ceil(right)))
    y0, y1 = max(0, int(np.floor(top))), min(height, int(np.ceil(bottom)))
    if x1 <= x0 or y1 <= y0:
        return found
    xs = 2 * (torch.arange(x0, x1, device=mask.device) + 0.5 - left) / (right - left) - 1
    ys = 2 * (torch.arange(y0, y1, device=mask.device) + 0.5 - top) / (bottom - top) - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)[None]
    inside = grid_sample(mask[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    found[y0:y1, x0:x1] = inside[0, 0].cpu().numpy()
    return found


def intersections_over_unions(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, M] of boxes [N, 4] and [M, 4]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - shared
    return (shared / np.maximum(union, 1e-9)).astype(np.float32)


def without_overlaps(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], kinds: NDArray[np.int64], most: float
) -> NDArray[np.int64]:
    """Which boxes to keep, the surest first: of two of one kind whose IoU is above `most`, the surer one."""
    order = np.argsort(-scores, kind="stable")
    overlap = intersections_over_unions(boxes, boxes)
    kept: list[int] = []
    for i in order.tolist():
        if all(kinds[i] != kinds[j] or overlap[i, j] <= most for j in kept):
            kept.append(i)
    return np.array(kept, np.int64)
