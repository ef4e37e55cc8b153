"""A finished fit as a run: Gaussians with ids for every stored time, those that stand still apart, and the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.fields.nodes import NodeField
from legs4d.deform.fit import Fit
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.nodes import Nodes, write_nodes
from legs4d.gaussians.store.run import Run
from legs4d.progress import go_on
from legs4d.raster.states import render_states
from legs4d.raster.tiles import Room

SAME_TURN = 1e-3
"""Of the entries of unit quaternions: what turns by less stands still."""
SEEN = 1 / 255
"""Share of a pixel's colour from which on a Gaussian was seen there."""


@dataclass(frozen=True)
class Parts:
    """Which Gaussians of a fit move.

    Attributes:
        still: [N] bool.
        middle: all of them in the middle of the sequence, but where they are on average; numpy.
    """

    still: NDArray[np.bool_]
    middle: Gaussians


def write_result(
    fit: Fit,
    run: Run,
    moments: NDArray[np.float64],
    check: Callable[[int, int], object] = go_on,
    *,
    seen: NDArray[np.float32] | None = None,
) -> None:
    """Store a fit's Gaussians at these moments [T] in 0..1, and what else is known of them.

    Args:
        check: told after every frame how many are done, of how many; what it raises ends the work.
        seen: [N] 0..1 how much pictures show of each, where that is known; else what the fit's pictures show.
    """
    parts = _apart(fit, moments)
    moving = ~parts.still
    changing = tuple(name for name in fit.settings.changing if moving.any())
    first = fit.gaussians_at(float(moments[0])).numpy()
    run.write_geometry(parts.middle.take(parts.still), first.take(moving), len(moments), changing=changing)
    for frame, moment in enumerate(moments):
        check(frame, len(moments))
        now = fit.gaussians_at(float(moment)).numpy().take(moving)
        run.write_frame(frame, now.means, now.quats, now.colors, **{name: getattr(now, name) for name in changing})
    check(len(moments), len(moments))
    seen = seen_shares(fit) if seen is None else seen
    run.write_marks("seen", seen[parts.still], seen[moving])
    if isinstance(fit.deformation, NodeField) and moving.any():
        write_nodes(run, _nodes(fit.deformation, fit, moments, moving))


def _apart(fit: Fit, moments: NDArray[np.float64]) -> Parts:
    """Which Gaussians never leave where they are on average: what is found of one moment is off by parts of a pixel,
    also for what stands."""
    middle = fit.gaussians_at(float(moments[len(moments) // 2]))
    if len(moments) == 1:
        return Parts(np.ones(len(middle), bool), middle.numpy())
    means = torch.zeros_like(middle.means)
    for moment in moments:
        means += fit.gaussians_at(float(moment)).means / len(moments)
    middle = middle.replace(means=means)
    pixel = fit.radius / float(fit.pictures.table.intrinsics[:, 0, 0].mean())
    still = torch.full((len(middle),), not fit.settings.changing, device=middle.means.device)
    for moment in moments:
        now = fit.gaussians_at(float(moment))
        gone = torch.linalg.vector_norm(now.means - middle.means, dim=1)
        turned = 1 - (now.quats * middle.quats).sum(dim=1).abs()
        still &= (gone < fit.settings.still_below * pixel) & (turned < SAME_TURN)
    return Parts(still.cpu().numpy(), middle.numpy())


@torch.no_grad()
def _nodes(field: NodeField, fit: Fit, moments: NDArray[np.float64], moving: NDArray[np.bool_]) -> Nodes:
    """The nodes at every moment, and what they carry: static Gaussians first, which hang on none."""
    times = torch.as_tensor(moments, dtype=torch.float32, device=field.device)
    poses = []
    for time in times:
        shifts, turns, _ = field.poses(time[None])
        unit = torch.nn.functional.normalize(turns[0], dim=-1)
        poses.append(torch.cat([field.nodes + shifts[0], unit], dim=1))
    index, weight = (values[: fit.canonical.count].cpu().numpy()[moving] for values in field.bound())
    before = int((~moving).sum())
    shape = before, index.shape[1]
    return Nodes(
        rest=field.nodes.cpu().numpy().astype(np.float32),
        pose=torch.stack(poses).cpu().numpy().astype(np.float32),
        index=np.concatenate([np.full(shape, -1), index]).astype(np.int32),
        weight=np.concatenate([np.zeros(shape), weight]).astype(np.float32),
    )


def seen_shares(fit: Fit, first: int | None = None) -> NDArray[np.float32]:
    """[N] 0..1, in what share of the pictures that show it most each Gaussian was seen: 1 in a quarter of all or more.

    Found by one backward pass: what a Gaussian adds to the sum of a picture's colours says how much of it is seen.

    Args:
        first: so many pictures count, by default all.
    """
    pictures, device = fit.pictures, fit.canonical.device
    among, count = len(pictures) if first is None else first, fit.canonical.count
    counts = torch.zeros(count, device=device)
    room = None if fit.room is None else Room.of(fit.room.size, device)
    chosen = np.unique(np.linspace(0, among - 1, min(among, 64)).round().astype(int))
    for picture in chosen:
        which = torch.tensor([int(picture)], device=device)
        with torch.no_grad():
            states = fit.states(pictures.times[which])
        colors = torch.zeros(len(states.colors), 3, device=device, requires_grad=True)
        plain = type(states)(states.means, states.quats, states.scales, states.opacities, colors, None)
        black = torch.zeros(1, 3, device=device)
        color, _ = render_states(plain, pictures.table, which, black, near=fit.near, room=room, threads=fit.threads)
        color.sum().backward()
        assert colors.grad is not None
        counts += colors.grad[:count].abs().sum(dim=1) > SEEN
    return (4 * counts / len(chosen)).clamp(max=1).cpu().numpy().astype(np.float32)
