"""Language for splats that came without footage: encoders are shown pictures of the run itself."""

from __future__ import annotations

import numpy as np
import pytest

from legs4d import pipeline
from legs4d.config import ExtractSettings, LiftSettings
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.gaussians.export import export_frames
from legs4d.gaussians.import_splats import import_splats
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from legs4d.language.embedding.rendered import RenderedFootage
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=3, width=64, height=48, num_train=4)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The ball that flies past a box, exported and imported again: no cameras, no footage, frames without identity."""
    folder = tmp_path_factory.mktemp("imported")
    run = write_run(folder / "made", SCENE, language=False)
    export_frames(run, folder / "files", range(3))
    with pytest.MonkeyPatch.context() as patch:  # fewer and smaller pictures, for the time that a test has
        patch.setattr("legs4d.gaussians.virtual_cameras.VIEWS", 2)
        patch.setattr("legs4d.gaussians.virtual_cameras.VIEW_SIZE", (96, 72))
        return import_splats([folder / "files"], folder / "run", identity="none")


def test_pictures_show_the_splats_on_grey(imported: Run) -> None:
    footage = RenderedFootage(imported, "cpu")
    images, masks = footage.images("train", 1), footage.masks("train", 1)
    count = len(imported.cameras("train"))
    assert images.shape == (count, 72, 96, 3) and masks.shape == (count, 72, 96)
    assert 0.01 < masks.mean() < 0.9
    corner = images[:, 0, 0]
    np.testing.assert_allclose(corner[masks[:, 0, 0] == 0], 0.5, atol=1e-3)
    assert np.abs(images[masks > 0] - 0.5).mean() > 0.05
    assert footage.images("train", 1, [1]).shape[0] == 1 and footage.images("test", 1).shape[0] == 0
    assert footage.fingerprint() == RenderedFootage(Run.open(imported.path)).fingerprint()


def test_captions_need_a_dataset(imported: Run) -> None:
    with pytest.raises(DatasetError, match="captions"):
        pipeline.lift(imported.path, LiftSettings(encoder="captions"), Context("cpu"))


def test_a_run_without_footage_is_lifted_and_asked(imported: Run) -> None:
    settings = ExtractSettings(every=2, background="never")
    lifted = pipeline.lift(imported.path, LiftSettings(encoder="tiny"), Context("cpu"), extraction=settings)
    assert "dataset" not in lifted.info and lifted.info["encoder"] == "tiny"
    assert all(lifted.has_codes(frame) for frame in range(3))
    grounding = query(lifted, ["a ball is flying"])[0]
    for frame in range(3):
        relevancy = grounding.frame(frame)
        assert relevancy.shape == (lifted.count(frame),) and 0 <= relevancy.min() <= relevancy.max() <= 1
        assert len(grounding.loose(frame)) == lifted.loose_counts[frame] and len(grounding.dynamic(frame)) == 0
    done = (lifted.path / "run.zarr/loose/codes/c.1.0.0").stat().st_mtime_ns
    pipeline.lift(imported.path, LiftSettings(encoder="tiny"), Context("cpu"))  # the same again does nothing
    assert (lifted.path / "run.zarr/loose/codes/c.1.0.0").stat().st_mtime_ns == done
