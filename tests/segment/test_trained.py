"""The trained yardstick, against what SAGA's own functions give (`reference/saga.npz`, whose table is beside it)."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from legs4d.context import Context
from legs4d.progress import Progress, Stopped
from legs4d.segment.masks.frame_masks import masks_of_pictures
from legs4d.segment.segments import has_segments
from legs4d.segment.stage import segment_run
from legs4d.segment.trained.clusters import clusters
from legs4d.segment.trained.contrast import contrast, pair_weights, sampled_scales, together
from legs4d.segment.trained.features import GatedFeatures, smoothed
from legs4d.segment.trained.scales import Quantiles, eroded, mask_scales
from legs4d.segment.trained.training import FeatureSettings, FeatureTraining, train_features
from tests.backend.conftest import legs4d
from tests.segment.table import BALL, LOWER, NEAR, UPPER, cameras, ids, overlapping, things, write_table
from tests.segment.test_segments import _NoNames

VIEWS = cameras()

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/saga.npz"


@pytest.fixture(scope="module")
def saga() -> Any:
    if not REFERENCE.exists():
        pytest.skip("needs shared/reference/saga.npz beside the checkout")
    with np.load(REFERENCE, allow_pickle=False) as archive:
        return dict(archive)


def of(saga: Any, *names: str) -> Any:
    found = [torch.from_numpy(np.asarray(saga[name])) for name in names]
    return found[0] if len(found) == 1 else found


def test_sizes_of_masks_with_axes_and_depth_done_right(saga: Any) -> None:
    height, width = (int(side) for side in saga["scene_size_render_HW"])
    fov = saga["scene_fov_xy"]
    # the original counts pixels from their corners: half a pixel less than their centres
    intrinsics = np.array(
        [
            [width / (2 * np.tan(fov[0] / 2)), 0, width / 2 + 0.5],
            [0, height / (2 * np.tan(fov[1] / 2)), height / 2 + 0.5],
            [0, 0, 1],
        ]
    )
    for view in range(3):
        masks = eroded(of(saga, f"scale_masks_{view}"), height, width)
        assert torch.equal(masks, of(saga, f"scale_eroded_{view}"))
        depth, alpha = of(saga, f"scale_depth_{view}", f"scale_alpha_{view}")
        found = mask_scales(masks, depth, alpha, intrinsics).numpy()
        assert found == pytest.approx(saga[f"scale_axes_and_depth_corrected_{view}"], rel=1e-6)
        plain = mask_scales(masks, depth, torch.ones_like(alpha), intrinsics).numpy()
        assert plain == pytest.approx(saga[f"scale_axes_corrected_{view}"], rel=1e-6)
    tiny = mask_scales(of(saga, "scale_degenerate_masks"), depth, alpha, intrinsics)
    assert torch.isnan(tiny[1])


def test_sizes_become_gates(saga: Any) -> None:
    quantiles = Quantiles.of(saga["gate_all_scales"])
    found = quantiles(saga["gate_asked_scales"])
    assert found == pytest.approx(saga["gate_quantile_of_asked"], abs=1e-6)
    gated = GatedFeatures(torch.zeros(1, 32), of(saga, "gate_weight"), of(saga, "gate_bias"), quantiles)
    for scale, gate in zip(found, saga["gate_of_asked"], strict=True):
        assert gated.gate(float(scale)).numpy() == pytest.approx(gate, abs=1e-6)
    assert Quantiles.of(np.array([np.nan, 2.0]))(np.array([1.0, 3.0])).tolist() == [0, 1]


def test_features_are_smoothed_over_neighbours(saga: Any) -> None:
    features, index = of(saga, "smooth_features", "smooth_knn_index")
    assert torch.allclose(smoothed(features, index), of(saga, "smooth_all"))
    drawn = index[:, of(saga, "smooth_dropout_columns")]
    assert torch.allclose(smoothed(features, drawn), of(saga, "smooth_dropout"))


def test_the_loss_and_its_gradients_are_those_of_the_original(saga: Any) -> None:
    masks, order = of(saga, "loss_masks", "loss_sort_indices")
    scales = of(saga, "loss_mask_scales")[order]
    index, found = sampled_scales(
        scales,
        float(saga["loss_upper_bound_scale"]),
        of(saga, "loss_draw_permutation"),
        of(saga, "loss_draw_scales")[1:],
    )
    assert torch.equal(index, of(saga, "loss_sampled_scale_index"))
    gate_scales = torch.from_numpy(Quantiles.of(saga["gate_all_scales"])(found.numpy())).float()
    assert torch.allclose(gate_scales, of(saga, "loss_sampled_scales"), atol=1e-6)

    used = of(saga, "loss_sampled_ray")
    pixels = masks[order][:, used]
    truth = torch.stack([together(pixels, int(i)) for i in index])
    assert torch.equal(truth, of(saga, "loss_gt_corrs"))
    areas = masks[order].sum(dim=(1, 2)).float()
    mean = (pixels * areas[:, None]).sum(0) / pixels.sum(0)
    weights = pair_weights(mean)
    assert torch.allclose(mean, of(saga, "loss_per_pixel_mean_mask_size"), rtol=1e-5)
    assert torch.allclose(weights, of(saga, "loss_pair_weight"), rtol=1e-5)

    rendered = of(saga, "loss_rendered").requires_grad_()
    weight, bias = (of(saga, name).clone().requires_grad_() for name in ("gate_weight", "gate_bias"))
    gates = torch.sigmoid(gate_scales[:, None] * weight[:, 0] + bias)
    small = torch.nn.functional.interpolate(rendered[None], size=used.shape, mode="bilinear", align_corners=False)[0]
    terms = contrast(small[:, used].T, gates, truth, weights, of(saga, "loss_draw_pairs"), rendered.norm(dim=0).mean())
    for name in ("positive", "negative", "norm", "total"):
        # the original keeps cosines in half precision
        expected = float(saga["loss_total" if name == "total" else f"loss_term_{name}"])
        assert float(getattr(terms, name).detach()) == pytest.approx(expected, abs=2e-4)
    terms.total.backward()
    for gradient, name in ((rendered, "rendered"), (weight, "gate_weight"), (bias, "gate_bias")):
        true = of(saga, f"loss_grad_{name}")
        assert gradient.grad is not None
        away = (gradient.grad - true).norm() / true.norm()
        assert float(away) < 0.02, name


def test_a_click_scores_pixels_and_gaussians(saga: Any) -> None:
    gated = GatedFeatures(
        of(saga, "click_point_features"), of(saga, "gate_weight"), of(saga, "gate_bias"), Quantiles(np.zeros(1))
    )
    rendered = of(saga, "click_rendered")
    for name in "ab":
        scale, threshold = (float(value) for value in saga[f"click_{name}_scale_threshold"])
        query = gated.query(rendered, saga[f"click_{name}_xy"], scale)
        assert torch.allclose(query, of(saga, f"click_{name}_query"), atol=1e-6)
        points, pixels = gated.scores(query, scale), gated.picture_scores(rendered, query, scale)
        assert torch.allclose(points, of(saga, f"click_{name}_score_points"), atol=1e-6)
        assert torch.equal((points > threshold).any(dim=1), of(saga, f"click_{name}_points"))
        assert torch.equal(pixels > threshold, of(saga, f"click_{name}_binary"))


@pytest.mark.long
def test_a_few_steps_put_the_pixels_of_a_thing_together() -> None:
    masks = masks_of_pictures(0, VIEWS, overlapping(ids(VIEWS), np.random.default_rng(1)))
    gaussians, owner = things()
    losses: list[float] = []
    settings = FeatureSettings(steps=60, rays=400, rate=0.02)
    gated = train_features(
        gaussians.torch(),
        [masks],
        NEAR,
        settings,
        report=lambda done, total, loss: losses.append(float("nan" if loss is None else loss)),
    )
    assert losses[-1] < 0.5 * losses[0]
    inside, outside = (np.isin(owner, BALL) == wanted for wanted in (True, False))
    one = torch.nn.functional.normalize(gated.features[inside].mean(0) * gated.gate(0.0), dim=0)[:, None]
    scores = gated.scores(one, 0.0)[:, 0].numpy()
    blocks = np.isin(owner, (LOWER, UPPER))
    assert np.median(scores[inside]) > 0.85 > 0.7 > np.median(scores[outside & blocks])


def test_a_training_that_was_stopped_takes_the_steps_of_one_that_was_not() -> None:
    masks = masks_of_pictures(0, VIEWS, overlapping(ids(VIEWS), np.random.default_rng(1)))
    frames = [(things()[0].torch(), masks.take_views([0, 3]))]

    def trained(*stops: int) -> FeatureTraining:
        state = None
        for stop in stops:
            training = FeatureTraining(frames, NEAR, FeatureSettings(steps=stop, rays=100, rate=0.02))
            if state is not None:
                training.load(state)
            training.run()
            state = training.state()
        return training

    once, twice = trained(3).result(), trained(1, 3).result()
    assert torch.allclose(once.features, twice.features, atol=1e-5)
    assert torch.allclose(once.weight, twice.weight, atol=1e-6) and torch.allclose(once.bias, twice.bias, atol=1e-6)
    assert not torch.allclose(trained(1).result().features, once.features, atol=1e-3)


def test_groups_of_features_become_things_at_their_scales() -> None:
    rng = np.random.default_rng(0)
    owner = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    directions = np.eye(32, dtype=np.float32)
    # things 0 and 1 are alike but for one number, which only the gate of small scales lets through
    rows = directions[[0, 0, 1, 2]][owner] + 2 * directions[[10, 11, 12, 13]][owner]
    features = torch.from_numpy(rows + 0.05 * rng.normal(size=rows.shape).astype(np.float32))
    weight, bias = torch.zeros(32, 1), torch.full((32,), 8.0)
    weight[10:14], bias[10:14] = -16.0, 8.0
    gated = GatedFeatures(features, weight, bias, Quantiles(np.zeros(1)))
    covered = np.where(owner == 3, 0, 1).astype(np.float32)
    found = clusters(gated, covered).toarray() >= 0.5
    assert not found[owner == 3].any()  # what no mask shows is no thing
    groups = {tuple(np.unique(owner[column])) for column in found.T}
    assert groups == {(0,), (1,), (2,), (0, 1)}
    assert all(found[:, s].sum() >= 190 for s in range(found.shape[1]))


def test_a_run_is_taken_apart_by_training_that_stops_and_goes_on(tmp_path: Path) -> None:
    run = write_table(tmp_path / "run")
    views = cameras(3)
    source = _NoNames(masks_of_pictures(0, views, overlapping(ids(views), np.random.default_rng(1))))
    stop, told = threading.Event(), list[Progress]()

    def watch(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "features":  # told at once, and at the end: in between not every step is
            stop.set()

    settings = FeatureSettings(steps=5, rays=80)
    with pytest.raises(Stopped):
        segment_run(run, source, context=Context("cpu", progress=watch, stop=stop), trained=settings)
    assert (run.path / "features.npz").is_file() and not has_segments(run)
    said: list[str] = []
    again = Context("cpu", tell=said.append, progress=told.append)
    made = segment_run(run, source, context=again, trained=settings).made
    assert (made["method"], made["steps"], made["rays"]) == ("trained", 5, 80) and has_segments(run)
    assert re.match(r"Features go on from step [1-5] of 5", said[0])
    last = [progress for progress in told if progress.stage == "features"][-1]
    assert (last.done, last.total) == (5, 5) and last.loss is not None
    assert not (run.path / "features.npz").exists()


def test_steps_of_training_without_training_are_refused(tmp_path: Path) -> None:
    refused = legs4d("segments", write_table(tmp_path / "run").path, "--masks", tmp_path, "--steps", "5")
    assert refused.exit_code == 1 and "--steps: is for --method trained; add that" in refused.stderr
