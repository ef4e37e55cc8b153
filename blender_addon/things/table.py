"""The segments and selections of a run, as this machine has them: sent with the run, kept in its cache. Pure numpy."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cache.frames import RunCache
from ..portable import pointing

Array = np.ndarray[Any, Any]

TABLE = "segments"
BELONGS = 0.5
"""Share of a point in a segment from which it belongs."""
_OPEN = 4
"""Runs whose tables are in memory."""

_known: OrderedDict[tuple[str, int], Table] = OrderedDict()


@dataclass(frozen=True)
class Columns:
    """A matrix [G, S] by its columns: of G points, how far each belongs to S things.

    Attributes:
        start: [S + 1] where each column begins; index: [E] which points it has; weight: [E] uint8, 255 is all of one.
    """

    start: Array
    index: Array
    weight: Array

    def __len__(self) -> int:
        return len(self.start) - 1

    def of(self, number: int) -> tuple[Array, Array]:
        """The points of a column, and 0..1 how far each belongs."""
        part = slice(int(self.start[number]), int(self.start[number + 1]))
        return self.index[part], self.weight[part] * np.float32(1 / 255)

    def sums(self, rows: Array, values: Array) -> Array:
        """[S] sum of each column's weights times a value of some rows."""
        if not len(self.index) or not len(rows):
            return np.zeros(len(self))
        order = np.argsort(rows)
        place = np.searchsorted(rows[order], self.index).clip(max=len(rows) - 1)
        hit = np.flatnonzero(rows[order][place] == self.index)
        found = values[order][place[hit]] * self.weight[hit] * (1 / 255)
        column = np.searchsorted(self.start, hit, "right") - 1
        return np.bincount(column, weights=found, minlength=len(self))


@dataclass(frozen=True)
class Table:
    """What a run was taken apart into. Points are numbered: static ones, those that move, then each frame's loose ones.

    Attributes:
        names, parent, quantile: of S segments: "" where nobody named one, the segment that it is a part of or -1, and
            how large it is among all, 0..1.
        segments, selections: their points.
        selected: names of the run's selections.
    """

    names: tuple[str, ...]
    parent: Array
    quantile: Array
    segments: Columns
    selections: Columns
    selected: tuple[str, ...]

    def under(self, rows: Array, filled: Array, scale: float) -> list[int]:
        """The segments at a pixel that these points fill so far, the one that is meant first; see `portable`."""
        alpha = float(filled.sum())
        if alpha < pointing.OPAQUE:
            return []
        return [int(s) for s in pointing.under(self.segments.sums(rows, filled) / alpha, self.quantile, scale)]

    def title(self, number: int) -> str:
        """What a segment is called for a person."""
        return self.names[number] or f"segment {number}"


def store(cache: RunCache, body: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Put what `things` answered into a run's cache. For any thread."""
    told = {"segments": body["segments"], "selections": body["selections"]}
    cache.write_table(TABLE, {**arrays, "told": np.frombuffer(json.dumps(told).encode(), np.uint8)})


def read(cache: RunCache) -> Table | None:
    """What the cache has; None where nothing was sent yet."""
    file = cache.path / f"{TABLE}.npz"
    try:
        key = (str(file), os.stat(file).st_mtime_ns)
    except FileNotFoundError:
        return None
    if key not in _known:
        _known[key] = _table(cache.table(TABLE))
        while len(_known) > _OPEN:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]


def _table(arrays: Mapping[str, Array]) -> Table:
    told = json.loads(arrays["told"].tobytes())
    segments: Sequence[Mapping[str, Any]] = told["segments"]
    return Table(
        tuple(str(one["name"]) for one in segments),
        np.array([one["parent"] for one in segments], np.int32),
        pointing.quantiles(np.array([one["scale"] for one in segments], np.float32)),
        _columns(arrays, "segment"),
        _columns(arrays, "selection"),
        tuple(told["selections"]),
    )


def _columns(arrays: Mapping[str, Array], name: str) -> Columns:
    if f"{name}_start" not in arrays:
        return Columns(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8))
    return Columns(*(arrays[f"{name}_{part}"] for part in ("start", "index", "weight")))
