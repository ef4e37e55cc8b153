"""One pass of a network: pictures of an object in, the Gaussians of every moment out, in the world of the cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.onepass.cameras import rays, seen_from, to_world
from legs4d.generate.onepass.checkpoint import Networks
from legs4d.generate.onepass.network import OnePass, Seen, Splats, Variant
from legs4d.portable.turns import multiply
from legs4d.raster import render
from legs4d.scene.camera import Cameras

BETWEEN = 2
"""Moments that interpolation adds between two."""
FAINTEST = 1 / 255
"""Opacity below which a splat changes no picture and is left out."""
NEAR = 0.5
"""L4GM's near plane, scene units."""


@dataclass(frozen=True)
class Moment:
    """What a pass gives of one moment.

    Attributes:
        gaussians: N, numpy.
        view: [N] int64, of which view's pixels each was made: 0 for the video's.
    """

    gaussians: Gaussians
    view: NDArray[np.int64]


@dataclass(frozen=True)
class Passes:
    """Networks, and the cameras that their pictures are of.

    Attributes:
        cameras: of the video and of the V − 1 other views, in the world that results are in; any size.
    """

    networks: Networks
    cameras: Cameras
    device: torch.device

    @property
    def variant(self) -> Variant:
        return self.networks.variant

    @torch.no_grad()
    def moments(self, video: Tensor, sides: Tensor | None) -> list[Moment]:
        """What T moments look like.

        Args:
            video: [T, S, S, 4] 0..1 RGBA, colours times alpha.
            sides: [V − 1, S, S, 4] the other views of the first moment; None where there are none.

        Raises:
            Legs4dError: the network gives numbers that are none.
        """
        times, video = len(video), video.to(self.device)
        if sides is None or len(sides) == 0:
            views = video[:, None]
            given = torch.ones(times, 1, dtype=torch.bool)
            if self.variant.knows_what_is_missing:
                views, given = self._with_nothing_beside(views)
        else:
            beside = sides.to(self.device)[None].expand(times, *sides.shape)
            views = torch.cat([video[:, None], beside], dim=1)
            given = torch.ones(views.shape[:2], dtype=torch.bool)
            if self.variant.knows_what_is_missing:
                given[1:, 1:] = False
        splats = self._pass(self.networks.recon, views, given)
        return [self._out(splats, frame) for frame in range(times)]

    @torch.no_grad()
    def between(self, ends: Tensor, sides: tuple[Tensor, Tensor]) -> list[Moment]:
        """What the moments two look like, which are told the pictures' mixtures.

        Args:
            ends: [2, S, S, 4] the video's pictures before and after.
            sides: [V − 1, S, S, 4] the other views of each.
        """
        assert self.networks.interp is not None
        both = [torch.cat([ends[i, None].to(self.device), sides[i].to(self.device)]) for i in range(2)]
        views = mixed(torch.stack(both))
        splats = self._pass(self.networks.interp, views, torch.ones(views.shape[:2], dtype=torch.bool))
        return [self._out(splats, 1 + index) for index in range(BETWEEN)]

    @torch.no_grad()
    def sides_of(self, gaussians: Gaussians) -> Tensor:
        """[V − 1, S, S, 4] what Gaussians look like from the other views: RGBA, colours times alpha."""
        size = self.variant.size
        cameras = self.cameras.scaled(size / self.cameras.width).take(range(1, len(self.cameras)))  # type: ignore[arg-type]
        drawn = render(gaussians.torch(self.device), cameras, near=NEAR)
        return torch.cat([drawn.color.clamp(0, 1), drawn.alpha[..., None].clamp(0, 1)], dim=-1)

    def _with_nothing_beside(self, views: Tensor) -> tuple[Tensor, Tensor]:
        times, count = len(views), len(self.cameras)
        empty = views.new_zeros(times, count - 1, *views.shape[2:])
        given = torch.zeros(times, count, dtype=torch.bool)
        given[:, 0] = True
        return torch.cat([views, empty], dim=1), given

    def _pass(self, network: OnePass, views: Tensor, given: Tensor) -> Splats:
        """Of [T, V, S, S, 4] pictures, in the world of the first camera."""
        count = views.shape[1]
        cameras = seen_from(self.cameras.scaled(self.variant.size / self.cameras.width)).take(np.arange(count))
        splats = network(seen_of(views, cameras, given))
        if not all(bool(torch.isfinite(values).all()) for values in vars(splats).values()):
            what = "the network gives numbers that are not finite"
            fix = "use other weights, or --engine cpu, which computes in single precision"
            raise Legs4dError(what, where="--weights", fix=fix)
        return splats

    def _out(self, splats: Splats, frame: int) -> Moment:
        found = splats.gaussians(0, frame).numpy()
        kept = np.flatnonzero(found.opacities >= FAINTEST)
        return Moment(turned(found.take(kept), to_world(self.cameras)), kept // self.variant.splat_side**2)


def seen_of(views: Tensor, cameras: Cameras, given: Tensor) -> Seen:
    """What a network is told of pictures [T, V, S, S, 4] by V cameras that stand still."""
    device, times = views.device, len(views)
    values = views.permute(0, 1, 4, 2, 3)[None].float()
    alpha = values[:, :, :, 3:]
    every = rays(cameras).to(device)
    eyes = torch.from_numpy(cameras.centers).to(device)
    return Seen(
        colors=values[:, :, :, :3] + 1 - alpha,
        alpha=alpha,
        rays=every.expand(1, times, *every.shape),
        eyes=eyes.expand(1, times, *eyes.shape),
        given=given.to(device)[None],
    )


def mixed(ends: Tensor) -> Tensor:
    """[4, …] two things, and between them their mixtures of ⅓ and ⅔ (Ren et al. 2024, section 3.4), of [2, …]."""
    shares = torch.arange(BETWEEN + 2, device=ends.device) / (BETWEEN + 1)
    shares = shares.view(-1, *[1] * (ends.ndim - 1)).to(ends.dtype)
    return (1 - shares) * ends[0] + shares * ends[1]


def turned(gaussians: Gaussians, matrix: NDArray[np.float64]) -> Gaussians:
    """Numpy Gaussians without view dependence under a rigid motion [4, 4]."""
    turn, shift = matrix[:3, :3], matrix[:3, 3]
    means = gaussians.means.astype(np.float64) @ turn.T + shift
    quat = np.asarray(Rotation.from_matrix(turn).as_quat(canonical=True, scalar_first=True))
    quats = multiply(quat, gaussians.quats.astype(np.float64))
    return gaussians.replace(means=means.astype(np.float32), quats=quats.astype(np.float32))


def unit(pictures: NDArray[np.uint8]) -> Tensor:
    """[…] 0..1."""
    return torch.from_numpy(pictures).float() / 255
