"""Extraction beside tracking: the same grids, and nothing of it left when the other work ends."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.config import ExtractSettings
from legs4d.context import Context, EncoderFiles
from legs4d.executor import Threads
from legs4d.gaussians.store.footage import remember_footage
from legs4d.gaussians.store.run import Run
from legs4d.language.embedding import ahead
from legs4d.language.embedding.extract import extract
from legs4d.language.embedding.grids import GridStore
from legs4d.language.encoders import get_encoder, sees
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.synthetic import Scene, write_dataset

CPU = torch.device("cpu")
FRAMES = 3


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    scene = Scene(num_frames=FRAMES, width=24, height=16, num_train=3, num_test=1)
    return open_sequence(write_dataset(tmp_path_factory.mktemp("ahead") / "ball", scene))


def begun(folder: Path, sequence: Sequence) -> Run:
    run = Run.create(folder)
    remember_footage(run, sequence)
    run.set_info(scale=1.0, reading=sequence.reading.model_dump(mode="json", exclude={"scale"}))
    return run


def test_it_is_for_long_small_footage_on_this_machines_cpu(sequence: Sequence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "default_threads", lambda: 2)
    assert not ahead.pays(sequence, Context("cpu"), CPU), "too few frames"
    monkeypatch.setattr(ahead, "LEAST_FRAMES", FRAMES)
    assert ahead.pays(sequence, Context("cpu"), CPU)
    assert not ahead.pays(sequence, Context("cuda"), torch.device("cuda"))
    assert not ahead.pays(sequence, Context("cpu", executor=Threads(2)), CPU), "a cluster's machines do it"
    monkeypatch.setattr(ahead, "MOST_PIXELS", 3 * 24 * 16 - 1)
    assert not ahead.pays(sequence, Context("cpu"), CPU)


@pytest.mark.long
def test_another_process_extracts_the_same_and_ends_with_the_block(sequence: Sequence, tmp_path: Path) -> None:
    encoder, settings = get_encoder("tiny", EncoderFiles()), ExtractSettings()
    assert sees(encoder)
    run, plain = begun(tmp_path / "beside", sequence), begun(tmp_path / "plain", sequence)
    with run.lock(), ahead.extracting(run, sequence, encoder, settings, CPU):
        store, until = GridStore.open(run.path, "tiny"), time.monotonic() + 120
        while len(store.timesteps_there()) < FRAMES:
            assert time.monotonic() < until
            time.sleep(0.05)
    with run.lock(), ahead.extracting(run, sequence, encoder, settings, CPU):
        pass  # what is there is left as it is
    with run.lock(), plain.lock():
        extract(plain, sequence, encoder, settings, CPU)
        made = [store.path / f"{t:06d}.npz" for t in range(FRAMES)]
        times = [path.stat().st_mtime_ns for path in made]
        extract(run, sequence, encoder, settings, CPU)
    assert run.has_finished("extract") and [path.stat().st_mtime_ns for path in made] == times
    truth = GridStore.open(plain.path, "tiny")
    for timestep in range(FRAMES):
        for name in ("rows", "source", "slot", "valid"):
            assert np.array_equal(getattr(store.read(timestep), name), getattr(truth.read(timestep), name))
