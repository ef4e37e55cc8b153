"""An encoder whose answers can be told by looking: the mean colour of a crop. And a few words for colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from legs4d.context import EncoderFiles
from legs4d.language.calibration import CLIP
from legs4d.language.embedding.features import ClipModel, FrameModel

COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "orange": (0.9, 0.6, 0.2), "grey": (1, 1, 1)}
"""Words that the encoder knows; a phrase is the sum of those in it, or grey."""


class _SeesClips:
    batch = 512

    def __init__(self) -> None:
        self.count = 0

    def embed_clips(self, clips: Tensor) -> Tensor:
        self.count += len(clips)
        return F.normalize(clips.mean(dim=(1, 3, 4)) + 1e-6, dim=-1)


class _SeesFrames:
    batch = 512

    def __init__(self) -> None:
        self.count = 0

    def embed_frames(self, frames: Tensor) -> Tensor:
        self.count += len(frames)
        return frames.mean(dim=(2, 3))

    def embed_windows(self, frames: Tensor) -> Tensor:
        return F.normalize(frames.mean(dim=1) + 1e-6, dim=-1)


class MeanColorEncoder:
    """A `CropEncoder`: the mean colour over pixels and frames, as a unit vector. `model` counts what it was shown."""

    dim = 3
    version = 1
    calibration = CLIP
    input_size = 8
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    weights_id = "none"

    def __init__(self, model: _SeesClips | _SeesFrames | None = None) -> None:
        self.files = EncoderFiles()
        self.model = model or _SeesClips()
        self.name = "mean_color:frames" if isinstance(self.model, _SeesFrames) else "mean_color"

    @classmethod
    def open(cls, variant: str, files: EncoderFiles) -> MeanColorEncoder:
        return cls(_SeesFrames() if variant == "frames" else None)

    def vision(self, device: torch.device) -> ClipModel | FrameModel:
        return self.model

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        said = [sum((np.array(COLORS[w]) for w in p.split() if w in COLORS), np.zeros(3)) for p in phrases]
        rows = np.array([row if row.any() else COLORS["grey"] for row in said], np.float32).reshape(-1, 3)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def save_text(self, folder: Path) -> None:
        """There is nothing to save."""
