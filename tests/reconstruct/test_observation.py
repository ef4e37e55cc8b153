"""What training is shown: the background that many frames tell of, and the mean of an optimisation's steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.config import DensifySettings, FirstFrameSettings, LearningRates
from legs4d.progress import StageReporter, Stopped
from legs4d.raster import Render
from legs4d.raster.screen import ScreenGradient
from legs4d.reconstruct import observation
from legs4d.reconstruct.first_frame import fit_first_frame
from legs4d.reconstruct.fitting.averaging import RunningMean
from legs4d.reconstruct.fitting.dropout import leave_out
from legs4d.reconstruct.initialise import initial_points
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation, grow, picture_loss
from legs4d.reconstruct.reading import READ_AT_ONCE, find_backdrop, observe
from legs4d.reconstruct.stages import torch_threads
from legs4d.reconstruct.vignette import falloff
from legs4d.scene.readers import open_sequence
from legs4d.scene.stage import find_stage
from tests.raster.test_cpu_engine import random_gaussians, ring_of_cameras
from tests.synthetic import Scene, write_dataset

CPU = torch.device("cpu")


def test_reading_is_told_and_can_be_ended_between_pictures(tmp_path: Path) -> None:
    sequence = open_sequence(write_dataset(tmp_path, Scene(num_frames=2, width=32, height=24, num_train=9)))
    steps: list[tuple[int, int]] = []
    whole = observe(sequence, 1, CPU, lambda *now: steps.append(now))
    assert steps[0] == (0, 9) and steps[-1] == (9, 9) and len(steps) >= 9 // READ_AT_ONCE
    assert np.array_equal(whole.images.numpy(), sequence.images("train", 1))
    masks = sequence.masks("train", 1)
    assert masks is not None and np.array_equal(whole.masks.numpy(), masks)

    def stop(done: int, total: int) -> None:
        steps.append((done, total))
        if done > 0:
            raise Stopped("reading")

    steps.clear()
    with pytest.raises(Stopped):
        observe(sequence, 0, CPU, stop)
    assert steps == [(0, 9), (min(READ_AT_ONCE, 9), 9)]


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_a_settled_backdrop_is_the_median_of_what_is_open(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "SETTLED_AT_ONCE", at_once)
    values = torch.tensor([[10, 200], [250, 20], [12, 22], [14, 99]], dtype=torch.uint8)
    opened = torch.tensor([[True, False], [False, True], [True, True], [True, False]])
    images = values.view(4, 1, 2, 1, 1).expand(4, 1, 2, 1, 3)
    cameras = Scene().cameras("train").take([0])
    settled = Backdrop([cameras] * 4, images, opened.view(4, 1, 2, 1)).settled()
    assert settled.images.shape == (1, 1, 2, 1, 3) and settled.open.all() and len(settled.cameras) == 1
    assert settled.images[0, 0, :, 0, 0].tolist() == [12, 20]


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


@pytest.mark.parametrize("reach", [1, 2, 3, 7, 12])
def test_masks_grow_to_all_sides(reach: int) -> None:
    masks = torch.rand(2, 31, 40, generator=torch.Generator().manual_seed(reach))
    windows = torch.nn.functional.pad(masks, [reach] * 4).unfold(1, 2 * reach + 1, 1).unfold(2, 2 * reach + 1, 1)
    assert torch.equal(grow(masks, reach), windows.amax(dim=(-2, -1)))


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


def test_light_falls_off_with_the_angle_to_the_axis() -> None:
    cameras = Scene(width=64, height=48).cameras("train").take([0, 1])
    light = falloff(torch.tensor([-0.5, 0.25]), cameras)
    assert light.shape == (2, 48, 64, 1)
    k = cameras.intrinsics[1]
    tangent = ((0.5 - k[0, 2]) / k[0, 0]) ** 2 + ((47.5 - k[1, 2]) / k[1, 1]) ** 2
    assert float(light[1, 47, 0, 0]) == pytest.approx(np.exp(-0.5 * tangent + 0.25 * tangent**2), rel=1e-5)
    gain, offset = torch.zeros(2, 3), torch.zeros(2, 3)
    grey = torch.full((1, 48, 64, 3), 0.5)
    seen = CameraColors(gain, offset, torch.tensor([-0.5, 0.25])).apply(grey, cameras.take([1]), np.array([1]))
    torch.testing.assert_close(seen, 0.5 * light[1:].expand(1, 48, 64, 3))


def test_the_falloff_of_a_lens_is_found(tmp_path: Path) -> None:
    sequence = open_sequence(write_dataset(tmp_path, Scene(num_frames=1, width=64, height=48, num_test=1)))
    observed, stage = observe(sequence, 0, CPU), find_stage(sequence.cameras("train", 0))
    dark = falloff(torch.tensor([-0.6, 0.0]), observed.cameras)
    filmed = Observation(observed.cameras, observed.images * dark, observed.masks)
    settings = FirstFrameSettings(steps=120, cameras_per_step=4, vignette_rate=1e-2)
    points = initial_points(filmed, stage, 300, 1200)
    with torch_threads(torch.device("cpu")):
        _, colors = fit_first_frame(filmed, points, stage, settings, StageReporter("first_frame"))
    assert colors.vignette is not None
    corner = torch.exp(colors.vignette[0] * 0.5 + colors.vignette[1] * 0.25)  # at t = 0.5, near the corners
    assert float(corner) == pytest.approx(np.exp(-0.3), abs=0.08)


@pytest.mark.parametrize("ssim_share", [0.0, 0.2])
def test_the_kernel_of_picture_losses_agrees_with_torch_in_float64(ssim_share: float) -> None:
    chance = torch.Generator().manual_seed(3)
    seen, images = torch.rand(2, 2, 13, 18, 3, generator=chance)
    foreground, masks = torch.rand(2, 2, 13, 18, generator=chance)
    images[0, :4] = 1  # white, where what is rendered brighter costs nothing
    seen[0, 2:6] += 1
    found = []
    for precision in (torch.float32, torch.float64):
        free = [values.detach().to(precision).requires_grad_() for values in (seen, foreground)]
        picture = Render(free[0], masks, None, free[1][..., None], ScreenGradient())
        observed = Observation(ring_of_cameras(2, 18, 13), images.to(precision), masks.to(precision))
        loss = picture_loss(picture, free[0], observed, ssim_share, 3.0)
        (2 * loss).backward()
        found.append((loss.detach(), *(values.grad for values in free)))
    for kernel, truth in zip(*found, strict=True):
        torch.testing.assert_close(kernel.double(), truth, atol=1e-6, rtol=1e-4)
    assert (found[0][1][0, 2:4] == 0).all() and (found[0][1][0, 4:6] != 0).any()


def test_nothing_grows_beyond_the_bound_once_densification_has_ended(tmp_path: Path) -> None:
    sequence = open_sequence(write_dataset(tmp_path, Scene(num_frames=1, width=64, height=48, num_test=1)))
    observed, stage = observe(sequence, 0, CPU), find_stage(sequence.cameras("train", 0))
    # Few and fast growing, so that without a bound some end up wider.
    settings = FirstFrameSettings(
        steps=60,
        cameras_per_step=3,
        rates=LearningRates(scales=0.1),
        densify=DensifySettings(every=6, stop=0.4, max_scale=0.1, max_gaussians=200),
    )
    points = initial_points(observed, stage, 40, 120)
    with torch_threads(CPU):
        gaussians, _ = fit_first_frame(observed, points, stage, settings, StageReporter("first_frame"))
    assert float(gaussians.scales.max()) == pytest.approx(0.1 * stage.radius, rel=1e-4)
