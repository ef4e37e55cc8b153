"""Gaussians at any instant, and where a client's objects put them before its camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from legs4d.gaussians.gaussians import SH_C0, Gaussians, concatenate
from legs4d.gaussians.sh import evaluate

_SAME = 1e-6
"""Relative difference of matrix entries that counts as none."""
_NEARLY_PARALLEL = 0.9995
"""Cosine of half the angle above which rotations are mixed linearly: slerp's quotient would be 0/0."""


@dataclass(frozen=True)
class Part:
    """Gaussians that stand together.

    Attributes:
        gaussians: n of them.
        relevancy: [n, L].
        to_camera: [4, 4] float64, from their own axes to the camera's (OpenCV), any invertible affine map.
    """

    gaussians: Gaussians
    relevancy: torch.Tensor
    to_camera: torch.Tensor


@dataclass(frozen=True)
class Placed:
    """All Gaussians before one camera.

    Attributes:
        gaussians, relevancy: of all parts, in their order.
        world_to_camera: [4, 4] float32, rigid.
        unit: how many units of the client one unit of `gaussians` is; multiplies depths.
        near_scale: how many units of `gaussians` one unit of the run is.
    """

    gaussians: Gaussians
    relevancy: torch.Tensor
    world_to_camera: torch.Tensor
    unit: float
    near_scale: float


def place(parts: Sequence[Part]) -> Placed:
    """Gaussians of all parts in common axes: their own where they share them and keep their shape, else the camera's.

    Args:
        parts: at least one.
    """
    first = parts[0].to_camera
    size = _size(first)
    gaussians = [part.gaussians for part in parts]
    relevancy = torch.cat([part.relevancy for part in parts])
    if _keeps_shape(first) and all(_equal(part.to_camera, first) for part in parts):
        rigid = first.clone()
        rigid[:3] /= size
        return Placed(concatenate(*gaussians), relevancy, rigid.float(), size, 1.0)
    moved = [moved_by(part.gaussians, part.to_camera) for part in parts]
    return Placed(concatenate(*moved), relevancy, torch.eye(4), 1.0, size)


def as_seen(part: Part) -> Part:
    """The part with the colours that its camera sees, which depend on the view no more: layers tint what is seen, and
    no transform has to turn the harmonics."""
    gaussians = part.gaussians
    if gaussians.sh_rest is None:
        return part
    eye = torch.linalg.inv(part.to_camera)[:3, 3].to(gaussians.means)
    directions = torch.nn.functional.normalize(gaussians.means - eye, dim=-1)
    rgb = evaluate(gaussians.colors, gaussians.sh_rest, directions).clamp(min=0)
    return replace(part, gaussians=gaussians.replace(colors=(rgb - 0.5) / SH_C0, sh_rest=None))


def moved_by(gaussians: Gaussians, matrix: torch.Tensor) -> Gaussians:
    """Gaussians under an affine map [4, 4]; shears and mirrors change their axes, never what they cover."""
    linear, shift = matrix[:3, :3].to(gaussians.means), matrix[:3, 3].to(gaussians.means)
    means = gaussians.means @ linear.T + shift
    if _keeps_shape(matrix):
        size = _size(matrix)
        turn = quaternions((matrix[:3, :3] / size)[None])[0].to(gaussians.quats)
        return gaussians.replace(means=means, quats=_product(turn, gaussians.quats), scales=gaussians.scales * size)
    root = linear @ rotations(gaussians.quats) * gaussians.scales[:, None, :]
    axes, lengths, _ = torch.linalg.svd(root)
    axes = axes * torch.linalg.det(axes)[:, None, None].sign()
    return gaussians.replace(means=means, quats=quaternions(axes), scales=lengths)


def between(now: Gaussians, then: Gaussians, share: float) -> Gaussians:
    """The state between two frames of the same Gaussians: all linear but rotations, which turn at constant speed.

    Args:
        share: 0 is `now`, 1 is `then`.
    """
    linear = ("means", "scales", "opacities", "colors", *(("sh_rest",) if now.sh_rest is not None else ()))
    mixed = {name: torch.lerp(getattr(now, name), getattr(then, name), share) for name in linear}
    return now.replace(**mixed, quats=_slerp(now.quats, then.quats, share))


def rotations(quats: torch.Tensor) -> torch.Tensor:
    """[n, 3, 3] of unit quaternions wxyz [n, 4]."""
    w, x, y, z = quats.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def quaternions(matrices: torch.Tensor) -> torch.Tensor:
    """Unit quaternions wxyz [n, 4] of rotations [n, 3, 3]: of four ways, the one that divides by most."""
    m = matrices
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    a, b, c = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    d, e, f = m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2]
    ways = torch.stack(
        [
            torch.stack([squares[:, 0], a, b, c], -1),
            torch.stack([a, squares[:, 1], d, e], -1),
            torch.stack([b, d, squares[:, 2], f], -1),
            torch.stack([c, e, f, squares[:, 3]], -1),
        ],
        1,
    )
    best = ways[torch.arange(len(m), device=m.device), squares.argmax(-1)]
    return best / best.norm(dim=-1, keepdim=True)


def _size(matrix: torch.Tensor) -> float:
    return float(torch.linalg.det(matrix[:3, :3]).abs() ** (1 / 3))


def _keeps_shape(matrix: torch.Tensor) -> bool:
    """Whether it turns, moves and scales evenly, and does nothing else."""
    linear = matrix[:3, :3] / _size(matrix)
    eye = torch.eye(3, dtype=linear.dtype)
    return bool(torch.linalg.det(linear) > 0 and torch.allclose(linear @ linear.T, eye, atol=1e-4))


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one, other, rtol=_SAME, atol=_SAME))


def _product(one: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Quaternions wxyz: `others` [n, 4], then turned by `one` [4]."""
    w, x, y, z = one
    table = torch.stack([torch.stack(row) for row in ((w, -x, -y, -z), (x, w, -z, y), (y, z, w, -x), (z, -y, x, w))])
    return others @ table.T


def _slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    cosine = (one * other).sum(-1, keepdim=True)
    other = torch.where(cosine < 0, -other, other)
    cosine = cosine.abs().clamp(max=1.0)
    angle = torch.acos(cosine.clamp(max=_NEARLY_PARALLEL))
    sine = torch.sin(angle)
    turned = (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / sine
    mixed = torch.where(cosine > _NEARLY_PARALLEL, torch.lerp(one, other, share), turned)
    return mixed / mixed.norm(dim=-1, keepdim=True)
