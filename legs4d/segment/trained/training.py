"""Gated features learn masks: one picture's masks at a time, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.errors import DatasetError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.segment.masks import FrameMasks
from legs4d.segment.trained.contrast import BETWEEN, contrast, pair_weights, sampled_scales, together
from legs4d.segment.trained.features import DIM, SMOOTH, GatedFeatures, smoothed
from legs4d.segment.trained.scales import Quantiles, eroded, mask_scales

Report = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and the loss; what it raises ends the training."""


@dataclass(frozen=True)
class FeatureSettings:
    """SAGA's own values.

    Attributes:
        steps: pictures that are looked at.
        rays: pixels of each that are compared, at most.
        rate: of Adam.
        seed: of all that is drawn.
    """

    steps: int = 10_000
    rays: int = 1000
    rate: float = 0.0025
    seed: int = 0


@dataclass(frozen=True)
class _View:
    """A picture with its masks by falling scale: [R, h, w] bool on the CPU, [R] float32."""

    camera: Cameras
    masks: NDArray[np.bool_]
    scales: torch.Tensor


def train_features(
    gaussians: Gaussians,
    masks: Sequence[FrameMasks],
    near: float,
    settings: FeatureSettings | None = None,
    *,
    report: Report = lambda done, total, loss: None,
) -> GatedFeatures:
    """Features of N Gaussians, torch tensors on the device where they are to be trained.

    Args:
        masks: of pictures of these Gaussians.
        near: near plane, scene units.

    Raises:
        DatasetError: no picture has two masks of a size in space.
    """
    settings = settings or FeatureSettings()
    device = gaussians.means.device
    generator = torch.Generator(device=device).manual_seed(settings.seed)
    views = [view for some in masks for view in _views(gaussians, some, near)]
    if not views:
        raise DatasetError("no picture has two masks to compare", where="masks", fix="give masks of more things")
    quantiles = Quantiles.of(np.concatenate([view.scales.numpy() for view in views]))
    largest = max(float(view.scales[0]) for view in views)
    means = gaussians.means.cpu().numpy()
    _, index = cKDTree(means).query(means, k=min(SMOOTH, len(means)), workers=-1)
    beside = torch.as_tensor(np.asarray(index, np.int64).reshape(len(means), -1), device=device)
    features = (0.01 * torch.randn(len(means), DIM, device=device, generator=generator)).requires_grad_()
    gate = torch.nn.Linear(1, DIM).to(device)
    adam = torch.optim.Adam([features, *gate.parameters()], lr=settings.rate, eps=1e-15)
    order: list[int] = []
    rng = np.random.default_rng(settings.seed)
    for step in range(settings.steps):
        if not order:
            order = rng.permutation(len(views)).tolist()
        view = views[order.pop()]
        columns = torch.randperm(beside.shape[1], device=device, generator=generator)[: max(1, beside.shape[1] // 2)]
        drawn = torch.nn.functional.normalize(smoothed(features, beside[:, columns]), dim=1)
        picture = render(gaussians, view.camera, drawn, near=near)
        assert picture.features is not None
        loss = _loss(picture.features[0], view, gate, quantiles, largest, settings.rays, generator)
        if loss is not None:
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        if step % 50 == 0 or step + 1 == settings.steps:
            report(step + 1, settings.steps, float("nan") if loss is None else float(loss))
    with torch.no_grad():
        return GatedFeatures(smoothed(features, beside), gate.weight.detach(), gate.bias.detach(), quantiles)


def _views(gaussians: Gaussians, masks: FrameMasks, near: float) -> list[_View]:
    found = []
    for at in range(len(masks.cameras)):
        numbers = np.flatnonzero(masks.view == at)
        if len(numbers) < 2:
            continue
        camera = masks.cameras.take([at])
        bitmaps = np.stack([masks.mask(int(number)) for number in numbers])
        with torch.no_grad():
            seen = render(gaussians, camera, near=near, depth=True)
        assert seen.depth is not None
        inside = eroded(torch.from_numpy(bitmaps), camera.height, camera.width)
        scales = mask_scales(inside, seen.depth[0].cpu(), seen.alpha[0].cpu(), camera.intrinsics[0]).float()
        known = torch.isfinite(scales).numpy()
        if known.sum() < 2:
            continue
        falling = torch.argsort(scales[known], descending=True)
        found.append(_View(camera, bitmaps[known][falling.numpy()], scales[known][falling]))
    return found


def _loss(
    rendered: torch.Tensor,
    view: _View,
    gate: torch.nn.Linear,
    quantiles: Quantiles,
    largest: float,
    rays: int,
    generator: torch.Generator,
) -> torch.Tensor | None:
    """Of a picture's features [h, w, D]; None where hardly any pixel was drawn."""
    device = rendered.device
    masks = torch.from_numpy(view.masks).to(device)
    covered = masks.any(dim=0)
    draw = torch.rand(covered.shape, device=device, generator=generator)
    used = covered & (draw < rays / covered.numel())
    pixels = masks[:, used]
    if pixels.shape[1] < 2:
        return None
    areas = masks.sum(dim=(1, 2)).float()
    mean = (pixels * areas[:, None]).sum(0) / pixels.sum(0)
    permutation = torch.randperm(len(masks), device=device, generator=generator)
    draws = torch.rand(BETWEEN + 2, device=device, generator=generator)
    index, scales = sampled_scales(view.scales.to(device), largest, permutation, draws)
    asked = torch.from_numpy(quantiles(scales.cpu().numpy())).to(device, torch.float32)
    truth = torch.stack([together(pixels, int(i)) for i in index.tolist()])
    pairs = torch.rand((pixels.shape[1],) * 2, device=device, generator=generator)
    norm = rendered.norm(dim=-1).mean()
    gates = torch.sigmoid(gate(asked[:, None]))
    return contrast(rendered[used], gates, truth, pair_weights(mean), pairs, norm).total
