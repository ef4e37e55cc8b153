"""Pictures that differ in exposure and tint: told apart while the scene is fitted, nothing on average."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from legs4d.config import DeformSettings
from legs4d.config.deform import GrowthSettings
from legs4d.deform.fit import Fit
from legs4d.deform.fitting.per_picture import Tones
from legs4d.deform.footage.pictures import Pictures, all_cameras, read_pictures
from legs4d.deform.footage.start import find_stage_of
from legs4d.deform.stage import begin_fit
from legs4d.progress import StageReporter
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.deform.film import write_still

CPU = torch.device("cpu")


def test_what_lies_behind_keeps_its_colour() -> None:
    tones = Tones.none(np.array([0, 1, 0]), CPU)
    tones.values.data[0] = torch.tensor([0.2, 0.0, -0.2, 0.1, 0.0, -0.1])
    alpha, background = torch.tensor([1.0, 0.25, 0.0]).view(1, 1, 3), torch.tensor([[0.3, 0.6, 0.9]])
    filmed = torch.tensor([0.5, 0.4, 0.2])
    rendered = alpha[..., None] * filmed + (1 - alpha[..., None]) * background
    found = tones.applied(rendered, alpha, background, torch.tensor([2]))
    gain, offset = torch.tensor([0.1, 0.0, -0.1]), torch.tensor([0.05, 0.0, -0.05])  # half: the mean is taken off
    toned = torch.exp(gain) * filmed + offset
    torch.testing.assert_close(found, alpha[..., None] * toned + (1 - alpha[..., None]) * background)


def fitted(sequence: Sequence, pictures: Pictures, tones: str) -> Fit:
    settings = DeformSettings(
        enough_pixels=1,
        steps=150,
        num_points=150,
        growth=GrowthSettings(max_gaussians=200),
        static_sh_degree=0,
        tones=tones,  # type: ignore[arg-type]
        tone_rate=2e-2,
    )
    stage = find_stage_of(all_cameras(sequence), "film")
    fit = begin_fit(pictures, sequence, stage, settings, StageReporter("start"))[0]
    while fit.done < fit.total:
        fit.advance()
    return fit


def test_exposures_are_found_and_colours_are_those_of_their_mean(tmp_path: Path) -> None:
    sequence = open_sequence(write_still(tmp_path / "film", size=24))
    pictures = read_pictures(sequence, CPU)
    bright = np.exp(np.random.default_rng(0).uniform(-0.4, 0.1, len(pictures))).astype(np.float32)
    shown = pictures.images.to(torch.float32)
    shown[..., :3] *= torch.as_tensor(bright)[:, None, None, None]
    differing = replace(pictures, images=shown.round().to(torch.uint8))
    each = fitted(sequence, differing, "each")
    assert each.tones is not None
    gains = each.tones.of_pictures()[:, :3].mean(axis=1)
    found = np.corrcoef(gains, np.log(bright))[0, 1]
    assert found > 0.8 and abs(gains.mean()) < 1e-6
    one = fitted(sequence, differing, "one")
    assert each.errors().mean() < 0.7 * one.errors().mean()
