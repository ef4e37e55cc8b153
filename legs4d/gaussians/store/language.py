"""The language of a run: its codec, and the codes of its Gaussians."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.arrays import (
    StoredArray,
    array_names,
    create_array,
    create_group,
    read_attributes,
    replace_group,
)
from legs4d.gaussians.store.geometry import RunGeometry


class RunLanguage(RunGeometry):
    """Codec and codes of a run; see `run.Run`."""

    def write_codec(self, name: str, arrays: dict[str, NDArray[Any]], attrs: dict[str, Any]) -> None:
        """Store what turns codes into scores: arrays, and JSON attributes to which `name` is added."""
        create_group(self._zarr)
        replace_group(self._group("codec"), arrays, {**attrs, "name": name})
        self._forget()

    def codec(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """(arrays, attributes) as given to `write_codec`; the attribute `name` is the codec's name."""
        group = self._group("codec")
        if not group.is_dir():
            raise RunError("has no language yet", where=str(self.path), fix=self.language_cure)
        attributes = read_attributes(group)
        return {name: self._constant(f"codec/{name}").copy() for name in array_names(group)}, attributes

    def language_mark(self) -> tuple[int, int]:
        """Changes when the run is lifted anew, by whichever process: the codec is replaced then, before any codes."""
        found = self._group("codec").stat()
        return found.st_ino, found.st_mtime_ns

    def has_codes(self, frame: int) -> bool:
        """Whether the language codes of this frame, and the static ones, are there."""
        groups = ("dynamic", *(("loose",) if self.has_loose else ()))
        written = all((self._group(g) / "codes").is_dir() for g in ("static", *groups))
        return written and all(self._array(f"{group}/confidence").has(frame) for group in groups)

    def write_static_codes(self, codes: ArrayLike, confidence: ArrayLike) -> None:
        """Store codes [N,D] (as float16) and confidence [N] (as float32) of the static Gaussians."""
        values = np.asarray(codes, np.float16)
        for name, array in (("codes", values), ("confidence", np.asarray(confidence, np.float32))):
            create_array(self._group("static") / name, array.shape, array.dtype).write(array)
        self._forget()

    def write_codes(self, frame: int, codes: ArrayLike, confidence: ArrayLike) -> None:
        """Store codes [n,D] (as float16) and confidence [n] (as float32) of what is not static in a frame: the M
        dynamic Gaussians, then the loose ones; durable on return."""
        values, weights = np.asarray(codes, np.float16), np.asarray(confidence, np.float32)
        moving, loose = self.num_dynamic, self._loose_count(frame)
        if values.shape[0] != moving + loose:
            raise ValueError(f"codes: {values.shape[0]} rows, expected {moving + loose}")
        width = values.shape[1]
        self._codes_array("dynamic/codes", (moving, width), np.float16).write(values[:moving], frame)
        if self.has_loose:
            rows = self.max_loose
            self._codes_array("loose/codes", (rows, width), np.float16).write_rows(values[moving:], frame)
            self._codes_array("loose/confidence", (rows,), np.float32).write_rows(weights[moving:], frame)
        self._codes_array("dynamic/confidence", (moving,), np.float32).write(weights[:moving], frame)

    def static_codes(self) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """(codes [N,D], confidence [N]) of the static Gaussians."""
        return self._read_codes("static", None)

    def moving_codes(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """(codes [n,D], confidence [n]) of what is not static in this frame, as `write_codes` was given them."""
        return self._moving_codes(frame, mapped=False)

    def map_moving_codes(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """As `moving_codes`, but the codes are a view of their file, to be read once: for sweeps over frames."""
        return self._moving_codes(frame, mapped=True)

    def _moving_codes(self, frame: int, *, mapped: bool) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        self._require_frame(frame)
        if not self.has_loose:
            return self._read_codes("dynamic", frame, mapped=mapped)
        loose = self._read_codes("loose", frame, mapped=mapped, rows=self._loose_count(frame))
        if not self.num_dynamic:
            return loose
        both = self._read_codes("dynamic", frame), loose
        return np.concatenate([part[0] for part in both]), np.concatenate([part[1] for part in both])

    def _codes_array(self, name: str, shape: tuple[int, ...], dtype: type) -> StoredArray:
        path = self._zarr / name
        if not (path / "zarr.json").exists():
            self._arrays[name] = create_array(path, (self.num_frames, *shape), dtype, per_frame=True)
        return self._array(name)

    def _read_codes(
        self, group: str, frame: int | None, *, mapped: bool = False, rows: int | None = None
    ) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        _ = self._geometry
        written = (self._group(group) / "confidence").is_dir()
        if not written or (frame is not None and not self._array(f"{group}/confidence").has(frame)):
            where = "its static part" if frame is None else f"frame {frame}"
            raise RunError(f"has no language in {where} yet", where=str(self.path), fix=self.language_cure)
        codes, confidence = self._array(f"{group}/codes"), self._array(f"{group}/confidence")
        if rows is not None:
            assert frame is not None
            return codes.read_rows(rows, frame, mapped=mapped), confidence.read_rows(rows, frame)
        return (codes.map if mapped else codes.read)(frame), confidence.read(frame)
