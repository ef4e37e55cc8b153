"""Reading pictures and masks from disk, and resizing them by area."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from scipy.sparse import csr_array

from legs4d.errors import DatasetError

CACHE_BYTES = 256 << 20
"""Room for pictures kept in memory: three frames of 27 cameras at 640×360, dozens at quarter size."""


def read_picture(path: Path, *, as_stored: bool = False) -> NDArray[Any]:
    """A picture in its own depth, turned as its metadata say.

    Args:
        as_stored: do not turn it.

    Returns:
        [H, W, 3] RGB, or [H, W, 4] with alpha (colours not multiplied by it): uint8, uint16 (white is 65535), or
        float32 in 0..1.

    Raises:
        DatasetError: it is missing or damaged, or stores what is no colour from black to white.
    """
    with _open(path) as image:
        if _is_deep_color(image) and (as_stored or _orientation(image) == 1):
            deep = _read_deep(path)
            if deep is not None:
                return deep
        return _channels(image if as_stored else _turned(image), str(path), image.format)


def as_unit(picture: NDArray[Any]) -> NDArray[np.float32]:
    """A picture of `read_picture` in 0..1, float32."""
    if picture.dtype == np.float32:
        return picture
    return picture.astype(np.float32) / np.float32(white_of(picture))


def as_bytes(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """0..1 in 255ths, clipped and rounded, of any shape."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def white_of(picture: NDArray[Any]) -> int:
    """What is white, and opaque, in a picture of `read_picture`."""
    return 1 if picture.dtype == np.float32 else int(np.iinfo(picture.dtype).max)


@dataclass(frozen=True)
class PictureInfo:
    """What a picture's header tells.

    Attributes:
        shown, stored: (width, height) as its metadata turn it, and as it is stored.
        has_alpha: whether a channel tells what is opaque.
    """

    shown: tuple[int, int]
    stored: tuple[int, int]
    has_alpha: bool


def inspect_picture(path: Path) -> PictureInfo:
    """Read a picture's header (of floats, all of it).

    Raises:
        DatasetError: it is missing or damaged, or `read_picture` could not tell what is white in it.
    """
    with _open(path) as image:
        info = _info(image)
        if image.mode == "F":
            _channels(image, str(path), image.format)
        elif image.mode not in _COLORS and not _is_deep_grey(image.mode, image.format):
            raise _no_white(image.mode, str(path))
        return info


def mask_size(path: Path) -> tuple[int, int]:
    """(width, height) of a mask or of labels, as shown. Raises DatasetError when it is missing or damaged."""
    with _open(path) as image:
        return _info(image).shown


def read_mask(path: Path) -> NDArray[np.bool_]:
    """[H, W] True where a mask is not black, or where it is opaque if its alpha channel tells more than its colours.

    In JPEG, whose black is seldom 0, what is brighter than half. Raises DatasetError when it is missing or damaged.
    """
    with _open(path) as file:
        image = _turned(file)
        lossy = file.format in ("JPEG", "MPO")
        opaque: NDArray[np.bool_] | None = None
        if _has_alpha(image):
            rgba = np.asarray(image.convert("RGBA"))
            values, opaque = rgba[..., :3], rgba[..., 3] > 0
        else:
            values = np.asarray(image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr") else image)
    levels: NDArray[np.bool_] = np.asarray(values > 127 if lossy else values != 0)
    marked: NDArray[np.bool_] = np.asarray(levels.any(axis=-1) if levels.ndim == 3 else levels)
    if opaque is None or opaque.all():
        return marked
    return opaque & marked if marked[opaque].any() and not marked[opaque].all() else opaque


def read_labels(path: Path) -> NDArray[np.uint8]:
    """[H, W] object ids: grey values, or palette indices. Raises DatasetError when there are several channels."""
    with _open(path) as file:
        image = _turned(file)
        if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
            raise DatasetError(
                f"is of mode {image.mode}", where=str(path), fix="write object ids as one channel of 8 bits (0..255)"
            )
        labels = np.asarray(image)
    if labels.dtype != bool and labels.max(initial=0) > 255:
        raise DatasetError(f"has object {labels.max()}", where=str(path), fix="number objects from 0 to 255")
    return labels.astype(np.uint8)


_COLORS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"}
_SIXTEEN_BITS_IN_I = ("PNG", "PPM")
"""Formats whose mode I holds 16 bits; elsewhere it holds 32, and nobody says what is white."""


def _channels(image: Image.Image, where: str, file_format: str | None) -> NDArray[Any]:
    """[H, W, 3 or 4] of an opened picture, as `read_picture` tells."""
    mode = image.mode
    if _is_deep_grey(mode, file_format):
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return np.repeat(grey[..., None], 3, axis=-1)
    if mode == "F":
        values = np.asarray(image, np.float32)
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            raise DatasetError(f"holds floats from {low:g} to {high:g}", where=where, fix="write them in 0..1")
        return np.repeat(values[..., None], 3, axis=-1)
    if mode not in _COLORS:
        raise _no_white(mode, where)
    wanted = "RGBA" if _has_alpha(image) else "RGB"
    return np.asarray(image if image.mode == wanted else image.convert(wanted))


def _is_deep_grey(mode: str, file_format: str | None) -> bool:
    return mode.startswith("I;16") or (mode == "I" and file_format in _SIXTEEN_BITS_IN_I)


def _no_white(mode: str, where: str) -> DatasetError:
    return DatasetError(
        f"is of mode {mode}, whose white is not known", where=where, fix="write it with 8 or 16 bits a channel"
    )


def _info(image: Image.Image) -> PictureInfo:
    width, height = image.size
    # Pillow tells the turned size of TIFF's pictures itself.
    turned = _orientation(image) > 4 and image.format != "TIFF"
    return PictureInfo((height, width) if turned else (width, height), (width, height), _has_alpha(image))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _turned(image: Image.Image) -> Image.Image:
    """An opened picture as its metadata turn it: most are not, and a copy takes longer than to read it."""
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _is_deep_color(image: Image.Image) -> bool:
    """Whether a picture has 16 bits in each of several channels, of which Pillow would keep 8."""
    return image.mode in ("RGB", "RGBA") and any(";16" in str(tile.args) for tile in getattr(image, "tile", []))


def _read_deep(path: Path) -> NDArray[np.uint16] | None:
    """By OpenCV, if it is there and can; Pillow's 8 bits do else."""
    try:
        import cv2
    except ImportError:
        return None
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        return None
    return np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[2]]])


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
    if labels.shape == (height, width):
        return labels
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
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
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
