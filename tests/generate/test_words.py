"""Words → a picture → a video → a run, by tiny twins of SDXL and Wan that draw something plain."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d.commands import Object
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.generate import work
from legs4d.generate.words import picture_of
from legs4d.progress import Progress, Stopped
from legs4d.raster.rasterise import render
from tests.generate.drawing_twins import drawing_sdxl, drawing_wan
from tests.generate.test_object import film, small

__all__ = ["film", "small"]


@pytest.fixture(scope="module")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("accelerate", reason="the extra priors is of an older version: make setup")
    folder = tmp_path_factory.mktemp("priors")
    drawing_sdxl(folder / "sdxl")
    drawing_wan(folder / "wan")
    return folder


@pytest.fixture(autouse=True)
def found(helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(helpers))


def color(picture: Path) -> np.ndarray:
    """[3] of what is drawn, 0..255."""
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB"), np.float32)[4:-4, 4:-4].mean(axis=(0, 1))


def test_words_become_a_run_that_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out, stop = tmp_path / "run", Event()
    asked = Object(source="a red vase", prompt="it hops", out=str(out))

    def at_the_video(progress: Progress) -> None:
        if progress.stage == "making_the_video":
            stop.set()

    with pytest.raises(Stopped):
        work.object_run(asked, Context("cpu", progress=at_the_video, stop=stop))
    picture = out / "made/picture/picture.png"
    drawn_at = picture.stat().st_mtime_ns
    told = work.object_run(asked, Context("cpu"))
    assert picture.stat().st_mtime_ns == drawn_at  # what was made is not made again
    assert (told["kind"], told["method"], told["frames"]) == ("generated", "roads", 25)
    run = Run.open(out)
    assert run.info["made_from"]["source"] == "a red vase" and run.info["fps"] == 24
    assert len([*(out / "made/video").glob("*.png")]) == 25
    # The square that was drawn stands before the video's camera, in its colour.
    front = run.cameras("train").take([0]).scaled(64 / 512)
    for frame in (0, 24):
        shown = render(run.frame(frame).torch(), front, background=torch.ones(3), near=run.info["near"])
        solid = shown.alpha[0] > 0.9
        assert float(solid.float().mean()) > 0.5
        want = color(out / f"made/video/{frame:04d}.png") / 255
        np.testing.assert_allclose(shown.color[0][solid].mean(dim=0).numpy(), want, atol=0.06)


def test_another_seed_or_other_words_make_another_picture(tmp_path: Path) -> None:
    told = (("a red vase", 0), ("a red vase", 1), ("a blue box", 0))
    cpu = torch.device("cpu")
    seen = [color(picture_of(tmp_path / str(row), words, seed, cpu)) for row, (words, seed) in enumerate(told)]
    assert np.abs(seen[1] - seen[0]).max() > 0 and np.abs(seen[2] - seen[0]).max() > 0


def test_a_picture_becomes_a_run_that_has_the_videos_frames(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = work.object_run(Object(source=str(film / "0.png"), prompt="it hops", out=str(out)), Context("cpu"))
    assert told["frames"] == 25 and not (out / "made/picture").exists()
    assert Run.open(out).info["made_from"]["source"] == str(film / "0.png")
