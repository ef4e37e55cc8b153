"""A frame's pictures in memory that stays where it is, and the loss of a few renderings against them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from legs4d.raster.kernels import has_triton
from legs4d.raster.tiles import TILE, active_tiles
from legs4d.reconstruct.observation import SATURATED, CameraColors, Observation, picture_loss_torch
from legs4d.reconstruct.vignette import falloff
from legs4d.scene.camera import Cameras


@dataclass(frozen=True)
class Pictures:
    """What C cameras see of a frame, and how they see it.

    Attributes:
        truth: [C, H, W, 4] colours and share of foreground, 0..1.
        region: [C, H, W] bool, pixels whose colour counts; elsewhere renderings show the picture by decree.
        active: [C, rows + 1, columns] bool, tiles that hold one of these; never in the last row, which lies under the
            picture.
        gain, offset: [C, 3], light: [C, H, W]: a camera sees gain · light · colour + offset.
    """

    truth: torch.Tensor
    region: torch.Tensor
    active: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor
    light: torch.Tensor

    @classmethod
    def empty(cls, cameras: Cameras, colors: CameraColors) -> Pictures:
        """Without anything in them; the cameras tell the size."""
        count, height, width, device = len(cameras), cameras.height, cameras.width, colors.gain.device
        rows, columns = -(-height // TILE), -(-width // TILE)
        return cls(
            torch.zeros(count, height, width, 4, device=device),
            torch.zeros(count, height, width, dtype=torch.bool, device=device),
            torch.zeros(count, rows + 1, columns, dtype=torch.bool, device=device),
            torch.exp(colors.gain),
            colors.offset.clone(),
            torch.ones(count, height, width, device=device),
        )

    def load(self, observed: Observation, colors: CameraColors) -> None:
        """Take a frame's pictures."""
        self.truth[..., :3] = observed.images
        self.truth[..., 3] = observed.masks
        if colors.vignette is not None:
            self.light.copy_(falloff(colors.vignette, observed.cameras)[..., 0])

    def need(self, region: torch.Tensor) -> None:
        """Say which pixels [C, H, W] count."""
        self.region.copy_(region)
        rows = self.active.shape[1] - 1
        self.active[:, :rows] = active_tiles(region, rows, self.active.shape[2])

    def loss(
        self,
        drawn: torch.Tensor,
        which: torch.Tensor,
        active: torch.Tensor,
        ssim_share: float,
        segmentation_weight: float,
    ) -> torch.Tensor:
        """[] `observation.picture_loss` of renderings, from tiles that are drawn alone.

        Args:
            drawn: [B, (rows + 1) · TILE, columns · TILE, 4] colours and foreground, 0 in tiles that are not drawn.
                Differentiable; the gradient is without meaning in those.
            which: [B] int64, the cameras that they are by; active: [B, rows + 1, columns] bool, theirs.

        Differentiable in gain, offset and light as well.
        """
        if drawn.device.type != "cuda" or not has_triton():
            return loss_torch(self, drawn, which, ssim_share, segmentation_weight)
        return loss_by_kernels(self, drawn, which, active, ssim_share, segmentation_weight)


def loss_by_kernels(
    pictures: Pictures,
    drawn: torch.Tensor,
    which: torch.Tensor,
    active: torch.Tensor,
    ssim_share: float,
    segmentation_weight: float,
) -> torch.Tensor:
    """`Pictures.loss` in Triton."""
    from legs4d.reconstruct.captured.picture_cuda import PictureCuda

    _, height, width, _ = pictures.truth.shape
    # What a number of each channel is worth in means over colours, and over the foreground.
    worth = _worth(segmentation_weight, len(which) * height * width, drawn.device)
    loss: torch.Tensor = PictureCuda.apply(
        drawn,
        which,
        pictures.truth,
        pictures.region.view(torch.uint8),
        active.view(torch.uint8),
        pictures.gain,
        pictures.offset,
        pictures.light,
        worth,
        ssim_share,
        SATURATED,
    )
    return loss


def _worth(segmentation_weight: float, pixels: int, device: torch.device) -> torch.Tensor:
    """[4] filled where it lies: a copy from the host cannot be captured."""
    worth = torch.full((4,), 1 / (3 * pixels), device=device)
    worth[3:].fill_(segmentation_weight / pixels)
    return worth


def loss_torch(
    pictures: Pictures, drawn: torch.Tensor, which: torch.Tensor, ssim_share: float, segmentation_weight: float
) -> torch.Tensor:
    """`Pictures.loss` in plain PyTorch."""
    _, height, width, _ = pictures.truth.shape
    truth, shown = pictures.truth[which], drawn[:, :height, :width]
    toned = (pictures.gain[which][:, None, None] * pictures.light[which][..., None]) * shown[..., :3]
    toned = toned + pictures.offset[which][:, None, None]
    seen = torch.where(pictures.region[which][..., None], toned, truth[..., :3])
    return picture_loss_torch(seen, shown[..., 3], truth[..., :3], truth[..., 3], ssim_share, segmentation_weight)
