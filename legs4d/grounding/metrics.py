"""Metrics of spatio-temporal grounding, as its literature defines them (Zhang et al. 2020, "Where Does It Exist").

S_i are the frames both found and true, S_u those found or true.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Masks = Mapping[int, NDArray[np.bool_]]
"""Frame → mask [H, W]. The frames are those in which the prompt holds; a mask may be empty."""


def temporal_iou(found: Mapping[int, object], true: Mapping[int, object]) -> float:
    """tIoU = |S_i| / |S_u|, of the frames that are keys; 1 when both are empty: rightly nothing was found."""
    union = found.keys() | true.keys()
    return len(found.keys() & true.keys()) / len(union) if union else 1.0


def volume_iou(found: Masks, true: Masks) -> float:
    """vIoU = Σ over S_i of the frame's mask IoU, / |S_u|: right in time and right in space; 1 when both are empty."""
    union = found.keys() | true.keys()
    if not union:
        return 1.0
    return sum(mask_iou(found[frame], true[frame]) for frame in found.keys() & true.keys()) / len(union)


def mask_accuracy(found: Masks, true: Masks) -> float:
    """Share of the pixels of S_u that are rightly in or out, a frame without a mask having an empty one.

    For small objects it is near 1 whatever is found; it is here because the benchmark has it.
    """
    union = found.keys() | true.keys()
    if not union:
        return 1.0
    wrong = [
        np.mean(found[frame] ^ true[frame])
        if frame in found and frame in true
        else np.mean(found[frame] if frame in found else true[frame])
        for frame in union
    ]
    return float(1 - np.mean(wrong))


def mask_iou(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one size; 1 when both are empty."""
    union = int((found | true).sum())
    return int((found & true).sum()) / union if union else 1.0
