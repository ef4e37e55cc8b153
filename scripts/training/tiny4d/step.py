"""One step's work: what the network is shown of clips, and how its splats are compared with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from legs4d.generate.onepass.cameras import lens_of, rays_through
from legs4d.generate.onepass.network import OnePass, Seen, Splats
from legs4d.generate.onepass.passes import mixed
from legs4d.raster.states import CameraTable, States, render_states
from legs4d.raster.tiles import Room
from legs4d.reconstruct.fitting.losses import ssim
from legs4d.scene.camera import Cameras
from training.synthetic.constants import constant
from training.tiny4d.bodies import TIMES
from training.tiny4d.filming import RING, Filmed

ONE, FOUR, CHAINED, BETWEEN = range(4)
"""What a clip's network is given: the first camera's pictures; of the first moment the whole ring's, as they are or as
a rendering would blur them; or of first and last moment all, and between them their mixtures."""
SHARES = (0.6, 0.16, 0.12, 0.12)
"""How often each is drawn, where a clip has several moments."""
ALONE = 0.6
"""Share of single moments that are seen from one side."""
NEAR = 0.3
ROOM = 3
"""Tiles that a splat touches, on average, that there is memory for at first."""


@dataclass(frozen=True)
class Weights:
    """Of the parts of the loss.

    Attributes:
        ssim: share of 1 − SSIM beside the root of a picture's mean squared error, which PSNR is judged by: what nobody
            knows is then blurred, and not guessed; alpha: of the squared error of alpha.
        direct: of what is said of every splat by itself (place, opacity, colour), at first.
        fades: share of the schedule after which that has gone.
        first: how much more the first camera's pictures count than others.
    """

    ssim: float = 0.1
    alpha: float = 1.0
    direct: float = 1.0
    fades: float = 0.6
    first: float = 1.5


@dataclass(frozen=True)
class Shown:
    """N clips as a step takes them, of T moments.

    Attributes:
        seen: what the network is given.
        truth: [N, T, R, 4, S, S] 0..1, colours times alpha, of R cameras; the first is the first camera.
        poses: [N, R, 4, 4] of these.
        points, solid: see `Filmed`, of the ring.
        ring: [N, T, RING, 4, S, S] what the ring's cameras truly see.
    """

    seen: Seen
    truth: Tensor
    poses: Tensor
    points: Tensor
    solid: Tensor
    ring: Tensor


def show(clips: Filmed, single: bool, judged: int, random: torch.Generator, mode: int | None = None) -> Shown:
    """Draw what is given and what is compared.

    Args:
        single: whether every moment is a clip of its own.
        judged: cameras beside the first one that splats are compared from.
        mode: the same for all clips; drawn for each by default.
    """
    device, count = clips.poses.device, len(clips)
    pictures, points, solid, poses = clips.pictures, clips.points, clips.solid, clips.poses
    if single:
        pictures, points, solid = (values.flatten(0, 1)[:, None] for values in (pictures, points, solid))
        poses = poses.repeat_interleave(TIMES, 0)
        count *= TIMES
    values = pictures.float() / 255
    ring = values[:, :, :RING]
    drawn = torch.rand(count, generator=random, device=device)
    if mode is not None:
        kind = torch.full((count,), mode, device=device)
    elif single:
        kind = torch.where(drawn < ALONE, ONE, FOUR)
    else:
        kind = torch.bucketize(drawn, constant(SHARES[:-1], device=device).cumsum(0))
    others = torch.rand(values.shape[2] - 1, generator=random, device=device).argsort()[:judged] + 1
    which = torch.cat([others.new_zeros(1), others])
    return Shown(_given(ring, kind, poses[:, :RING]), values[:, :, which], poses[:, which], points, solid, ring)


def _given(ring: Tensor, kind: Tensor, poses: Tensor) -> Seen:
    count, times, _, _, size, _ = ring.shape
    given = torch.zeros(count, times, RING, dtype=torch.bool, device=ring.device)
    given[:, :, 0] = True
    given[:, 0] |= (kind != ONE)[:, None]
    given |= (kind == BETWEEN)[:, None, None]
    told = ring
    if times == TIMES:
        # As a rendering of one's own is: softer, and not quite there.
        soft = F.avg_pool2d(ring[:, :1, 1:].flatten(0, 2), 3, 1, 1).view(ring[:, :1, 1:].shape)
        chained = torch.cat([torch.cat([ring[:, :1, :1], soft], 2), ring[:, 1:]], 1)
        told = torch.where((kind == CHAINED).view(-1, 1, 1, 1, 1, 1), chained, told)
        blended = mixed(torch.stack([ring[:, 0], ring[:, -1]])).transpose(0, 1)
        told = torch.where((kind == BETWEEN).view(-1, 1, 1, 1, 1, 1), blended, told)
    alpha = told[:, :, :, 3:]
    back = torch.linalg.inv(poses)
    along = rays_through(back, _lens(size, ring.device), size, size)
    return Seen(
        colors=told[:, :, :, :3] + 1 - alpha,
        alpha=alpha,
        rays=along[:, None].expand(-1, times, *along.shape[1:]),
        eyes=back[:, None, :, :3, 3].expand(-1, times, -1, -1),
        given=given,
    )


@cache
def _lens(size: int, device: torch.device) -> Tensor:
    """`lens_of`, kept on a device: to send it anew would wait for all that the device still has to do."""
    return lens_of(size).to(device)


class Judge:
    """Renders splats and says how far they are from what is true."""

    def __init__(self, size: int, device: torch.device, weights: Weights) -> None:
        self.size, self.device, self.weights = size, device, weights
        self._rooms: dict[int, Room] = {}

    def pictures(self, splats: Splats, poses: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        """[N, T, R, 3, S, S] on a background [3], and alpha [N, T, R, S, S]."""
        count, times, splat_count = splats.opacities.shape
        views = poses.shape[1]

        def every(values: Tensor) -> Tensor:
            return values[:, :, None].expand(-1, -1, views, *values.shape[2:]).flatten(0, 2)

        states = States(
            every(splats.means),
            every(splats.quats),
            every(splats.scales),
            every(splats.opacities),
            every(splats.colors),
        )
        flat = poses[:, None].expand(-1, times, -1, -1, -1).flatten(0, 2)
        table = self._table(flat)
        which = torch.arange(len(flat), device=self.device)
        room = self._space(len(flat) * splat_count)
        color, alpha = render_states(states, table, which, background.expand(len(flat), 3), near=NEAR, room=room)
        shape = (count, times, views)
        return color.permute(0, 3, 1, 2).unflatten(0, shape), alpha.unflatten(0, shape)

    def loss(self, shown: Shown, splats: Splats, background: Tensor, progress: float) -> dict[str, Tensor]:
        """Parts of the loss, and "loss", their sum."""
        weights = self.weights
        color, alpha = self.pictures(splats, shown.poses, background)
        truth = shown.truth[:, :, :, :3] + (1 - shown.truth[:, :, :, 3:]) * background[:, None, None]
        count = torch.ones(truth.shape[2], device=self.device)
        count[0] = weights.first
        share = (count / count.sum()).view(1, 1, -1)
        apart = ((color - truth).square().mean((3, 4, 5)) + 1e-6).sqrt()
        flat = [values.flatten(0, 2).permute(0, 2, 3, 1).contiguous() for values in (color, truth)]
        similar = ssim(flat[0].clamp(0, 1), flat[1]).view(apart.shape)
        picture = ((1 - weights.ssim) * apart + weights.ssim * (1 - similar)) * share
        parts = {
            "picture": picture.sum(2).mean(),
            "alpha": weights.alpha * (((alpha - shown.truth[:, :, :, 3]) ** 2).mean((3, 4)) * share).sum(2).mean(),
        }
        left = weights.direct * max(0.0, 1 - progress / weights.fades)
        if left > 0:
            parts["direct"] = left * self._direct(shown, splats)
        parts["loss"] = torch.stack(list(parts.values())).sum()
        return parts

    def _direct(self, shown: Shown, splats: Splats) -> Tensor:
        """How far each splat is from what its own pixel of the ring truly shows, seen or not."""
        side = shown.points.shape[-1]
        shape = (*shown.points.shape[:3], side, side)
        small = F.adaptive_avg_pool2d(shown.ring.flatten(0, 2), side).unflatten(0, shape[:3])
        solid = shown.solid[:, :, :, None].float()
        means = splats.means.view(*shape, 3).permute(0, 1, 2, 5, 3, 4)
        rgb = splats.rgb.view(*shape, 3).permute(0, 1, 2, 5, 3, 4)
        opacity = splats.opacities.view(*shape)[:, :, :, None]
        place = ((means - shown.points.float()).abs() * solid).sum() / (3 * solid.sum()).clamp(min=1)
        color = small[:, :, :, :3] / small[:, :, :, 3:].clamp(min=0.05)
        painted = ((rgb - color).abs() * solid).sum() / (3 * solid.sum()).clamp(min=1)
        return place + 0.3 * painted + 0.3 * (opacity - small[:, :, :, 3:]).abs().mean()

    def _table(self, poses: Tensor) -> CameraTable:
        """Cameras at hand for the renderer, without going by way of the host on a GPU."""
        lens = _lens(self.size, self.device).expand(len(poses), 3, 3)
        on_host = poses.detach().cpu().numpy() if self.device.type == "cpu" else np.zeros((1, 4, 4), np.float32)
        many = tuple(range(len(on_host)))
        cameras = Cameras(
            on_host.astype(np.float32),
            lens_of(self.size).expand(len(on_host), 3, 3).numpy(),
            self.size,
            self.size,
            many,
        )
        return CameraTable(cameras, poses.float(), lens.contiguous(), torch.linalg.inv(poses.float())[:, :3, 3])

    def _space(self, splats: int) -> Room | None:
        """Memory for the tiles that so many splats touch."""
        if self.device.type != "cuda":
            return None
        if splats not in self._rooms:
            self._rooms[splats] = Room.of(ROOM * splats, self.device)
        return self._rooms[splats]

    def grow(self) -> bool:
        """Look whether there was room for all (waits for the device); make more, and say True, where there was not."""
        short = False
        for splats, room in self._rooms.items():
            needed = int(room.needed)
            if needed > room.size:
                self._rooms[splats], short = Room.of(math.ceil(1.5 * needed), self.device), True
        return short


@torch.no_grad()
def measure(network: OnePass, judge: Judge, clips: Filmed, at_once: int = 8) -> dict[str, float]:
    """PSNR on white, dB, of held-out clips: the first camera and others, for each of what may be given.

    `white` is what an empty picture reaches; `masked` counts pixels alone that the object covers in truth or in the
    picture made.
    """
    names = {ONE: "one", FOUR: "four", CHAINED: "chained", BETWEEN: "between"}
    sums: dict[str, list[Tensor]] = {}

    def add(name: str, error: Tensor, pixels: Tensor) -> None:
        found = -10 * torch.log10((error.sum((-1, -2)) / pixels.sum((-1, -2)).clamp(min=1)).clamp(min=1e-10))
        sums.setdefault(name, []).append(found.flatten())

    white = torch.ones(3, device=judge.device)
    for first in range(0, len(clips), at_once):
        some = clips.take(torch.arange(first, min(first + at_once, len(clips)), device=judge.device))
        for mode, name in names.items():
            random = torch.Generator(judge.device).manual_seed(first)
            shown = show(some, False, some.poses.shape[1] - 1, random, mode)
            with torch.autocast(judge.device.type, torch.bfloat16, enabled=judge.device.type == "cuda"):
                splats = network(shown.seen)
            color, alpha = judge.pictures(splats, shown.poses, white)
            truth = shown.truth[:, :, :, :3] + 1 - shown.truth[:, :, :, 3:]
            error = ((color.clamp(0, 1) - truth) ** 2).mean(3)
            ones = torch.ones_like(error)
            covered = ((shown.truth[:, :, :, 3] > 0.5) | (alpha > 0.5)).float()
            add(f"{name}_input", error[:, :, 0], ones[:, :, 0])
            add(f"{name}_novel", error[:, :, 1:], ones[:, :, 1:])
            add(f"{name}_masked", (error * covered)[:, :, 1:], covered[:, :, 1:])
            if mode == ONE:
                add("white", ((1 - truth) ** 2).mean(3)[:, :, 1:], ones[:, :, 1:])
    return {name: float(torch.cat(values).mean()) for name, values in sums.items()}
