"""Clips for `tiny4d`: a ring of four cameras like L4GM's, others to judge from, and where surfaces truly are."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM
from training.synthetic.dice import Dice
from training.synthetic.pictures.render import render, sample_places, to_ball, to_cube, to_frustum
from training.synthetic.pictures.scene import FAR, Scene
from training.synthetic.stage import to_tensors
from training.synthetic.world.primitives import Kind
from training.tiny4d.bodies import TIMES, Bodies, bodies

RING, JUDGED = len(AZIMUTHS), 5
"""Cameras that a network may see, and that its splats are compared from."""
FINER = 2
"""Rays along a pixel's side."""
RAYS_AT_ONCE = {"cuda": 2**25, "cpu": 2**17}
"""Of all frames that are drawn together."""
FRONT = 90.0
"""Azimuth, degrees, of a camera that looks into the face of what faces along the scene's x."""
NOBODY = 16 * 7 + 15
"""What the renderer calls the background."""


@dataclass(frozen=True)
class Filmed:
    """B clips of T moments by C = `RING` + `JUDGED` cameras, in the world in which the first stands as L4GM has it.

    Attributes:
        pictures: [B, T, C, 4, S, S] uint8 RGBA, colours times alpha.
        points: [B, T, RING, 3, s, s] float16, where the middle pixels' rays meet the surface; 0 where they pass it.
        solid: [B, T, RING, s, s] bool, whether they meet it.
        poses: [B, C, 4, 4] world to camera.
    """

    pictures: Tensor
    points: Tensor
    solid: Tensor
    poses: Tensor

    def __len__(self) -> int:
        return len(self.poses)

    def take(self, which: Tensor) -> Filmed:
        return Filmed(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    @classmethod
    def cat(cls, parts: list[Filmed]) -> Filmed:
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})


class Studio:
    """Films clips; the same ones for the same seed, device and call. `calls` were made so far."""

    def __init__(self, seed: int, device: torch.device, size: int, splat_side: int) -> None:
        """
        Args:
            size: S, pixels; splat_side: s of the true points.
        """
        self.device, self.size, self.splat_side = device, size, splat_side
        self._seed, self.calls = seed, 0
        self._shapes = to_tensors(device)

    @torch.no_grad()
    def clips(self, count: int) -> Filmed:
        """`count` clips of other things than any other call's."""
        self.calls += 1
        dice = Dice(self._seed * 1_000_003 + self.calls, self.device)
        things = bodies(dice, count, self._shapes)
        poses, turn = cameras(dice, count)
        light = _light(dice, count)
        at_once = max(1, RAYS_AT_ONCE[self.device.type] // (TIMES * (FINER * self.size) ** 2))
        pictures = self._pictures(things, poses, turn, light, at_once)
        points, solid = self._points(things, poses, turn, light, at_once)
        return Filmed(pictures, points, solid, poses)

    def _pictures(self, things: Bodies, poses: Tensor, turn: Tensor, light: dict[str, Tensor], at_once: int) -> Tensor:
        count, views = poses.shape[:2]
        made = torch.empty(count * views, TIMES, 4, self.size, self.size, dtype=torch.uint8, device=self.device)
        for first in range(0, count * views, at_once):
            which = torch.arange(first, min(first + at_once, count * views), device=self.device)
            scene = scene_of(things, poses, turn, light, which // views, which % views)
            drawn = render(scene, FINER * self.size)
            there = (drawn.codes != NOBODY)[:, :, None].float()
            light_seen = drawn.values.float().clamp(0, 1) ** (1 / 2.2) * there
            both = torch.cat([light_seen, there], dim=2).flatten(0, 1)
            small = torch.nn.functional.avg_pool2d(both, FINER)
            made[which] = (255 * small).round().to(torch.uint8).view(len(which), TIMES, 4, self.size, self.size)
        return made.view(count, views, TIMES, 4, self.size, self.size).transpose(1, 2).contiguous()

    def _points(
        self, things: Bodies, poses: Tensor, turn: Tensor, light: dict[str, Tensor], at_once: int
    ) -> tuple[Tensor, Tensor]:
        count, side = len(poses), self.splat_side
        points = torch.empty(count * RING, TIMES, 3, side, side, dtype=torch.float16, device=self.device)
        solid = torch.empty(count * RING, TIMES, side, side, dtype=torch.bool, device=self.device)
        for first in range(0, count * RING, at_once):
            which = torch.arange(first, min(first + at_once, count * RING), device=self.device)
            clip, view = which // RING, which % RING
            scene = scene_of(things, poses, turn, light, clip, view)
            codes = render(scene, side).codes
            there = codes != NOBODY
            met = surface(scene, codes.long().masked_fill(~there, 0))
            # From the scene's world, z up, into that of the cameras.
            own = torch.einsum("bij,btjn->btin", turn[clip], met.flatten(-2)).reshape(met.shape)
            points[which] = (own * there[:, :, None]).nan_to_num().half()
            solid[which] = there
        shape = (count, RING, TIMES)
        return (
            points.view(*shape, 3, side, side).transpose(1, 2).contiguous(),
            solid.view(*shape, side, side).transpose(1, 2).contiguous(),
        )


def cameras(dice: Dice, count: int) -> tuple[Tensor, Tensor]:
    """Poses [B, C, 4, 4] in the first camera's world, and what turns a scene (z up) into that world, [B, 3, 3].

    Half of the rings are level as the first camera sees it, which is what is taken where nobody knows its elevation;
    the others stand at one elevation above the object.
    """
    low = dice.chance(count, share=0.65)
    elevation = torch.where(low, 3 * dice.normal(count), dice.uniform(count, low=-10, high=40))
    azimuth = seen_from(dice, count)
    tilted = dice.chance(count, share=0.5)
    first = look(elevation, azimuth)
    level = look(torch.zeros_like(elevation), torch.zeros_like(azimuth))
    # From the world in which +y is up to the first camera's.
    into = torch.linalg.inv(level) @ first
    ring = []
    for number in range(RING):
        round_ = look(elevation, azimuth + AZIMUTHS[number]) @ torch.linalg.inv(into)
        plain = look(torch.zeros_like(elevation), torch.full_like(azimuth, AZIMUTHS[number]))
        ring.append(torch.where(tilted[:, None, None], plain, round_))
    spots = dice.uniform(count, JUDGED, low=math.sin(math.radians(-15)), high=math.sin(math.radians(45))).asin()
    turns = dice.uniform(count, JUDGED, high=360)
    judged = [look(spots[:, i].rad2deg(), turns[:, i]) @ torch.linalg.inv(into) for i in range(JUDGED)]
    upright = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], device=dice.device)  # z up to y up
    return torch.stack([*ring, *judged], dim=1), into[:, :3, :3] @ upright


def seen_from(dice: Dice, count: int) -> Tensor:
    """[B] degrees around what faces FRONT: most people film what they show from the front, or along another axis."""
    straight = FRONT + 4 * dice.normal(count)
    turned = straight + 90.0 * dice.integers(count, high=4)
    anywhere = dice.uniform(count, high=360)
    return torch.where(
        dice.chance(count, share=0.5), straight, torch.where(dice.chance(count, share=0.4), turned, anywhere)
    )


def look(elevation: Tensor, azimuth: Tensor) -> Tensor:
    """[B, 4, 4] world (y up) to camera of L4GM's cameras at these degrees, as `Lens.cameras` has them."""
    e, a = elevation.deg2rad(), azimuth.deg2rad()
    back = torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()], -1)
    right = torch.stack([a.cos(), torch.zeros_like(a), -a.sin()], -1)
    pose = torch.eye(4, device=e.device).repeat(len(e), 1, 1)
    pose[:, :3, :3] = torch.stack([right, -torch.linalg.cross(back, right), -back], dim=1)
    pose[:, 2, 3] = L4GM.distance
    return pose


def scene_of(
    things: Bodies, poses: Tensor, turn: Tensor, light: dict[str, Tensor], clip: Tensor, view: Tensor
) -> Scene:
    """These clips as these of their cameras see them; a code is a primitive's number."""
    pose = poses[clip, view]
    axes = pose[:, :3, :3] @ turn[clip]  # rows: right, down, forward in the scene's world
    eye = -(axes.transpose(-1, -2) @ pose[:, :3, 3:])[..., 0]
    half = math.tan(math.radians(L4GM.angle / 2))
    parts = things.kind.shape[1]
    number = torch.arange(parts, device=pose.device).expand(len(clip), -1)
    whole = pose.new_tensor([-1.0, 1.0, -1.0, 1.0]).expand(len(clip), -1)
    return Scene(
        kind=things.kind[clip],
        entity=number // 16,
        inverse=things.inverse[clip],
        size=things.size[clip],
        frustum=things.frustum[clip],
        pattern=things.pattern[clip],
        frequency=things.frequency[clip],
        colors=things.colors[clip],
        codes=(number % 16)[..., None].expand(-1, -1, 3),
        grain=things.grain[clip],
        alpha=torch.ones(len(clip), TIMES, parts, device=pose.device),
        eye=eye,
        forward=axes[:, 2],
        right=half * axes[:, 0],
        up=-half * axes[:, 1],
        window=whole,
        **{name: value[clip] for name, value in light.items()},
    )


def _light(dice: Dice, count: int) -> dict[str, Tensor]:
    """Soft, brighter or darker, and in 40 % of the clips a weak sun."""
    height, turn = dice.uniform(count, low=0.5, high=1.45), dice.uniform(count, high=2 * torch.pi)
    sun = torch.stack([height.cos() * turn.cos(), height.cos() * turn.sin(), height.sin()], -1)
    strength = dice.uniform(count, 1, high=0.5) * dice.chance(count, 1, share=0.4)
    level = dice.uniform(count, 1, low=0.7, high=1.2)
    ones = torch.ones(count, 3, device=dice.device)
    return {
        "sun": sun,
        "sun_color": strength * ones,
        "sky_color": (level - strength) * ones,
        "horizon": ones,
        "zenith": ones,
    }


def surface(scene: Scene, which: Tensor) -> Tensor:
    """[B, T, 3, s, s] where rays meet the primitives [B, T, s, s] that they are known to meet, in the scene's world."""
    count, times, side, _ = which.shape
    u, v = sample_places(side, scene.eye.device)
    along = scene.forward[:, None] + u[:, None] * scene.right[:, None] - v[:, None] * scene.up[:, None]
    rows = torch.arange(count, device=which.device)[:, None, None]
    moment = torch.arange(times, device=which.device)[None, :, None]
    part = which.flatten(2)
    inverse = scene.inverse[rows, moment, part]  # [B, T, N, 3, 4]
    origin = (inverse[..., :3] @ scene.eye[:, None, None, :, None])[..., 0] + inverse[..., 3]
    direction = (inverse[..., :3] @ along[:, None, :, :, None])[..., 0]
    kind, frustum = scene.kind[rows, part], scene.frustum[rows, part]
    ball, cube = to_ball(origin, direction), to_cube(origin, direction)
    cone = to_frustum(origin, direction, frustum[..., 0], frustum[..., 1])
    t = torch.where(kind == Kind.ELLIPSOID, ball, torch.where(kind == Kind.BOX, cube, cone))
    t = t.masked_fill(t >= FAR, 0.0)
    met = scene.eye[:, None, None] + t[..., None] * along[:, None]
    return met.transpose(-1, -2).unflatten(-1, (side, side))
