"""Small networks with random weights, and an object that looks different from every side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.generate.onepass.cameras import L4GM
from legs4d.generate.onepass.checkpoint import Networks
from legs4d.generate.onepass.network import TINY4D, OnePass, Variant
from legs4d.generate.onepass.unet import Sizes
from legs4d.raster import render

SIZES = Sizes(9, 14, (32, 32), (False, True), (32,), (True,))
FREE = Variant("small", SIZES, 16, "free", 3)
RAYS = replace(
    TINY4D, sizes=replace(SIZES, channels=44, out=15, up=(32, 32), up_attention=(True, False)), size=16, frames=4
)


def networks(variant: Variant, *, interp: bool = True) -> Networks:
    """Random, the same ones every time; no splat reaches an end of its range."""
    torch.manual_seed(0)
    made = [OnePass(variant).eval().requires_grad_(False) for _ in range(1 + interp)]
    return Networks(made[0], made[1] if interp else None, tuple("ab"[: len(made)]))


def lopsided() -> Gaussians:
    """Numpy Gaussians: a body, a nose before it, a hump behind it, an arm to its left and a foot."""
    places = np.array([[0, 0, 0], [0, 0.12, 0.3], [0, 0.25, -0.25], [0.38, 0.05, 0], [-0.1, -0.35, 0.1]])
    sizes = np.array([[0.08, 0.1, 0.08], [0.03, 0.03, 0.06], [0.04, 0.07, 0.04], [0.09, 0.03, 0.03], [0.06, 0.05, 0.1]])
    colors = np.array([[0.8, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.2, 0.8], [0.8, 0.8, 0.2], [0.3, 0.3, 0.3]])
    count = len(places)
    return Gaussians(
        places.astype(np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        sizes.astype(np.float32),
        np.full(count, 0.98, np.float32),
        dc_from_rgb(colors.astype(np.float32)),
        np.ones(count, bool),
    )


def pictures(thing: Gaussians, elevation: float, azimuths: tuple[float, ...], size: int) -> NDArray[np.uint8]:
    """[C, size, size, 4] RGBA, colours times alpha."""
    drawn = render(thing.torch(), L4GM.cameras(elevation, azimuths, size), near=0.3)
    both = torch.cat([drawn.color, drawn.alpha[..., None]], dim=-1)
    return (both.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
