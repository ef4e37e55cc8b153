"""The paper's lift (4-LEGS, section 3.3): codes trained until their rendering is what the pixels say.

What is rendered is not a Gaussian's own feature but an attention over those of its neighbours in space. It is the
yardstick for the closed form, and takes some thousand times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree

from legs4d.config import TrainedLiftSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.language.lift.pixels import PixelCodes
from legs4d.progress import go_on
from legs4d.raster import render
from legs4d.scene.camera import Cameras

START_SPREAD = 0.1
"""Standard deviation of the features at the start."""


class NeighbourAttention(torch.nn.Module):
    """fc(Σⱼ softmaxⱼ(⟨q(fᵢ), k(fⱼ)⟩ / √K) v(fⱼ)) over a Gaussian's neighbours j; layers named as in 4-LEGS's files."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.fc_attn = (torch.nn.Linear(dim, dim) for _ in range(4))

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """[N, K] from features [N, K] and neighbours [N, J], indices."""
        # Projected before they are gathered, which is the same and J times less work.
        keys, values = self.key(features)[neighbours], self.value(features)[neighbours]
        logits = torch.einsum("nk,njk->nj", self.query(features), keys) / math.sqrt(features.shape[1])
        return self.fc_attn(torch.einsum("nj,njk->nk", torch.softmax(logits, dim=1), values))


class FeatureTraining:
    """Training of one frame, step by step.

    Args:
        gaussians: N, on the device of `pixels`.
        cameras: C views.
        pixels: what they say.
        near: scene units.
        threads: CPU threads, all by default.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        cameras: Cameras,
        pixels: PixelCodes,
        settings: TrainedLiftSettings,
        near: float,
        threads: int | None = None,
    ) -> None:
        self._gaussians, self._cameras, self._pixels = gaussians, cameras, pixels
        self._near, self._threads = near, threads
        count, dim, device = len(gaussians), pixels.table.shape[1], pixels.table.device
        random = torch.Generator().manual_seed(settings.seed)
        start = START_SPREAD * torch.randn((count, dim), generator=random)
        self._features = start.to(device).requires_grad_()
        groups = [{"params": [self._features], "lr": settings.feature_rate}]
        self._attention: NeighbourAttention | None = None
        if settings.neighbours and count > 1:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                self._attention = NeighbourAttention(dim).to(device)
            self._neighbours = nearest(gaussians.means, settings.neighbours).to(device)
            groups.append({"params": list(self._attention.parameters()), "lr": settings.attention_rate})
        self._adam = torch.optim.Adam(groups)
        self._order = np.random.default_rng(settings.seed)
        self._waiting: list[int] = []

    def codes(self) -> torch.Tensor:
        """[N, K], as they are rendered."""
        return self._features if self._attention is None else self._attention(self._features, self._neighbours)

    def step(self) -> torch.Tensor:
        """One step on one camera; the loss before it."""
        if not self._waiting:  # every camera in turn, in another order each time
            self._waiting = self._order.permutation(len(self._cameras)).tolist()
        camera = [self._waiting.pop()]
        said, speaks = self._pixels.sums(camera)
        picture = render(
            self._gaussians, self._cameras.take(camera), self.codes(), near=self._near, threads=self._threads
        )
        assert picture.features is not None
        away = (picture.features * speaks[..., None] - said).abs().sum()
        loss = away / (speaks.sum() * said.shape[-1]).clamp(min=1)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach()


def train_codes(
    gaussians: Gaussians,
    cameras: Cameras,
    pixels: PixelCodes,
    mass: torch.Tensor,
    settings: TrainedLiftSettings,
    near: float,
    *,
    threads: int | None = None,
    check: Callable[[], None] = go_on,
) -> torch.Tensor:
    """[N, K] codes after `settings.steps` steps; 0 where `mass` [N], Wᵀ B 1, is.

    Args:
        check: called before each step; what it raises ends the work.
    """
    training = FeatureTraining(gaussians, cameras, pixels, settings, near, threads)
    for _ in range(settings.steps):
        check()
        training.step()
    return training.codes().detach() * (mass > 0)[:, None]


def nearest(means: torch.Tensor, count: int) -> torch.Tensor:
    """[N, J] indices of each Gaussian and its `count` nearest others, itself first; fewer where there are fewer."""
    points = means.detach().cpu().numpy()
    _, index = cKDTree(points).query(points, k=min(count + 1, len(points)), workers=-1)
    return torch.as_tensor(np.asarray(index, np.int64).reshape(len(points), -1))
