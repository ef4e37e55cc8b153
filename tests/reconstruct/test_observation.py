"""What training is shown: the background that many frames tell of, and the mean of an optimisation's steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.reconstruct.averaging import RunningMean
from legs4d.reconstruct.dropout import leave_out
from legs4d.reconstruct.observation import Backdrop
from legs4d.reconstruct.stages import find_backdrop, observe
from legs4d.scene.readers import open_sequence
from tests.raster.test_cpu_engine import random_gaussians
from tests.synthetic import Scene, write_dataset

CPU = torch.device("cpu")


def test_a_settled_backdrop_is_the_median_of_what_is_open() -> None:
    values = torch.tensor([[10, 200], [250, 20], [12, 22], [14, 99]], dtype=torch.uint8)
    opened = torch.tensor([[True, False], [False, True], [True, True], [True, False]])
    images = values.view(4, 1, 1, 2, 1).expand(4, 1, 1, 2, 3)
    cameras = Scene().cameras("train").take([0])
    settled = Backdrop([cameras] * 4, images, opened.view(4, 1, 1, 2)).settled()
    assert settled.images.shape == (1, 1, 1, 2, 3) and settled.open.all() and len(settled.cameras) == 1
    assert settled.images[0, 0, 0, :, 0].tolist() == [12, 20]


def test_the_backdrop_shows_what_the_ball_hides_at_first(tmp_path: Path) -> None:
    scene = Scene(num_frames=6, width=64, height=48, num_train=4, num_test=1)
    sequence = open_sequence(write_dataset(tmp_path, scene))
    first = observe(sequence, 0, CPU)
    backdrop = find_backdrop(sequence, 5, first)
    assert backdrop is not None and len(backdrop) == 1
    assert float(backdrop.open.float().mean()) > 0.9
    # The colours of the room are those of any frame in which nothing stands before it.
    last = observe(sequence, 5, CPU)
    hidden = (first.masks > 0) & (last.masks == 0) & backdrop.open[0]
    assert int(hidden.sum()) > 10
    difference = (backdrop.images[0].float() / 255 - last.images).abs()[hidden]
    assert float(difference.median()) < 0.02


def test_no_backdrop_is_looked_for_where_none_is_asked_for(tmp_path: Path) -> None:
    sequence = open_sequence(write_dataset(tmp_path, Scene(num_frames=2, width=32, height=24, num_train=4)))
    assert find_backdrop(sequence, 0, observe(sequence, 0, CPU)) is None


def test_the_running_mean_fades() -> None:
    mean, value = RunningMean(0.75), torch.zeros(2, requires_grad=True)
    mean.add({"x": value})
    with torch.no_grad():
        value += 1
    mean.add({"x": value})
    assert mean.values is not None and mean.values["x"].tolist() == [0.25, 0.25]
    nothing = RunningMean(0)
    nothing.add({"x": value})
    assert nothing.values is None


def test_what_is_left_out_is_transparent_and_the_rest_makes_up_for_it() -> None:
    gaussians = random_gaussians(20_000, seed=0, size=0.1)
    gaussians = gaussians.replace(opacities=torch.full((20_000,), 0.5))
    shown = leave_out(gaussians, 0.2, torch.Generator().manual_seed(0)).opacities
    assert sorted(set(np.round(shown.tolist(), 4))) == [0, 0.625]
    assert float(shown.mean()) == pytest.approx(0.5, abs=0.01)
