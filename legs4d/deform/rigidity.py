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
) -> torch.Tensor:
    """[] Σ weights · ‖(x_j - x_i) - R_i (p_j - p_i)‖², mean over times and points: as rigid as possible (Sorkine and
    Alexa 2007, equation 3), with the turns as they are, not the best ones.

    R_i carries rest to now. DreamScene4D's published code applies its inverse, so that a cloud which turns as one costs
    0.036 where it should cost nothing.

    Args:
        rest: [K, 3]; now: [B, K, 3]; turns: [B, K, 4] wxyz of any length, from rest to now.
        neighbours: [K, J] int64; weights: [K, J].
    """
    offsets = rest[neighbours] - rest[:, None]
    matrices = rotation_matrices(turns.reshape(-1, 4)).view(*turns.shape[:2], 3, 3)
    turned = torch.einsum("bkxy,kjy->bkjx", matrices, offsets)
    moved = now[:, neighbours] - now[:, :, None]
    return ((moved - turned).square().sum(dim=-1) * weights).sum(dim=-1).mean()
