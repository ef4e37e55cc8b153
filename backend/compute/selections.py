"""Which of a run's Gaussians a `render` request means: bits that were deflated, read back without trusting them."""

from __future__ import annotations

import torch

from backend.runs.bits import unpacked
from backend.service.requests import RenderPoints


def chosen(points: RenderPoints | None, part: str, count: int, device: str, frame: int = 0) -> torch.Tensor | None:
    """[count] bool on the device: which of a part's Gaussians are told; None where nothing is said of them.

    Args:
        part: "static", "dynamic" or "loose".
        count: how many Gaussians it has.
        frame: of loose ones.

    Raises:
        BackendError: the bits are damaged, or of another number of Gaussians.
    """
    if points is None:
        return None
    if part == "loose":
        told = next((one.points for one in points.loose if one.frame == frame), None)
    else:
        told = points.static if part == "static" else points.dynamic
    return None if told is None else torch.as_tensor(unpacked(told, count, part, "render"), device=device)
