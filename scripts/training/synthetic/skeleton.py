"""Where the nodes of bodies and things are, from poses: joints that turn, and limbs that reach for places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.constants import constant
from training.synthetic.world.primitives import Node


def around(axis: Tensor, angle: Tensor) -> Tensor:
    """[..., 3, 3] rotations about unit axes [..., 3] by angles [...], radians, counterclockwise."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None, None], angle.cos()[..., None, None]
    outer = axis[..., :, None] * axis[..., None, :]
    return cosine * torch.eye(3, device=axis.device) + sine * cross + (1 - cosine) * outer


def about_z(angle: Tensor) -> Tensor:
    """[..., 3, 3]."""
    return around(constant([0.0, 0, 1], device=angle.device).expand(*angle.shape, 3), angle)


def about_y(angle: Tensor) -> Tensor:
    """[..., 3, 3]; a positive angle makes what is upright lean forward, towards x."""
    return around(constant([0.0, 1, 0], device=angle.device).expand(*angle.shape, 3), angle)


def affine(turn: Tensor, place: Tensor) -> Tensor:
    """[..., 3, 4] of a matrix [..., 3, 3] and a translation [..., 3]."""
    turn, place = torch.broadcast_tensors(turn, place[..., None])[0], place
    return torch.cat([turn, place.expand(turn.shape[:-1])[..., None]], dim=-1)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """[..., 3, 4]: first the inner, then the outer."""
    moved = outer[..., :3] @ inner
    return torch.cat([moved[..., :3], moved[..., 3:] + outer[..., 3:]], dim=-1)


def inverted(transform: Tensor) -> Tensor:
    """[..., 3, 4] back again."""
    a, b, c = transform[..., :3].unbind(-1)  # its columns
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-2)
    turn = rows / (a * rows[..., 0, :]).sum(-1)[..., None, None]
    return torch.cat([turn, -(turn @ transform[..., 3:])], dim=-1)


def hinged(pivot: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """[n, T, nodes, 3, 4] of nodes that turn by `angle` [n, T, nodes] about an axis [n, nodes, 3] through a pivot."""
    axis = axis[:, None].expand(*angle.shape, 3)
    return affine(around(axis, angle), pivot[:, None].expand(*angle.shape, 3))


@dataclass
class Pose:
    """Of bodies at T times; metres of a body of natural size, x forwards, y to its left, z up, from between its feet.

    Attributes:
        pelvis: [n, T, 3] where the hips are.
        lean: [n, T] of the back, radians forwards.
        nod: [n, T] of the head, likewise, against the back.
        hands: [n, T, 2, 3] from the shoulders, left and right, in the back's coordinates.
        feet: [n, T, 2, 3] where the ankles are.
    """

    pelvis: Tensor
    lean: Tensor
    nod: Tensor
    hands: Tensor
    feet: Tensor


def bodies(bones: Tensor, pose: Pose) -> Tensor:
    """[n, T, nodes, 3, 4] of bodies with `bones` [n, 7] as `Model.bones`; of limbs, z runs along them."""
    upper, fore, thigh, shin, torso, shoulders, hips = bones[:, None].unbind(-1)
    back = affine(about_y(pose.lean), pose.pelvis)
    zero = torch.zeros_like(pose.lean)
    neck = torch.stack([zero, zero, torso + zero], -1)
    head = compose(back, affine(about_y(pose.nod), neck))
    nodes = [affine(torch.eye(3, device=zero.device).expand(*zero.shape, 3, 3), pose.pelvis), back, head]
    for side, sign in enumerate((1, -1)):
        shoulder = torch.stack([zero, sign * shoulders + zero, 0.93 * torso + zero], -1)
        out = constant([-0.35, 0.55 * sign, -0.6], device=zero.device)
        first, second = _reach(shoulder, shoulder + pose.hands[:, :, side], upper, fore, out)
        nodes += [compose(back, first), compose(back, second)]
    for side, sign in enumerate((1, -1)):
        hip = pose.pelvis + torch.stack([zero, sign * hips + zero, zero], -1)
        nodes += _reach(hip, pose.feet[:, :, side], thigh, shin, constant([1.0, 0.12 * sign, 0.0], device=zero.device))
    return torch.stack(nodes, dim=2)


def _reach(start: Tensor, end: Tensor, first: Tensor, second: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    """Two bones from a start [n, T, 3] to an end as near as they can; the joint between them points `towards` [3].

    Returns:
        the nodes of both, [n, T, 3, 4].
    """
    along = end - start
    far = along.norm(dim=-1).clamp(min=1e-4)
    along = along / far[..., None]
    far = torch.minimum(torch.maximum(far, 1.01 * (first - second).abs() + 0.02), 0.999 * (first + second))
    aside = towards - (towards * along).sum(-1, keepdim=True) * along
    aside = torch.nn.functional.normalize(aside + 1e-5, dim=-1)
    share = (first**2 - second**2 + far**2) / (2 * far)
    height = (first**2 - share**2).clamp(min=0).sqrt()
    joint = start + share[..., None] * along + height[..., None] * aside
    end = start + far[..., None] * along
    return _bone(start, joint), _bone(joint, end)


def _bone(start: Tensor, end: Tensor) -> Tensor:
    """[n, T, 3, 4] with z from start to end, and x as far forwards as that allows."""
    z = torch.nn.functional.normalize(end - start, dim=-1)
    forwards = constant([1.0, 0.0, 0.02], device=z.device).expand_as(z)
    y = torch.nn.functional.normalize(torch.linalg.cross(z, forwards), dim=-1)
    x = torch.linalg.cross(y, z)
    return affine(torch.stack([x, y, z], dim=-1), start)


HANDS = (Node.FOREARM_L, Node.FOREARM_R)


def palms(nodes: Tensor, bones: Tensor) -> Tensor:
    """[n, T, 2, 3] where the hands of `bodies` are."""
    fore = bones[:, None, None, 1:2] + 0.05
    hands = nodes[:, :, list(HANDS)]
    return hands[..., 3] + fore * hands[..., 2]
