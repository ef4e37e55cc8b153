"""Stable Diffusion XL (Podell et al. 2023), run by diffusers: a picture from words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.published import open_pipeline

REPOSITORY = "stabilityai/stable-diffusion-xl-base-1.0"
STEPS = 30


class Sdxl:
    """See `protocols.PicturePrior`.

    Args:
        folder: as published, model_index.json and its parts.
        device: where to compute.
        steps: of denoising.
        side: pixels of the picture; by default the model's.
    """

    def __init__(self, folder: Path, device: torch.device, steps: int = STEPS, side: int | None = None) -> None:
        self._pipeline = open_pipeline("StableDiffusionXLPipeline", folder, device, REPOSITORY, role="picture")
        self._steps, self._side = steps, side

    def picture(self, text: str, seed: int) -> NDArray[np.float32]:
        """[H, W, 3]."""
        generator = torch.Generator("cpu").manual_seed(seed)
        told = self._pipeline(
            text,
            height=self._side,
            width=self._side,
            num_inference_steps=self._steps,
            generator=generator,
            output_type="np",
        )
        return np.asarray(told.images[0], np.float32)
