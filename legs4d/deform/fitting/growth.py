"""Adding canonical Gaussians where the pictures lack detail, and removing those that do nothing (Kerbl et al. 2023,
section 5), towards a count that is given."""

from __future__ import annotations

import torch

from legs4d.config.deform import GrowthSettings
from legs4d.deform.fitting.canonical import NAMES, Canonical
from legs4d.raster.states import Pull
from legs4d.reconstruct.fitting.densify import SPLIT_SHRINK
from legs4d.reconstruct.fitting.quaternions import rotation_matrices

FEWEST = 16
"""Gaussians that are left whatever they do."""


@torch.no_grad()
def grow(
    canonical: Canonical, pull: Pull, settings: GrowthSettings, radius: float, rounds_left: int, seed: int
) -> torch.Tensor:
    """Remove faint and oversized Gaussians; clone or split the hardest pulled.

    Args:
        pull: what pictures said since the last round.
        radius: of the stage, scene units.
        rounds_left: this one included.
        seed: of where halves are put.

    Returns:
        [count] int64, the row that each Gaussian was in, or that it comes from.
    """
    count = canonical.count
    widest = torch.exp(canonical.used("log_scales")).amax(dim=1)
    opacities = torch.sigmoid(canonical.used("logit_opacities"))
    keep = (opacities >= settings.min_opacity) & (widest < settings.max_scale * radius)
    if int(keep.sum()) < FEWEST:
        keep = torch.zeros_like(keep).index_fill_(0, opacities.topk(min(FEWEST, count)).indices, True)
    kept = int(keep.sum())
    room = min(settings.max_gaussians, canonical.capacity) - kept
    wanted = min(room // max(rounds_left, 1), kept // 2)
    average = torch.where(keep, pull.norm[:count] / pull.seen[:count].clamp(min=1), 0)
    chosen = torch.zeros_like(keep)
    if wanted > 0:
        chosen[torch.topk(average, wanted).indices] = True
    split = (chosen & (widest > settings.split_above * radius)).nonzero().flatten()
    clone = (chosen & (widest <= settings.split_above * radius)).nonzero().flatten()
    rest = keep.clone()
    rest[split] = False
    chance = torch.Generator().manual_seed(seed)
    halves = [_half(canonical, split, chance) for _ in range(2)]
    added = {name: torch.cat([canonical.used(name)[clone], halves[0][name], halves[1][name]]) for name in NAMES}
    left = rest.nonzero().flatten()
    canonical.edit(left, added)
    return torch.cat([left, clone, split, split])


def _half(canonical: Canonical, which: torch.Tensor, chance: torch.Generator) -> dict[str, torch.Tensor]:
    """A copy of each of these, smaller, at a place drawn from it."""
    values = {name: canonical.used(name)[which] for name in NAMES}
    scales = torch.exp(values["log_scales"])
    noise = torch.randn(scales.shape, generator=chance).to(scales.device)
    offsets = torch.einsum("nij,nj->ni", rotation_matrices(values["quats"]), noise * scales)
    values["means"] = values["means"] + offsets
    values["log_scales"] = values["log_scales"] - float(torch.log(torch.tensor(SPLIT_SHRINK)))
    return values
