"""A few of the datasets that `scripts/tools/fuzz/datasets.py` breaks by the thousand."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.scene.readers.fuzz import SCENE, Tally, draws, fuzz_one, train_one, write_seeds

COUNT, TRAINED = 300, 10
"""Datasets, and how many of those that are read are trained on."""
FIRST = 100
"""Number of the first draw: of these, enough keep masks that agree, and are trained on to the end."""


def test_what_comes_of_a_broken_dataset_is_a_sentence_or_what_was_filmed(tmp_path: Path) -> None:
    seeds, tally = write_seeds(tmp_path / "seeds"), Tally()
    for layout, number in draws(seeds, FIRST, COUNT):
        fuzz_one(seeds, layout, number, tmp_path / "broken", tally)
        shutil.rmtree(tmp_path / "broken")
    assert tally.read > COUNT / 5 and sum(tally.refused.values()) > COUNT / 5
    every = len(tally.trainable) // TRAINED
    filmed = write_seeds(tmp_path / "filmed", SCENE)
    outcomes = [train_one(filmed, *drawn, tmp_path) for drawn in tally.trainable[::every][:TRAINED]]
    assert outcomes.count("trained") > 2, outcomes  # of pictures so small, masks do not always come
