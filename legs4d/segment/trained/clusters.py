"""Segments out of trained features: at several scales, groups of Gaussians whose gated features point one way.

SAGA clusters a sample by HDBSCAN and gives every Gaussian to the centre that it is most like. Here the sample is joined
by average linkage, and cut half-way between the cosines that the loss pulls apart and those that it pulls together; and
only Gaussians that masks show take part, so that noise is no cluster.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from legs4d.segment.trained.contrast import HARD_ALIKE, HARD_APART
from legs4d.segment.trained.features import GatedFeatures

SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Quantiles of mask sizes at which groups are looked for."""
SAMPLE = 2000
"""Gaussians that are joined."""
LEAST_MEMBERS = 10
"""Of the sample, that a group has; HDBSCAN's least in the original."""
SAME = 0.8
"""IoU from which groups of two scales are one."""
_CUT = (HARD_ALIKE + HARD_APART) / 2
"""Cosine with a group's centre at which a Gaussian half belongs."""


def clusters(gated: GatedFeatures, covered: NDArray[np.float32], seed: int = 0) -> scipy.sparse.csr_array:
    """[N, S] 0..1, how far each Gaussian belongs to each group, of all scales.

    Args:
        covered: [N] 0..1, how much of what each Gaussian shows some mask has.
    """
    there = np.flatnonzero(covered >= 0.5)
    rng = np.random.default_rng(seed)
    chosen = torch.from_numpy(np.sort(rng.permutation(there)[:SAMPLE])).to(gated.features.device)
    found: list[NDArray[np.float32]] = []
    for scale in SCALES if len(chosen) >= LEAST_MEMBERS else ():
        unit = torch.nn.functional.normalize(gated.features * gated.gate(scale), dim=1)
        sample = unit[chosen]
        group = fcluster(linkage(sample.cpu().numpy(), "average", "cosine"), 1 - _CUT, "distance") - 1
        counts = np.bincount(group)
        centres = torch.stack(
            [sample[torch.from_numpy(group == g).to(sample.device)].mean(0) for g in range(len(counts))]
        )
        cosines = unit @ torch.nn.functional.normalize(centres, dim=1).T
        best, which = (values.cpu().numpy() for values in cosines.max(dim=1))
        share = np.clip(0.5 + 0.5 * (best - _CUT) / (1 - _CUT), 0, 1) * np.minimum(1, 2 * covered)
        for g in np.flatnonzero(counts >= LEAST_MEMBERS):
            own = np.where(which == g, share, 0).astype(np.float32)
            if (own >= 0.5).any() and not any(_alike(own, other) for other in found):
                found.append(own)
    if not found:
        return scipy.sparse.csr_array((len(covered), 0), dtype=np.float32)
    return scipy.sparse.csr_array(np.stack(found, 1))


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    a, b = one >= 0.5, other >= 0.5
    return bool((a & b).sum() >= SAME * (a | b).sum())
