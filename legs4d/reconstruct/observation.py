"""One frame's training pictures as tensors, and the loss of a rendering against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.raster import Render
from legs4d.reconstruct.losses import image_loss
from legs4d.scene.camera import Cameras


@dataclass(frozen=True)
class Observation:
    """What C training cameras saw in one frame.

    Attributes:
        cameras: C views.
        images: [C, H, W, 3] in 0..1.
        masks: [C, H, W] share of foreground, 0..1.
    """

    cameras: Cameras
    images: torch.Tensor
    masks: torch.Tensor

    def take(self, index: NDArray[np.integer]) -> Observation:
        picked = torch.as_tensor(index, device=self.images.device)
        return Observation(self.cameras.take(index), self.images[picked], self.masks[picked])


@dataclass(frozen=True)
class CameraColors:
    """How each of C cameras sees colour: image ≈ exp(gain) · render + offset, both [C, 3] and zero on average."""

    gain: torch.Tensor
    offset: torch.Tensor

    def apply(self, color: torch.Tensor, index: NDArray[np.integer]) -> torch.Tensor:
        """Renderings [B, H, W, 3] of the cameras at `index` as these would have captured them."""
        picked = torch.as_tensor(index, device=color.device)
        return torch.exp(self.gain[picked])[:, None, None] * color + self.offset[picked][:, None, None]


def picture_loss(
    rendered: Render, seen: torch.Tensor, observed: Observation, ssim_share: float, segmentation_weight: float
) -> torch.Tensor:
    """Colour and segmentation loss of Dynamic3DGS; `seen` is the rendering in the cameras' own colours."""
    assert rendered.features is not None
    colors = image_loss(seen, observed.images, ssim_share)
    segmentation = image_loss(rendered.features, observed.masks[..., None], ssim_share)
    return colors + segmentation_weight * segmentation


def batches(count: int, size: int, steps: int, seed: int) -> list[NDArray[np.int64]]:
    """`steps` batches of cameras: every camera comes up equally often, in random order."""
    generator = np.random.default_rng(seed)
    size = min(size, count)
    order = np.concatenate([generator.permutation(count) for _ in range(-(-steps * size // count))])
    return [order[i * size : (i + 1) * size] for i in range(steps)]
