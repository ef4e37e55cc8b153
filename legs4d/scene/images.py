"""Reading pictures and masks from disk, and resizing them by area."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from scipy.sparse import csr_array

from legs4d.errors import DatasetError

CACHE_BYTES = 256 << 20
"""Room for pictures kept in memory: three frames of 27 cameras at 640×360, dozens at quarter size."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """[H, W, 3] RGB as stored. Raises DatasetError when it is missing or damaged."""
    with _open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """[H, W, 4] RGB, not multiplied by alpha, and alpha. Raises DatasetError when it is missing or damaged."""
    with _open(path) as image:
        return np.asarray(image.convert("RGBA"))


def image_layout(path: Path) -> str:
    """PIL's name of the picture's channels, such as RGB or RGBA. Raises DatasetError when it is missing or damaged."""
    with _open(path) as image:
        return image.mode


def image_size(path: Path) -> tuple[int, int]:
    """(width, height), from the picture's header. Raises DatasetError when it is missing or damaged."""
    with _open(path) as image:
        return image.size


def read_mask(path: Path) -> NDArray[np.bool_]:
    """[H, W] True where any channel is not zero. Raises DatasetError when it is missing or damaged."""
    with _open(path) as image:
        values = np.asarray(image.convert("RGB") if image.mode == "P" else image) != 0
    return values.any(axis=-1) if values.ndim == 3 else values


def read_labels(path: Path) -> NDArray[np.uint8]:
    """[H, W] object ids: grey values, or palette indices. Raises DatasetError when there are several channels."""
    with _open(path) as image:
        if image.mode not in ("1", "L", "P"):
            raise DatasetError(
                f"is of mode {image.mode}", where=str(path), fix="write object ids as one channel of 8 bits (0..255)"
            )
        return np.asarray(image).astype(np.uint8)


def check_image_size(path: Path, width: int, height: int) -> None:
    """Raise DatasetError when the picture is missing, unreadable, or not width × height; reads only its header."""
    if not path.is_file():
        raise DatasetError("is missing", where=str(path), fix="add it, or leave its frame out of the camera file")
    with _open(path) as image:
        if image.size != (width, height):
            raise DatasetError(
                f"is {image.width}×{image.height} pixels, the camera file says {width}×{height}",
                where=str(path),
                fix="all pictures and masks must have the size in the camera file",
            )


def area_resize(values: NDArray[Any], width: int, height: int) -> NDArray[np.float32]:
    """[H, W, ...] → [height, width, ...]: the average over each new pixel's area, fractions of old pixels included."""
    if values.shape[:2] == (height, width):
        return np.ascontiguousarray(values, np.float32)
    channels = values.shape[2:]
    rows = _area_weights(values.shape[0], height)
    columns = _area_weights(values.shape[1], width)
    flat = np.asarray(values, np.float32).reshape(values.shape[0], -1)
    by_column = (rows @ flat).reshape(height, values.shape[1], -1).swapaxes(0, 1).reshape(values.shape[1], -1)
    resized = (columns @ by_column).reshape(width, height, -1).swapaxes(0, 1)
    return np.ascontiguousarray(resized.reshape(height, width, *channels), np.float32)


def majority_resize(labels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The label that covers most of each new pixel's area; the lowest of equals: [H, W] → [height, width]."""
    present = np.unique(labels)
    shares = area_resize(labels[..., None] == present, width, height)
    return present[shares.argmax(axis=-1)]


@lru_cache(maxsize=16)
def _area_weights(old: int, new: int) -> csr_array:
    """[new, old]: the share of each new pixel that each old one covers; rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    left = np.arange(old)
    overlap = np.minimum(edges[1:, None], left + 1) - np.maximum(edges[:-1, None], left)
    return csr_array((np.clip(overlap, 0, None) * (new / old)).astype(np.float32))


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """The picture, whose pixels may only be cut short when they are decoded, inside the block."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise DatasetError("is missing", where=str(path), fix="add it") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise DatasetError(f"cannot be read as a picture ({error})", where=str(path), fix="write it again") from error


class ImageCache:
    """Keeps the arrays used last, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array under `key`, from memory or from `load`; not to be written to."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        values = load()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = values
                self._bytes += values.nbytes
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return values
