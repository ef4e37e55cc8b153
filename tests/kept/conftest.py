"""Small footage and the run of it, made once for all tests here; what a command told, and what a run holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from legs4d import pipeline
from legs4d.config import (
    CodecSettings,
    DensifySettings,
    FirstFrameSettings,
    LiftSettings,
    NodeSettings,
    ReconstructSettings,
    TrackingSettings,
    TrainSettings,
)
from legs4d.context import Context
from legs4d.progress import Progress
from tests.synthetic import Scene, write_dataset

SCENE = Scene(num_frames=3, width=24, height=16, num_train=4, num_test=1)
SETTINGS = TrainSettings(
    reconstruct=ReconstructSettings(
        first_frame=FirstFrameSettings(
            steps=20,
            cameras_per_step=2,
            num_foreground=60,
            num_background=120,
            densify=DensifySettings(max_gaussians=220),
        ),
        tracking=TrackingSettings(nodes=NodeSettings(steps=2, count=20), steps=2, cameras_per_step=2),
    ),
    lift=LiftSettings(encoder="captions", codec=CodecSettings(dim=4)),
)


class Told:
    """Stages that were told of, and a signal to stop in one of them."""

    def __init__(self, stop_in: str = "") -> None:
        self.stages: set[str] = set()
        self.sentences: list[str] = []
        self._stop_in = stop_in

    def __call__(self, progress: Progress) -> None:
        if not progress.stage.startswith("reading"):  # whether that is told depends on how long it takes
            self.stages.add(progress.stage)

    def is_set(self) -> bool:
        return self._stop_in in self.stages


def train(
    dataset: Path, run: Path, settings: TrainSettings = SETTINGS, *, again: bool = False, stop_in: str = ""
) -> Told:
    told = Told(stop_in)
    pipeline.train(
        dataset,
        run,
        settings,
        Context("cpu", tell=told.sentences.append, progress=told, stop=told if stop_in else None),
        again=again,
    )
    return told


def content(run: Path) -> dict[str, bytes]:
    """All that a run's arrays hold."""
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted((run / "run.zarr").rglob("*")) if p.is_file()}


@pytest.fixture(scope="package")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("footage") / "ball", SCENE, image_suffix=".png")


@pytest.fixture(scope="package")
def trained(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    train(footage, run)
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))
