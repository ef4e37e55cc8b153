"""Refinement and the trained route, on a scene whose answer is known: pictures rendered from codes give these back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.config import TrainedLiftSettings
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.language.embedding.features import FeatureMap
from legs4d.language.lift.pixels import PixelCodes
from legs4d.language.lift.refine import refine
from legs4d.language.lift.trained import NeighbourAttention, nearest, train_codes
from legs4d.progress import Stopped
from legs4d.raster import render
from legs4d.raster.lift import lift_table
from legs4d.scene.camera import Cameras
from tests.raster.test_cpu_engine import NEAR, random_gaussians, ring_of_cameras
from tests.raster.test_lift_table import compositing_weights

WIDTH, HEIGHT, VIEWS, DIM = 37, 27, 4, 3


def scene(opaque: bool) -> tuple[Gaussians, Cameras, np.ndarray, FeatureMap]:
    """Gaussians, cameras, true codes, and pictures of these codes in which every pixel has a row of its own."""
    gaussians, cameras = random_gaussians(40, seed=5, size=0.2), ring_of_cameras(VIEWS, WIDTH, HEIGHT)
    truth = torch.randn(40, DIM, generator=torch.Generator().manual_seed(2))
    if opaque:  # a wall behind everything, which every ray ends at
        wall = random_gaussians(1, seed=0).replace(
            means=torch.zeros(1, 3), scales=torch.full((1, 3), 50.0), opacities=torch.full((1,), 0.999)
        )
        gaussians = concatenate(gaussians, wall)
        truth = torch.cat([truth, torch.zeros(1, DIM)])
    picture = render(gaussians, cameras, truth, near=NEAR)
    assert picture.features is not None
    shown = picture.features / picture.alpha[..., None].clamp(min=1e-6)
    speaks = (picture.alpha > 0.05).numpy()
    index = np.where(speaks, np.arange(speaks.size).reshape(speaks.shape), -1).astype(np.int32)[..., None]
    return (
        gaussians,
        cameras,
        truth.numpy(),
        FeatureMap(shown.reshape(-1, DIM).numpy(), index, (index >= 0).astype(np.float32)),
    )


def closed_form(gaussians: Gaussians, cameras: Cameras, features: FeatureMap) -> tuple[torch.Tensor, torch.Tensor]:
    sums, mass = lift_table(gaussians.numpy(), cameras, features.index, features.weight, features.rows, NEAR)
    mean = np.divide(sums, mass[:, None], out=np.zeros_like(sums), where=mass[:, None] > 0)
    return torch.as_tensor(mean), torch.as_tensor(mass)


@pytest.mark.parametrize("opaque", [False, True])
def test_refinement_comes_to_the_codes_that_made_the_pictures(opaque: bool) -> None:
    gaussians, cameras, truth, features = scene(opaque)
    start, mass = closed_form(gaussians, cameras, features)
    pixels = PixelCodes.of(features, features.rows, "cpu")
    errors = []
    for steps in (0, 4, 40):
        found = refine(gaussians, cameras, pixels, start, mass, steps, NEAR).numpy()
        well_seen = mass.numpy() > 5
        errors.append(np.linalg.norm((found - truth)[well_seen]) / np.linalg.norm(truth[well_seen]))
    assert errors[1] < 0.7 * errors[0] and errors[2] < 0.05


def test_refinement_solves_the_normal_equations() -> None:
    gaussians, cameras, _, features = scene(opaque=True)
    noisy = features.rows + np.random.default_rng(0).normal(size=features.rows.shape).astype(np.float32)
    noisy_features = FeatureMap(noisy, features.index, features.weight)
    start, mass = closed_form(gaussians, cameras, noisy_features)
    pixels = PixelCodes.of(noisy_features, noisy, "cpu")
    found = refine(gaussians, cameras, pixels, start, mass, 60, NEAR).numpy()
    weights = compositing_weights(gaussians, cameras).reshape(-1, len(gaussians))
    speaks = features.weight.reshape(-1)
    said = noisy[features.index.reshape(-1)] * speaks[:, None]
    alpha = weights.sum(axis=1)
    gradient = weights.T @ (alpha[:, None] * said - speaks[:, None] * (weights @ found))
    at_start = weights.T @ (alpha[:, None] * said - speaks[:, None] * (weights @ start.numpy()))
    assert np.abs(gradient).max() < 1e-2 * np.abs(at_start).max()


def test_refinement_does_not_depend_on_the_origin_of_codes() -> None:
    gaussians, cameras, _, features = scene(opaque=False)
    moved = FeatureMap(features.rows + np.float32(3), features.index, features.weight)
    found = []
    for some in (features, moved):
        start, mass = closed_form(gaussians, cameras, some)
        found.append(refine(gaussians, cameras, PixelCodes.of(some, some.rows, "cpu"), start, mass, 5, NEAR))
    seen = mass > 1
    torch.testing.assert_close(found[0][seen] + 3, found[1][seen], rtol=0, atol=1e-2)


def test_what_nobody_sees_stays_without_a_code() -> None:
    gaussians, cameras, _, features = scene(opaque=False)
    gaussians.means[7] = torch.tensor([0.0, 900.0, 0.0])
    start, mass = closed_form(gaussians, cameras, features)
    pixels = PixelCodes.of(features, features.rows, "cpu")
    assert not refine(gaussians, cameras, pixels, start, mass, 3, NEAR)[7].any()
    assert not train_codes(gaussians, cameras, pixels, mass, TrainedLiftSettings(steps=2), NEAR)[7].any()


@pytest.mark.parametrize("neighbours", [0, 6])
def test_training_comes_to_show_what_the_pixels_say(neighbours: int) -> None:
    gaussians, cameras, _, features = scene(opaque=True)
    _, mass = closed_form(gaussians, cameras, features)
    pixels = PixelCodes.of(features, features.rows, "cpu")
    loss = []
    for steps in (1, 300):
        settings = TrainedLiftSettings(steps=steps, neighbours=neighbours, feature_rate=0.02, attention_rate=0.01)
        codes = train_codes(gaussians, cameras, pixels, mass, settings, NEAR)
        picture = render(gaussians, cameras, codes, near=NEAR)
        assert picture.features is not None
        said = torch.as_tensor(features.rows).reshape(picture.features.shape)
        loss.append(float((picture.features - said).abs().mean()))
    assert loss[1] < 0.4 * loss[0]


def test_training_and_refinement_stop_when_told() -> None:
    gaussians, cameras, _, features = scene(opaque=False)
    start, mass = closed_form(gaussians, cameras, features)
    pixels = PixelCodes.of(features, features.rows, "cpu")

    def stop() -> None:
        raise Stopped("lift")

    with pytest.raises(Stopped):
        refine(gaussians, cameras, pixels, start, mass, 3, NEAR, check=stop)
    with pytest.raises(Stopped):
        train_codes(gaussians, cameras, pixels, mass, TrainedLiftSettings(), NEAR, check=stop)


def test_neighbours_are_the_nearest_and_oneself_comes_first() -> None:
    means = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [7, 0, 0]])
    assert nearest(means, 2).tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]
    assert nearest(means, 9).shape == (4, 4)


def test_attention_is_that_of_4legs() -> None:
    """Written out for one Gaussian, with the layers applied to gathered features as the original does."""
    torch.manual_seed(0)
    attention, features = NeighbourAttention(8), torch.randn(5, 8)
    neighbours = torch.tensor([[0, 3, 4]] * 5)
    near = features[neighbours[0]]
    scores = torch.softmax(attention.key(near) @ attention.query(features[0]) / 8**0.5, dim=0)
    expected = attention.fc_attn(scores @ attention.value(near))
    torch.testing.assert_close(attention(features, neighbours)[0], expected)
