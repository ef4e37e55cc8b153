"""How an object bends: control nodes, fitted to tracks of flow first, and then by rendering the object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.fields.posed import PosedNodes
from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.raster.states import CameraTable, States, render_states
from legs4d.raster.tiles import Room
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.scene.camera import Cameras
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing, shown_of
from legs4d.video.motion.losses import balanced
from legs4d.video.motion.tracks import Path, Tracks
from legs4d.video.objects.surface import Blown
from legs4d.video.scene.filming import Filming
from legs4d.video.settings import VideoSettings

NEAR = 0.02
"""Of the object's distance."""
TRUSTED = 0.3
"""Share of the points that flow has not lost, from which nodes begin where it leads."""
ROOM = 4_000_000
"""Pairs of Gaussians and tiles in a call on CUDA."""


@dataclass(frozen=True)
class Target:
    """What an object looks like in its crops.

    Attributes:
        colors: [T, S, S, 3] 0..1, grey outside of the object; alphas: [T, S, S].
        known: [T, S, S] 1 where it is known whether the object is there: not behind another one, nor beyond the border.
        there: [T] frames that count.
    """

    colors: torch.Tensor
    alphas: torch.Tensor
    known: torch.Tensor
    there: NDArray[np.int64]


GREY = 0.5
SOLID = 2.0
"""How much of a crop's pixel is to be drawn, at most all, over the share of it that an object covers."""


def target_of(clip: Clip, thing: Thing, others: list[Thing], path: Path, device: torch.device) -> Target:
    """Crops of all frames."""
    side = path.crops[0].side
    count = clip.num_frames
    colors = np.full((count, side, side, 3), GREY, np.float32)
    alphas, known = (np.zeros((count, side, side), np.float32) for _ in range(2))
    for frame in np.flatnonzero(path.there).tolist():
        crop, mask = path.crops[frame], thing.mask(frame)
        share = crop.take(mask.astype(np.float32))
        # what a coarse pixel of the crop holds of the object is to be drawn whole, or its rim would let through what is
        # behind; in finer ones the rim is where it is
        alpha = np.minimum((SOLID if crop.scale > 1 else 1) * share, 1)
        picture = thing.picture(frame, clip.pictures[frame]).astype(np.float32) / np.float32(255)
        # colours of the object alone: those along its edge would be half of what is behind
        own = crop.take(picture * mask[..., None]) / np.maximum(share, 1e-3)[..., None]
        colors[frame] = own * alpha[..., None] + GREY * (1 - alpha[..., None])
        alphas[frame] = alpha
        hidden = shown_of([] if frame in thing.whole else others, frame, mask.shape)
        seen = crop.take((~hidden).astype(np.float32))
        known[frame] = np.maximum(seen, alpha) if hidden.any() else seen
    drawn, covered, told = (torch.as_tensor(v, device=device) for v in (colors, alphas, known))
    return Target(drawn, covered, told, np.flatnonzero(path.there))


def crop_cameras(filming: Filming, path: Path) -> Cameras:
    """A camera a frame that sees the object's own space, whose unit is its distance in the canonical frame.

    x_camera / size = R x + centre / size, with centre on the ray of the crop's middle: the factored motion is in the
    camera, and what is left to the nodes is how the object bends.
    """
    poses, matrices = [], []
    base = filming.turn(path.canonical)
    for frame, crop in enumerate(path.crops):
        pose = np.eye(4)
        pose[:3, :3] = filming.turn(frame) @ base.T
        pose[:3, 3] = filming.ray(frame, path.centers[frame]) / relative_size(filming, path, frame)
        poses.append(pose)
        matrices.append(crop.intrinsics(filming.intrinsics[frame]))
    side = path.crops[0].side
    return Cameras(np.array(poses, np.float32), np.array(matrices, np.float32), side, side, (0,) * len(poses))


def relative_size(filming: Filming, path: Path, frame: int) -> float:
    """How large the object seems against the canonical frame, at the same focal length."""
    zoom = filming.intrinsics[frame, 0, 0] / filming.intrinsics[path.canonical, 0, 0]
    return float(path.sizes[frame] / zoom)


class MotionFit:
    """One object's motion.

    Args:
        blown: its canonical Gaussians.
        tracks: of the first P of them.
    """

    def __init__(
        self,
        blown: Blown,
        target: Target,
        cameras: Cameras,
        path: Path,
        tracks: Tracks,
        settings: VideoSettings,
        device: torch.device,
    ) -> None:
        self.settings, self.device, self.target, self.path = settings, device, target, path
        self.table = CameraTable.of(cameras, device)
        given = blown.gaussians.torch(device)
        self.means, self.quats, self.scales = given.means, given.quats, given.scales
        self.colors = given.colors.clone().requires_grad_()
        self.logits = torch.logit(given.opacities.clamp(0.02, 0.98)).requires_grad_()
        self.log_scale = torch.zeros_like(given.opacities).requires_grad_()
        self._looks = [self.colors, self.logits, self.log_scale]
        self._moments = [Moments.of(value) for value in self._looks]
        count = len(cameras)
        self.times = torch.linspace(0, 1, count, device=device) if count > 1 else torch.zeros(1, device=device)
        track, fit = settings.steps(count)
        self._steps = (track, fit) if count > 1 else (0, fit)
        self.tracked = len(tracks.places[0])
        side = cameras.width
        crops = path.crops
        local = (tracks.places - np.array([[c.left, c.top] for c in crops], np.float32)[:, None]) / np.array(
            [c.scale for c in crops], np.float32
        )[:, None, None]
        self.places = torch.as_tensor(local / side, dtype=torch.float32, device=device)
        self.sure = torch.as_tensor(tracks.sure, dtype=torch.float32, device=device)
        radius = float(torch.linalg.vector_norm(self.means, dim=1).max())
        center = torch.zeros(3, device=device)
        self.field = PosedNodes(settings.deforming(), len(self.means), count, center, radius, device)
        self.field.follow(self.means, given.opacities, spread=True)
        self._start()
        self.room = Room.of(ROOM, device) if device.type == "cuda" else None
        self.done = 0
        self.loss: float | None = None

    @torch.no_grad()
    def _start(self) -> None:
        """Nodes begin where the tracks of the points around them lead, in the picture's plane."""
        count = self.tracked
        if not count or len(self.times) == 1:
            return
        rest = self.means[:count]
        view, matrix, side = self.table.viewmats, self.table.intrinsics, self.table.cameras.width
        inside = rest @ view[:, :3, :3].transpose(1, 2) + view[:, None, :3, 3]
        pixel = self.places * side
        depth = inside[..., 2:]
        x = (pixel - matrix[:, None, :2, 2]) / matrix[:, None, [0, 1], [0, 1]]
        moved = torch.cat([x * depth, depth], dim=-1)
        shift = (moved - inside) @ view[:, :3, :3]
        near = torch.cdist(self.field.nodes, rest)
        weight = torch.softmax(-(near / (2 * self.field.widths[:, None])).square(), dim=1)
        weights = weight[None] * (self.sure + 1e-6)[:, None]
        shifts = (weights @ shift) / weights.sum(dim=-1, keepdim=True)
        # of what turns or is blurred flow tells little: it then begins where its crop is, and as it was
        told = (self.sure.mean(dim=1) / TRUSTED).clamp(max=1)
        self.field.start(shifts * told[:, None, None])

    @property
    def total(self) -> int:
        """Steps: towards tracks, and by rendering."""
        return sum(self._steps)

    def look_at(self, target: Target, cameras: Cameras, path: Path) -> None:
        """Go on with other crops of the same frames."""
        self.target, self.path = target, path
        self.table = CameraTable.of(cameras, self.device)

    def advance(self) -> None:
        """One step."""
        self._step(tracks_only=self.done < self._steps[0])
        self.done += 1

    def _step(self, *, tracks_only: bool) -> None:
        own = self.settings
        size = own.track_batch if tracks_only else own.fit_batch
        there = self.target.there
        # in an order by chance, but drawn from the step's number, so that a kept fit goes on as it would have
        chance = np.random.default_rng((own.seed, self.done))
        chosen = torch.as_tensor(chance.choice(there, min(size, len(there)), replace=False), device=self.device)
        times = self.times[chosen]
        # towards tracks only what is tracked is bent: those come first
        first_ones = slice(0, self.tracked if tracks_only else None)
        bent = self.field.bend(self.means[first_ones], self.quats[first_ones], times)
        loss = self.field.regularise(times, bent) if len(self.times) > 1 else torch.zeros((), device=self.device)
        share = self.done / max(self.total - 1, 1)
        if len(self.times) > 1 and self.tracked:
            weight = own.tracks * (1.0 if tracks_only else 0.3)
            loss = loss + weight * self._off_tracks(bent.means, chosen)
        if not tracks_only:
            loss = loss + self._off_pictures(bent.means, bent.quats, chosen)
        loss.backward()
        self.loss = float(loss.detach())
        first, last = own.node_rate
        rate = first * (last / first) ** share
        if len(self.times) > 1:
            self.field.step(rate)
        step_group(self._looks, self._moments, own.look_rate)

    def _off_tracks(self, means: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        drawn = self.project(means[:, : self.tracked], chosen)
        off = (drawn - self.places[chosen]).square().sum(-1)
        sure = self.sure[chosen]
        # few points that flow lost on the way and did not tell are not worth what a square would have them cost
        robust = (off + 1e-4).sqrt() - 1e-2
        return (robust * sure).sum() / sure.numel()

    def project(self, means: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """[B, N, 2] in crops, 0..1, of places [B, N, 3] in the object's space."""
        view = self.table.viewmats[chosen]
        inside = means @ view[:, :3, :3].transpose(1, 2) + view[:, None, :3, 3]
        pixel = inside @ self.table.intrinsics[chosen].transpose(1, 2)
        return pixel[..., :2] / pixel[..., 2:].clamp(min=NEAR) / self.table.cameras.width

    def _off_pictures(self, means: torch.Tensor, quats: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        own, count = self.settings, len(chosen)
        grey = torch.full((count, 3), GREY, device=self.device)
        color, alpha = render_states(
            self._states(means, quats), self.table, chosen, grey, near=NEAR, room=self.room, threads=None
        )
        mask, known = self.target.alphas[chosen], self.target.known[chosen]
        off = (color - self.target.colors[chosen]) * known[..., None]
        loss = own.rgb / 3 * balanced(off, mask)
        return loss + own.alpha * balanced(((alpha - mask) * known)[..., None], mask)

    def _states(self, means: torch.Tensor, quats: torch.Tensor) -> States:
        count = len(means)
        scales = self.scales * self.log_scale.clamp(-0.7, 0.7).exp()[:, None]
        opacities = torch.sigmoid(self.logits)
        return States(means, quats, scales.expand(count, -1, -1), opacities.expand(count, -1), self.colors)

    @torch.no_grad()
    def looks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(scales [N, 3], opacities [N])."""
        return self.scales * self.log_scale.clamp(-0.7, 0.7).exp()[:, None], torch.sigmoid(self.logits)

    @torch.no_grad()
    def at(self, frame: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(means [N, 3], quats [N, 4]) in the object's space."""
        if len(self.times) == 1:
            return self.means, self.quats
        bent = self.field.bend(self.means, self.quats, self.times[frame : frame + 1])
        return bent.means[0], torch.nn.functional.normalize(bent.quats[0], dim=-1)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that the next step depends on."""
        found = {f"field.{name}": value for name, value in self.field.state().items()}
        for name, value, m in zip(("colors", "logits", "log_scale"), self._looks, self._moments, strict=True):
            found |= {name: value, f"{name}.first": m.first, f"{name}.second": m.second, f"{name}.steps": m.steps}
        found["done"] = torch.tensor(self.done)
        return {name: value.detach().cpu().numpy() for name, value in found.items()}

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on from what `state` gave."""
        tensors = {name: torch.as_tensor(value) for name, value in state.items()}
        self.field.load({n.removeprefix("field."): v for n, v in tensors.items() if n.startswith("field.")})
        with torch.no_grad():
            for name, value, m in zip(("colors", "logits", "log_scale"), self._looks, self._moments, strict=True):
                value.copy_(tensors[name])
                m.first.copy_(tensors[f"{name}.first"])
                m.second.copy_(tensors[f"{name}.second"])
                m.steps.copy_(tensors[f"{name}.steps"])
        self.done = int(tensors["done"])


def gaussians_of(means: torch.Tensor, quats: torch.Tensor, fit: MotionFit, colors: torch.Tensor) -> Gaussians:
    """The object in its own space, numpy."""
    scales, opacities = fit.looks()
    foreground = torch.ones(len(means), dtype=torch.bool)
    return Gaussians(means, quats, scales, opacities, colors, foreground.to(means.device)).numpy()


__all__ = ["NEAR", "SH_C0", "MotionFit", "Target", "crop_cameras", "gaussians_of", "relative_size", "target_of"]
