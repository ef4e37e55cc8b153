"""Grids read as codes: what is encoded once a timestep is what encoding every frame's rows would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.gaussians.store.run import Run
from legs4d.language.codec.linear import fit_linear_codec
from legs4d.language.embedding.grids import Grid, GridFeatures, GridsDescription, GridStore
from legs4d.language.embedding.pyramid import pyramid

CAMERAS, HEIGHT, WIDTH, DIM = 2, 24, 32, 6
CROPS = CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
FOOTAGE: Any = None
"""Grids say it all."""


def stored(folder: Path, timesteps: tuple[int, ...]) -> GridFeatures:
    """At each timestep a third of the crops is embedded anew, and a tenth is never embedded."""
    description = GridsDescription("", "", "grids", DIM, CAMERAS, HEIGHT, WIDTH, timesteps)
    store = GridStore.begin(Run.create(folder).path, description)
    random = np.random.default_rng(3)
    source, slot = np.full(CROPS, -1, np.int32), np.full(CROPS, -1, np.int32)
    for at, timestep in enumerate(timesteps):
        new = random.random(CROPS) < (1 / 3 if at else 1)
        new[::10] = False
        source[new], slot[new] = timestep, np.arange(new.sum())
        shape = CAMERAS, -1
        grid = Grid(
            random.normal(size=(new.sum(), DIM)).astype(np.float16),
            source.reshape(shape).copy(),
            slot.reshape(shape).copy(),
            source.reshape(shape) >= 0,
        )
        store.write(timestep, grid)
    return GridFeatures(folder, "grids")


@pytest.mark.parametrize("timesteps", [(0, 1, 2, 3, 4, 5, 6), (0, 3, 6)])
def test_codes_are_those_of_the_rows(tmp_path: Path, timesteps: tuple[int, ...]) -> None:
    grids = stored(tmp_path / "run", timesteps)
    codec = fit_linear_codec(grids.sample_rows(FOOTAGE), max_dim=4)
    for frame in (5, 0, 6, 3):
        whole, coded = grids.feature_map(FOOTAGE, frame), grids.coded_map(frame, codec.encode, codec.code_dim)
        assert coded.index is whole.index and coded.weight is whole.weight
        said = np.unique(whole.index[whole.index >= 0])
        np.testing.assert_allclose(coded.rows[said], codec.encode(whole.rows)[said], atol=1e-6)


def test_rows_are_encoded_once_though_many_timesteps_hold_them(tmp_path: Path) -> None:
    grids = stored(tmp_path / "run", tuple(range(7)))
    counts: list[int] = []

    def encode(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        counts.append(len(rows))
        return rows[:, :2]

    for frame in (6, 5, 4, 3, 2, 1, 0):
        grids.coded_map(frame, encode, 2)
    embedded = sum(len(rows) for rows in grids.sample_rows(FOOTAGE))
    assert sum(counts) == embedded < 5 * CROPS


def test_another_codecs_codes_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    grids = stored(tmp_path / "run", (0, 1, 2))
    first = grids.coded_map(2, lambda rows: rows[:, :3], 3).rows
    second = grids.coded_map(2, lambda rows: 2 * rows[:, :3], 3).rows
    np.testing.assert_array_equal(second, 2 * first)
