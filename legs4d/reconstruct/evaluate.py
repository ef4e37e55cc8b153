"""How close renderings come to the test cameras' pictures."""

from __future__ import annotations

from typing import Any

import torch

from legs4d.errors import DatasetError
from legs4d.gaussians.store import Run
from legs4d.progress import OnProgress, StageReporter, StopSignal
from legs4d.raster import render
from legs4d.reconstruct.losses import ssim
from legs4d.scene.sequence import Sequence


def psnr(rendered: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio per image, dB: [C] from [C, H, W, 3] in 0..1."""
    return -10 * torch.log10(((rendered - truth) ** 2).mean(dim=(1, 2, 3)))


def fit_gain(rendered: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Renderings under the gain and offset per channel and image that come closest to the truth (least squares).

    A test camera's own colour response is not known to the model; published numbers differ in whether it counts.
    """
    x = rendered - rendered.mean(dim=(1, 2), keepdim=True)
    y = truth - truth.mean(dim=(1, 2), keepdim=True)
    gain = (x * y).sum(dim=(1, 2), keepdim=True) / (x * x).sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return gain * x + truth.mean(dim=(1, 2), keepdim=True)


def evaluate_pictures(
    run: Run,
    sequence: Sequence,
    device: torch.device,
    *,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> dict[str, Any]:
    """PSNR (dB) and SSIM over the test cameras and all frames.

    Returns:
        {psnr, ssim, per_camera: {id: dB}, per_frame: [dB, ...], gain_fitted: {psnr, ssim, per_camera, per_frame}};
        the means are over images, and `gain_fitted` is the same after `fit_gain`.

    Raises:
        DatasetError: the dataset has no test cameras.
    """
    reporter = StageReporter("eval", progress, stop)
    scores: dict[str, list[torch.Tensor]] = {name: [] for name in ("psnr", "ssim", "fitted_psnr", "fitted_ssim")}
    for frame in range(run.num_frames):
        cameras = sequence.cameras("test", frame)
        if len(cameras) == 0:
            raise DatasetError(
                "has no test cameras to compare with", where=str(sequence.root), fix="give a test_meta.json"
            )
        truth = torch.as_tensor(sequence.images("test", frame), device=device)
        with torch.no_grad():
            plain = render(run.frame(frame).torch(device), cameras, near=run.info["near"]).color.clamp(0, 1)
            fitted = fit_gain(plain, truth).clamp(0, 1)
            for prefix, image in (("", plain), ("fitted_", fitted)):
                scores[f"{prefix}psnr"].append(psnr(image, truth).cpu())
                scores[f"{prefix}ssim"].append(ssim(image, truth).cpu())
        reporter.step(frame + 1, run.num_frames)
    table = {name: torch.stack(values) for name, values in scores.items()}  # [T, C]

    def summary(prefix: str) -> dict[str, Any]:
        decibels = table[f"{prefix}psnr"]
        return {
            "psnr": float(decibels.mean()),
            "ssim": float(table[f"{prefix}ssim"].mean()),
            "per_camera": {
                str(camera): float(value) for camera, value in zip(cameras.ids, decibels.mean(dim=0), strict=True)
            },
            "per_frame": [float(value) for value in decibels.mean(dim=1)],
        }

    return {**summary(""), "gain_fitted": summary("fitted_")}
