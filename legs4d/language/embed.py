"""Crops to embeddings, in batches that fill the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from legs4d.language.crops import FrameRing, Indices, cut
from legs4d.language.features import ClipModel, CropEncoder, FrameModel
from legs4d.language.pyramid import Pyramid


class CropEmbedder:
    """Embeds crops of the frames that a ring holds.

    With a `FrameModel` a crop of a frame is embedded once for all the windows that it is in.
    """

    def __init__(self, encoder: CropEncoder, pyramid: Pyramid, ring: FrameRing, device: torch.device) -> None:
        self._pyramid, self._ring, self._device = pyramid, ring, device
        self._side = encoder.input_size
        self._dim = encoder.dim
        self._model = encoder.vision(device)
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        std = 255 * torch.tensor(encoder.std, device=device)
        self._scale = (1 / std).to(self._dtype)[:, None, None]
        self._shift = (255 * torch.tensor(encoder.mean, device=device) / std).to(self._dtype)[:, None, None]
        self._seen: dict[int, _SeenFrame] = {}

    def embed(
        self, frames: list[int], cameras: Indices, crops: Indices, check: Callable[[], None]
    ) -> NDArray[np.float16]:
        """Embeddings of N crops over a window.

        Args:
            frames: the window's, which the ring holds.
            cameras, crops: [N] of which camera, and which of its crops.
            check: called between batches; what it raises ends the work.

        Returns:
            [N, dim] float16, unit vectors.
        """
        if isinstance(self._model, FrameModel):
            parts = self._embed_frames(self._model, frames, cameras, crops, check)
        else:
            parts = self._embed_clips(self._model, frames, cameras, crops, check)
        none = torch.zeros((0, self._dim), device=self._device)
        return torch.cat([none, *parts]).half().cpu().numpy()

    def _embed_clips(
        self, model: ClipModel, frames: list[int], cameras: Indices, crops: Indices, check: Callable[[], None]
    ) -> list[Tensor]:
        parts = []
        for some in _batches(len(crops), model.batch):
            check()
            cuts = {frame: self._cut(frame, cameras[some], crops[some]) for frame in dict.fromkeys(frames)}
            parts.append(model.embed_clips(torch.stack([cuts[frame] for frame in frames], dim=1)))
        return parts

    def _embed_frames(
        self, model: FrameModel, frames: list[int], cameras: Indices, crops: Indices, check: Callable[[], None]
    ) -> list[Tensor]:
        self._seen = {frame: seen for frame, seen in self._seen.items() if frame in frames}
        which = cameras * self._pyramid.num_crops + crops
        for frame in dict.fromkeys(frames):
            seen = self._seen.setdefault(frame, _SeenFrame())
            new = seen.missing(which)
            for some in _batches(len(new), model.batch):
                check()
                camera, crop = np.divmod(new[some], self._pyramid.num_crops)
                seen.add(new[some], model.embed_frames(self._cut(frame, camera, crop)))
        parts = []
        for some in _batches(len(crops), model.batch):
            together = torch.stack([self._seen[frame].get(which[some]) for frame in frames], dim=1)
            parts.append(model.embed_windows(together))
        return parts

    def _cut(self, frame: int, cameras: Indices, crops: Indices) -> Tensor:
        """[n, 3, S, S], normalised."""
        values = cut(self._ring.pixels(frame), self._pyramid, cameras, crops, self._side, self._dtype)
        return values.mul_(self._scale).sub_(self._shift)


class _SeenFrame:
    """What a `FrameModel` said of some crops of one frame."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self._parts: list[Tensor] = []

    def missing(self, which: Indices) -> Indices:
        return np.array([crop for crop in which.tolist() if crop not in self._place], np.int64)

    def add(self, which: Indices, said: Tensor) -> None:
        self._place.update({crop: len(self._place) + i for i, crop in enumerate(which.tolist())})
        self._parts.append(said)

    def get(self, which: Indices) -> Tensor:
        """[n, width]"""
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        places = torch.tensor([self._place[crop] for crop in which.tolist()], device=self._parts[0].device)
        return self._parts[0][places]


def _batches(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
