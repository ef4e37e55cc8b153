"""Wan image to video (Wan team 2025), run by diffusers: a picture that moves as words say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.priors.published import library, open_pipeline

REPOSITORY = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
STEPS = 50
_STEP = 32
"""Both sides become multiples of this."""
_FRAMES = 4
"""It makes a first frame and then this many at a time."""


class WanVideo:
    """See `protocols.VideoPrior`.

    Args:
        folder: as published, model_index.json and its parts.
        device: where to compute.
        steps: of denoising.
    """

    def __init__(self, folder: Path, device: torch.device, steps: int = STEPS) -> None:
        library("accelerate", "video")  # diffusers refuses to read this transformer without
        # its text encoder, an umT5, leaves the range of float16, and its decoder loses colours in half precision
        self._pipeline = open_pipeline(
            "WanImageToVideoPipeline",
            folder,
            device,
            REPOSITORY,
            role="video",
            wide=True,
            single=("vae",),
            saved_as="WanPipeline",  # of words alone: the weights of 2.2's 5B take a first picture too
        )
        self._steps = steps

    def video(self, picture: NDArray[np.float32], text: str, num_frames: int, seed: int) -> NDArray[np.float32]:
        """[T, H, W, 3]; T is 4 k + 1."""
        height, width = (max(_STEP, round(side / _STEP) * _STEP) for side in picture.shape[:2])
        told = self._pipeline(
            image=Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)).resize((width, height)),
            prompt=text,
            height=height,
            width=width,
            num_frames=frames_it_makes(num_frames),
            num_inference_steps=self._steps,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
        )
        return np.asarray(told.frames[0], np.float32)


def frames_it_makes(wanted: int) -> int:
    """The number nearest to the one wanted that is 4 k + 1, five at least."""
    return max(1, round((wanted - 1) / _FRAMES)) * _FRAMES + 1
