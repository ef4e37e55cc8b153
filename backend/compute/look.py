"""How layers show on Gaussians: the colours and opacities of README.md, "The look of layers".

The Blender extension's node group shows the same; tests/blender/features/test_engine.py compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from legs4d.gaussians.gaussians import SH_C0, Gaussians, concatenate

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Of linear RGB (Rec. 709)."""
TINT_SHARE = 0.85
"""How much of a fully highlighted Gaussian's colour is the layer's."""
GLOW = 0.35
"""Brightness that a tinted Gaussian has beyond its own: dark things light up, too."""
DIMMED = 0.55
"""Brightness of what is desaturated."""

OUTLINE_SPREAD = 0.004
"""What is added to each standard deviation of an outline, as a share of the distance to the camera."""
OUTLINE_PUSH = 1.01
"""How much farther than their Gaussians outlines lie, so that those cover them."""
LEAST_OUTLINE = 1 / 255
"""An outline less opaque is not made: no engine would count it."""

_LEAST_SOFTNESS = 1e-4
_LEAST_WEIGHTS = 1e-4


@dataclass(frozen=True)
class Layer:
    """How one prompt layer shows.

    Attributes:
        weight: 0..1, of the whole layer.
        threshold, softness: relevancy goes through a smooth step from threshold − softness to threshold + softness.
        color: linear RGB.
    """

    weight: float
    threshold: float
    softness: float
    color: Sequence[float]


@dataclass(frozen=True)
class Amounts:
    """How what the layers name stands out, each 0..1; see README.md."""

    tint: float = 0.0
    desaturate: float = 0.0
    isolate: float = 0.0
    outline: float = 0.0


@dataclass(frozen=True)
class Shown:
    """N Gaussians as their layers show them.

    Attributes:
        gaussians: the N, then those of the outline.
        highlight: [N] 0..1, the strongest layer's weight.
        source: [N + K] int64, which of the N each is or outlines.
    """

    gaussians: Gaussians
    highlight: torch.Tensor
    source: torch.Tensor


def linear(encoded: torch.Tensor) -> torch.Tensor:
    """Linear values of sRGB-encoded ones (IEC 61966-2-1), not clamped."""
    curved = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, curved)


def encode(values: torch.Tensor) -> torch.Tensor:
    """sRGB-encoded values of linear ones, not clamped."""
    curved = 1.055 * values.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(values <= 0.0031308, values * 12.92, curved)


def show(
    gaussians: Gaussians, relevancy: torch.Tensor, layers: Sequence[Layer], amounts: Amounts, eye: torch.Tensor
) -> Shown:
    """What Gaussians look like under their layers.

    Args:
        gaussians: N torch Gaussians.
        relevancy: [N, L] 0..1, one column per layer.
        layers: L of them; the order does not matter.
        eye: [3] where the camera is, in the Gaussians' axes.
    """
    strongest, tint = _combine(relevancy, layers)
    opacities = gaussians.opacities * (1 - amounts.isolate * (1 - strongest))
    rgb = _colored(gaussians.rgb, strongest, tint, amounts)
    shown = gaussians.replace(opacities=opacities, colors=(rgb - 0.5) / SH_C0)
    named = gaussians.opacities * strongest * amounts.outline >= LEAST_OUTLINE
    if not bool(named.any()):
        return Shown(shown, strongest, torch.arange(len(gaussians), device=rgb.device))
    around = _outlines(gaussians.take(named), strongest[named] * amounts.outline, tint[named], eye)
    everything = concatenate(shown, around.replace(sh_rest=None))
    source = torch.cat([torch.arange(len(gaussians), device=rgb.device), named.nonzero()[:, 0]])
    return Shown(everything, strongest, source)


def _colored(rgb: torch.Tensor, strongest: torch.Tensor, tint: torch.Tensor, amounts: Amounts) -> torch.Tensor:
    """[N, 3] sRGB-encoded colours; exactly the captured ones where no layer and no amount changes them."""
    changed = (strongest * amounts.tint > 0) | ((1 - strongest) * amounts.desaturate > 0)
    plain, named = linear(rgb[changed].clamp(0, 1)), strongest[changed, None]
    brightness = plain @ plain.new_tensor(LUMINANCE)[:, None]
    lit = plain + named * amounts.tint * TINT_SHARE * (tint[changed] * (brightness + GLOW) - plain)
    lit = lit + amounts.desaturate * (1 - named) * (brightness * DIMMED - lit)
    shown = rgb.clone()
    shown[changed] = encode(lit)
    return shown


def _outlines(named: Gaussians, strength: torch.Tensor, tint: torch.Tensor, eye: torch.Tensor) -> Gaussians:
    """Larger Gaussians behind those that the layers name, in the layers' colour."""
    away = named.means - eye
    return named.replace(
        means=eye + away * OUTLINE_PUSH,
        scales=named.scales + OUTLINE_SPREAD * away.norm(dim=1, keepdim=True),
        opacities=named.opacities * strength,
        colors=(encode(tint) - 0.5) / SH_C0,
    )


def _combine(relevancy: torch.Tensor, layers: Sequence[Layer]) -> tuple[torch.Tensor, torch.Tensor]:
    """[N] the strongest layer's weight, and [N, 3] the layers' mean colour, weighted."""
    strongest = relevancy.new_zeros(len(relevancy))
    total = relevancy.new_full((len(relevancy), 1), _LEAST_WEIGHTS)
    tints = relevancy.new_zeros((len(relevancy), 3))
    for column, layer in zip(relevancy.T, layers, strict=True):
        softness = max(layer.softness, _LEAST_SOFTNESS)
        x = ((column - layer.threshold + softness) / (2 * softness)).clamp(0, 1)
        weight = x * x * (3 - 2 * x) * layer.weight
        strongest = torch.maximum(strongest, weight)
        total += weight[:, None]
        tints += weight[:, None] * weight.new_tensor(list(layer.color))
    return strongest, tints / total
