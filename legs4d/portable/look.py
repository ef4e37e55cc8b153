"""The look of layers: what colour and opacity Gaussians have under the prompts that name them.

Each formula stands here once, for the extension's node groups, points and exports and the server's pictures. It is
given the arithmetic that it is done in (`on`): `NUMPY` below, the server's for torch, or the extension's
`look.builder.Nodes`, which adds nodes. backend/README.md, "The look of layers", tells a client the same. Colours are
linear light (Rec. 709).

A new way to stand out is a field of `Amounts`, an entry of `PRESETS` and its term in `colored` or `opacity`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

VERSION = 13
"""Raised when a formula or one of its node groups changes, so that files made before are brought up to date."""

Number = Any
"""What the arithmetic has for one number a Gaussian: an array [N], a tensor [N], an output of a node; or a float."""
Color = Any
"""Likewise [N, 3], or three floats."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Of linear RGB (Rec. 709)."""
LUMA = (0.299, 0.587, 0.114)
"""Of sRGB-encoded RGB (Rec. 601)."""
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

LEAST_SOFTNESS = 1e-4
LEAST_GAMMA = 1e-2
LEAST_WEIGHTS = 1e-4
"""Layers that weigh less together give no tint of their own."""


@dataclass(frozen=True)
class Amounts:
    """How what the layers name stands out, each 0..1 (`Number`: one for all, or what drives a node group)."""

    tint: Number = field(default=0.0, metadata={"says": "How strongly what the layers name takes their color"})
    desaturate: Number = field(default=0.0, metadata={"says": "How much of the color everything else loses"})
    isolate: Number = field(default=0.0, metadata={"says": "How far everything else is hidden"})
    outline: Number = field(default=0.0, metadata={"says": "How strongly what the layers name is outlined"})


@dataclass(frozen=True)
class Grade:
    """How an artist changes the captured colour; as it is made here, not at all. Colours are three floats, or what
    drives a node group."""

    exposure: Number = field(default=0.0, metadata={"says": "Stops: 1 is twice as bright"})
    hue: Number = field(default=0.0, metadata={"says": "Turns colors around grey, in radians"})
    saturation: Number = field(default=1.0, metadata={"says": "0 is grey, 1 as captured, 2 twice as colorful"})
    lift: Color = field(default=(0.0, 0.0, 0.0), metadata={"says": "Added to the darks"})
    gamma: Color = field(default=(1.0, 1.0, 1.0), metadata={"says": "Above 1 the mid tones are brighter"})
    gain: Color = field(default=(1.0, 1.0, 1.0), metadata={"says": "Multiplies the lights"})


GRADE: Mapping[str, str] = {each.name: each.metadata["says"] for each in fields(Grade)}
"""Name → what it does, for people."""

AMOUNTS: Mapping[str, str] = {each.name: each.metadata["says"] for each in fields(Amounts)}
"""Name → what it does, for people."""


class Preset(NamedTuple):
    """A choice of amounts; those it does not name are 0. Files hold `number`, which therefore stays what it is."""

    number: int
    label: str
    says: str
    amounts: Mapping[str, float]


PRESETS: Mapping[str, Preset] = {
    "HIGHLIGHT": Preset(0, "Highlight", "Tint them in the layer's color", {"tint": 1.0}),
    "DESATURATE": Preset(1, "Desaturate Others", "Take the color out of everything else", {"desaturate": 1.0}),
    "ISOLATE": Preset(2, "Isolate", "Hide everything else", {"isolate": 1.0}),
    "OUTLINE": Preset(3, "Outline", "Draw the layer's color around it", {"outline": 1.0}),
    "NONE": Preset(4, "As Captured", "Show the captured colors only", {}),
}
"""What the panel offers, in its order."""


class Combined(NamedTuple):
    """What the layers say of each Gaussian together: the largest weight, the weights' sum, the colours' by weight."""

    strongest: Number
    weights: Number
    tints: Color


def weight(on: Any, relevancy: Number, threshold: Number, softness: Number, *factors: Number) -> Number:
    """A Gaussian's weight in a layer, 0..1: its relevancy above the threshold, times the layer's own factors."""
    softness = on.at_least(softness, LEAST_SOFTNESS)
    found = on.smoothstep(threshold - softness, threshold + softness, relevancy)
    for factor in factors:
        found = found * factor
    return found


def combine(on: Any, before: Combined, weight: Number, color: Color) -> Combined:
    """One more layer; their order does not matter."""
    return Combined(
        on.maximum(before.strongest, weight),
        before.weights + weight,
        on.add(before.tints, on.scale(color, weight)),
    )


def tint(on: Any, layers: Combined) -> Color:
    """The mean of the layers' colours by weight."""
    return on.scale(layers.tints, 1.0 / on.at_least(layers.weights, LEAST_WEIGHTS))


def graded(on: Any, captured: Color, weight: Number, grade: Grade) -> Color:
    """The captured colour under a grade, as far as `weight` (0..1) says; several are done one after the other.

    Exposure, then hue, then saturation, then (gain · (c + lift · (1 − c)))^(1 / gamma), channel by channel.
    """
    turned = on.turn(on.scale(captured, on.exp2(grade.exposure)), grade.hue)
    grey = on.dot(turned, LUMINANCE) * (1.0 - grade.saturation)
    vivid = on.add(on.scale(turned, grade.saturation), on.scale((1.0, 1.0, 1.0), grey))
    lifted = on.add(vivid, on.multiply(on.complement(vivid), grade.lift))
    return on.mix_colors(weight, captured, on.root(on.multiply(lifted, grade.gain), grade.gamma))


def changed(strongest: Number, amounts: Amounts) -> Any:
    """[N] whether `colored` gives another colour than the captured one; for arrays and tensors."""
    return (strongest > 0) & (amounts.tint > 0) | (strongest < 1) & (amounts.desaturate > 0)


def colored(on: Any, captured: Color, strongest: Number, tint: Color, amounts: Amounts) -> Color:
    """The colour that shows."""
    brightness = on.dot(captured, LUMINANCE)
    tinted = on.scale(tint, brightness + GLOW)
    lit = on.mix_colors(strongest * amounts.tint * TINT_SHARE, captured, tinted)
    grey = on.scale((DIMMED, DIMMED, DIMMED), brightness)
    return on.mix_colors(amounts.desaturate * (1.0 - strongest), lit, grey)


def opacity(on: Any, captured: Number, strongest: Number, amounts: Amounts) -> Number:
    """The opacity that shows."""
    return captured * on.mix(amounts.isolate, 1.0, strongest)


def outline_opacity(captured: Number, strongest: Number, amounts: Amounts) -> Number:
    """The opacity of the Gaussian that outlines one; its colour is the `tint`."""
    return captured * strongest * amounts.outline


def outline_shape(on: Any, away: Color, distance: Number) -> tuple[Color, Number]:
    """How far an outline lies from its Gaussian, and by how much its standard deviations are larger.

    Args:
        away: from the camera to the Gaussian, scene units.
        distance: the length of that.
    """
    return on.scale(away, OUTLINE_PUSH - 1.0), distance * OUTLINE_SPREAD


def lit_picture(
    on: Any, picture: Color, matte: Number, tint: Color, *, tint_amount: float, desaturate: float, dim: float
) -> Color:
    """A finished picture (sRGB-encoded): under the matte pulled towards the tint, elsewhere greyed and dimmed."""
    grey = on.scale((1.0, 1.0, 1.0), on.dot(picture, LUMA))
    quiet = on.scale(on.mix_colors(desaturate, picture, grey), 1.0 - dim)
    return on.mix_colors(matte, quiet, on.mix_colors(tint_amount, picture, tint))


class Arrays:
    """The formulas' arithmetic on numpy's arrays or torch's tensors; what is not `+ - * /` of numbers.

    Args:
        module: `numpy` or `torch`.
    """

    def __init__(self, module: Any) -> None:
        self._of = module

    def smoothstep(self, low: Number, high: Number, value: Number) -> Number:
        """0 up to `low`, 1 from `high`, 3x² − 2x³ between."""
        x = ((value - low) / (high - low)).clip(0, 1)
        return x * x * (3 - 2 * x)

    def maximum(self, one: Number, other: Number) -> Number:
        """The larger of two."""
        return self._of.maximum(one, other)

    def at_least(self, value: Number, least: float) -> Number:
        """`value`, or `least` where that is more."""
        return max(value, least) if isinstance(value, float | int) else value.clip(least)

    def mix(self, share: Number, first: Number, second: Number) -> Number:
        """`first` where `share` is 0, `second` where it is 1."""
        return first + share * (second - first)

    def mix_colors(self, share: Number, first: Color, second: Color) -> Color:
        """`mix` of colours."""
        return self.mix(_over_channels(share), first, second)

    def add(self, one: Color, other: Color) -> Color:
        """The sum of two colours."""
        return one + other

    def scale(self, color: Color, by: Number) -> Color:
        """A colour, or a vector, times a number."""
        if isinstance(color, tuple):
            return self._of.stack([by * channel for channel in color], -1)
        return color * _over_channels(by)

    def multiply(self, color: Color, by: Color) -> Color:
        """Channel by channel; `by` is three floats."""
        return self._of.stack([color[..., i] * by[i] for i in range(3)], -1)

    def complement(self, color: Color) -> Color:
        """What each channel lacks of 1."""
        return 1.0 - color

    def root(self, color: Color, degrees: Color) -> Color:
        """The `degrees`-th root of each channel, three floats; what is below 0 is 0."""
        return self._of.stack([color[..., i].clip(0) ** (1.0 / max(degrees[i], LEAST_GAMMA)) for i in range(3)], -1)

    def exp2(self, value: float) -> float:
        """2 to this power."""
        return float(2.0**value)

    def turn(self, color: Color, angle: float) -> Color:
        """A colour turned by so many radians around grey, from red to green."""
        mean, cosine, sine = self.dot(color, (1 / 3,) * 3), math.cos(angle), math.sin(angle) / math.sqrt(3)
        r, g, b = color[..., 0], color[..., 1], color[..., 2]
        across = ((b, g), (r, b), (g, r))
        return self._of.stack(
            [
                c * cosine + (one - other) * sine + mean * (1 - cosine)
                for c, (one, other) in zip((r, g, b), across, strict=True)
            ],
            -1,
        )

    def dot(self, color: Color, weights: tuple[float, float, float]) -> Number:
        """The weighted sum of a colour's channels."""
        # Not a matrix product: its threads spin while others compute.
        return color[..., 0] * weights[0] + color[..., 1] * weights[1] + color[..., 2] * weights[2]

    def linear(self, encoded: Any) -> Any:
        """Linear values of sRGB-encoded ones (IEC 61966-2-1), of any shape, not clamped."""
        curved = ((encoded.clip(0.04045) + 0.055) / 1.055) ** 2.4
        return self._of.where(encoded <= 0.04045, encoded / 12.92, curved)

    def encoded(self, linear: Any) -> Any:
        """sRGB-encoded values of linear ones, of any shape, not clamped."""
        curved = 1.055 * linear.clip(0.0031308) ** (1 / 2.4) - 0.055
        return self._of.where(linear <= 0.0031308, linear * 12.92, curved)


NUMPY = Arrays(np)


def _over_channels(number: Number) -> Number:
    return number if isinstance(number, float | int) else number[..., None]
