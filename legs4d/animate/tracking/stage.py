"""What the video's camera would show if the object were elsewhere.

Rendering the scene with the object under a motion is one half. The other is what the video's first frame shows beside
the object: it is a better picture of what stays than any rendering, so that what is not the object is corrected by how
the first frame differs from its own rendering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import Body, Motion, body_of, quaternion
from legs4d.gaussians.gaussians import SH_C0, Gaussians, concatenate
from legs4d.portable.sh import rotate
from legs4d.raster import render
from legs4d.reconstruct.fitting.quaternions import multiply
from legs4d.scene.camera import Cameras

HELD = 0.05
"""Share of a pixel that the object may fill where the first frame still says what is behind it."""


HARDLY = 0.015
"""Share of a Gaussian that pictures have shown, of which its look is half known: what lies behind a surface shows
through it a little."""
ENOUGH = 0.5
"""Pixels of one that the video has shown, of which its look is half known."""
REACH = 4.0
"""Standard deviations within which a Gaussian shows."""


Shape = tuple[torch.Tensor, torch.Tensor]
"""The object's Gaussians at rest where it is bent: means [n, 3] and quats [n, 4]."""


@dataclass(frozen=True)
class Predicted:
    """B pictures of the scene.

    Attributes:
        color: [B, H, W, 3].
        share: [B, H, W] how much of a pixel the object fills.
        known: [B, H, W] how much of what is seen there is known: all but those parts of the object that no picture
            showed.
        alpha: [B, H, W] how much of it anything fills.
        depth: [B, H, W] how far what fills a pixel is along the camera's axis, scene units; 0 where nothing is.
    """

    color: torch.Tensor
    share: torch.Tensor
    known: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor


class Stage:
    """A still scene with an object in it, through one camera.

    Args:
        gaussians: all of them, numpy, with the object at rest.
        member: [N] which are the object.
        camera: a single one.
        near: its near plane, scene units.
        visible: [N] share of each that pictures have shown; None: the look of all of them is known.
        background: [3] what is seen where nothing is, on the device; None for black.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        member: NDArray[np.bool_],
        camera: Cameras,
        near: float,
        device: torch.device,
        visible: NDArray[np.float32] | None = None,
        background: torch.Tensor | None = None,
    ) -> None:
        self.camera, self.near, self.device, self.background = camera, near, device, background
        seen = np.ones(int(member.sum()), np.float32) if visible is None else visible[member]
        self._unseen = torch.as_tensor(1 / (1 + np.square(seen / HARDLY)), dtype=torch.float32, device=device)
        self._learned = torch.zeros_like(self._unseen)
        thing = gaussians.take(member)
        self.body: Body = body_of(thing.means, thing.opacities)
        self.thing, self.rest = thing, gaussians.take(~member).torch(device)
        self._thing = thing.torch(device)
        self._shape: Shape | None = None
        self.correction: torch.Tensor | None = None

    def bend(self, shape: Shape | None) -> None:
        """From now on the object is bent so; None: it has the shape that it has in the run."""
        self._shape = shape

    def placed(self, motion: Motion, shape: Shape | None = None) -> Gaussians:
        """The object's Gaussians under a motion, bent as it is now or as told, on the device."""
        means, quats = shape or self._shape or (self._thing.means, self._thing.quats)
        turn = torch.as_tensor(motion[:3, :3], dtype=torch.float32, device=self.device)
        shift = torch.as_tensor(motion[:3, 3], dtype=torch.float32, device=self.device)
        quat = torch.as_tensor(quaternion(motion), dtype=torch.float32, device=self.device)
        rest = self._thing.sh_rest
        if rest is not None:
            assert self.thing.sh_rest is not None
            rest = torch.from_numpy(rotate(self.thing.sh_rest, motion[:3, :3])).to(self.device)
        return self._thing.replace(means=means @ turn.T + shift, quats=multiply(quat, quats), sh_rest=rest)

    @property
    def unknown(self) -> torch.Tensor:
        """[n] 0..1 how far the look of each of the object's Gaussians is unknown."""
        return self._unseen * ENOUGH / (ENOUGH + self._learned)

    def learn(self, frame: torch.Tensor, motion: Motion) -> None:
        """Take over from a frame [H, W, 3] how the object looks where no picture has shown it: the mean of all frames
        from which that was done, by how much each shows of it."""
        unseen = self._unseen > 0.5
        if not bool(unseen.any()):
            return
        count = len(self.thing)
        placed = self.placed(motion)
        with torch.enable_grad():
            colors = placed.colors.detach().clone().requires_grad_()
            whole = concatenate(self.rest, placed.replace(colors=colors))
            filled = torch.zeros(len(whole), 1, device=self.device, requires_grad=True)
            made = render(whole, self.camera, filled, near=self.near)
            assert made.features is not None
            # Rendering is linear in colours: these gradients are how much of each pixel is each Gaussian's.
            ((made.color[0] * frame).sum() + made.features.sum()).backward()
        assert colors.grad is not None and filled.grad is not None
        pixels = filled.grad[-count:, 0].clamp(min=0)
        told = colors.grad / SH_C0 / pixels.clamp(min=1e-6)[:, None]
        pixels = pixels * unseen
        share = (pixels / (self._learned + pixels).clamp(min=1e-6))[:, None]
        self._take(
            (1 - share) * self._thing.colors + share * (told - 0.5) / SH_C0,
            self._learned + pixels,
        )

    def _take(self, colors: torch.Tensor, learned: torch.Tensor) -> None:
        rest = self._thing.sh_rest
        if rest is not None:  # what is learned from one view says nothing of others
            rest = torch.where((learned > 0)[:, None, None], torch.zeros_like(rest), rest)
        self._thing = self._thing.replace(colors=colors, sh_rest=rest)
        self.thing, self._learned = self._thing.numpy(), learned

    def whole(self) -> Window:
        """The whole picture."""
        return Window(self, (0, 0, self.camera.width, self.camera.height))

    def predict(self, things: Sequence[Gaussians | Motion]) -> Predicted:
        """Whole pictures with the object under each of these motions, or as these Gaussians."""
        return self.whole().predict(things)

    def correct(self, first: torch.Tensor, start: Motion) -> None:
        """From now on, what is beside the object looks as in the video's first frame [H, W, 3], in which the object is
        under the motion `start`."""
        self.correction = None
        now = self.predict([start])
        beside = (now.share[0] <= HELD)[..., None]
        self.correction = torch.where(beside, first - now.color[0], torch.zeros_like(first))


class Window:
    """A part of the picture, for which alone is rendered.

    Args:
        box: left, top, right, bottom in whole pixels.
    """

    def __init__(self, stage: Stage, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = self.box = box
        self._stage, camera = stage, stage.camera
        intrinsics = camera.intrinsics.copy()
        intrinsics[:, 0, 2] -= left
        intrinsics[:, 1, 2] -= top
        self.camera = Cameras(camera.world_to_camera, intrinsics, right - left, bottom - top, camera.ids)
        self._rest = stage.rest.take(self._reached())
        self._mark = torch.zeros(len(self._rest) + len(stage.thing), 2, device=stage.device)
        self._mark[len(self._rest) :, 0] = 1
        self._mark[len(self._rest) :, 1] = stage.unknown
        self._correction = None if stage.correction is None else self.cut(stage.correction)
        self._behind = None  # marks nothing
        if stage.background is not None:
            self._behind = torch.cat([stage.background, torch.zeros(2, device=stage.device)])

    def cut(self, picture: torch.Tensor) -> torch.Tensor:
        """This part of [H, W, …]."""
        left, top, right, bottom = self.box
        return picture[top:bottom, left:right]

    def predict(self, things: Sequence[Gaussians | Motion]) -> Predicted:
        """Pictures with the object under each of these motions, or as these Gaussians."""
        found = []
        for thing in things:
            placed = thing if isinstance(thing, Gaussians) else self._stage.placed(thing)
            whole = concatenate(self._rest, placed)
            made = render(whole, self.camera, self._mark, self._behind, near=self._stage.near, depth=True)
            assert made.features is not None and made.depth is not None
            share, unknown = made.features.unbind(-1)
            found.append((made.color, share, 1 - unknown, made.alpha, made.depth / made.alpha.clamp(min=1e-3)))
        color, share, known, alpha, depth = (torch.cat(parts) for parts in zip(*found, strict=True))
        if self._correction is not None:
            color = color + self._correction * (1 - share)[..., None].clamp(0, 1)
        return Predicted(color, share, known, alpha, depth)

    def _reached(self) -> torch.Tensor:
        """[N] bool: of the scene's Gaussians, those that may show here."""
        rest, matrix = self._stage.rest, torch.as_tensor(self.camera.world_to_camera[0], device=self._stage.device)
        x, y, z = (rest.means @ matrix[:3, :3].T + matrix[:3, 3]).unbind(-1)
        k, z = self.camera.intrinsics[0], z.clamp(min=self._stage.near)
        reach = REACH * rest.scales.amax(-1) / z
        found = torch.ones_like(z, dtype=torch.bool)
        for across, focal, middle, side in (
            (x, k[0, 0], k[0, 2], self.camera.width),
            (y, k[1, 1], k[1, 2], self.camera.height),
        ):
            at, around = across / z * float(focal) + float(middle), reach * float(focal) + 3
            found &= (at + around > 0) & (at - around < side)
        return found
