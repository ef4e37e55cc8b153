"""The loss by which features learn which pixels masks put together, at every scale (SAGA, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BETWEEN = 8
"""Scales of a step between those of neighbouring masks; one more is above all masks, one below."""
HARD_ALIKE, HARD_APART = 0.75, 0.5
"""Cosines: pairs that belong together and are less alike, or do not and are more alike, always count."""
MOST_WEIGHT = 10.0
"""Of pairs of pixels whose masks are small, against 1 for those whose masks are large."""


@dataclass(frozen=True)
class Terms:
    """The loss and its parts."""

    positive: torch.Tensor
    negative: torch.Tensor
    norm: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """Their sum."""
        return self.positive + self.negative + self.norm


def sampled_scales(
    scales: torch.Tensor, largest: float, permutation: torch.Tensor, draws: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales of a step, and after which mask each lies.

    Args:
        scales: [R] of a picture's masks, falling.
        largest: of all pictures.
        permutation: of R; its first BETWEEN are used.
        draws: [BETWEEN + 2] in 0..1.

    Returns:
        [K] int64, -1 before the first; [K] float32 scales.
    """
    count = len(scales)
    between = permutation[:BETWEEN]
    index = torch.cat([between.new_tensor([-1]), between, between.new_tensor([count - 1])])
    draws = torch.cat([draws[: 1 + len(between)], draws[-1:]])
    ends = torch.cat([scales, scales.new_zeros(1)])
    here, after = ends[index.clamp(min=0)], ends[index.clamp(min=0) + 1]
    found = here + draws * (after - here)
    found[0] = largest * (1 + draws[0])
    return index, found


def together(pixels: torch.Tensor, index: int) -> torch.Tensor:
    """[S, S] bool, whether two pixels share a mask at a scale.

    A mask that is larger than the scale stays only where none between it and the scale has the pixel.

    Args:
        pixels: [R, S] bool, masks by falling scale.
        index: the last mask that is larger than the scale; -1 for none.
    """
    kept = pixels
    if index > 0:
        large = pixels[: index + 1]
        # of each, whether any after it, up to the scale, has the pixel
        after = large.flip(0).cumsum(0).flip(0) - large.long()
        kept = torch.cat([large & (after == 0), pixels[index + 1 :]])
    one = kept.float()
    return (one.T @ one) > 0


def pair_weights(areas: torch.Tensor) -> torch.Tensor:
    """[S, S] from 1 to MOST_WEIGHT, by the mean area ā [S] of the masks over each pixel.

    w = 1 + 9 (u - min u) / (max u - min u), with u = max(āāᵀ) / āāᵀ.
    """
    product = areas[:, None] * areas[None]
    rare = (product.max() / product).clamp(min=1)
    spread = (rare.max() - rare.min()).clamp(min=1e-12)
    return 1 + (MOST_WEIGHT - 1) * (rare - rare.min()) / spread


def contrast(
    features: torch.Tensor,
    gates: torch.Tensor,
    truth: torch.Tensor,
    weights: torch.Tensor,
    draws: torch.Tensor,
    mean_norm: torch.Tensor,
) -> Terms:
    """The loss of S pixels at K scales.

    Args:
        features: [S, D] as rendered.
        gates: [K, D] of the scales.
        truth: [K, S, S] bool, `together`.
        weights: [S, S].
        draws: [S, S] in 0..1, by which pairs that are the same at all scales are thinned out.
        mean_norm: of the picture's features, which is to be 1.
    """
    gated = torch.nn.functional.normalize(features[None] * gates[:, None], dim=-1)
    cosines = gated @ gated.transpose(1, 2)
    share = truth.float().mean(dim=0)
    mixed = (share > 0) & (share < 1)
    quota = mixed.sum() / 2
    upper = torch.ones_like(mixed).triu(1)
    pairs = []
    for same in (share == 1, share == 0):
        pairs.append((mixed | (same & (draws < quota / same.sum().clamp(min=1)))) & upper)
    hard = (truth & (cosines < HARD_ALIKE), ~truth & (cosines > HARD_APART))
    alike, apart = (pairs[i][None] | (hard[i] & upper) for i in range(2))
    # sums instead of picks: to know how many there are, a GPU would have to be waited for
    positive = (-weights * truth * cosines * alike).sum() / alike.sum().clamp(min=1)
    negative = (weights * ~truth * cosines.relu() * apart).sum() / apart.sum().clamp(min=1)
    return Terms(positive, negative, (1 - mean_norm) ** 2)
