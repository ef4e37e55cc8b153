"""Reads where and when prompts truly hold, in both layouts of the Grounding-PanopticSports benchmark.

    <prompt>/cam<id>.pt                  dict {"masks": {frame: [H, W]}, "boxes": {frame: [x1, y1, x2, y2]}}, tensors
                                         or numpy arrays
    <prompt>/cam<id>/<frame>.png         the masks as pictures, non-zero = it holds here

A frame without a mask is one in which the prompt does not hold. Folder names are prompts, with _ for spaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors


@dataclass(frozen=True)
class Truth:
    """One prompt on one camera.

    Attributes:
        prompt: with spaces.
        camera: the dataset's number.
        masks: the dataset's frame number → mask [H, W], all of one size; at least one.
    """

    prompt: str
    camera: int
    masks: dict[int, NDArray[np.bool_]]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the masks."""
        height, width = next(iter(self.masks.values())).shape
        return height, width


def read_truth(folder: str | Path) -> list[Truth]:
    """Everything in a benchmark folder, by prompt and camera.

    Raises:
        DatasetError: it is missing or holds none, or a file cannot be read; nothing in a file is ever executed.
    """
    root = Path(folder)
    found = [
        (int(match[1]), path)
        for path in root.glob("*/cam*")
        if (match := re.fullmatch(r"cam(\d+)(\.pt)?", path.name)) and (path.is_dir() or path.suffix == ".pt")
    ]
    if not found:
        raise DatasetError(
            "there are no true masks",
            where=str(root),
            fix="name a folder with <prompt>/cam<id>/<frame>.png or cam<id>.pt",
        )
    return [
        _checked(Truth(path.parent.name.replace("_", " "), camera, _read_masks(path)), path)
        for camera, path in sorted(found, key=lambda item: (item[1].parent.name, item[0]))
    ]


def true_intervals(truths: list[Truth], frame_numbers: list[int]) -> dict[str, list[tuple[int, int]]]:
    """Prompt → the (first, last) frames of a run in which any camera has a mask, both included.

    Args:
        frame_numbers: the dataset's number of each of the run's frames.
    """
    intervals: dict[str, list[tuple[int, int]]] = {}
    for prompt in dict.fromkeys(truth.prompt for truth in truths):
        marked = {number for truth in truths if truth.prompt == prompt for number in truth.masks}
        found: list[tuple[int, int]] = []
        for frame, number in enumerate(frame_numbers):
            if number not in marked:
                continue
            if found and found[-1][1] == frame - 1:
                found[-1] = (found[-1][0], frame)
            else:
                found.append((frame, frame))
        intervals[prompt] = found
    return intervals


def _read_masks(path: Path) -> dict[int, NDArray[np.bool_]]:
    return _read_pictures(path) if path.is_dir() else _read_pt(path)


def _read_pictures(folder: Path) -> dict[int, NDArray[np.bool_]]:
    from PIL import Image, UnidentifiedImageError

    masks: dict[int, NDArray[np.bool_]] = {}
    for path in sorted(folder.glob("*.png")):
        if not path.stem.isdecimal():
            raise DatasetError("the file name is not a frame number", where=str(path), fix="name it like 000012.png")
        try:
            picture = np.asarray(Image.open(path))
        except (OSError, UnidentifiedImageError) as error:
            raise DatasetError(f"cannot be read ({error})", where=str(path), fix="write it again") from error
        masks[int(path.stem)] = np.asarray(picture.any(axis=-1) if picture.ndim == 3 else picture != 0)
    return masks


def _read_pt(path: Path) -> dict[int, NDArray[np.bool_]]:
    try:
        content = load_tensors(path, _array_builders())
    except (UnreadableTensorsError, OSError) as error:
        raise DatasetError(
            f"is damaged, or holds more than tensors, arrays, numbers and text ({error})",
            where=str(path),
            fix="save a dict {'masks': {frame: tensor [H, W]}} with torch.save; code in files is not executed",
        ) from error
    import torch

    def mask_of(values: Any) -> NDArray[np.bool_]:
        tensor = values if isinstance(values, torch.Tensor) else torch.as_tensor(np.asarray(values))
        return np.asarray((tensor.detach().squeeze() > 0).numpy())

    try:
        return {int(frame): mask_of(mask) for frame, mask in content["masks"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DatasetError(
            f"has no masks by frame ({error!r})", where=str(path), fix="it must hold {'masks': {frame: tensor [H, W]}}"
        ) from error


def _array_builders() -> list[Any]:
    """What numpy arrays and scalars are pickled as: it builds them, of numbers alone, and does nothing else."""
    from _codecs import encode  # how pickle's protocol 2, which torch.save uses, writes an array's bytes

    from numpy._core import multiarray

    numbers = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    functions = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("_reconstruct", "scalar")
        for core in ("_core", "core")  # of numpy 2, and of those before it
    ]
    return [*functions, np.ndarray, np.dtype, *numbers, encode]


def _checked(truth: Truth, path: Path) -> Truth:
    sizes = {mask.shape for mask in truth.masks.values()}
    if len(sizes) != 1 or len(next(iter(sizes))) != 2:
        raise DatasetError(
            f"has masks of sizes {sorted(sizes)}" if sizes else "has no masks",
            where=str(path),
            fix="write one mask [H, W] of one size for each frame in which the prompt holds, at least one",
        )
    return truth
