"""Pictures of primitives: which is nearest along each ray, lit by a sun that casts shadows and by a sky."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.pictures.scene import FAR, NO_COLOR, SCENERY, Pattern, Pictures, Scene
from training.synthetic.world.primitives import Kind


def render(scene: Scene, side: int) -> Pictures:
    """Crops of side × side rays: on CUDA by the kernel beside this, elsewhere by `render_plainly`."""
    if scene.eye.is_cuda:
        from training.synthetic.pictures.kernel import render_fused

        return Pictures(*render_fused(scene, side))
    return render_plainly(scene, side)


def render_plainly(scene: Scene, side: int) -> Pictures:
    """The same, one operation on all rays after the other: what the kernel is held to."""
    clips, frames = scene.inverse.shape[:2]
    rays = _Rays.through(scene, side)
    nearest, which = _nearest(scene, rays)
    hit = _surface(scene, rays, nearest, which)
    values = torch.where(hit.there[..., None], _lit(scene, hit), _background(scene, rays))
    outside = _outside(scene, side)[:, None]
    values = values.masked_fill(outside[..., None], 0.0)
    codes = hit.codes.masked_fill(outside | ~hit.there, 16 * SCENERY + NO_COLOR)
    shape = (clips, frames, side, side)
    return Pictures(values.view(*shape, 3).permute(0, 1, 4, 2, 3).contiguous(), codes.view(shape))


def sample_places(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """u and v of a crop's rays, [side²] each, row by row."""
    line = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    v, u = torch.meshgrid(line, line, indexing="ij")
    return u.reshape(-1), v.reshape(-1)


def _outside(scene: Scene, side: int) -> Tensor:
    """[B, N] bool."""
    u, v = sample_places(side, scene.eye.device)
    low_u, high_u, low_v, high_v = scene.window[:, :, None].unbind(1)
    return (u < low_u) | (u > high_u) | (v < low_v) | (v > high_v)


@dataclass(frozen=True)
class _Rays:
    """Attributes:
    origin: [B, T, N, 3] or with ones; direction: likewise, of any length.
    dither: [N] 0..1, what a primitive's alpha is compared with.
    """

    origin: Tensor
    direction: Tensor
    dither: Tensor

    @classmethod
    def through(cls, scene: Scene, side: int) -> _Rays:
        u, v = sample_places(side, scene.eye.device)
        direction = scene.forward[:, None] + u[:, None] * scene.right[:, None] - v[:, None] * scene.up[:, None]
        return cls(scene.eye[:, None, None], direction[:, None], dither(side, scene.eye.device))

    def of(self, inverse: Tensor, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and directions in a primitive's own coordinates, [n, T, N, 3]: inverse is [n, T, 3, 4]."""
        turn = inverse[..., :3].transpose(-1, -2)
        return self.origin[clips] @ turn + inverse[..., None, :, 3], self.direction[clips] @ turn


def dither(side: int, device: torch.device) -> Tensor:
    """[side²] thresholds, evenly spread between 0 and 1, neighbours far apart."""
    index = torch.arange(side, device=device)
    value = (index[:, None] * 0.7548777 + index[None, :] * 0.5698403) % 1
    return (0.02 + 0.96 * value).reshape(-1)


def _nearest(scene: Scene, rays: _Rays) -> tuple[Tensor, Tensor]:
    """Distances [B, T, N] in lengths of the direction, and primitives [B, T, N] int64."""
    clips, frames, primitives = scene.inverse.shape[:3]
    nearest = torch.full((clips, frames, len(rays.dither)), FAR, device=scene.eye.device)
    which = torch.zeros(nearest.shape, dtype=torch.int64, device=nearest.device)
    for index in range(primitives):
        for kind in (Kind.ELLIPSOID, Kind.BOX, Kind.FRUSTUM):
            some = torch.nonzero(scene.kind[:, index] == kind)[:, 0]
            if len(some):
                distance = _distance(scene, rays, some, index, kind)
                closer = distance < nearest[some]
                nearest[some] = torch.where(closer, distance, nearest[some])
                which[some] = which[some].masked_fill(closer, index)
    return nearest, which


def _distance(scene: Scene, rays: _Rays, clips: Tensor, index: int, kind: Kind) -> Tensor:
    """[n, T, N] to one primitive of some clips."""
    origin, direction = rays.of(scene.inverse[clips, :, index], clips)
    origin, direction = torch.broadcast_tensors(origin, direction)
    if kind == Kind.ELLIPSOID:
        distance = to_ball(origin, direction)
    elif kind == Kind.BOX:
        distance = to_cube(origin, direction)
    else:
        top, hollow = scene.frustum[clips, index, :, None, None].unbind(1)
        distance = to_frustum(origin, direction, top, hollow)
    return torch.where(rays.dither < scene.alpha[clips, :, index, None], distance, FAR)


def to_ball(o: Tensor, d: Tensor) -> Tensor:
    """Distance to the unit ball, `FAR` where a ray passes it, or starts inside."""
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    root = b * b - a * c
    t = (-b - root.clamp(min=0).sqrt()) / a
    return torch.where((root > 0) & (t > 0), t, FAR)


def to_cube(o: Tensor, d: Tensor) -> Tensor:
    """Distance to the cube of half size 1, likewise."""
    safe = torch.where(d.abs() < 1e-9, torch.full_like(d, 1e-9), d)
    middle, half = -o / safe, (1 / safe).abs()
    enter, leave = (middle - half).amax(-1), (middle + half).amin(-1)
    return torch.where((enter < leave) & (enter > 0), enter, FAR)


def to_frustum(o: Tensor, d: Tensor, top: Tensor, hollow: Tensor) -> Tensor:
    """Distance to a frustum, from outside or from within its hollow; `top` and `hollow` broadcast against [..., N]."""
    (ox, oy, oz), (dx, dy, dz) = o.unbind(-1), d.unbind(-1)
    mean, slope = (1 + top) / 2, (1 - top) / 2
    radius, change = mean - slope * oz, -slope * dz  # at the origin, and along the ray
    best = torch.full_like(oz + 0 * dz, FAR)
    for share in (torch.ones_like(hollow), hollow):
        square = share * share
        a = dx * dx + dy * dy - square * change * change
        b = ox * dx + oy * dy - square * radius * change
        c = ox * ox + oy * oy - square * radius * radius
        a = torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a)
        root = b * b - a * c
        spread = root.clamp(min=0).sqrt()
        for sign in (-1, 1):
            t = (-b + sign * spread) / a
            on = (root > 0) & (t > 0) & ((oz + t * dz).abs() <= 1) & (share > 0)
            best = torch.where(on & (t < best), t, best)
    safe = torch.where(dz.abs() < 1e-9, torch.full_like(dz, 1e-9), dz)
    for level in (-1, 1):
        t = (level - oz) / safe
        x, y = ox + t * dx, oy + t * dy
        away, outer = x * x + y * y, (mean - slope * level) ** 2
        on = (t > 0) & (away <= outer) & (away >= hollow * hollow * outer)
        best = torch.where(on & (t < best), t, best)
    return best


@dataclass(frozen=True)
class _Hits:
    """What rays meet, [B, T, N] each.

    Attributes:
        there: bool; codes: uint8.
        point, normal, color: [..., 3], the normal of unit length and towards the ray's origin.
    """

    there: Tensor
    codes: Tensor
    point: Tensor
    normal: Tensor
    color: Tensor


def _surface(scene: Scene, rays: _Rays, nearest: Tensor, which: Tensor) -> _Hits:
    clips, frames, _ = nearest.shape
    there = nearest < FAR
    point = rays.origin + torch.where(there, nearest, 1.0)[..., None] * rays.direction
    clip = torch.arange(clips, device=which.device)[:, None, None]
    frame = torch.arange(frames, device=which.device)[None, :, None]
    inverse = scene.inverse[clip, frame, which]
    local = (inverse[..., :3] @ point[..., None])[..., 0] + inverse[..., 3]
    own = _own_normal(local, scene.kind[clip, which], scene.frustum[clip, which])
    normal = (inverse[..., :3].transpose(-1, -2) @ own[..., None])[..., 0]
    normal = torch.nn.functional.normalize(normal, dim=-1)
    normal = torch.where((normal * rays.direction).sum(-1, keepdim=True) > 0, -normal, normal)
    place = local * scene.size[clip, which]
    choice, grain = _pattern(place, own, scene.pattern[clip, which], scene.frequency[clip, which])
    color = scene.colors[clip, which, choice] * (1 + scene.grain[clip, which] * grain)[..., None]
    codes = 16 * scene.entity[clip, which] + scene.codes[clip, which, choice]
    return _Hits(there, codes.to(torch.uint8), point, normal, color)


def _own_normal(p: Tensor, kind: Tensor, frustum: Tensor) -> Tensor:
    """[..., 3] normals in a primitive's own coordinates at points of its surface, of any length and sign."""
    size = p.abs()
    face = torch.where(size >= size.amax(-1, keepdim=True), p.sign(), 0.0)
    slope = (1 - frustum[..., 0]) / 2
    radius = (1 + frustum[..., 0]) / 2 - slope * p[..., 2]
    side = torch.stack([p[..., 0], p[..., 1], slope * radius], dim=-1)
    across = (p[..., 0] ** 2 + p[..., 1] ** 2).sqrt()
    wall = torch.minimum((across - radius).abs(), (across - frustum[..., 1] * radius).abs())
    is_cap = (1 - size[..., 2]).abs() < wall
    cap = torch.stack([torch.zeros_like(across), torch.zeros_like(across), p[..., 2].sign()], dim=-1)
    round_or_cap = torch.where(is_cap[..., None], cap, side)
    kind = kind[..., None]
    return torch.where(kind == Kind.BOX, face, torch.where(kind == Kind.FRUSTUM, round_or_cap, p))


def _pattern(q: Tensor, normal: Tensor, pattern: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor]:
    """Which of its three colours a surface has at places q [..., 3] (int64), and a fine variation of it, −1..1."""
    x, y, z = q.unbind(-1)
    f = frequency
    turn = torch.atan2(y, x) / (2 * torch.pi)
    cells = (torch.floor(x * f + 0.01) + torch.floor(y * f + 0.01) + torch.floor(z * f + 0.01)) % 2
    row = torch.floor(y * f)
    plank = torch.frac(row * 0.618034 + 1024)
    seam = (torch.frac(y * f + 1024) < 0.08) | (torch.frac(x * f * 0.25 + plank + 1024) < 0.02)
    size = normal.abs()
    faces = torch.where(size[..., 2] >= size[..., :2].amax(-1), 2, torch.where(size[..., 1] > size[..., 0], 1, 0))
    found = torch.zeros_like(pattern)
    for number, value in (
        (Pattern.STRIPES, torch.floor(z * f + 0.25) % 2),
        (Pattern.BANDS, torch.floor(x * f + 0.25) % 2),
        (Pattern.CHECKS, cells),
        (Pattern.SECTORS, torch.floor(turn * torch.round(f)) % 2),
        (Pattern.RINGS, torch.floor((x * x + y * y).sqrt() * f + 0.5) % 2),
        (Pattern.BLOBS, (_waves(x * f, y * f, z * f) > 0.1) + 0 + (_waves(y * f + 2, z * f, x * f) > 0.55)),
        (Pattern.FACES, faces),
        (Pattern.HALVES, z > 0),
        (Pattern.PLANKS, torch.where(seam, 2, plank > 0.5)),
    ):
        found = torch.where(pattern == number, value.to(found.dtype), found)
    g = 3.7 * f
    return found, _waves(x * g + 0.5, y * g, z * g)


def _waves(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """A smooth uneven function of space, −1..1."""
    a = torch.sin(2.3 * x + 1.7 * torch.sin(1.9 * y + 0.8 * z))
    b = torch.sin(2.1 * y + 1.6 * torch.sin(2.2 * z + 0.9 * x + 1.0))
    c = torch.sin(1.8 * z + 1.5 * torch.sin(2.0 * x + 1.1 * y + 2.0))
    return (a + b + c) / 3


def _lit(scene: Scene, hit: _Hits) -> Tensor:
    """[B, T, N, 3] light that comes from surfaces."""
    facing = (hit.normal * scene.sun[:, None, None]).sum(-1)
    away = 2e-3 * (hit.point - scene.eye[:, None, None]).norm(dim=-1, keepdim=True)
    towards = scene.sun[:, None, None].expand_as(hit.point)
    shadow = _Rays(hit.point + hit.normal * away, towards, dither(_side(hit.point), hit.point.device))
    bright = (facing > 0) & (_nearest(scene, shadow)[0] >= FAR)
    sun = (facing * bright)[..., None] * scene.sun_color[:, None, None]
    sky = (0.7 + 0.3 * hit.normal[..., 2:]) * scene.sky_color[:, None, None]
    return hit.color * (sun + sky)


def _side(points: Tensor) -> int:
    return round(points.shape[-2] ** 0.5)


def _background(scene: Scene, rays: _Rays) -> Tensor:
    """[B, 1, N, 3] from horizon to zenith."""
    upwards = torch.nn.functional.normalize(rays.direction, dim=-1)[..., 2:]
    share = (0.5 + upwards).clamp(0, 1)
    return scene.horizon[:, None, None] * (1 - share) + scene.zenith[:, None, None] * share
