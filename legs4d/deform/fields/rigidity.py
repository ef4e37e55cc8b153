"""How far points with turns of their own are from moving as one rigid thing with their neighbours."""

from __future__ import annotations

import torch

from legs4d.reconstruct.fitting.quaternions import rotation_matrices


def rigidity(
    rest: torch.Tensor,
    now: torch.Tensor,
    turns: torch.Tensor,
    neighbours: torch.Tensor,
    weights: torch.Tensor,
    up_to: float = 0,
) -> torch.Tensor:
    """[] Σ weights · ‖(x_j - x_i) - R_i (p_j - p_i)‖², mean over times and points: as rigid as possible (Sorkine and
    Alexa 2007, equation 3), with the turns as they are, not the best ones.

    R_i carries rest to now. DreamScene4D's published code applies its inverse, so that a cloud which turns as one costs
    0.036 where it should cost nothing.

    Args:
        rest: [K, 3]; now: [B, K, 3]; turns: [B, K, 4] wxyz of any length, from rest to now.
        neighbours: [K, J] int64; weights: [K, J].
        up_to: what the root of a term times J may be before the term grows with it instead of with its square, as few
            pairs do that lie across a joint (Charbonnier et al. 1997); 0: always the square.
    """
    offsets = rest[neighbours] - rest[:, None]
    matrices = rotation_matrices(turns.reshape(-1, 4)).view(*turns.shape[:2], 3, 3)
    turned = torch.einsum("bkxy,kjy->bkjx", matrices, offsets)
    moved = now[:, neighbours] - now[:, :, None]
    terms = (moved - turned).square().sum(dim=-1) * weights
    if up_to:
        terms = ((terms * terms.shape[-1] + up_to**2).sqrt() - up_to) / terms.shape[-1]
    return terms.sum(dim=-1).mean()
