"""From pictures of an object to Gaussians, in one pass: L4GM's network (Ren et al. 2024), LGM's, and `tiny4d`.

All are one U-Net with other numbers; they differ in what a pixel is told and in how splats are read off what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.generate.onepass.unet import Order, Sizes, UNet

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FOLD = 2
"""Side of the squares of pixels that `tiny4d` sees as one."""
MIDDLE, REACH = 1.5, 0.9
"""Depth along a ray at which `tiny4d` begins to look for a surface, and how far from there it may be: scene units."""
NUDGE = 0.1
"""The most that it moves a splat away from its ray, scene units."""
UNSEEN = -4.0
"""Logit of the opacity with which splats of pictures that are not there begin: they hide nothing."""
FIRST_SCALE = 0.015
"""Standard deviation of its splats before training: a pixel of 64 at the object's distance is 0.021 wide."""


@dataclass(frozen=True)
class Variant:
    """A network and what it is given.

    Attributes:
        name: of whose it is.
        sizes: of the U-Net.
        size: side of the pictures, pixels.
        head: how splats are read off: L4GM's way, or along rays.
        frames: moments that it saw at a time in training, and is run with; 1 for one that knows no time.
    """

    name: str
    sizes: Sizes
    size: int
    head: Literal["free", "rays"]
    frames: int

    @property
    def knows_what_is_missing(self) -> bool:
        """Whether it is told which pictures are there. L4GM is not: it wants the first moment's views at every time."""
        return self.head == "rays"

    @property
    def splat_side(self) -> int:
        """Splats along a picture's side."""
        folded = self.size // (FOLD if self.head == "rays" else 1)
        return folded >> (len(self.sizes.down) - len(self.sizes.up))


_BIG = {
    "channels": 9,
    "out": 14,
    "down": (64, 128, 256, 512, 1024, 1024),
    "down_attention": (False, False, False, True, True, True),
    "up": (1024, 1024, 512, 256, 128),
    "up_attention": (True, True, True, False, False),
}
RECON = Variant("L4GM", Sizes(**_BIG), 256, "free", 16)  # type: ignore[arg-type]
INTERP = Variant("L4GM's interpolation", RECON.sizes, 256, "free", 4)
LGM = Variant("LGM", Sizes(**_BIG, temporal=False), 256, "free", 1)  # type: ignore[arg-type]
TINY4D = Variant(
    "tiny4d",
    Sizes(
        channels=11 * FOLD**2,
        out=15,
        down=(64, 96, 128, 160),
        down_attention=(False, False, True, True),
        up=(160, 128, 96, 64),
        up_attention=(True, True, False, False),
        head_width=32,
        down_blocks=1,
        up_blocks=2,
    ),
    128,
    "rays",
    16,
)


@dataclass(frozen=True)
class Seen:
    """What a network is given of a moment: [B, T, V, …].

    Attributes:
        colors: [B, T, V, 3, S, S] RGB on white, 0..1.
        alpha: [B, T, V, 1, S, S] share of a pixel that is the object's, 0..1.
        rays: [B, T, V, 6, S, S], see `cameras.rays`.
        eyes: [B, T, V, 3] where the cameras are, in the world of the rays.
        given: [B, T, V] bool, which of the pictures are there; colours and alpha of others are not looked at.
    """

    colors: Tensor
    alpha: Tensor
    rays: Tensor
    eyes: Tensor
    given: Tensor


@dataclass(frozen=True)
class Splats:
    """Gaussians as they come out: [B, T, N, …], N = V · side², views one after the other, row by row.

    Attributes:
        means: [..., 3] in the world of the rays.
        opacities: [...] 0..1; scales: [..., 3]; quats: [..., 4] wxyz, unit; rgb: [..., 3].
    """

    means: Tensor
    opacities: Tensor
    scales: Tensor
    quats: Tensor
    rgb: Tensor

    @property
    def colors(self) -> Tensor:
        """[..., 3] SH DC coefficients."""
        return (self.rgb - 0.5) / SH_C0

    def gaussians(self, batch: int, frame: int) -> Gaussians:
        """Those of one moment, as torch tensors; `is_foreground` all over."""
        at = (batch, frame)
        return Gaussians(
            means=self.means[at],
            quats=self.quats[at],
            scales=self.scales[at],
            opacities=self.opacities[at],
            colors=self.colors[at],
            is_foreground=torch.ones_like(self.opacities[at], dtype=torch.bool),
        )


class OnePass(nn.Module):
    """See the module. Names of parameters are those of the published checkpoints."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.unet = UNet(variant.sizes)
        self.conv = nn.Conv2d(variant.sizes.out, variant.sizes.out, 1)
        if variant.head == "rays":
            self._begin_near_the_pictures()

    def forward(self, seen: Seen) -> Splats:
        batch, times, views = seen.given.shape
        x = self._told(seen).flatten(0, 2)
        x = self.unet(x, Order(times, views))
        with torch.autocast(x.device.type, enabled=False):
            x = self.conv(x.float())
            return (_free if self.variant.head == "free" else _along_rays)(x.unflatten(0, (batch, times, views)), seen)

    def _told(self, seen: Seen) -> Tensor:
        """[B, T, V, channels, S', S'] what the U-Net sees."""
        if self.variant.head == "free":
            mean, std = (torch.tensor(v, device=seen.colors.device)[:, None, None] for v in IMAGENET)
            told = torch.cat([(seen.colors - mean) / std, seen.rays], dim=3)
        else:
            there = seen.given[..., None, None, None].to(seen.colors.dtype)
            flag = there.expand(*seen.alpha.shape)
            colors = (2 * seen.colors - 1) * there + (1 - there)
            told = torch.cat([colors, seen.alpha * there, seen.rays, flag], dim=3)
            told = F.pixel_unshuffle(told, FOLD)
        return told.to(self.unet.conv_in.weight.dtype)

    def halve(self) -> OnePass:
        """Half precision for all but the last layers, which places and colours are read off."""
        self.unet.half()
        for last in (self.unet.norm_out, self.unet.conv_out):
            last.float()
        return self

    @torch.no_grad()
    def _begin_near_the_pictures(self) -> None:
        """What is trained from nothing begins as the pictures' pixels, put up in the middle of the object: a network
        that has to find this out falls into a white picture first."""
        for weight, bias in ((self.unet.conv_out.weight, self.unet.conv_out.bias), (self.conv.weight, self.conv.bias)):
            assert bias is not None
            weight.mul_(0.3)
            bias.zero_()


def _free(x: Tensor, seen: Seen) -> Splats:
    """L4GM's activations, of [B, T, V, 14, s, s]."""
    x = x.permute(0, 1, 2, 4, 5, 3).flatten(2, 4)
    return Splats(
        means=x[..., :3].clamp(-1, 1),
        opacities=x[..., 3].sigmoid(),
        scales=0.1 * F.softplus(x[..., 4:7]),
        quats=F.normalize(x[..., 7:11], dim=-1),
        rgb=0.5 * torch.tanh(x[..., 11:14]) + 0.5,
    )


def _along_rays(x: Tensor, seen: Seen) -> Splats:
    """Splats near the rays of a picture of half the side, of [B, T, V, 15, s, s]: depth, nudge 3, opacity, scale 3,
    rotation 4, colour 3. Where a picture is there, colour and opacity begin as its own."""
    side = x.shape[-1]

    def small(values: Tensor) -> Tensor:
        shape = values.shape[:3]
        return F.adaptive_avg_pool2d(values.flatten(0, 2).float(), side).unflatten(0, shape)

    along = F.normalize(small(seen.rays[:, :, :, 3:]), dim=3)
    depth = MIDDLE + REACH * torch.tanh(x[:, :, :, :1])
    means = seen.eyes[..., None, None] + depth * along + NUDGE * torch.tanh(x[:, :, :, 1:4])
    there = seen.given[..., None, None, None].float()
    alpha = small(seen.alpha).clamp(0.02, 0.98)
    opacity = (x[:, :, :, 4:5] + there * torch.logit(alpha) + (1 - there) * UNSEEN).sigmoid()
    scale = FIRST_SCALE * torch.exp(x[:, :, :, 5:8].clamp(-4, 2.5))
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0], device=x.device)[:, None, None]
    quats = F.normalize(x[:, :, :, 8:12] + identity, dim=3)
    base = there * torch.logit(small(seen.colors).clamp(0.01, 0.99))
    rgb = (x[:, :, :, 12:15] + base).sigmoid()

    def rows(values: Tensor) -> Tensor:
        return values.permute(0, 1, 2, 4, 5, 3).flatten(2, 4)

    return Splats(rows(means), rows(opacity)[..., 0], rows(scale), rows(quats), rows(rgb))
