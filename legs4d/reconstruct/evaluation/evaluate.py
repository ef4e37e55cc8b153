"""How close renderings come to the test cameras' pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.gaussians.nodes import frame_between, read_nodes
from legs4d.gaussians.store.run import Run
from legs4d.priors.perceptual.lpips import Lpips
from legs4d.raster import render
from legs4d.reconstruct.fitting.losses import ssim
from legs4d.reconstruct.vignette import as_filmed, background_of
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
    context: Context = QUIET,
    *,
    lpips: Lpips | None = None,
) -> dict[str, Any]:
    """PSNR (dB), SSIM and LPIPS over the test cameras and all frames.

    Args:
        lpips: None when its weights are not at hand.

    Returns:
        {psnr, ssim, lpips, per_camera: {id: dB}, per_frame: [dB, ...], images: [{camera, frame, moment, psnr, ssim,
        lpips}], gain_fitted: {the same}}; means are over images, `gain_fitted` is after `fit_gain`, every lpips is
        None without its weights, and per_frame is None in frames without test pictures. Pictures that were taken
        between two frames are compared with the run at their own time.

    Raises:
        DatasetError: the dataset has no test cameras.
        Stopped: the stop signal is set.
    """
    reporter = context.reporter("eval")
    tested = [frame for frame in range(run.num_frames) if len(sequence.cameras("test", frame))]
    if run.info.get("cut_out") and any(sequence.cut("test", frame) is None for frame in tested):
        context.tell(
            "Held-out pictures have no masks: what lies around the object counts too, which the run leaves out."
        )
    nodes, behind = read_nodes(run), background_of(run, device)
    plain: list[Score] = []
    fitted: list[Score] = []
    for frame in range(run.num_frames):
        cameras = sequence.cameras("test", frame)
        if len(cameras) == 0:  # a moving camera has a test picture now and then
            continue
        pictures = torch.as_tensor(held_out(run, sequence, frame), device=device)
        moments = sequence.taken_at("test", frame)
        for moment in np.unique(moments):  # each at its own time, which may be between two frames
            here = np.flatnonzero(moments == moment)
            seen, truth = cameras.take(here), pictures[here]
            with torch.no_grad():
                shown = frame_between(run, float(moment), nodes).torch(device)
                rendered = render(shown, seen, background=behind, near=run.info["near"])
                made = as_filmed(rendered.color, run, seen)
                at = frame, float(moment)
                plain += _scores(made, truth, seen.ids, at, lpips)
                fitted += _scores(fit_gain(made, truth).clamp(0, 1), truth, seen.ids, at, lpips)
        reporter.step(frame + 1, run.num_frames)
    if not plain:
        raise DatasetError(
            "has no test cameras to compare with",
            where=str(sequence.root),
            fix="hold pictures out: docs/data.md says how in each layout",
        )
    return {**_summary(plain, run.num_frames), "gain_fitted": _summary(fitted, run.num_frames)}


def held_out(run: Run, sequence: Sequence, frame: int) -> NDArray[np.float32]:
    """[C, H, W, 3] the test pictures of a frame as a run should show them: on black, if masks said what there is."""
    cut = sequence.cut("test", frame) if run.info.get("cut_out") else None
    return sequence.images("test", frame) if cut is None else cut[..., :3] * cut[..., 3:]


@dataclass(frozen=True)
class Score:
    """How close one rendering comes to its picture: PSNR in dB, SSIM, and LPIPS if it could be had. `moment` is when
    the picture was taken, in frames, `frame` the nearest one."""

    camera: int
    frame: int
    moment: float
    psnr: float
    ssim: float
    lpips: float | None


def _scores(
    made: torch.Tensor, truth: torch.Tensor, cameras: tuple[int, ...], at: tuple[int, float], lpips: Lpips | None
) -> list[Score]:
    decibels, similarity = psnr(made, truth).tolist(), ssim(made, truth).tolist()
    distances = [None] * len(cameras) if lpips is None else lpips(made, truth).tolist()
    return [
        Score(camera, *at, *values) for camera, *values in zip(cameras, decibels, similarity, distances, strict=True)
    ]


def _summary(scores: list[Score], num_frames: int) -> dict[str, Any]:
    of_camera: dict[str, list[float]] = {}
    of_frame: list[list[float]] = [[] for _ in range(num_frames)]
    for score in scores:
        of_camera.setdefault(str(score.camera), []).append(score.psnr)
        of_frame[score.frame].append(score.psnr)
    distances = [score.lpips for score in scores if score.lpips is not None]
    return {
        "psnr": _mean([score.psnr for score in scores]),
        "ssim": _mean([score.ssim for score in scores]),
        "lpips": _mean(distances) if distances else None,
        "per_camera": {camera: _mean(values) for camera, values in of_camera.items()},
        "per_frame": [_mean(values) if values else None for values in of_frame],
        "images": [asdict(score) for score in scores],
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
