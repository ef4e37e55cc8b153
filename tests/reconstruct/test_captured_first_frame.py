"""The first frame by captured steps, in memory that stays where it is, against the plain way to find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from legs4d.config import DensifySettings, FirstFrameSettings, LearningRates
from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.reconstruct.captured.first_frame import CapturedFit, load
from legs4d.reconstruct.first_frame import fit_first_frame
from legs4d.reconstruct.fitting.densify import Densifier
from legs4d.reconstruct.fitting.first_frame import FirstFrameFit
from legs4d.reconstruct.fitting.parameters import Parameters
from legs4d.reconstruct.initialise import initial_points
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation
from legs4d.reconstruct.reading import find_backdrop, observe
from legs4d.reconstruct.stages import torch_threads
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage, find_stage
from tests.synthetic import Scene, write_dataset

Filmed = tuple[Observation, InitialPoints, Stage, Backdrop]


def filmed(folder: Path, device: str, points: int, scene: Scene) -> Filmed:
    sequence = open_sequence(write_dataset(folder, scene))
    observed, stage = observe(sequence, 0, torch.device(device)), find_stage(sequence.cameras("train", 0))
    backdrop = find_backdrop(sequence, 2, observed)
    assert backdrop is not None
    return observed, initial_points(observed, stage, points // 4, points - points // 4), stage, backdrop


def decibels(gaussians: Gaussians, colors: CameraColors, observed: Observation, near: float) -> float:
    with torch.no_grad():
        seen = render(gaussians, observed.cameras, near=near).color
        seen = colors.apply(seen, observed.cameras, np.arange(len(observed.cameras)))
    return float(-10 * torch.log10((seen.clamp(0, 1) - observed.images).square().mean()))


def test_captured_steps_are_the_plain_ones_where_nothing_is_captured(tmp_path: Path) -> None:
    observed, points, stage, backdrop = filmed(
        tmp_path, "cpu", 160, Scene(num_frames=3, width=32, height=24, num_train=4)
    )
    settings = FirstFrameSettings(
        steps=24,
        cameras_per_step=3,
        vignette_rate=1e-3,
        background_share=0.4,
        averaging=0.9,
        opacity_weight=0.05,
        scale_weight=0.2,
        densify=DensifySettings(every=6, start=0.25, max_gaussians=200),
    )
    assert settings.dropout == 0  # what is left out is drawn for every row, of which the captured way has more
    found = []
    for kind in (FirstFrameFit, CapturedFit):
        fit = kind(observed, points, stage, settings, backdrop)
        assert 0 < (fit.alone >= 0).sum() < settings.steps
        found.append(fit.run(StageReporter("first_frame")))
    (plain, colors), (captured, captured_colors) = found
    assert len(captured) == len(plain) > len(points.positions)
    assert captured.is_foreground.tolist() == plain.is_foreground.tolist()
    for name in ("means", "scales", "opacities", "colors"):
        one, other = getattr(plain, name), getattr(captured, name)
        assert float((one - other).abs().median()) < 4e-3 * float(one.std()), name
    torch.testing.assert_close(captured_colors.gain, colors.gain, atol=1e-4, rtol=1e-3)
    assert captured_colors.vignette is not None and colors.vignette is not None
    torch.testing.assert_close(captured_colors.vignette, colors.vignette, atol=1e-4, rtol=1e-3)


def test_what_loads_beforehand_takes_a_whole_step_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras, taken = Scene(width=32, height=24, num_train=4).cameras("train"), []
    moved = CapturedFit._move

    def move(self: CapturedFit, *given: Any) -> None:
        before = self.parameters.values["logit_opacities"].detach().clone()
        moved(self, *given)
        taken.append(float((self.parameters.values["logit_opacities"].detach() - before).abs().max()))

    monkeypatch.setattr(CapturedFit, "_move", move)
    chance, settings = torch.get_rng_state(), FirstFrameSettings(vignette_rate=1e-3, dropout=0.1, opacity_weight=0.1)
    load(cameras, find_stage(cameras), settings, torch.device("cpu"))
    assert len(taken) == 1 and taken[0] > 0
    assert torch.equal(torch.get_rng_state(), chance)


def test_gaussians_come_and_go_in_memory_that_stays_where_it_is() -> None:
    chance = np.random.default_rng(0)
    points = InitialPoints(
        chance.normal(size=(40, 3)).astype(np.float32),
        chance.random((40, 3), np.float32),
        np.arange(40) < 10,
    )
    sets = [Parameters.from_points(points, LearningRates(), 1.0, "cpu", capacity) for capacity in (0, 60)]
    places = [value.data_ptr() for value in sets[1].values.values()]
    for parameters in sets:
        settings = DensifySettings(max_gaussians=60, max_scale=9)
        densifier = Densifier(settings, parameters, 1.0, seed=0)
        for rounds_left in (2, 1):
            weight = torch.zeros(len(parameters.is_foreground))
            weight[: len(parameters)] = torch.linspace(1, 2, len(parameters))
            parameters.gaussians().means.mul(weight[:, None]).sum().backward()
            densifier.pull += weight
            densifier.seen += (weight > 0).float()
            parameters.step()
            with torch.no_grad():
                parameters.values["logit_opacities"][3] = -9  # faint: it goes
            densifier.run(rounds_left)
        assert len(parameters) == 60
    assert [value.data_ptr() for value in sets[1].values.values()] == places
    plain, held = (parameters.finished() for parameters in sets)
    for name in ("means", "quats", "scales", "opacities", "colors", "is_foreground"):
        assert torch.equal(getattr(plain, name), getattr(held, name)), name


@pytest.mark.gpu
@pytest.mark.parametrize("cramped", [False, True])
def test_the_first_frame_is_found_as_on_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cramped: bool
) -> None:
    if cramped:  # then steps are captured anew
        monkeypatch.setattr("legs4d.reconstruct.captured.first_frame.ROOM_A_PICTURE", 30)
    settings = FirstFrameSettings(
        steps=150,
        cameras_per_step=4,
        vignette_rate=1e-3,
        background_share=0.4,
        averaging=0.9,
        dropout=0.1,
        densify=DensifySettings(every=15, max_gaussians=1500),
    )
    found = {}
    for device in ("cpu", "cuda"):
        observed, points, stage, backdrop = filmed(
            tmp_path / device, device, 1000, Scene(num_frames=3, width=64, height=48, num_train=6)
        )
        reporter = StageReporter("first_frame")
        with torch_threads(torch.device(device)):
            gaussians, colors = fit_first_frame(observed, points, stage, settings, reporter, backdrop)
        found[device] = decibels(gaussians, colors, observed, stage.near)
        assert len(gaussians) > 1300
    assert found["cpu"] > 20
    assert found["cuda"] > found["cpu"] - 0.7
