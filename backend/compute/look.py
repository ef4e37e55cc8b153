"""How layers show on torch Gaussians: colours, opacities and outlines by the formulas of `portable.look`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from legs4d.gaussians.gaussians import SH_C0, Gaussians, concatenate
from legs4d.portable import look
from legs4d.portable.look import Amounts, Grade

TORCH = look.Arrays(torch)

LEAST_OUTLINE = 1 / 255
"""An outline less opaque is not made: no engine would count it."""


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
class Graded:
    """How one grade shows.

    Attributes:
        grade: its values.
        layer: index of the layer that says where; None: `points` does.
        points: index of the column of the Gaussians' selections; None: everywhere.
        strength: 0..1.
    """

    grade: Grade
    layer: int | None
    points: int | None
    strength: float


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


def show(
    gaussians: Gaussians,
    relevancy: torch.Tensor,
    layers: Sequence[Layer],
    amounts: Amounts,
    eye: torch.Tensor,
    grades: Sequence[Graded] = (),
    selections: torch.Tensor | None = None,
) -> Shown:
    """What Gaussians look like under their layers.

    Args:
        gaussians: N torch Gaussians.
        relevancy: [N, L] 0..1, one column per layer.
        layers: L of them; the order does not matter.
        eye: [3] where the camera is, in the Gaussians' axes.
        grades: of the captured colours, one after the other.
        selections: [N, S] 0..1 for those that name one.
    """
    strongest, tint = _combine(relevancy, layers)
    for one in grades:
        weight = _graded_weight(one, relevancy, layers, selections)
        gaussians = gaussians.replace(colors=(_graded(gaussians.rgb, weight, one.grade) - 0.5) / SH_C0)
    opacities = look.opacity(TORCH, gaussians.opacities, strongest, amounts)
    shown = _colored(gaussians, strongest, tint, amounts).replace(opacities=opacities)
    edge = look.outline_opacity(gaussians.opacities, strongest, amounts)
    named = edge >= LEAST_OUTLINE
    if not bool(named.any()):
        return Shown(shown, strongest, torch.arange(len(gaussians), device=strongest.device))
    around = _outlines(gaussians.take(named), edge[named], tint[named], eye)
    everything = concatenate(shown, around.replace(sh_rest=None))
    source = torch.cat([torch.arange(len(gaussians), device=strongest.device), named.nonzero()[:, 0]])
    return Shown(everything, strongest, source)


def _graded_weight(
    one: Graded, relevancy: torch.Tensor, layers: Sequence[Layer], selections: torch.Tensor | None
) -> torch.Tensor:
    """[N] how much of each Gaussian's colour is graded."""
    if one.layer is not None:
        return _weight(relevancy[:, one.layer], layers[one.layer]) * one.strength
    if one.points is not None and selections is not None:
        return selections[:, one.points] * one.strength
    return relevancy.new_full((len(relevancy),), one.strength)


def _graded(rgb: torch.Tensor, weight: torch.Tensor, grade: Grade) -> torch.Tensor:
    """[N, 3] sRGB-encoded colours; exactly the captured ones where the grade weighs nothing."""
    other = weight > 0
    graded = rgb.clone()
    plain = TORCH.linear(rgb[other].clamp(0, 1))
    graded[other] = TORCH.encoded(look.graded(TORCH, plain, weight[other], grade))
    return graded


def _colored(gaussians: Gaussians, strongest: torch.Tensor, tint: torch.Tensor, amounts: Amounts) -> Gaussians:
    """With the colours that show; exactly the captured ones where no layer and no amount changes them."""
    other = look.changed(strongest, amounts).nonzero()[:, 0]
    if not len(other):
        return gaussians
    plain = TORCH.linear((0.5 + SH_C0 * gaussians.colors[other]).clamp(0, 1))
    shown = TORCH.encoded(look.colored(TORCH, plain, strongest[other], tint[other], amounts))
    return gaussians.replace(colors=gaussians.colors.index_copy(0, other, (shown - 0.5) / SH_C0))


def _outlines(named: Gaussians, opacities: torch.Tensor, tint: torch.Tensor, eye: torch.Tensor) -> Gaussians:
    """Larger Gaussians behind those that the layers name, in the layers' colour."""
    away = named.means - eye
    offset, wider = look.outline_shape(TORCH, away, away.norm(dim=1, keepdim=True))
    return named.replace(
        means=named.means + offset,
        scales=named.scales + wider,
        opacities=opacities,
        colors=(TORCH.encoded(tint) - 0.5) / SH_C0,
    )


def _combine(relevancy: torch.Tensor, layers: Sequence[Layer]) -> tuple[torch.Tensor, torch.Tensor]:
    """[N] the strongest layer's weight, and [N, 3] the layers' mean colour, weighted."""
    none = relevancy.new_zeros(len(relevancy))
    found = look.Combined(none, none, relevancy.new_zeros((len(relevancy), 3)))
    for column, layer in zip(relevancy.T, layers, strict=True):
        weight = _weight(column, layer)
        found = look.combine(TORCH, found, weight, relevancy.new_tensor(list(layer.color)))
    return found.strongest, look.tint(TORCH, found)


def _weight(relevancy: torch.Tensor, layer: Layer) -> torch.Tensor:
    found: torch.Tensor = look.weight(TORCH, relevancy, layer.threshold, layer.softness, layer.weight)
    return found
