"""How layers show on Gaussians: the colours and opacities of README.md, "The look of layers".

The Blender extension's node group shows the same; tests/blender/test_engine.py compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

Mode = Literal["HIGHLIGHT", "DESATURATE", "ISOLATE", "NONE"]

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Of linear RGB (Rec. 709)."""
TINT_SHARE = 0.85
"""How much of a fully highlighted Gaussian's colour is the layer's."""
GLOW = 0.35
"""Brightness that a tinted Gaussian has beyond its own: dark things light up, too."""
DIMMED = 0.55
"""Brightness of what is desaturated."""

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
class Shown:
    """N Gaussians as their layers show them.

    Attributes:
        rgb: [N, 3] sRGB-encoded; exactly the captured colours where no layer shows.
        opacities: [N].
        highlight: [N] 0..1, the strongest layer's weight.
    """

    rgb: torch.Tensor
    opacities: torch.Tensor
    highlight: torch.Tensor


def linear(encoded: torch.Tensor) -> torch.Tensor:
    """Linear values of sRGB-encoded ones (IEC 61966-2-1), not clamped."""
    curved = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, curved)


def encode(values: torch.Tensor) -> torch.Tensor:
    """sRGB-encoded values of linear ones, not clamped."""
    curved = 1.055 * values.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(values <= 0.0031308, values * 12.92, curved)


def show(
    rgb: torch.Tensor, opacities: torch.Tensor, relevancy: torch.Tensor, layers: Sequence[Layer], mode: Mode
) -> Shown:
    """What Gaussians look like under their layers.

    Args:
        rgb: [N, 3] sRGB-encoded, as captured.
        opacities: [N] 0..1.
        relevancy: [N, L] 0..1, one column per layer.
        layers: L of them; the order does not matter.
        mode: see README.md.
    """
    strongest, tint = _combine(relevancy, layers)
    if mode == "ISOLATE":
        return Shown(rgb, opacities * strongest, strongest)
    if mode == "NONE" or not layers:
        return Shown(rgb, opacities, strongest)
    changed = strongest > 0 if mode == "HIGHLIGHT" else strongest < 1
    plain, amount = linear(rgb[changed].clamp(0, 1)), strongest[changed, None]
    brightness = plain @ plain.new_tensor(LUMINANCE)[:, None]
    if mode == "HIGHLIGHT":
        lit = plain + amount * TINT_SHARE * (tint[changed] * (brightness + GLOW) - plain)
    else:
        grey = brightness * DIMMED
        lit = grey + amount * (plain - grey)
    shown = rgb.clone()
    shown[changed] = encode(lit)
    return Shown(shown, opacities, strongest)


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
