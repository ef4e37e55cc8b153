"""From pictures to answers with an encoder that sees: train, extract, lift, query, on a small known scene."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from legs4d import pipeline
from legs4d.config import (
    DensifySettings,
    ExtractSettings,
    FirstFrameSettings,
    LiftSettings,
    NodeSettings,
    ReconstructSettings,
    TrackingSettings,
    TrainSettings,
)
from legs4d.context import Context
from legs4d.errors import EncoderError, RunError
from legs4d.executor import Done, timed
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.grounding import query
from legs4d.language import encoders
from legs4d.language.codec.linear import LinearCodec
from legs4d.language.embedding.grids import GridFeatures, GridStore
from legs4d.language.embedding.pyramid import pyramid
from legs4d.scene.readers import open_sequence

from ...synthetic import BALL, Scene, write_dataset, write_run

SCENE = Scene(num_frames=3, width=48, height=32, num_train=4, num_test=1)
TRAIN = TrainSettings(
    reconstruct=ReconstructSettings(
        first_frame=FirstFrameSettings(
            steps=40, num_foreground=150, num_background=300, densify=DensifySettings(max_gaussians=600)
        ),
        tracking=TrackingSettings(nodes=NodeSettings(steps=2, count=20), steps=2),
    ),
    lift=LiftSettings(encoder="mean_color"),
)


@pytest.fixture(autouse=True)
def _mean_color(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(encoders.ENCODERS, "mean_color", "tests.language.embedding.crop_encoders:MeanColorEncoder")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("footage") / "dataset", SCENE)


@pytest.fixture
def run(tmp_path: Path, dataset: Path) -> Run:
    """The scene itself as a run, so that which Gaussian is which is known."""
    return write_run(tmp_path / "known", SCENE, language=False, dataset=str(dataset))


def test_train_extracts_lifts_and_answers(tmp_path: Path, dataset: Path):
    made = pipeline.train(dataset, tmp_path / "run", TRAIN, Context("cpu"))
    assert [made.stages[name].finished for name in ("first_frame", "tracking", "extract", "lift")] == [True] * 4
    assert made.info["encoder"] == "mean_color"
    (orange,) = query(made, ["orange"])
    assert orange.relevancy.shape == (3,) and np.isfinite(orange.frame(1)).all()
    seconds = {name: stage.seconds for name, stage in made.stages.items()}
    pipeline.train(dataset, tmp_path / "run", TRAIN, Context("cpu"))
    assert {name: stage.seconds for name, stage in Run.open(made.path).stages.items()} == seconds


def test_gaussians_say_what_the_crops_around_them_show(run: Run, dataset: Path):
    everything = ExtractSettings(background="always", smallest=1)
    pipeline.lift(run.path, LiftSettings(encoder="mean_color"), extraction=everything)
    lifted = Run.open(run.path)
    said = GridFeatures(run.path, "mean_color").feature_map(open_sequence(dataset, 1.0), 1)
    pixels = np.einsum("chwk,chwkd->chwd", said.weight, said.rows[said.index])
    _, ids = SCENE.photograph(SCENE.cameras("train"), 1)
    shown = pixels[ids == BALL].mean(axis=0)
    codes, confidence = lifted.moving_codes(1)
    lifted_mean = np.average(LinearCodec.from_arrays(*lifted.codec()).decode(codes), axis=0, weights=confidence)
    np.testing.assert_allclose(lifted_mean, shown, atol=0.01)
    assert np.abs(pixels[ids == 0].mean(axis=0) - shown).max() > 0.02


def test_lift_extracts_only_what_is_not_there(run: Run):
    pipeline.extract(run.path, "mean_color", ExtractSettings(every=2), Context("cpu"))
    pipeline.lift(run.path, LiftSettings(encoder="mean_color"))
    assert GridStore.open(run.path, "mean_color").description.timesteps == (0, 2)
    assert Run.open(run.path).stages["lift"].finished


def test_other_extractions_are_made_and_lifted_only_when_asked_for(run: Run):
    pipeline.lift(run.path, LiftSettings(encoder="mean_color"))
    before = Run.open(run.path).stages["lift"].fingerprint
    with pytest.raises(RunDiffers, match=r"extract\.every: 1 → 2"):
        pipeline.extract(run.path, "mean_color", ExtractSettings(every=2), Context("cpu"))
    pipeline.extract(run.path, "mean_color", ExtractSettings(every=2), Context("cpu"), again=True)
    assert GridStore.open(run.path, "mean_color").description.timesteps == (0, 2)
    assert Run.open(run.path).stages["lift"].fingerprint == before
    with pytest.raises(RunDiffers, match="features: another one than lift was made from"):
        pipeline.lift(run.path, LiftSettings(encoder="mean_color"))
    pipeline.lift(run.path, LiftSettings(encoder="mean_color"), again=True)
    assert Run.open(run.path).stages["lift"].fingerprint != before


def test_lift_on_the_known_scene_covers_all_cameras(run: Run):
    pipeline.lift(run.path, LiftSettings(encoder="mean_color:frames"))
    grid = GridStore.open(run.path, "mean_color:frames").read(0)
    assert grid.valid.shape == (SCENE.num_train, pyramid(SCENE.height, SCENE.width).num_crops)


def test_auto_takes_captions_where_there_are_some_else_actions_of_objects_and_else_pictures(run: Run, tmp_path: Path):
    pipeline.lift(run.path, LiftSettings())
    assert Run.open(run.path).info["encoder"] == "captions"
    silent = write_dataset(tmp_path / "silent", SCENE)
    (silent / "captions.json").unlink()
    assert encoders.choose_encoder("auto", open_sequence(silent, 1.0)) == "actions"
    shutil.rmtree(silent / "objects")
    assert encoders.choose_encoder("auto", open_sequence(silent, 1.0)) == "tiny"
    assert encoders.choose_encoder("viclip", open_sequence(silent, 1.0)) == "viclip"


def test_missing_weights_stop_training_before_it_begins(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("LEGS4D_VICLIP_WEIGHTS", raising=False)
    with pytest.raises(EncoderError, match=r"weights of ViCLIP-L/14 are not there"):
        pipeline.train(dataset, tmp_path / "run", TrainSettings(lift=LiftSettings(encoder="viclip")))
    assert not (tmp_path / "run").exists()


class _Elsewhere:
    """An executor whose work goes through pickle, as to another process, and is done in no good order."""

    threads: int | None = 1

    def each(self, work: Any, frames: Iterable[int], check: Callable[[], None]) -> Iterator[list[Done[Any]]]:
        for frame in reversed(list(frames)):
            yield [timed(pickle.loads(pickle.dumps(work)), frame)]


def test_blocks_can_be_done_elsewhere_and_in_any_order(run: Run, tmp_path: Path, dataset: Path):
    settings = ExtractSettings(block=2)
    pipeline.extract(run.path, "mean_color", settings, Context(executor=_Elsewhere()))
    other = write_run(tmp_path / "here", SCENE, language=False, dataset=str(dataset))
    pipeline.extract(other.path, "mean_color", settings)
    assert Run.open(run.path).stages["extract"].done_frames == [0, 1, 2]
    for frame in range(3):
        ours, theirs = (GridStore.open(r.path, "mean_color").read(frame) for r in (run, other))
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_array_equal(ours.source, theirs.source)


def test_encoders_that_do_not_see_have_nothing_to_extract(run: Run):
    with pytest.raises(EncoderError, match=r"encoder captions: reads the dataset.*run `legs4d lift`"):
        pipeline.extract(run.path, "captions", ExtractSettings())


def test_a_run_of_no_footage_cannot_be_extracted(tmp_path: Path):
    Run.create(tmp_path / "empty")
    with pytest.raises(RunError, match="was not made from footage"):
        pipeline.extract(tmp_path / "empty", "mean_color", ExtractSettings())
