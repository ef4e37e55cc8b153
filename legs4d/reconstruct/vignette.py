"""What a capture's cameras make of a rendering: how light falls off towards the corners of a picture, the same for all
of them, and what is seen where nothing is."""

from __future__ import annotations

import torch

from legs4d.gaussians.store.run import Run
from legs4d.raster.upload import upload
from legs4d.scene.camera import Cameras

NONE = (0.0, 0.0)
"""No falloff."""


def falloff(vignette: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """[C, H, W, 1] share of the light that arrives: exp(a t + b t²), t the squared tangent of the angle to the axis.

    Args:
        vignette: (a, b), on the device of the result; differentiable.
    """
    return falloff_of(vignette, upload(cameras.intrinsics, vignette.device), (cameras.width, cameras.height))


def falloff_of(vignette: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """`falloff` of cameras with these intrinsics [C, 3, 3], on the device, and this (width, height)."""
    device, intrinsics = vignette.device, intrinsics[:, :, :, None]
    columns = torch.arange(size[0], device=device) + 0.5
    rows = torch.arange(size[1], device=device) + 0.5
    across = ((columns - intrinsics[:, 0, 2]) / intrinsics[:, 0, 0]).square()
    tangent = across[:, None, :] + ((rows - intrinsics[:, 1, 2]) / intrinsics[:, 1, 1]).square()[:, :, None]
    return torch.exp(vignette[0] * tangent + vignette[1] * tangent.square())[..., None]


def vignette_of(run: Run, device: torch.device) -> torch.Tensor:
    """The run's (a, b); without falloff where none was fitted."""
    return torch.tensor(run.info.get("vignette") or NONE, dtype=torch.float32, device=device)


def background_of(run: Run, device: torch.device) -> torch.Tensor | None:
    """[3] what is seen where nothing is: white where pictures were transparent there; None for black."""
    return None if "background" not in run.info else torch.tensor(run.info["background"], device=device)


def as_filmed(rendered: torch.Tensor, run: Run, cameras: Cameras) -> torch.Tensor:
    """Renderings [C, H, W, 3] as the run's kind of camera would have filmed them, in 0..1."""
    return (rendered * falloff(vignette_of(run, rendered.device), cameras)).clamp(0, 1)
