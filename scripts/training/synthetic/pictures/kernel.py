"""`render.render` for CUDA: every tile of a picture in one program that looks only at what may lie in that tile."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from training.synthetic.constants import constant
from training.synthetic.pictures.scene import FAR, NO_COLOR, SCENERY, Scene

TILE = 16
"""Rays along a tile's side."""
_FAR = tl.constexpr(FAR)
_BACKGROUND = tl.constexpr(16 * SCENERY + NO_COLOR)
_HALF_TURN = tl.constexpr(3.14159265)


def render_fused(scene: Scene, side: int) -> tuple[Tensor, Tensor]:
    """As `render.Pictures` has them; values in half precision.

    Args:
        scene: on the device.
        side: a multiple of `TILE`.
    """
    clips, frames, primitives = scene.inverse.shape[:3]
    values = torch.empty(clips, frames, 3, side, side, dtype=torch.float16, device=scene.eye.device)
    codes = torch.empty(clips, frames, side, side, dtype=torch.uint8, device=scene.eye.device)
    corners = _corners(scene)
    view, cast = _in_view(scene, corners), _along_sun(scene, corners)
    order = torch.argsort((scene.kind == 0).int(), dim=1, stable=True).int()
    numbers = torch.stack([scene.kind, scene.pattern, *(16 * scene.entity[..., None] + scene.codes).unbind(-1)], -1)
    surface = torch.cat(
        [scene.frustum, scene.size, scene.colors.flatten(2), scene.frequency[..., None], scene.grain[..., None]], -1
    )
    camera = torch.cat([scene.eye, scene.forward, scene.right, scene.up, scene.window], -1)
    light = torch.cat([scene.sun, scene.sun_color, scene.sky_color, scene.horizon, scene.zenith], -1)
    tiles = (side // TILE) ** 2
    _draw[(tiles, clips * frames)](
        scene.inverse.reshape(clips * frames, primitives, 12).contiguous(),
        torch.cat([view, cast, scene.alpha[..., None]], -1).contiguous(),
        numbers.int().contiguous(),
        surface.float().contiguous(),
        torch.cat([camera, light], -1).contiguous(),
        order.contiguous(),
        (scene.kind != 0).sum(1).int(),
        values,
        codes,
        frames,
        primitives,
        side=side,
        tile=TILE,
        num_warps=4,
    )
    return values, codes


BOUNDS, NUMBERS, SURFACE, VIEW = (tl.constexpr(count) for count in (9, 5, 16, 31))
"""Numbers of a primitive in a frame, of a primitive (integers and others), and of a clip's camera and light."""


def _corners(scene: Scene) -> Tensor:
    """[B, T, P, 8, 3] of the boxes around primitives."""
    signs = constant([-1.0, 1.0], device=scene.eye.device)
    cube = torch.cartesian_prod(signs, signs, signs)
    a, b, c = scene.inverse[..., :3].unbind(-1)
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-2)
    back = rows / (a * rows[..., 0, :]).sum(-1)[..., None, None]
    return (cube - scene.inverse[..., None, :, 3]) @ back.transpose(-1, -2)


def _in_view(scene: Scene, corners: Tensor) -> Tensor:
    """[B, T, P, 4] least and greatest u and v at which primitives may be seen."""
    axes = torch.linalg.inv(torch.stack([scene.forward, scene.right, -scene.up], dim=-1))
    across = (corners - scene.eye[:, None, None, None]) @ axes[:, None, None].transpose(-1, -2)
    depth = across[..., :1]
    spots = across[..., 1:] / depth.clamp(min=1e-6)
    low, high = spots.amin(-2), spots.amax(-2)
    near = (depth <= 1e-4).any(-2)  # reaches behind the camera: may be anywhere
    low, high = low.masked_fill(near, -FAR), high.masked_fill(near, FAR)
    return torch.stack([low[..., 0], high[..., 0], low[..., 1], high[..., 1]], dim=-1)


def sun_axes(sun: Tensor) -> tuple[Tensor, Tensor]:
    """Two axes [B, 3] across the sun's rays."""
    x, y, z = sun.unbind(-1)
    first = torch.nn.functional.normalize(torch.stack([y, -x, torch.full_like(z, 1e-3)], -1), dim=-1)
    first = torch.nn.functional.normalize(first - (first * sun).sum(-1, keepdim=True) * sun, dim=-1)
    return first, torch.linalg.cross(sun, first)


def _along_sun(scene: Scene, corners: Tensor) -> Tensor:
    """[B, T, P, 4] likewise across the sun's rays, metres."""
    bounds = []
    for axis in sun_axes(scene.sun):
        along = (corners * axis[:, None, None, None]).sum(-1)
        bounds += [along.amin(-1), along.amax(-1)]
    return torch.stack(bounds, dim=-1)


@triton.jit
def _ball(ox, oy, oz, dx, dy, dz):
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - 1.0
    root = b * b - a * c
    t = (-b - tl.sqrt(tl.maximum(root, 0.0))) / a
    return tl.where((root > 0) & (t > 0), t, _FAR)


@triton.jit
def _cube(ox, oy, oz, dx, dy, dz):
    x = 1.0 / tl.where(tl.abs(dx) < 1e-9, 1e-9, dx)
    y = 1.0 / tl.where(tl.abs(dy) < 1e-9, 1e-9, dy)
    z = 1.0 / tl.where(tl.abs(dz) < 1e-9, 1e-9, dz)
    enter = tl.maximum(tl.maximum(-ox * x - tl.abs(x), -oy * y - tl.abs(y)), -oz * z - tl.abs(z))
    leave = tl.minimum(tl.minimum(-ox * x + tl.abs(x), -oy * y + tl.abs(y)), -oz * z + tl.abs(z))
    return tl.where((enter < leave) & (enter > 0), enter, _FAR)


@triton.jit
def _wall(ox, oy, oz, dx, dy, dz, radius, change, share):
    square = share * share
    a = dx * dx + dy * dy - square * change * change
    b = ox * dx + oy * dy - square * radius * change
    c = ox * ox + oy * oy - square * radius * radius
    a = tl.where(tl.abs(a) < 1e-9, 1e-9, a)
    root = b * b - a * c
    spread = tl.sqrt(tl.maximum(root, 0.0))
    t = (-b - spread) / a
    on = (root > 0) & (t > 0) & (tl.abs(oz + t * dz) <= 1)
    best = tl.where(on, t, _FAR)
    t = (-b + spread) / a
    on = (root > 0) & (t > 0) & (tl.abs(oz + t * dz) <= 1)
    return tl.where(on & (t < best), t, best)


@triton.jit
def _cap(ox, oy, oz, dx, dy, dz, level, radius, hollow):
    t = (level - oz) / tl.where(tl.abs(dz) < 1e-9, 1e-9, dz)
    x = ox + t * dx
    y = oy + t * dy
    away = x * x + y * y
    outer = radius * radius
    on = (t > 0) & (away <= outer) & (away >= hollow * hollow * outer)
    return tl.where(on, t, _FAR)


@triton.jit
def _frustum(ox, oy, oz, dx, dy, dz, top, hollow):
    slope = (1 - top) / 2
    radius = (1 + top) / 2 - slope * oz
    change = -slope * dz
    best = _wall(ox, oy, oz, dx, dy, dz, radius, change, 1.0)
    if hollow > 0:
        best = tl.minimum(best, _wall(ox, oy, oz, dx, dy, dz, radius, change, hollow))
    best = tl.minimum(best, _cap(ox, oy, oz, dx, dy, dz, -1.0, 1.0, hollow))
    return tl.minimum(best, _cap(ox, oy, oz, dx, dy, dz, 1.0, top, hollow))


@triton.jit
def _distance(matrix, surface, kind, ox, oy, oz, dx, dy, dz):
    """Of rays [N] to the primitive whose inverse transform and surface these are."""
    a0, a1, a2, a3 = tl.load(matrix), tl.load(matrix + 1), tl.load(matrix + 2), tl.load(matrix + 3)
    b0, b1, b2, b3 = tl.load(matrix + 4), tl.load(matrix + 5), tl.load(matrix + 6), tl.load(matrix + 7)
    c0, c1, c2, c3 = tl.load(matrix + 8), tl.load(matrix + 9), tl.load(matrix + 10), tl.load(matrix + 11)
    px = a0 * ox + a1 * oy + a2 * oz + a3
    py = b0 * ox + b1 * oy + b2 * oz + b3
    pz = c0 * ox + c1 * oy + c2 * oz + c3
    qx = a0 * dx + a1 * dy + a2 * dz
    qy = b0 * dx + b1 * dy + b2 * dz
    qz = c0 * dx + c1 * dy + c2 * dz
    if kind == 1:
        t = _ball(px, py, pz, qx, qy, qz)
    elif kind == 2:
        t = _cube(px, py, pz, qx, qy, qz)
    else:
        t = _frustum(px, py, pz, qx, qy, qz, tl.load(surface), tl.load(surface + 1))
    return t


@triton.jit
def _waves(x, y, z):
    a = tl.sin(2.3 * x + 1.7 * tl.sin(1.9 * y + 0.8 * z))
    b = tl.sin(2.1 * y + 1.6 * tl.sin(2.2 * z + 0.9 * x + 1.0))
    c = tl.sin(1.8 * z + 1.5 * tl.sin(2.0 * x + 1.1 * y + 2.0))
    return (a + b + c) / 3


@triton.jit
def _odd(x):
    """0 or 1: whether the whole part is odd."""
    whole = tl.floor(x)
    return whole - 2 * tl.floor(whole / 2)


@triton.jit
def _angle(y, x):
    """atan2, to a few parts in 10,000."""
    low, high = tl.minimum(tl.abs(x), tl.abs(y)), tl.maximum(tl.abs(x), tl.abs(y))
    a = low / tl.maximum(high, 1e-12)
    s = a * a
    r = ((-0.0464964749 * s + 0.15931422) * s - 0.327622764) * s * a + a
    r = tl.where(tl.abs(y) > tl.abs(x), _HALF_TURN / 2 - r, r)
    r = tl.where(x < 0, _HALF_TURN - r, r)
    return tl.where(y < 0, -r, r)


@triton.jit
def _pattern(pattern, x, y, z, nx, ny, nz, f):
    """As `render._pattern`."""
    checks = tl.floor(x * f + 0.01) + tl.floor(y * f + 0.01) + tl.floor(z * f + 0.01)
    row = tl.floor(y * f)
    plank = row * 0.618034 + 1024
    plank = plank - tl.floor(plank)
    across = x * f * 0.25 + plank + 1024
    seam = (y * f - row < 0.08) | (across - tl.floor(across) < 0.02)
    sx, sy, sz = tl.abs(nx), tl.abs(ny), tl.abs(nz)
    faces = tl.where(sz >= tl.maximum(sx, sy), 2.0, tl.where(sy > sx, 1.0, 0.0))
    sectors = _odd(_angle(y, x) / (2 * _HALF_TURN) * tl.floor(f + 0.5))
    blobs = (_waves(x * f, y * f, z * f) > 0.1).to(tl.float32)
    blobs += (_waves(y * f + 2, z * f, x * f) > 0.55).to(tl.float32)
    value = tl.where(pattern == 1, _odd(z * f + 0.25), 0.0)
    value = tl.where(pattern == 2, _odd(x * f + 0.25), value)
    value = tl.where(pattern == 3, _odd(checks), value)
    value = tl.where(pattern == 4, sectors, value)
    value = tl.where(pattern == 5, _odd(tl.sqrt(x * x + y * y) * f + 0.5), value)
    value = tl.where(pattern == 6, blobs, value)
    value = tl.where(pattern == 7, faces, value)
    value = tl.where(pattern == 8, (z > 0).to(tl.float32), value)
    return tl.where(pattern == 9, tl.where(seam, 2.0, (plank > 0.5).to(tl.float32)), value).to(tl.int32)


@triton.jit
def _draw(
    inverse, bounds, numbers, surfaces, views, order, counts, values, codes, frames, primitives,
    side: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """One tile of one frame."""
    frame = tl.program_id(1).to(tl.int64)
    clip = frame // frames
    block = tl.program_id(0)
    left = (block % (side // tile)) * tile
    top = (block // (side // tile)) * tile
    lane = tl.arange(0, tile * tile)
    column = left + lane % tile
    row = top + lane // tile
    step = 2.0 / side
    u = (column + 0.5) * step - 1
    v = (row + 0.5) * step - 1
    low_u, high_u = left * step - 1, (left + tile) * step - 1
    low_v, high_v = top * step - 1, (top + tile) * step - 1
    dither = row * 0.7548777 + column * 0.5698403
    dither = 0.02 + 0.96 * (dither - tl.floor(dither))

    view = views + clip * VIEW
    ex, ey, ez = tl.load(view), tl.load(view + 1), tl.load(view + 2)
    dx = tl.load(view + 3) + u * tl.load(view + 6) - v * tl.load(view + 9)
    dy = tl.load(view + 4) + u * tl.load(view + 7) - v * tl.load(view + 10)
    dz = tl.load(view + 5) + u * tl.load(view + 8) - v * tl.load(view + 11)
    inverse += frame * primitives * 12
    bounds += frame * primitives * BOUNDS
    numbers += clip * primitives * NUMBERS
    surfaces += clip * primitives * SURFACE
    order += clip * primitives
    count = tl.load(counts + clip)

    nearest = tl.full((tile * tile,), _FAR, tl.float32)
    which = tl.zeros((tile * tile,), tl.int32)
    for index in range(count):
        p = tl.load(order + index)
        box = bounds + p * BOUNDS
        in_u = (tl.load(box) < high_u) & (tl.load(box + 1) > low_u)
        in_v = (tl.load(box + 2) < high_v) & (tl.load(box + 3) > low_v)
        if in_u & in_v:
            shape = tl.load(numbers + p * NUMBERS)
            far = _distance(inverse + p * 12, surfaces + p * SURFACE, shape, ex, ey, ez, dx, dy, dz)
            closer = (far < nearest) & (dither < tl.load(box + 8))
            nearest = tl.where(closer, far, nearest)
            which = tl.where(closer, p, which)

    there = nearest < _FAR
    t = tl.where(there, nearest, 1.0)
    hx, hy, hz = ex + t * dx, ey + t * dy, ez + t * dz
    m = inverse + which * 12
    a0, a1, a2, a3 = tl.load(m), tl.load(m + 1), tl.load(m + 2), tl.load(m + 3)
    b0, b1, b2, b3 = tl.load(m + 4), tl.load(m + 5), tl.load(m + 6), tl.load(m + 7)
    c0, c1, c2, c3 = tl.load(m + 8), tl.load(m + 9), tl.load(m + 10), tl.load(m + 11)
    px = a0 * hx + a1 * hy + a2 * hz + a3
    py = b0 * hx + b1 * hy + b2 * hz + b3
    pz = c0 * hx + c1 * hy + c2 * hz + c3
    kind = tl.load(numbers + which * NUMBERS)
    s = surfaces + which * SURFACE
    narrow, hollow = tl.load(s), tl.load(s + 1)
    sx, sy, sz = tl.abs(px), tl.abs(py), tl.abs(pz)
    most = tl.maximum(sx, tl.maximum(sy, sz))
    slope = (1 - narrow) / 2
    radius = (1 + narrow) / 2 - slope * pz
    across = tl.sqrt(px * px + py * py)
    wall = tl.minimum(tl.abs(across - radius), tl.abs(across - hollow * radius))
    is_cap = (tl.abs(1 - sz) < wall) & (kind == 3)
    flat = (kind == 2) | is_cap
    sign_x, sign_y, sign_z = tl.where(px < 0, -1.0, 1.0), tl.where(py < 0, -1.0, 1.0), tl.where(pz < 0, -1.0, 1.0)
    nx = tl.where(flat, tl.where(is_cap | (sx < most), 0.0, sign_x), px)
    ny = tl.where(flat, tl.where(is_cap | (sy < most), 0.0, sign_y), py)
    nz = tl.where(flat, tl.where(is_cap | (sz >= most), sign_z, 0.0), tl.where(kind == 3, slope * radius, pz))
    wx = a0 * nx + b0 * ny + c0 * nz
    wy = a1 * nx + b1 * ny + c1 * nz
    wz = a2 * nx + b2 * ny + c2 * nz
    scale = 1 / tl.maximum(tl.sqrt(wx * wx + wy * wy + wz * wz), 1e-12)
    scale = tl.where(wx * dx + wy * dy + wz * dz > 0, -scale, scale)
    wx, wy, wz = wx * scale, wy * scale, wz * scale

    x, y, z = px * tl.load(s + 2), py * tl.load(s + 3), pz * tl.load(s + 4)
    f = tl.load(s + 14)
    choice = _pattern(tl.load(numbers + which * NUMBERS + 1), x, y, z, nx, ny, nz, f)
    g = 3.7 * f
    grain = 1 + tl.load(s + 15) * _waves(x * g + 0.5, y * g, z * g)
    code = tl.load(numbers + which * NUMBERS + 2 + choice)
    red = tl.load(s + 5 + 3 * choice) * grain
    green = tl.load(s + 6 + 3 * choice) * grain
    blue = tl.load(s + 7 + 3 * choice) * grain

    # The sun, unless something is in its way.
    light = view + 16
    lx, ly, lz = tl.load(light), tl.load(light + 1), tl.load(light + 2)
    facing = wx * lx + wy * ly + wz * lz
    rx, ry, rz = hx - ex, hy - ey, hz - ez
    away = 2e-3 * tl.sqrt(rx * rx + ry * ry + rz * rz)
    ox, oy, oz = hx + wx * away, hy + wy * away, hz + wz * away
    bright = (facing > 0) & there
    # Two axes across the sun's rays, as `sun_axes` has them.
    fx, fy, fz = ly, -lx, 1e-3
    norm = 1 / tl.sqrt(fx * fx + fy * fy + fz * fz)
    fx, fy, fz = fx * norm, fy * norm, fz * norm
    along = fx * lx + fy * ly + fz * lz
    fx, fy, fz = fx - along * lx, fy - along * ly, fz - along * lz
    norm = 1 / tl.sqrt(fx * fx + fy * fy + fz * fz)
    fx, fy, fz = fx * norm, fy * norm, fz * norm
    gx, gy, gz = ly * fz - lz * fy, lz * fx - lx * fz, lx * fy - ly * fx
    first = ox * fx + oy * fy + oz * fz
    second = ox * gx + oy * gy + oz * gz
    low_f = tl.min(tl.where(bright, first, _FAR), 0)
    high_f = tl.max(tl.where(bright, first, -_FAR), 0)
    low_s = tl.min(tl.where(bright, second, _FAR), 0)
    high_s = tl.max(tl.where(bright, second, -_FAR), 0)
    zero = 0.0 * ox
    for index in range(count):
        p = tl.load(order + index)
        box = bounds + p * BOUNDS
        in_f = (tl.load(box + 4) <= high_f) & (tl.load(box + 5) >= low_f)
        in_s = (tl.load(box + 6) <= high_s) & (tl.load(box + 7) >= low_s)
        if in_f & in_s:
            shape = tl.load(numbers + p * NUMBERS)
            far = _distance(
                inverse + p * 12, surfaces + p * SURFACE, shape, ox, oy, oz, lx + zero, ly + zero, lz + zero
            )
            bright = bright & ((far >= _FAR) | (dither >= tl.load(box + 8)))
    sun = tl.where(bright, facing, 0.0)
    sky = 0.7 + 0.3 * wz
    red *= sun * tl.load(light + 3) + sky * tl.load(light + 6)
    green *= sun * tl.load(light + 4) + sky * tl.load(light + 7)
    blue *= sun * tl.load(light + 5) + sky * tl.load(light + 8)

    share = 0.5 + dz / tl.sqrt(dx * dx + dy * dy + dz * dz)
    share = tl.minimum(tl.maximum(share, 0.0), 1.0)
    red = tl.where(there, red, tl.load(light + 9) * (1 - share) + tl.load(light + 12) * share)
    green = tl.where(there, green, tl.load(light + 10) * (1 - share) + tl.load(light + 13) * share)
    blue = tl.where(there, blue, tl.load(light + 11) * (1 - share) + tl.load(light + 14) * share)
    inside = (u >= tl.load(view + 12)) & (u <= tl.load(view + 13))
    inside = inside & (v >= tl.load(view + 14)) & (v <= tl.load(view + 15))
    at = row * side + column
    pixel = values + frame * 3 * side * side + at
    tl.store(pixel, tl.where(inside, red, 0.0).to(tl.float16))
    tl.store(pixel + side * side, tl.where(inside, green, 0.0).to(tl.float16))
    tl.store(pixel + 2 * side * side, tl.where(inside, blue, 0.0).to(tl.float16))
    tl.store(codes + frame * side * side + at, tl.where(inside & there, code, _BACKGROUND).to(tl.uint8))
