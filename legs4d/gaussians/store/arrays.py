"""Arrays on disk in zarr format 3: the part of the format that a run uses, with numpy alone.

Why not the zarr package: importing it costs over a second, half of what a query may take, and it does not sync chunks
to the disk. What is written here is plain zarr 3 (regular chunks, `bytes` codec, little endian, no compression), which
the zarr package opens; `tests/gaussians/test_store.py` reads it that way.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, sync_folder, write_file

_METADATA = "zarr.json"
_DAMAGED = "train into a new folder, or copy the run again"


@dataclass(frozen=True)
class StoredArray:
    """An array on disk, in one chunk, or in one chunk per index of its first axis.

    Attributes:
        path: the array's folder.
        shape: its shape.
        dtype: its element type (bool, integers, floats).
        per_frame: True when the first axis is time and each frame is a chunk of its own.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    per_frame: bool

    def write(self, values: NDArray[Any], frame: int | None = None) -> None:
        """Store the array, or with `per_frame` one frame of it; durable on return.

        Raises:
            ValueError: `values` is not of the shape of a chunk.
            RunError: it cannot be written, or a value is not finite.
        """
        chunk = np.asarray(values, dtype=self.dtype.newbyteorder("<"), order="C")
        if chunk.shape != self._chunk_shape:
            raise ValueError(f"{self.path.name}: shape {chunk.shape}, expected {self._chunk_shape}")
        where = self.path.name if frame is None else f"{self.path.name}, frame {frame}"
        if chunk.dtype.kind == "f" and not _is_finite(chunk):
            raise RunError("has values that are not finite numbers and is not stored", where=where)
        if chunk.size:
            write_file(self._chunk_path(frame), chunk.reshape(-1).view(np.uint8).data)

    def read(self, frame: int | None = None) -> NDArray[Any]:
        """The array, or with `per_frame` one frame of it; a fresh, writable copy.

        Raises:
            RunError: it was not written, or its size is wrong.
        """
        shape = self._chunk_shape
        count = int(np.prod(shape))
        path = self._chunk_path(frame)
        try:
            values = np.fromfile(path, dtype=self.dtype.newbyteorder("<"), count=count + 1) if count else np.empty(0)
        except FileNotFoundError as error:
            raise RunError("is not there yet", where=str(path), fix="run the same command again to resume") from error
        if values.size != count:
            raise RunError("is damaged (its size is wrong)", where=str(path), fix=_DAMAGED)
        return values.reshape(shape).astype(self.dtype, copy=False)

    def map(self, frame: int | None = None) -> NDArray[Any]:
        """As `read`, without reading: a view of the file, not writable, whose pages come when they are touched.

        For large arrays that are looked at once: a copy costs more than the look. Raises as `read`.
        """
        shape = self._chunk_shape
        count = int(np.prod(shape))
        path = self._chunk_path(frame)
        if not count or not path.exists() or path.stat().st_size != count * self.dtype.itemsize:
            return self.read(frame)  # nothing to map, or the error that says why
        return np.memmap(path, self.dtype.newbyteorder("<"), "r", shape=shape).view(np.ndarray)

    def write_rows(self, values: NDArray[Any], frame: int) -> None:
        """Store the first rows of a frame, which may be fewer than it has room for; the others become 0."""
        room = self._chunk_shape[0]
        if len(values) < room:
            values = np.concatenate([values, np.zeros((room - len(values), *values.shape[1:]), values.dtype)])
        self.write(values, frame)

    def read_rows(self, count: int, frame: int, *, mapped: bool = False) -> NDArray[Any]:
        """The first `count` rows of a frame, without reading the others; `mapped` as in `map`. Raises as `read`."""
        path, whole = self._chunk_path(frame), int(np.prod(self._chunk_shape))
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise RunError("is not there yet", where=str(path), fix="run the same command again to resume") from error
        if size != whole * self.dtype.itemsize:
            raise RunError("is damaged (its size is wrong)", where=str(path), fix=_DAMAGED)
        shape, stored = (count, *self._chunk_shape[1:]), self.dtype.newbyteorder("<")
        if mapped and count:
            return np.memmap(path, stored, "r", shape=shape).view(np.ndarray)
        return np.fromfile(path, stored, int(np.prod(shape))).reshape(shape).astype(self.dtype, copy=False)

    def has(self, frame: int) -> bool:
        """Whether this frame was written (always, where a frame holds nothing)."""
        return 0 in self._chunk_shape or self._chunk_path(frame).exists()

    def discard(self, frame: int) -> None:
        """Delete one frame."""
        self._chunk_path(frame).unlink(missing_ok=True)

    @property
    def _chunk_shape(self) -> tuple[int, ...]:
        return self.shape[1:] if self.per_frame else self.shape

    def _chunk_path(self, frame: int | None) -> Path:
        if self.per_frame != (frame is not None):
            raise ValueError(f"{self.path.name}: frame {frame}, but per_frame is {self.per_frame}")
        if frame is not None and not 0 <= frame < self.shape[0]:
            raise RunError(f"frame {frame} does not exist: there are {self.shape[0]}, counted from 0")
        indices = [frame or 0] + [0] * (len(self.shape) - 1)
        return self.path / ".".join(["c", *map(str, indices if self.shape else [])])


def _is_finite(values: NDArray[Any]) -> bool:
    """Whether all numbers are; numpy takes ten times as long where they are in half precision."""
    if values.dtype.itemsize != 2:
        return bool(np.isfinite(values).all())
    special = 0x7C00  # the exponent of infinity and of what is not a number
    return not values.size or int((values.view("<u2") & special).max()) < special


def create_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, per_frame: bool = False) -> StoredArray:
    """Describe an array on disk, with none of its values yet. Raises RunError when it cannot be written."""
    kind = np.dtype(dtype)
    chunk = (1, *shape[1:]) if per_frame else shape
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": kind.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, n) for n in chunk]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": False if kind.kind == "b" else 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {"per_frame": per_frame},
    }
    with clear_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    write_file(path / _METADATA, json.dumps(metadata).encode())
    return StoredArray(path, shape, kind, per_frame)


def open_array(path: Path) -> StoredArray:
    """The array that `create_array` described. Raises RunError when it is missing or damaged."""
    metadata = _read_metadata(path, "array")
    try:
        shape = tuple(int(n) for n in metadata["shape"])
        per_frame = bool(metadata["attributes"]["per_frame"])
        kind = np.dtype(metadata["data_type"])
        plain = metadata["codecs"] == [{"name": "bytes", "configuration": {"endian": "little"}}]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"is damaged ({error})", where=str(path / _METADATA), fix=_DAMAGED) from error
    if not plain:
        raise RunError("is stored with codecs that legs4d does not write", where=str(path), fix=_DAMAGED)
    return StoredArray(path, shape, kind, per_frame)


def create_group(path: Path, attributes: dict[str, Any] | None = None) -> None:
    """Make a zarr group with these attributes (JSON values). Raises RunError when it cannot be written."""
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}
    with clear_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    write_file(path / _METADATA, json.dumps(metadata).encode())


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a group. Raises RunError when it is missing or damaged."""
    attributes = _read_metadata(path, "group").get("attributes", {})
    return dict(attributes)


def replace_group(path: Path, arrays: dict[str, NDArray[Any]], attributes: dict[str, Any] | None = None) -> None:
    """Make a group with these one-chunk arrays ("a/b" makes a group in it) in place of what was there.

    A reader finds the old group, none, or the new one, never a mixture. Raises RunError when it cannot be written.
    """
    fresh = path.with_name(f"{TEMPORARY_PREFIX}new-{path.name}")
    stale = path.with_name(f"{TEMPORARY_PREFIX}old-{path.name}")
    with clear_write_errors(path):
        for leftover in (fresh, stale):
            if leftover.exists():
                shutil.rmtree(leftover)
    create_group(fresh, attributes)
    for name, values in arrays.items():
        if "/" in name and not (fresh / name).parent.exists():
            create_group((fresh / name).parent)
        create_array(fresh / name, values.shape, values.dtype).write(values)
    with clear_write_errors(path):
        if path.exists():
            path.rename(stale)
        fresh.rename(path)
        sync_folder(path.parent)
        if stale.exists():
            shutil.rmtree(stale)


def array_names(path: Path) -> list[str]:
    """Names of the arrays directly in a group, sorted."""
    return sorted(child.name for child in path.iterdir() if (child / _METADATA).is_file())


def _read_metadata(path: Path, node_type: str) -> dict[str, Any]:
    file = path / _METADATA
    try:
        metadata = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise RunError("is not there yet", where=str(path), fix="run the same command again to resume") from error
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", where=str(file), fix=_DAMAGED) from error
    if not isinstance(metadata, dict) or metadata.get("node_type") != node_type or metadata.get("zarr_format") != 3:
        raise RunError(f"is not a zarr 3 {node_type}", where=str(file), fix=_DAMAGED)
    return metadata
