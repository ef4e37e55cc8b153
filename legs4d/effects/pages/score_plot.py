"""How close renderings come to the test cameras' pictures, over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legs4d.effects.pages.plots import plot_file, save_plot

INCHES = (9.0, 3.0)
_BANDS = (("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("lpips", "LPIPS"))


def score_plot(path: str | Path, result: dict[str, Any]) -> None:
    """Draw PSNR, SSIM and, where it was measured, LPIPS: a line per test camera, their mean in black, and dashed the
    mean after gain and offset have been fitted.

    Args:
        path: .png, .svg or .pdf.
        result: as `reconstruct.evaluate.evaluate_pictures` returns it.

    Raises:
        Legs4dError: another suffix, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = plot_file(path)
    bands = [(name, label) for name, label in _BANDS if result[name] is not None]
    figure = Figure((INCHES[0], INCHES[1] * len(bands)), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(len(bands), 1, squeeze=False)[:, 0], bands, strict=True):
        for camera in result["per_camera"]:
            of_camera = [image for image in result["images"] if str(image["camera"]) == camera]
            axes.plot([i["frame"] for i in of_camera], [i[name] for i in of_camera], linewidth=1, label=f"cam {camera}")
        axes.plot(*_mean_over_time(result["images"], name), color="black", linewidth=2, label="mean")
        fitted = _mean_over_time(result["gain_fitted"]["images"], name)
        axes.plot(*fitted, color="black", linewidth=1, linestyle="--", label="mean, gain fitted")
        axes.set(ylabel=label, xlabel="frame")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8, ncols=4)
    save_plot(figure, target)


def _mean_over_time(images: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    frames = sorted({image["frame"] for image in images})
    values = [[image[name] for image in images if image["frame"] == frame] for frame in frames]
    return frames, [sum(v) / len(v) for v in values]
