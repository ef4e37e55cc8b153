"""What a frame's training pictures say of Gaussians: which they show, where they differ, what is not foreground."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.raster.lift import lift_few
from legs4d.reconstruct.observation import CameraColors, Observation, grow
from legs4d.reconstruct.vignette import falloff
from legs4d.scene.camera import Cameras

DARKEST = 2.0
"""No rendering is brighter than a picture by more than this, RGB, of what counts."""
FOREGROUND = 0.5
"""Share of foreground from which a pixel shows something that moves."""
SOLID = 0.5
"""Alpha from which on what is drawn has a depth."""
FAINTEST = 1 / 255
"""Of a pixel: what fills less was not seen."""
AT_ONCE = 9
"""Pictures that are compared together."""
NOBODY = np.zeros(0, np.int64)
"""No object is asked for."""


@dataclass(frozen=True)
class Evidence:
    """A frame compared with what is known of it.

    Attributes:
        target: [C, H, W, 3] the pictures without their cameras' own colours, at least 0.
        off: [C, H, W] mean absolute difference to the rendering, over the channels.
        mass: [N] pixels, over all views, that each Gaussian fills.
        wrong: [N] of these, weighted by `off`.
        outside: [N] those where nothing of the foreground is near.
        lacks: [N, 3] what the pixels that a Gaussian fills should be, less what they are, summed by how much it fills.
        objects: [N, K] those that show each of the objects that were asked for.
    """

    target: NDArray[np.float32]
    off: NDArray[np.float32]
    mass: NDArray[np.float32]
    wrong: NDArray[np.float32]
    outside: NDArray[np.float32]
    lacks: NDArray[np.float32]
    objects: NDArray[np.float32]

    def without_pictures(self) -> Evidence:
        """What it says of Gaussians alone: `target` and `off` have no cameras."""
        return replace(self, target=self.target[:0].copy(), off=self.off[:0].copy())


def uncolored(observed: Observation, colors: CameraColors) -> torch.Tensor:
    """[C, H, W, 3] what cameras saw, without what each makes of colours: `CameraColors.apply` undone, at least 0."""
    images = observed.images - colors.offset[:, None, None]
    images = images / torch.exp(colors.gain)[:, None, None]
    if colors.vignette is not None:
        images = images / falloff(colors.vignette, observed.cameras)
    return images.clamp(min=0)


def look(
    gaussians: Gaussians,
    observed: Observation,
    colors: CameraColors,
    near: float,
    ids: NDArray[np.int64] = NOBODY,
    spill: int = 2,
) -> Evidence:
    """Compare Gaussians (numpy) with what was observed of their frame, on the device of the colours.

    Args:
        near: scene units, as in `render`.
        ids: [K] of objects in the masks, which are asked for.
        spill: pixels by which what is foreground may lie beside its mask.
    """
    known = gaussians.torch(colors.gain.device)
    if colors.gain.is_cuda:
        return compared_by_gradient(known, observed, colors, near, ids, spill)
    with torch.no_grad():
        seen = render(known, observed.cameras, near=near).color.clamp(min=0).numpy()
    target = uncolored(observed, colors).numpy()
    off = np.abs(target - seen).mean(axis=-1)
    bare = _bare(observed, spill).numpy()
    # weights may not be negative
    told = np.concatenate([target - seen + DARKEST, off[..., None], bare[..., None]], axis=-1, dtype=np.float32)
    told[..., :3].clip(min=0, out=told[..., :3])
    count = told.shape[-1]
    index = np.broadcast_to(np.arange(count, dtype=np.int32), told.shape)
    if len(ids):
        assert observed.labels is not None
        rows = np.full(256, -1, np.int32)
        rows[ids] = count + np.arange(len(ids))
        index = np.concatenate([index, rows[observed.labels][..., None]], axis=-1)
        told = np.concatenate([told, np.ones_like(told[..., :1])], axis=-1)
    sums, mass = lift_few(gaussians, observed.cameras, index, told, count + len(ids), near)
    lacks = sums[:, :3] - DARKEST * mass[:, None]
    return Evidence(target, off, mass, sums[:, 3], sums[:, 4], lacks, sums[:, count:])


def compared_by_gradient(
    known: Gaussians,
    observed: Observation,
    colors: CameraColors,
    near: float,
    ids: NDArray[np.int64],
    spill: int,
) -> Evidence:
    """What `look` says of these Gaussians (torch).

    What pixels say, summed by how much a Gaussian fills each, is the gradient by a feature of that Gaussian. A GPU has
    it in milliseconds, where lifting on the processor beside it takes a second.
    """
    device = colors.gain.device
    features = torch.zeros(len(known), 6 + len(ids), device=device).requires_grad_()
    target = np.empty(observed.images.shape, np.float32)
    off = np.empty(observed.masks.shape, np.float32)
    for some in _few_at_once(len(observed.cameras)):
        part, tones = observed.part(some).to(device), colors.part(some)
        wanted = uncolored(part, tones)
        with torch.no_grad():
            lacks = wanted - render(known, part.cameras, near=near).color.clamp(min=0)
        away = lacks.abs().mean(dim=-1)
        told = [
            lacks.clamp(min=-DARKEST),
            *(one[..., None] for one in (away, _bare(part, spill), torch.ones_like(away))),
        ]
        if len(ids):
            labels, of = (torch.as_tensor(one, dtype=torch.int64, device=device) for one in (part.labels, ids))
            told.append(labels[..., None] == of)
        drawn = render(known, part.cameras, features, near=near).features
        assert drawn is not None
        (drawn * torch.cat(told, dim=-1)).sum().backward()
        target[some], off[some] = wanted.cpu().numpy(), away.cpu().numpy()
    sums = features.grad
    assert sums is not None
    found = (sums[:, 5], sums[:, 3], sums[:, 4], sums[:, :3], sums[:, 6:])
    return Evidence(target, off, *(part.cpu().numpy() for part in found))


def _bare(observed: Observation, spill: int) -> torch.Tensor:
    """[C, H, W] bool: pixels with no foreground within `spill` pixels."""
    return grow(observed.masks, spill) < FOREGROUND


def shown_of(evidence: list[Evidence]) -> NDArray[np.float32]:
    """[N] 0..1 how much pictures show of each Gaussian: the most pixels that it fills in a frame, over all views."""
    most = np.max([one.mass for one in evidence], axis=0)
    return np.where(most < FAINTEST, 0, most.clip(max=1)).astype(np.float32)


def drawn_depth(gaussians: Gaussians, cameras: Cameras, near: float, device: torch.device) -> NDArray[np.float32]:
    """[C, H, W] expected camera z of Gaussians (numpy) as cameras see them; nan where little is drawn."""
    known = gaussians.torch(device)
    found = np.empty((len(cameras), cameras.height, cameras.width), np.float32)
    for some in _few_at_once(len(cameras)):
        with torch.no_grad():
            shown = render(known, cameras.take(np.arange(some.start, some.stop)), near=near, depth=True)
        assert shown.depth is not None
        depth = torch.where(shown.alpha > SOLID, shown.depth / shown.alpha.clamp(min=SOLID), torch.nan)
        found[some] = depth.cpu().numpy()
    return found


def _few_at_once(count: int) -> list[slice]:
    """So many pictures, a few at once: all of them would take gigabytes."""
    return [slice(begin, min(begin + AT_ONCE, count)) for begin in range(0, count, AT_ONCE)]
