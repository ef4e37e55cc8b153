"""Gated features learn masks: one picture's masks at a time, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.errors import DatasetError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.segment.masks.frame_masks import FrameMasks
from legs4d.segment.trained.contrast import BETWEEN, contrast, pair_weights, sampled_scales, together
from legs4d.segment.trained.features import DIM, SMOOTH, GatedFeatures, smoothed
from legs4d.segment.trained.scales import Quantiles, eroded, mask_scales

Report = Callable[[int, int, torch.Tensor | None], None]
"""Called with steps done, steps in all, and the loss (None where a step had none); what it raises ends the training."""
_BLOCK = 16
"""Masks that are measured at once."""


@dataclass(frozen=True)
class FeatureSettings:
    """SAGA's own values.

    Attributes:
        steps: pictures that are looked at.
        rays: pixels of each that are compared, on average.
        rate: of Adam.
        seed: of all that is drawn.
    """

    steps: int = 10_000
    rays: int = 1000
    rate: float = 0.0025
    seed: int = 0


@dataclass(frozen=True)
class _View:
    """A picture with its masks by falling scale.

    Attributes:
        frame: number of its Gaussians.
        camera: one.
        covered: [P] int32, pixels that some mask has, row after row.
        index: [P, K] int16, which masks have each, -1 fills up.
        areas: [R] pixels of each mask; scales: [R].
    """

    frame: int
    camera: Cameras
    covered: NDArray[np.int32]
    index: NDArray[np.int16]
    areas: NDArray[np.float32]
    scales: torch.Tensor


class FeatureTraining:
    """Features of N Gaussians, step by step.

    Args:
        frames: Gaussians, torch tensors on the device where features are to be trained, the same N in all frames, and
            masks of their pictures.
        near: near plane, scene units.

    Raises:
        DatasetError: no picture has two masks of a size in space.
    """

    def __init__(
        self, frames: Sequence[tuple[Gaussians, FrameMasks]], near: float, settings: FeatureSettings | None = None
    ) -> None:
        self.settings = settings or FeatureSettings()
        self._near, self._gaussians = near, [gaussians for gaussians, _ in frames]
        means = self._gaussians[0].means
        self._device = means.device
        self._views = [v for at, (g, masks) in enumerate(frames) for v in _views(at, g, masks, near)]
        if not self._views:
            raise DatasetError("no picture has two masks to compare", where="masks", fix="give masks of more things")
        self.quantiles = Quantiles.of(np.concatenate([view.scales.numpy() for view in self._views]))
        self._largest = max(float(view.scales[0]) for view in self._views)
        places = means.cpu().numpy()
        _, index = cKDTree(places).query(places, k=min(SMOOTH, len(places)), workers=-1)
        beside = np.asarray(index, np.int64).reshape(len(places), -1)
        self._beside = torch.as_tensor(beside, device=self._device)
        generator = torch.Generator().manual_seed(self.settings.seed)
        features = 0.01 * torch.randn(len(places), DIM, generator=generator)
        self._features = features.to(self._device).requires_grad_()
        self._gate = torch.nn.Linear(1, DIM)
        bound = 1.0  # as torch begins a layer of one input
        with torch.no_grad():
            for part in self._gate.parameters():
                part.copy_(bound * (2 * torch.rand(part.shape, generator=generator) - 1))
        self._gate.to(self._device)
        parameters = [self._features, *self._gate.parameters()]
        self._adam = torch.optim.Adam(parameters, lr=self.settings.rate, eps=1e-15)
        self.done = 0

    def run(self, report: Report = lambda done, total, loss: None) -> GatedFeatures:
        """Take the steps that are left."""
        while self.done < self.settings.steps:
            loss = self._step()
            self.done += 1
            report(self.done, self.settings.steps, loss)
        return self.result()

    def result(self) -> GatedFeatures:
        """As they are now."""
        with torch.no_grad():
            weight, bias = self._gate.weight.detach().clone(), self._gate.bias.detach().clone()
            return GatedFeatures(smoothed(self._features, self._beside), weight, bias, self.quantiles)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """What `load` goes on from; a training that goes on takes the steps of one that was never stopped."""
        found: dict[str, NDArray[np.generic]] = {"done": np.array(self.done)}
        for number, part in enumerate(self._parts):
            memory: dict[str, Any] = self._adam.state.get(part, {})
            found[f"part_{number}"] = part.detach().cpu().numpy()
            found |= {f"adam_{number}_{name}": value.cpu().numpy() for name, value in memory.items()}
        return found

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on from what `state` gave."""
        self.done = int(np.asarray(state["done"]))
        for number, part in enumerate(self._parts):
            with torch.no_grad():
                part.copy_(torch.from_numpy(np.asarray(state[f"part_{number}"])))
            prefix = f"adam_{number}_"
            kept = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            self._adam.state[part] = {
                name: torch.from_numpy(np.array(value)).to("cpu" if name == "step" else self._device)
                for name, value in kept.items()
            }

    @property
    def _parts(self) -> list[torch.Tensor]:
        return [self._features, *self._gate.parameters()]

    def _step(self) -> torch.Tensor | None:
        """One picture; its loss, None where hardly any pixel was drawn.

        All that is drawn is drawn on the CPU from the step's own seed.
        """
        turn, at = divmod(self.done, len(self._views))
        order = np.random.default_rng([self.settings.seed, turn]).permutation(len(self._views))
        view = self._views[order[at]]
        rng = np.random.default_rng([self.settings.seed, 1, self.done])
        gaussians = self._gaussians[view.frame]
        columns = torch.from_numpy(rng.permutation(self._beside.shape[1])[: max(1, self._beside.shape[1] // 2)])
        beside = self._beside[:, columns.to(self._device)]
        drawn = torch.nn.functional.normalize(smoothed(self._features, beside), dim=1)
        picture = render(gaussians, view.camera, drawn, near=self._near)
        assert picture.features is not None
        loss = self._loss(picture.features[0], view, rng)
        if loss is None:
            return None
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()
        return loss.detach()

    def _loss(self, rendered: torch.Tensor, view: _View, rng: np.random.Generator) -> torch.Tensor | None:
        """Of a picture's features [h, w, D]."""
        count = int((rng.random(len(view.covered)) < self.settings.rays / rendered[..., 0].numel()).sum())
        if count < 2:
            return None
        chosen = np.sort(rng.choice(len(view.covered), count, replace=False))
        masks = len(view.areas)
        member = np.zeros((masks + 1, count), bool)
        np.put_along_axis(
            member, np.where(view.index[chosen] < 0, masks, view.index[chosen]).T.astype(np.int64), True, 0
        )
        member = member[:masks]
        mean = (member * view.areas[:, None]).sum(0) / member.sum(0)
        index, scales = sampled_scales(
            view.scales,
            self._largest,
            torch.from_numpy(rng.permutation(masks)),
            torch.from_numpy(rng.random(BETWEEN + 2, np.float32)),
        )
        asked = torch.from_numpy(self.quantiles(scales.numpy())).float().to(self._device)
        pixels = torch.from_numpy(member).to(self._device)
        truth = torch.stack([together(pixels, int(i)) for i in index.tolist()])
        places = torch.from_numpy(view.covered[chosen].astype(np.int64)).to(self._device)
        pairs = torch.rand((count, count), device=self._device, generator=self._random(rng))
        gates = torch.sigmoid(self._gate(asked[:, None]))
        weights = pair_weights(torch.from_numpy(mean).float().to(self._device))
        own = rendered.reshape(-1, rendered.shape[-1]).index_select(0, places)
        return contrast(own, gates, truth, weights, pairs, rendered.norm(dim=-1).mean()).total

    def _random(self, rng: np.random.Generator) -> torch.Generator:
        return torch.Generator(device=self._device).manual_seed(int(rng.integers(2**62)))


def train_features(
    gaussians: Gaussians,
    masks: Sequence[FrameMasks],
    near: float,
    settings: FeatureSettings | None = None,
    *,
    report: Report = lambda done, total, loss: None,
) -> GatedFeatures:
    """Features of N Gaussians of one frame, at one go; see `FeatureTraining`."""
    return FeatureTraining([(gaussians, some) for some in masks], near, settings).run(report)


def _views(frame: int, gaussians: Gaussians, masks: FrameMasks, near: float) -> list[_View]:
    """Pictures with two masks or more of a size in space; of each what training asks for, and no bitmaps."""
    found = []
    for at in range(len(masks.cameras)):
        numbers = np.flatnonzero(masks.view == at)
        if len(numbers) < 2:
            continue
        camera = masks.cameras.take([at])
        with torch.no_grad():
            seen = render(gaussians, camera, near=near, depth=True)
        assert seen.depth is not None
        depth, alpha = seen.depth[0].cpu(), seen.alpha[0].cpu()
        parts = []
        for block in np.array_split(numbers, -(-len(numbers) // _BLOCK)):  # bitmaps of a few at a time
            bitmaps = torch.from_numpy(np.stack([masks.mask(int(number)) for number in block]))
            inside = eroded(bitmaps, camera.height, camera.width)
            parts.append(mask_scales(inside, depth, alpha, camera.intrinsics[0]).float())
        scales = torch.cat(parts)
        known = torch.isfinite(scales).numpy()
        if known.sum() < 2:
            continue
        falling = torch.argsort(scales[known], descending=True).numpy()
        kept = numbers[known][falling]
        place = np.full(len(masks) + 1, -1, np.int16)
        place[kept] = np.arange(len(kept))
        index = place[masks.index[at]].reshape(-1, masks.index.shape[-1])
        covered = np.flatnonzero((index >= 0).any(1)).astype(np.int32)
        areas = np.bincount(index[index >= 0], minlength=len(kept)).astype(np.float32)
        found.append(_View(frame, camera, covered, index[covered], areas, scales[known][falling]))
    return found
