"""One frame's training pictures as tensors, and the loss of a rendering against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.gaussians.store.run import Run
from legs4d.progress import go_on
from legs4d.raster import Render
from legs4d.raster.upload import upload
from legs4d.reconstruct.fitting.losses import image_loss
from legs4d.reconstruct.vignette import falloff, vignette_of
from legs4d.scene.camera import Cameras

REGION_MARGIN = 0.03
"""Pixels further from any foreground than this share of the image height say nothing about motion."""

SATURATED = 0.98
"""Of a channel's range: JPEG leaves white a little below."""


SETTLED_AT_ONCE = 1_000_000
"""Pixels of all frames whose median is found between two looks at whether to stop."""


@dataclass(frozen=True)
class Observation:
    """What C training cameras saw in one frame.

    Attributes:
        cameras: C views.
        images: [C, H, W, 3] in 0..1.
        masks: [C, H, W] share of foreground, 0..1.
        labels: [C, H, W] ids of objects as a numpy array, 0 for none; None where nobody asked for them.
    """

    cameras: Cameras
    images: torch.Tensor
    masks: torch.Tensor
    labels: NDArray[np.uint8] | None = None

    def take(self, index: NDArray[np.integer]) -> Observation:
        picked = upload(index, self.images.device)
        return Observation(self.cameras.take(index), self.images[picked], self.masks[picked])

    def to(self, device: torch.device) -> Observation:
        """With the pictures on a device; what is there already is not copied."""
        return replace(self, images=self.images.to(device), masks=self.masks.to(device))

    def part(self, some: slice) -> Observation:
        """By these cameras alone, whose pictures are not copied."""
        cameras = self.cameras.take(np.arange(len(self.cameras))[some])
        labels = None if self.labels is None else self.labels[some]
        return Observation(cameras, self.images[some], self.masks[some], labels)


@dataclass(frozen=True)
class Backdrop:
    """What the same cameras saw of the background in F pictures each.

    Attributes:
        cameras: F times C views.
        images: [F, C, H, W, 3] uint8; bytes, as there may be many.
        open: [F, C, H, W] bool, pixels far from any foreground.
    """

    cameras: list[Cameras]
    images: torch.Tensor
    open: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    def settled(self, check: Callable[..., object] = go_on) -> Backdrop:
        """One picture a camera, for cameras that stand still: at each pixel the median of the frames open there.

        Noise and passing shadows go, and what is hidden at one time is there from another.

        Args:
            check: called before each few rows; what it raises ends the work.
        """
        frames, count, height, width = self.open.shape
        images = self.images.new_empty((count, height, width, 3))
        rows = max(1, SETTLED_AT_ONCE // (frames * width))
        for c in range(count):  # in pieces: as floats all of them are gigabytes
            for top in range(0, height, rows):
                check()
                piece = (slice(None), c, slice(top, top + rows))
                values = torch.where(self.open[piece][..., None], self.images[piece].to(torch.float32), torch.nan)
                images[piece[1:]] = values.nanmedian(dim=0).values.nan_to_num().to(torch.uint8)
        return Backdrop(self.cameras[:1], images[None], self.open.any(dim=0)[None])

    def loss(self, seen: torch.Tensor, frame: int, index: NDArray[np.integer], ssim_share: float) -> torch.Tensor:
        """Colour loss of renderings [B, H, W, 3], in the colours of the cameras at `index`, of the background alone
        against one of the F pictures, where that is open."""
        picked = upload(index, self.images.device)
        images = self.images[frame, picked].to(torch.float32) / 255
        visible = torch.where(self.open[frame, picked][..., None], as_captured(seen, images), images)
        return image_loss(visible, images, ssim_share)


@dataclass(frozen=True)
class CameraColors:
    """How each of C cameras sees colour: image ≈ exp(gain) · falloff · render + offset.

    Attributes:
        gain, offset: [C, 3], zero on average.
        vignette: [2], see `vignette.falloff`; None for none.
    """

    gain: torch.Tensor
    offset: torch.Tensor
    vignette: torch.Tensor | None = None

    @classmethod
    def of(cls, run: Run, device: torch.device) -> CameraColors:
        """As a run's first frame found them."""
        gain, offset = (torch.as_tensor(values, device=device) for values in run.gain())
        return cls(gain, offset, vignette_of(run, device) if run.info.get("vignette") else None)

    def part(self, some: slice) -> CameraColors:
        """Of these cameras alone."""
        return CameraColors(self.gain[some], self.offset[some], self.vignette)

    def apply(self, color: torch.Tensor, cameras: Cameras, index: NDArray[np.integer]) -> torch.Tensor:
        """Renderings [B, H, W, 3] by `cameras`, which are those at `index`, as these would have captured them."""
        picked = upload(index, color.device)
        if self.vignette is not None:
            color = color * falloff(self.vignette, cameras)
        return torch.exp(self.gain[picked])[:, None, None] * color + self.offset[picked][:, None, None]


def picture_loss(
    rendered: Render, seen: torch.Tensor, observed: Observation, ssim_share: float, segmentation_weight: float
) -> torch.Tensor:
    """Colour and segmentation loss of Dynamic3DGS; `seen` is the rendering in the cameras' own colours."""
    assert rendered.features is not None
    foreground, images, masks = rendered.features[..., 0], observed.images, observed.masks
    if seen.device.type == "cpu" and seen.dtype == torch.float32:
        return _PictureCpu.apply(seen, foreground, images, masks, ssim_share, segmentation_weight)
    return picture_loss_torch(seen, foreground, images, masks, ssim_share, segmentation_weight)


class _PictureCpu(torch.autograd.Function):
    """`csrc`'s kernel: of small pictures, torch's thirty operations take several times as long as their work."""

    @staticmethod
    def forward(
        ctx: Any,
        seen: torch.Tensor,
        foreground: torch.Tensor,
        images: torch.Tensor,
        masks: torch.Tensor,
        ssim_share: float,
        segmentation_weight: float,
    ) -> torch.Tensor:
        tensors = {"seen": seen, "foreground": foreground, "images": images, "masks": masks}
        loss, v_seen, v_foreground = _csrc.picture_loss(
            **{name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()},
            ssim_share=ssim_share,
            segmentation=segmentation_weight,
            saturated=SATURATED,
            threads=default_threads(),
        )
        ctx.save_for_backward(torch.from_numpy(v_seen), torch.from_numpy(v_foreground))
        return seen.new_tensor(loss)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        v_seen, v_foreground = ctx.saved_tensors
        return gradient * v_seen, gradient * v_foreground, None, None, None, None


def picture_loss_torch(
    seen: torch.Tensor,
    foreground: torch.Tensor,
    images: torch.Tensor,
    masks: torch.Tensor,
    ssim_share: float,
    segmentation_weight: float,
) -> torch.Tensor:
    """`picture_loss` in plain PyTorch, for CUDA and for any precision: [C, H, W, 3] and shares [C, H, W]."""
    colors = image_loss(as_captured(seen, images), images, ssim_share)
    return colors + segmentation_weight * image_loss(foreground[..., None], masks[..., None], ssim_share)


def spread(marked: torch.Tensor) -> torch.Tensor:
    """[C, H, W] bool: pixels within `REGION_MARGIN` of a marked one, to all sides."""
    return grow(marked.to(torch.float32), max(2, round(REGION_MARGIN * marked.shape[1]))) > 0


def grow(masks: torch.Tensor, reach: int) -> torch.Tensor:
    """Masks [C, H, W] in which every pixel takes the highest value within `reach` pixels to all sides."""
    for axis in (1, 2):
        edges = (reach, reach) if axis == 2 else (0, 0, reach, reach)
        masks = torch.nn.functional.pad(masks, edges, value=-torch.inf)
        spanned, window = 1, 2 * reach + 1  # each pixel has the highest of so many from it on
        while spanned < window:  # doubled each time: of 4K pictures a pooling's every step would cost seconds
            step = min(spanned, window - spanned)
            length = masks.shape[axis] - step
            masks = torch.maximum(masks.narrow(axis, 0, length), masks.narrow(axis, step, length))
            spanned += step
    return masks


def as_captured(seen: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """`seen` no brighter than white where the picture is white: a lamp is brighter than any camera can tell.

    Without this, cameras that see less light than others would have lamps of their own grey in common.
    """
    return torch.where(images >= SATURATED, torch.minimum(seen, images), seen)


def batches(count: int, size: int, steps: int, seed: int) -> list[NDArray[np.int64]]:
    """`steps` batches of cameras: every camera comes up equally often, in random order."""
    generator = np.random.default_rng(seed)
    size = min(size, count)
    order = np.concatenate([generator.permutation(count) for _ in range(-(-steps * size // count))])
    return [order[i * size : (i + 1) * size] for i in range(steps)]
