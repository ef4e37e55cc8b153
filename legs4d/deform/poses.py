"""Small corrections of camera poses: what a picture shows is turned and shifted instead, as any engine can."""

from __future__ import annotations

import torch

from legs4d.raster.states import States
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices


def posed(states: States, corrections: torch.Tensor) -> States:
    """States b turned about the origin by a rotation vector and shifted, [B, 6]; small, and differentiable."""
    half = corrections[:, :3] / 2
    # To second order: corrections are of a degree, and are normalised wherever they are used.
    turns = torch.cat([1 - half.square().sum(dim=1, keepdim=True) / 2, half], dim=1)
    matrices = rotation_matrices(turns)
    means = torch.einsum("bxy,bny->bnx", matrices, states.means) + corrections[:, None, 3:]
    quats = multiply(turns[:, None].expand_as(states.quats), states.quats)
    return States(means, quats, states.scales, states.opacities, states.colors, states.sh_rest)
