"""One small film by one moving camera and the run of it, made once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from legs4d import pipeline
from legs4d.config import DeformSettings, GeometrySettings, LearningRates
from legs4d.config.deform import GrowthSettings, NodesSettings
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from tests.deform.film import write_captioned

SETTINGS = DeformSettings(
    enough_pixels=1,
    rates=LearningRates(means=1.8e-4, quats=1e-3, scales=5e-3, opacities=2e-2, colors=2.5e-3),
    steps=240,
    num_points=300,
    growth=GrowthSettings(every=30, max_gaussians=700),
    nodes=NodesSettings(count=48, width=32, depth=3, placed=(0.2,), bind_every=60),
    deformation_rate=3e-3,
    keep_every=1e9,
)


def asked(**changes: object) -> GeometrySettings:
    return GeometrySettings(deform=SETTINGS.model_copy(update=changes))


@pytest.fixture(scope="package")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioned(tmp_path_factory.mktemp("film") / "film")


@pytest.fixture(scope="package")
def run(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return pipeline.reconstruct(film, tmp_path_factory.mktemp("run") / "run", asked(), Context(engine="cpu"))
