"""Wan image to video (Wan team 2025), run by diffusers: a picture that moves as words say, or becomes another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.priors.published import library, open_pipeline
from legs4d.scene.images import as_bytes

REPOSITORY = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
BETWEEN = "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers"
"""2.2's 5B knows first pictures alone: diffusers takes a last one for it, and leaves it out without a word."""
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
        return _made(self._pipeline, (picture,), text, num_frames, seed, self._steps)


class WanBetween:
    """See `protocols.BetweenPrior`; arguments as `WanVideo`."""

    def __init__(self, folder: Path, device: torch.device, steps: int = STEPS) -> None:
        library("accelerate", "between")
        self._pipeline = open_pipeline(
            "WanImageToVideoPipeline",
            folder,
            device,
            BETWEEN,
            role="between",
            wide=True,
            single=("vae", "image_encoder"),
        )
        self._steps = steps

    def video_between(
        self, first: NDArray[np.float32], last: NDArray[np.float32], text: str, num_frames: int, seed: int
    ) -> NDArray[np.float32]:
        """[T, H, W, 3]; T is 4 k + 1."""
        return _made(self._pipeline, (first, last), text, num_frames, seed, self._steps)


def _made(
    pipeline: Any, pictures: tuple[NDArray[np.float32], ...], text: str, num_frames: int, seed: int, steps: int
) -> NDArray[np.float32]:
    """[T, H, W, 3] that begins with the first picture and, if there is one, ends with the second."""
    height, width = (max(_STEP, round(side / _STEP) * _STEP) for side in pictures[0].shape[:2])
    first, *last = (Image.fromarray(as_bytes(one)).resize((width, height)) for one in pictures)
    told = pipeline(
        image=first,
        **({"last_image": last[0]} if last else {}),
        prompt=text,
        height=height,
        width=width,
        num_frames=frames_it_makes(num_frames),
        num_inference_steps=steps,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    )
    return np.asarray(told.frames[0], np.float32)


def frames_it_makes(wanted: int) -> int:
    """The number nearest to the one wanted that is 4 k + 1, five at least."""
    return max(1, round((wanted - 1) / _FRAMES)) * _FRAMES + 1
