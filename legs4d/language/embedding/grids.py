"""What an encoder said of the crops, kept beside the run timestep by timestep, and read as features of pixels.

    RUN/features/<encoder>/grids.json     what it was made of
                           000012.npz     one timestep: complete or not there

A crop in which nothing changed is not embedded again: each timestep says where its crops' embeddings are. Imports no
torch.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.files import clear_write_errors, new_file, write_file
from legs4d.gaussians.store.stage_records import Difference, MadeFrom, RunDiffers, StageRecord, differences
from legs4d.language.embedding.features import FeatureMap
from legs4d.language.embedding.pyramid import pyramid
from legs4d.scene.sequence import Sequence

FORMAT = 2
"""Of the description: 1 had no `made_from`, and fingerprints by which footage cannot be known again."""
FOLDER = "features"
DESCRIPTION = "grids.json"

SAMPLED_ROWS = 50_000
"""Rows that a codec is fitted on; of 768 numbers each, their moments take 2 s on two cores."""

CODES_KEPT = 64
"""Timesteps of which encoded rows are held, more than a block has by default: some 60 MB of 64 numbers each."""

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Said = Callable[[int], NDArray[np.floating]]
"""Timestep → what was said of the crops embedded at it, a row each."""

_AGAIN = "run the same `legs4d extract` or `legs4d train` command again"


@dataclass(frozen=True)
class GridsDescription:
    """What the grids of a run are.

    Attributes:
        fingerprint: of the footage, the encoder, its weights and the settings that they were made of.
        footage: fingerprint of the footage alone.
        encoder: its name.
        dim: numbers of an embedding.
        cameras, height, width: of the training pictures.
        timesteps: at which crops were embedded, in order; the first and the last frame are among them.
        made_from: what they were made of, as JSON (`MadeFrom`); "" where that is not known, from earlier versions.
    """

    fingerprint: str
    footage: str
    encoder: str
    dim: int
    cameras: int
    height: int
    width: int
    timesteps: tuple[int, ...]
    made_from: str = ""

    def holds(self, other: GridsDescription) -> bool:
        """Whether grids of this description are what the other one asks for, as far as is known of them."""
        return self == other or replace(other, made_from="", fingerprint="", footage="") == replace(
            self, fingerprint="", footage=""
        )


@dataclass(frozen=True)
class Grid:
    """One timestep, of C cameras with R crops each.

    Attributes:
        rows: [n, dim] float16, the embeddings made at this timestep, unit vectors.
        source: [C, R] int32, the timestep at which each crop was embedded last; -1 where it never was.
        slot: [C, R] int32, the row that it has there.
        valid: [C, R] bool; a crop that is not valid says nothing.
    """

    rows: NDArray[np.float16]
    source: NDArray[np.int32]
    slot: NDArray[np.int32]
    valid: NDArray[np.bool_]


class GridStore:
    """The grids of one encoder on disk. Several processes may write different timesteps at once."""

    def __init__(self, path: Path, description: GridsDescription) -> None:
        self.path, self.description = path, description

    @classmethod
    def begin(cls, run_folder: Path, description: GridsDescription) -> GridStore:
        """The grids that `description` tells of, with the timesteps that are there.

        Raises:
            RunDiffers: there are others of this encoder.
            RunError: the folder cannot be written.
        """
        path = grids_folder(run_folder, description.encoder)
        if (path / DESCRIPTION).exists():
            try:
                found = cls.open(run_folder, description.encoder)
            except RunError:
                found = None  # damaged or of another format: made anew
            if found is not None and found.description.holds(description):
                return found
            if found is not None and found.timesteps_there():
                was, now = found.description, description
                raise RunDiffers.of(run_folder, differences_of_grids(was, now))
        with clear_write_errors(path):
            if path.exists():
                shutil.rmtree(path)
            path.mkdir(parents=True)
        content = {"format": FORMAT, **asdict(description)}
        write_file(path / DESCRIPTION, json.dumps(content).encode())
        return cls(path, description)

    @classmethod
    def open(cls, run_folder: Path, encoder: str) -> GridStore:
        """The grids of this encoder in a run folder. Raises RunError when there are none, or they are damaged."""
        path = grids_folder(run_folder, encoder)
        try:
            content = json.loads((path / DESCRIPTION).read_text())
            if content.pop("format") not in (1, FORMAT):
                raise RunError("are of another format", where=str(path), fix=_AGAIN)
            content["timesteps"] = tuple(content["timesteps"])
            return cls(path, GridsDescription(**content))
        except FileNotFoundError as error:
            raise RunError(f"has no features of the encoder {encoder!r}", where=str(run_folder), fix=_AGAIN) from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"cannot be read ({error})", where=str(path / DESCRIPTION), fix=_AGAIN) from error

    def timesteps_there(self) -> list[int]:
        """Those that are there, in order."""
        return [timestep for timestep in self.description.timesteps if self.has(timestep)]

    def record(self) -> StageRecord:
        """What there is of these grids, as a stage."""
        told = self.description
        done = self.timesteps_there()
        made_from = MadeFrom(**json.loads(told.made_from)) if told.made_from else None
        return StageRecord(told.fingerprint, done, len(done) == len(told.timesteps), made_from=made_from)

    def has(self, timestep: int) -> bool:
        """Whether this timestep is there, whole."""
        return self._file(timestep).exists()

    def write(self, timestep: int, grid: Grid) -> None:
        """Store a timestep; durable on return. Raises RunError when it cannot be written."""
        with new_file(self._file(timestep)) as file:
            np.savez(file, rows=grid.rows, source=grid.source, slot=grid.slot, valid=grid.valid)

    def read(self, timestep: int) -> Grid:
        """A timestep. Raises RunError when it is not there or damaged."""
        path = self._file(timestep)
        try:
            with np.load(path, allow_pickle=False) as file:
                return Grid(**{name: file[name] for name in ("rows", "source", "slot", "valid")})
        except FileNotFoundError as error:
            raise RunError("is not there yet", where=str(path), fix=_AGAIN) from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            fix = f"delete it and {_AGAIN}"
            raise RunError(f"is damaged ({error})", where=str(path), fix=fix) from error

    def _file(self, timestep: int) -> Path:
        return self.path / f"{timestep:06d}.npz"


def has_grids(run_folder: Path, encoder: str) -> bool:
    """Whether there are any grids of this encoder that can be read."""
    try:
        return bool(GridStore.open(run_folder, encoder).timesteps_there())
    except RunError:
        return False


def is_complete(run_folder: Path, encoder: str, sequence: Sequence) -> bool:
    """Whether there are grids of this encoder and of this footage, with all their timesteps."""
    try:
        store = GridStore.open(run_folder, encoder)
    except RunError:
        return False
    told = store.description
    same = not told.made_from or told.footage == sequence.fingerprint()
    return same and all(map(store.has, told.timesteps))


def differences_of_grids(was: GridsDescription, now: GridsDescription) -> list[Difference]:
    """In what grids that are there differ from those that are wanted."""
    if was.made_from and now.made_from:
        found = differences("extract", MadeFrom(**json.loads(was.made_from)), MadeFrom(**json.loads(now.made_from)))
        if found:
            return found
    shown = {name: (getattr(was, name), getattr(now, name)) for name in ("cameras", "width", "height", "timesteps")}
    found = [Difference.of_values("extract", name, *both) for name, both in shown.items() if both[0] != both[1]]
    return found or [Difference.of_values("extract", "features", was.fingerprint, now.fingerprint)]


def forget_grids(run_folder: Path, encoder: str) -> None:
    """Delete an encoder's grids. Raises RunError when they cannot be deleted."""
    path = grids_folder(run_folder, encoder)
    if path.exists():
        with clear_write_errors(path):
            shutil.rmtree(path)


def grids_folder(run_folder: Path, encoder: str) -> Path:
    """Where an encoder's grids are in a run; "openclip:ViT-B-16" gives features/openclip-ViT-B-16."""
    return run_folder / FOLDER / re.sub(r"[^\w.-]+", "-", encoder)


class GridFeatures:
    """A `FeatureSource`: what the stored grids say of the pixels. Timesteps that were left out are interpolated.

    Raises:
        RunError: there are no grids of this encoder, or they are damaged.
    """

    def __init__(self, run_folder: Path, encoder: str) -> None:
        self._store = GridStore.open(run_folder, encoder)
        self.name, self.version = encoder, self._store.description.fingerprint
        self._read = lru_cache(maxsize=4)(self._store.read)
        self._last_map: tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.float32]] | None = None
        self._one_map = Lock()
        self._encoded: dict[int, NDArray[np.float32]] = {}
        self._encoded_by: Encode | None = None

    @property
    def dim(self) -> int:
        """Numbers of a row."""
        return self._store.description.dim

    def feature_map(self, sequence: Sequence, frame: int) -> FeatureMap:
        """See `FeatureSource`. There is a row for each crop of each camera, camera by camera.

        Rows are unit vectors where they are not interpolated in time, and zero where nothing is said: no pixel mixes
        those. While the same crops say something, the map is the same object, which need not be brought anywhere anew.
        """
        return self._mapped(*self._crops_at(frame, self._rows_of, self.dim))

    def coded_map(self, frame: int, encode: Encode, width: int) -> FeatureMap:
        """The same with codes in place of rows: [C·R, width], what `encode` makes of rows [n, dim].

        Every row is read and encoded once, however many timesteps still hold it. Timesteps between two that were
        embedded have their codes interpolated; for a linear codec these are the codes of the interpolated rows.
        """
        if encode != self._encoded_by:
            self._encoded, self._encoded_by = {}, encode
        return self._mapped(*self._crops_at(frame, self._codes_of, width))

    def _mapped(self, values: NDArray[np.float32], there: NDArray[np.bool_]) -> FeatureMap:
        with self._one_map:  # frames may be lifted by several threads, and a map is some hundred megabytes
            if self._last_map is None or not np.array_equal(there, self._last_map[0]):
                self._last_map = (there, *self._map(there))
            return FeatureMap(values, *self._last_map[1:])

    def _rows_of(self, timestep: int) -> NDArray[np.floating]:
        return self._read(timestep).rows

    def _codes_of(self, timestep: int) -> NDArray[np.floating]:
        assert self._encoded_by is not None
        codes = self._encoded.get(timestep)
        if codes is None:
            codes = self._encoded_by(self._read(timestep).rows.astype(np.float32))
            self._encoded = {timestep: codes, **dict(islice(self._encoded.items(), CODES_KEPT - 1))}
        return codes

    def _map(self, there: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """B as `FeatureMap` has it."""
        told = self._store.description
        shape = pyramid(told.height, told.width)
        index, weight = shape.taps
        row = np.where(there, np.arange(there.size), -1).astype(np.int32).reshape(told.cameras, shape.num_crops)
        index_of = row[:, index]
        return index_of, weight * (index_of >= 0)

    def sample_rows(self, sequence: Sequence) -> Iterator[NDArray[np.float32]]:
        """Evenly spread over everything that was embedded, at most `SAMPLED_ROWS` rows or so."""
        timesteps = self._store.description.timesteps
        total = sum(len(self._store.read(timestep).rows) for timestep in timesteps)
        step = max(1, total // SAMPLED_ROWS)
        for timestep in timesteps:
            rows = self._store.read(timestep).rows[::step]
            if len(rows):
                yield rows.astype(np.float32)

    def _crops_at(self, frame: int, said: Said, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """([C·R, width] what is said of each crop, [C·R] whether anything is) at any frame."""
        before, after, share = neighbours(self._store.description.timesteps, frame)
        values, there = self._crops_embedded_at(before, said, width)
        if before == after:
            return values, there
        later, there_later = self._crops_embedded_at(after, said, width)
        # Features are linear in the rows, so rows may be interpolated in place of features.
        weights = np.stack([there * (1 - share), there_later * share]).astype(np.float32)
        total = weights.sum(axis=0)
        mixed = weights[0, :, None] * values + weights[1, :, None] * later
        return np.divide(mixed, total[:, None], out=mixed, where=total[:, None] > 0), total > 0

    def _crops_embedded_at(
        self, timestep: int, said: Said, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        grid = self._read(timestep)
        valid, source, slot = grid.valid.reshape(-1), grid.source.reshape(-1), grid.slot.reshape(-1)
        values = np.zeros((valid.size, width), np.float32)
        for earlier in np.unique(source[valid]).tolist():
            crops = valid & (source == earlier)
            values[crops] = said(earlier)[slot[crops]]
        return values, valid


def neighbours(timesteps: tuple[int, ...], frame: int) -> tuple[int, int, float]:
    """The timesteps before and after a frame (or it itself, twice), and how far between them it is, 0..1."""
    at = np.searchsorted(timesteps, frame)
    if timesteps[at] == frame:
        return frame, frame, 0.0
    before, after = timesteps[at - 1], timesteps[at]
    return before, after, (frame - before) / (after - before)
