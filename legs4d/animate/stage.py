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

from legs4d.animate.motions import Body, Motion, body_of, quaternion
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.portable.sh import rotate
from legs4d.raster import render
from legs4d.reconstruct.fitting.quaternions import multiply
from legs4d.scene.camera import Cameras

HELD = 0.05
"""Share of a pixel that the object may fill where the first frame still says what is behind it."""


REACH = 4.0
"""Standard deviations within which a Gaussian shows."""


@dataclass(frozen=True)
class Predicted:
    """B pictures of the scene.

    Attributes:
        color: [B, H, W, 3].
        share: [B, H, W] how much of a pixel the object fills.
        alpha: [B, H, W] how much of it anything fills.
        depth: [B, H, W] how far what fills a pixel is along the camera's axis, scene units; 0 where nothing is.
    """

    color: torch.Tensor
    share: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor


class Stage:
    """A still scene with an object in it, through one camera.

    Args:
        gaussians: all of them, numpy, with the object at rest.
        member: [N] which are the object.
        camera: a single one.
        near: its near plane, scene units.
    """

    def __init__(
        self, gaussians: Gaussians, member: NDArray[np.bool_], camera: Cameras, near: float, device: torch.device
    ) -> None:
        self.camera, self.near, self.device = camera, near, device
        self.member = member
        thing = gaussians.take(member)
        self.body: Body = body_of(thing.means, thing.opacities)
        self.thing, self.rest = thing, gaussians.take(~member).torch(device)
        self._thing = thing.torch(device)
        self.correction: torch.Tensor | None = None

    def placed(self, motion: Motion) -> Gaussians:
        """The object's Gaussians under a motion, on the device."""
        turn = torch.as_tensor(motion[:3, :3], dtype=torch.float32, device=self.device)
        shift = torch.as_tensor(motion[:3, 3], dtype=torch.float32, device=self.device)
        quat = torch.as_tensor(quaternion(motion), dtype=torch.float32, device=self.device)
        rest = self._thing.sh_rest
        if rest is not None:
            assert self.thing.sh_rest is not None
            rest = torch.from_numpy(rotate(self.thing.sh_rest, motion[:3, :3])).to(self.device)
        return self._thing.replace(
            means=self._thing.means @ turn.T + shift, quats=multiply(quat, self._thing.quats), sh_rest=rest
        )

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
        self._mark = torch.zeros(len(self._rest) + len(stage.thing), 1, device=stage.device)
        self._mark[len(self._rest) :] = 1
        self._correction = None if stage.correction is None else self.cut(stage.correction)

    def cut(self, picture: torch.Tensor) -> torch.Tensor:
        """This part of [H, W, …]."""
        left, top, right, bottom = self.box
        return picture[top:bottom, left:right]

    def predict(self, things: Sequence[Gaussians | Motion]) -> Predicted:
        """Pictures with the object under each of these motions, or as these Gaussians."""
        found = []
        for thing in things:
            placed = thing if isinstance(thing, Gaussians) else self._stage.placed(thing)
            made = render(
                concatenate(self._rest, placed), self.camera, self._mark, near=self._stage.near, depth=True
            )
            assert made.features is not None and made.depth is not None
            found.append((made.color, made.features[..., 0], made.alpha, made.depth / made.alpha.clamp(min=1e-3)))
        color, share, alpha, depth = (torch.cat(parts) for parts in zip(*found, strict=True))
        if self._correction is not None:
            color = color + self._correction * (1 - share)[..., None].clamp(0, 1)
        return Predicted(color, share, alpha, depth)

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
