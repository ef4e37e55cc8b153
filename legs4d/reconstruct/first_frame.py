"""The first frame by the device: step by step, or on CUDA by captured steps."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import torch

from legs4d.config import FirstFrameSettings
from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import StageReporter
from legs4d.reconstruct.captured.first_frame import CapturedFit, load
from legs4d.reconstruct.fitting.first_frame import FirstFrameFit
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage


def fit_first_frame(
    observed: Observation,
    points: InitialPoints,
    stage: Stage,
    settings: FirstFrameSettings,
    reporter: StageReporter,
    backdrop: Backdrop | None = None,
) -> tuple[Gaussians, CameraColors]:
    """Gaussians of one frame, and each camera's colours.

    Args:
        observed: the frame's pictures, on the device to train on.
        points: where to start.
        stage: scales the learning rates, and gives the near plane.
        backdrop: pictures of the background alone, which `background_share` of the steps look at.

    Raises:
        Stopped: the reporter was told to stop.
    """
    if observed.images.is_cuda:
        return CapturedFit(observed, points, stage, settings, backdrop).run(reporter)
    return FirstFrameFit(observed, points, stage, settings, backdrop).run(reporter)


@contextmanager
def loading(cameras: Cameras, stage: Stage, settings: FirstFrameSettings, device: torch.device) -> Iterator[None]:
    """Load beside the block what `fit_first_frame` needs on CUDA; its end waits for that."""
    if device.type != "cuda":
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="legs4d-load") as beside:
        loaded = beside.submit(load, cameras, stage, settings, device)
        yield
    with suppress(Legs4dError):  # what is missing the fit says itself
        loaded.result()
