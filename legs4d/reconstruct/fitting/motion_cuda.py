"""The losses that hold neighbours together, with their gradients, in one kernel on CUDA: by PyTorch's operations they
are eighty, half of which sort indices. Its twins are `losses.motion_losses_torch` and `csrc`'s."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 16
"""Gaussians that a program works on, each with all of its neighbours."""


@triton.jit
def _turned(q, p):  # pragma: no cover  (compiled)
    """Hamilton product of q and the conjugate of p, both in four parts."""
    w = q[0] * p[0] + q[1] * p[1] + q[2] * p[2] + q[3] * p[3]
    x = -q[0] * p[1] + q[1] * p[0] - q[2] * p[3] + q[3] * p[2]
    y = -q[0] * p[2] + q[1] * p[3] + q[2] * p[0] - q[3] * p[1]
    z = -q[0] * p[3] - q[1] * p[2] + q[2] * p[1] + q[3] * p[0]
    return w, x, y, z


@triton.jit
def _back(v, p):  # pragma: no cover
    """What a gradient of `_turned` is by q: the product of v and p."""
    w = v[0] * p[0] - v[1] * p[1] - v[2] * p[2] - v[3] * p[3]
    x = v[0] * p[1] + v[1] * p[0] + v[2] * p[3] - v[3] * p[2]
    y = v[0] * p[2] - v[1] * p[3] + v[2] * p[0] + v[3] * p[1]
    z = v[0] * p[3] + v[1] * p[2] - v[2] * p[1] + v[3] * p[0]
    return w, x, y, z


@triton.jit
def _four(values, at, inside):  # pragma: no cover
    first = tl.load(values + 4 * at, mask=inside, other=1.0)
    second = tl.load(values + 4 * at + 1, mask=inside, other=0.0)
    third = tl.load(values + 4 * at + 2, mask=inside, other=0.0)
    return first, second, third, tl.load(values + 4 * at + 3, mask=inside, other=0.0)


@triton.jit
def _three(values, at, inside):  # pragma: no cover
    first = tl.load(values + 3 * at, mask=inside, other=0.0)
    second = tl.load(values + 3 * at + 1, mask=inside, other=0.0)
    return first, second, tl.load(values + 3 * at + 2, mask=inside, other=0.0)


@triton.jit
def _losses(
    means, quats, before_means, before_quats, index, weight, distance, factors, sums, v_means, v_quats, count, scale,
    K: tl.constexpr, ROOM: tl.constexpr, TINY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip  # pragma: no cover
    """One pair of a Gaussian and a neighbour per element; `scale` is 1 / (M K), as the losses are means."""
    own = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.arange(0, ROOM)
    real = own < count
    pair = real[:, None] & (slot < K)[None, :]
    at = own[:, None] * K + slot[None, :]
    near = tl.load(index + at, mask=pair, other=0)
    w = tl.load(weight + at, mask=pair, other=0.0)
    rest = tl.load(distance + at, mask=pair, other=0.0)
    rigid_factor, turn_factor, length_factor = tl.load(factors), tl.load(factors + 1), tl.load(factors + 2)

    x, y, z = _three(means, own, real)
    px, py, pz = _three(before_means, own, real)
    p = _four(before_quats, own, real)
    t = _turned(_four(quats, own, real), p)
    nx, ny, nz = _three(means, near, pair)
    bx, by, bz = _three(before_means, near, pair)
    near_p = _four(before_quats, near, pair)
    near_t = _turned(_four(quats, near, pair), near_p)

    # R of the turn, which is normalised first.
    length = tl.sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2] + t[3] * t[3])
    a, b, c, d = t[0] / length, t[1] / length, t[2] / length, t[3] / length
    r00, r01, r02 = a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)
    r10, r11, r12 = 2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)
    r20, r21, r22 = 2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d

    ox, oy, oz = nx - x[:, None], ny - y[:, None], nz - z[:, None]
    # Rᵀ o, less the offset of before.
    ex = r00[:, None] * ox + r10[:, None] * oy + r20[:, None] * oz - (bx - px[:, None])
    ey = r01[:, None] * ox + r11[:, None] * oy + r21[:, None] * oz - (by - py[:, None])
    ez = r02[:, None] * ox + r12[:, None] * oy + r22[:, None] * oz - (bz - pz[:, None])
    rigid = tl.sqrt((ex * ex + ey * ey + ez * ez) * w + TINY)
    pull = rigid_factor * scale * w / rigid
    ex, ey, ez = pull * ex, pull * ey, pull * ez
    gx = r00[:, None] * ex + r01[:, None] * ey + r02[:, None] * ez
    gy = r10[:, None] * ex + r11[:, None] * ey + r12[:, None] * ez
    gz = r20[:, None] * ex + r21[:, None] * ey + r22[:, None] * ez
    # ∂/∂R_jk = o_j e_k, summed over the neighbours.
    v00, v01, v02 = tl.sum(ox * ex, axis=1), tl.sum(ox * ey, axis=1), tl.sum(ox * ez, axis=1)
    v10, v11, v12 = tl.sum(oy * ex, axis=1), tl.sum(oy * ey, axis=1), tl.sum(oy * ez, axis=1)
    v20, v21, v22 = tl.sum(oz * ex, axis=1), tl.sum(oz * ey, axis=1), tl.sum(oz * ez, axis=1)
    va = 2 * (a * (v00 + v11 + v22) - d * v01 + c * v02 + d * v10 - b * v12 - c * v20 + b * v21)
    vb = 2 * (b * (v00 - v11 - v22) + c * v01 + d * v02 + c * v10 - a * v12 + d * v20 + a * v21)
    vc = 2 * (c * (v11 - v00 - v22) + b * v01 + a * v02 + b * v10 + d * v12 - a * v20 + d * v21)
    vd = 2 * (d * (v22 - v00 - v11) - a * v01 + b * v02 + a * v10 + c * v12 + b * v20 + c * v21)
    along = a * va + b * vb + c * vc + d * vd
    va, vb, vc, vd = (
        (va - a * along) / length,
        (vb - b * along) / length,
        (vc - c * along) / length,
        (vd - d * along) / length,
    )

    span = tl.sqrt(ox * ox + oy * oy + oz * oz + TINY)
    kept = tl.sqrt((span - rest) * (span - rest) * w + TINY)
    pull = length_factor * scale * w * (span - rest) / (kept * span)
    gx, gy, gz = gx + pull * ox, gy + pull * oy, gz + pull * oz

    da, db = near_t[0] - t[0][:, None], near_t[1] - t[1][:, None]
    dc, dd = near_t[2] - t[2][:, None], near_t[3] - t[3][:, None]
    alike = tl.sqrt((da * da + db * db + dc * dc + dd * dd) * w + TINY)
    pull = turn_factor * scale * w / alike
    da, db, dc, dd = pull * da, pull * db, pull * dc, pull * dd

    total = rigid_factor * rigid + turn_factor * alike + length_factor * kept
    tl.store(sums + tl.program_id(0), tl.sum(tl.where(pair, total, 0.0)) * scale)

    tl.atomic_add(v_means + 3 * near, gx, mask=pair)
    tl.atomic_add(v_means + 3 * near + 1, gy, mask=pair)
    tl.atomic_add(v_means + 3 * near + 2, gz, mask=pair)
    tl.atomic_add(v_means + 3 * own, -tl.sum(tl.where(pair, gx, 0.0), axis=1), mask=real)
    tl.atomic_add(v_means + 3 * own + 1, -tl.sum(tl.where(pair, gy, 0.0), axis=1), mask=real)
    tl.atomic_add(v_means + 3 * own + 2, -tl.sum(tl.where(pair, gz, 0.0), axis=1), mask=real)
    near_v = _back((da, db, dc, dd), near_p)
    own_v = _back(
        (va - tl.sum(tl.where(pair, da, 0.0), axis=1), vb - tl.sum(tl.where(pair, db, 0.0), axis=1),
         vc - tl.sum(tl.where(pair, dc, 0.0), axis=1), vd - tl.sum(tl.where(pair, dd, 0.0), axis=1)), p,
    )  # fmt: skip
    for part in tl.static_range(4):
        tl.atomic_add(v_quats + 4 * near + part, near_v[part], mask=pair)
        tl.atomic_add(v_quats + 4 * own + part, own_v[part], mask=real)


class MotionCuda(torch.autograd.Function):
    """See `losses.motion_loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        means: torch.Tensor,
        quats: torch.Tensor,
        previous_means: torch.Tensor,
        previous_quats: torch.Tensor,
        index: torch.Tensor,
        weight: torch.Tensor,
        distance: torch.Tensor,
        weights: torch.Tensor,
        tiny: float,
    ) -> torch.Tensor:
        count, near = index.shape
        v_means, v_quats = torch.zeros_like(means), torch.zeros_like(quats)
        programs = triton.cdiv(count, BLOCK)
        sums = means.new_empty(programs)
        given = (means, quats, previous_means, previous_quats, index, weight, distance)
        _losses[(programs,)](
            *(tensor.detach().contiguous() for tensor in given),
            *(weights, sums, v_means, v_quats, count, 1 / (count * near)),
            K=near,
            ROOM=triton.next_power_of_2(near),
            TINY=tiny,
            BLOCK=BLOCK,
        )
        ctx.save_for_backward(v_means, v_quats)
        return sums.sum()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        v_means, v_quats = ctx.saved_tensors
        return gradient * v_means, gradient * v_quats, *(None,) * 7
