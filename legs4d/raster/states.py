"""Several states of the same Gaussians, each rendered into a camera of its own: what a deformation is trained with.

`render` shows one state to many cameras. Here every picture has its own moment, and on CUDA nothing waits for the host:
the whole call may be captured in a CUDA graph, which `render` cannot be, as the number of tiles that Gaussians touch
decides there how much memory is taken. Here that room is given, and what was needed is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.sh import evaluate
from legs4d.raster.rasterise import ScreenGradient
from legs4d.raster.tiles import Room, composite, project
from legs4d.scene.camera import Cameras


@dataclass(frozen=True)
class CameraTable:
    """F cameras of one image size, at hand on a device.

    Attributes:
        cameras: as they are.
        viewmats: [F, 4, 4] world to camera, intrinsics: [F, 3, 3], centers: [F, 3], float32 on the device.
    """

    cameras: Cameras
    viewmats: torch.Tensor
    intrinsics: torch.Tensor
    centers: torch.Tensor

    @classmethod
    def of(cls, cameras: Cameras, device: torch.device) -> CameraTable:
        values = (cameras.world_to_camera, cameras.intrinsics, cameras.centers)
        return cls(cameras, *(torch.as_tensor(value, dtype=torch.float32, device=device) for value in values))


@dataclass(frozen=True)
class States:
    """B states of N Gaussians, torch tensors of one device.

    Attributes:
        means: [B, N, 3], quats: [B, N, 4] wxyz of any length.
        scales: [B, N, 3] linear, opacities: [B, N] in 0..1.
        colors: [N, 3] SH DC coefficients; sh_rest: [N, K, 3] or None, as `Gaussians` has them.
    """

    means: torch.Tensor
    quats: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    colors: torch.Tensor
    sh_rest: torch.Tensor | None = None


@dataclass
class Pull:
    """How much losses pulled at the projected centres since the last `clear`; what densification looks at.

    Attributes:
        norm: [N] sum over pictures of ‖∂loss/∂(projected centre)‖, per pixel.
        seen: [N] pictures that each Gaussian reached.
    """

    norm: torch.Tensor
    seen: torch.Tensor
    _parts: list[ScreenGradient] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, device: torch.device) -> Pull:
        return cls(torch.zeros(count, device=device), torch.zeros(count, device=device))

    def clear(self) -> None:
        self.norm.zero_()
        self.seen.zero_()

    def collect(self) -> None:
        """Add what the last `backward()` left on the CPU; on CUDA it has been added already."""
        for part in self._parts:
            if hasattr(part, "norm"):  # no gradient reaches a picture that no Gaussian reaches
                count = len(part.norm)
                self.norm[:count] += part.norm
                self.seen[:count] += part.seen
        self._parts.clear()


def render_states(
    states: States,
    table: CameraTable,
    which: torch.Tensor,
    background: torch.Tensor,
    *,
    near: float,
    pull: Pull | None = None,
    room: Room | None = None,
    threads: int | None = None,
    depth: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture b shows state b through camera `which[b]`.

    Differentiable in all of the states.

    Args:
        which: [B] int64, positions in the table, on the device of the states.
        background: [B, 3] seen where rays end.
        near: scene units, see `render`.
        pull: gathers what the backward pass says of screen space; call its `collect` afterwards.
        room: needed on CUDA.
        threads: CPU threads, all by default.
        depth: whether to composite camera z behind the colours, as `Render.depth` is.

    Returns:
        (colour [B, H, W, 3 (+ 1 with depth)] not clamped, alpha [B, H, W] in 0..1).

    Raises:
        Legs4dError: gsplat is not installed.
    """
    if states.means.device.type == "cuda":
        if room is None:
            raise ValueError("CUDA needs room for tiles")
        return _render_cuda(states, table, which, background, near, pull, room, depth)
    return _render_cpu(states, table, which, background, near, pull, threads, depth)


def seen_colors(states: States, centers: torch.Tensor) -> torch.Tensor:
    """[B, N, 3] RGB, not negative, of each state as seen from its camera centre [B, 3]."""
    if states.sh_rest is None:
        return evaluate(states.colors, None, None).expand(len(states.means), -1, -1)
    directions = torch.nn.functional.normalize(states.means - centers[:, None], dim=-1)
    return evaluate(states.colors, states.sh_rest, directions).clamp(min=0)


def _render_cpu(
    states: States,
    table: CameraTable,
    which: torch.Tensor,
    background: torch.Tensor,
    near: float,
    pull: Pull | None,
    threads: int | None,
    depth: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    from legs4d.raster.cpu import render_channels

    channels = seen_colors(states, table.centers[which])
    nothing = torch.zeros(states.means.shape[1], dtype=torch.bool)
    colors, alphas = [], []
    for b, camera in enumerate(which.tolist()):
        screen = ScreenGradient()
        if pull is not None:
            pull._parts.append(screen)
        one = Gaussians(states.means[b], states.quats[b], states.scales[b], states.opacities[b], states.colors, nothing)
        cameras = table.cameras.take(np.array([camera]))
        behind = background[b : b + 1]
        color, alpha = render_channels(
            one, cameras, channels[b], behind, near, depth, False, None, None, threads, screen
        )
        colors.append(color)
        alphas.append(alpha)
    return torch.cat(colors), torch.cat(alphas)


def _render_cuda(
    states: States,
    table: CameraTable,
    which: torch.Tensor,
    background: torch.Tensor,
    near: float,
    pull: Pull | None,
    room: Room,
    depth: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    total, size = states.means.shape[1], (table.cameras.width, table.cameras.height)
    projected = project(
        states.means,
        states.quats,
        states.scales,
        states.opacities,
        table.viewmats[which],
        table.intrinsics[which],
        size,
        near,
    )
    centers, radii = projected.centers, projected.radii
    if pull is not None and centers.requires_grad:
        reached = (radii > 0).all(dim=-1).sum(dim=0)

        def remember(gradient: torch.Tensor) -> None:
            pull.norm[:total] += torch.linalg.vector_norm(gradient, dim=-1).sum(dim=0)
            pull.seen[:total] += reached

        centers.register_hook(remember)
    if states.sh_rest is None:
        colors = seen_colors(states, table.centers[which])
    else:  # the same as `seen_colors`, in one kernel
        from gsplat import spherical_harmonics

        coefficients = torch.cat([states.colors[:, None], states.sh_rest], dim=1)
        degree = round(coefficients.shape[1] ** 0.5) - 1
        directions = states.means - table.centers[which][:, None]
        colors = spherical_harmonics(degree, directions, coefficients.expand(len(which), -1, -1, -1), masks=None)
        colors = (colors + 0.5).clamp(min=0)
    if depth:
        axis, ahead = table.viewmats[which, 2, :3], table.viewmats[which, 2, 3]
        away = torch.einsum("bnx,bx->bn", states.means, axis) + ahead[:, None]
        colors = torch.cat([colors, away[..., None]], dim=-1)
        background = torch.cat([background, torch.zeros_like(background[:, :1])], dim=-1)
    color, alpha = composite(projected, colors, states.opacities, size, room, background)
    return color[:, : size[1], : size[0]], alpha[:, : size[1], : size[0]]
