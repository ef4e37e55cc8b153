"""Depth maps of frames: files that a person has, and the helper that makes some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import DatasetError, Legs4dError, reason_of
from legs4d.priors.cache import best_prior, how_to_get, open_prior, priors_folder
from legs4d.priors.protocols import DepthPrior
from legs4d.priors.registry import find_prior

FILES = frozenset({".npy", ".png", ".tif", ".tiff"})


def depth_helper(device: torch.device, option: str) -> DepthPrior:
    """The best helper that tells depth by what it has learned.

    Args:
        option: by which it was asked for.

    Raises:
        Legs4dError: none is there; says how to get one.
    """
    prior = best_prior("depth")
    if prior is None or prior.weights is None:  # inflation knows silhouettes alone, and nothing of distances
        fix = how_to_get(find_prior("depth-anything"), priors_folder())
        raise Legs4dError("no helper that makes depth maps is there", where=option, fix=fix)
    helper: DepthPrior = open_prior(prior.name, device)
    return helper


def read_map(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """[height, width] 1 / depth but for a scale and a shift; not finite where nothing is known.

    Args:
        path: .npy of float depth [H, W], or a grey picture (8 or 16 bits) whose values are disparity (near is bright),
            as depth models write them. Of any size: the nearest value counts.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        if path.suffix.casefold() == ".npy":
            depth = np.asarray(np.load(path, allow_pickle=False), np.float32)
            with np.errstate(divide="ignore"):
                values = np.where(depth > 0, 1 / depth, np.nan).astype(np.float32)
        else:
            values = np.asarray(Image.open(path), np.float32)
    except (OSError, ValueError, TypeError) as error:
        fix = "write it anew: .npy of depths, or a grey picture of disparities"
        raise DatasetError(f"cannot be read as a depth map ({reason_of(error)})", where=str(path), fix=fix) from error
    if values.ndim != 2:
        what = f"has shape {values.shape}, a depth map has two sides"
        raise DatasetError(what, where=str(path), fix="write one value a pixel")
    rows = np.minimum((np.arange(height) + 0.5) * values.shape[0] / height, values.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(width) + 0.5) * values.shape[1] / width, values.shape[1] - 1).astype(int)
    return values[np.ix_(rows, columns)]
