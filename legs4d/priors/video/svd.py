"""Stable Video Diffusion (Blattmann et al. 2023), run by diffusers: a picture that moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.priors.published import open_pipeline
from legs4d.scene.images import as_bytes

REPOSITORY = "stabilityai/stable-video-diffusion-img2vid"
STEPS = 25
_STEP = 64
"""Both sides become multiples of this."""


class StableVideo:
    """See `protocols.VideoPrior`. It does not read words.

    Args:
        folder: as published, model_index.json and its parts.
        device: where to compute.
        steps: of denoising.
    """

    def __init__(self, folder: Path, device: torch.device, steps: int = STEPS) -> None:
        self._pipeline = open_pipeline("StableVideoDiffusionPipeline", folder, device, REPOSITORY, role="video")
        self._steps = steps

    def video(self, picture: NDArray[np.float32], text: str, num_frames: int, seed: int) -> NDArray[np.float32]:
        """[T, H, W, 3]; T is at most what the model was made for."""
        height, width = (max(_STEP, round(side / _STEP) * _STEP) for side in picture.shape[:2])
        most = int(self._pipeline.unet.config.num_frames)
        told = self._pipeline(
            Image.fromarray(as_bytes(picture)),
            height=height,
            width=width,
            num_frames=min(num_frames, most),
            num_inference_steps=self._steps,
            decode_chunk_size=4,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
        )
        return np.asarray(told.frames[0], np.float32)
