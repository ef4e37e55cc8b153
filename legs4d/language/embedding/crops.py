"""Decoded frames on the device that embeds them, and crops cut from them in batches."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from legs4d.language.embedding.changes import block_means
from legs4d.language.embedding.pyramid import Pyramid
from legs4d.scene.images import as_bytes
from legs4d.scene.sequence import Sequence

Indices = NDArray[np.integer]


@dataclass(frozen=True)
class Pixels:
    """The training views of one frame.

    Attributes:
        values: [C, 3, H + 2m, W + 2m], 8-bit or float, 0..255 or 0..1; zero in the margin m around the images.
        margin: m, pixels: as far as the largest crops reach out.
    """

    values: Tensor
    margin: int

    @classmethod
    def of(cls, images: Tensor, pyramid: Pyramid) -> Pixels:
        """Of [C, 3, H, W]."""
        margin = max(level.stride for level in pyramid.levels)
        return cls(F.pad(images, (margin,) * 4), margin)

    def to(self, device: torch.device) -> Pixels:
        return Pixels(self.values.to(device, non_blocking=True), self.margin)

    def crops(self, pyramid: Pyramid, cameras: Indices, crops: Indices) -> list[tuple[Tensor, Tensor]]:
        """Crops at their own size: per level that has any, (their places in the lists [n] long, [n, 3, k, k] values).

        Args:
            cameras: [N] positions of cameras.
            crops: [N] crops of theirs, counted through all levels.
        """
        found = []
        for level in pyramid.levels:
            here = np.flatnonzero((crops >= level.first) & (crops < level.first + level.count))
            if not len(here):
                continue
            row, column = np.divmod(crops[here] - level.first, level.columns)
            start = self.margin - level.stride
            # Unfolding is a view: only the crops that are asked for are ever copied.
            windows = self.values[:, :, start:, start:].unfold(2, level.size, level.stride)
            windows = windows.unfold(3, level.size, level.stride)
            at = [torch.from_numpy(np.int64(x)).to(self.values.device) for x in (here, cameras[here], row, column)]
            found.append((at[0], windows[at[1], :, at[2], at[3]]))
        return found


def cut(
    frame: Pixels,
    pyramid: Pyramid,
    cameras: Indices,
    crops: Indices,
    side: int,
    dtype: torch.dtype,
) -> Tensor:
    """Crops resized to side × side: [N, 3, side, side], in the range of the frame's values; see `Pixels.crops`.

    Bilinear; smoothed first where a crop is made smaller. On a CPU 8-bit values are rounded to 8 bits, as PyTorch's
    kernel for them is five times as fast; asked to smooth it is fastest, which does nothing to crops that grow.
    """
    device = frame.values.device
    out = torch.empty((len(crops), 3, side, side), dtype=dtype, device=device, memory_format=torch.channels_last)
    in_bytes = device.type == "cpu" and frame.values.dtype == torch.uint8
    for places, values in frame.crops(pyramid, cameras, crops):
        smaller = values.shape[-1] > side
        # In half precision 8-bit values are exact, and their mixtures good to a tenth of a step of 255.
        crop = values if in_bytes else values.to(dtype)
        out[places] = F.interpolate(crop, size=(side, side), mode="bilinear", antialias=smaller or in_bytes).to(dtype)
    return out


class FrameRing:
    """The frames around the current timestep: each decoded once, by a thread, while others are embedded.

    Consecutive timesteps share 7 of 8 frames, so that few are held at a time: `keep` lets go of the rest. Block means,
    which are small, are kept for all frames asked for until `forget_means`.
    """

    def __init__(self, sequence: Sequence, pyramid: Pyramid, device: torch.device) -> None:
        self._sequence, self._pyramid, self._device = sequence, pyramid, device
        self._decoding: dict[int, Future[tuple[Pixels, NDArray[np.float32]]]] = {}
        self._means: dict[int, NDArray[np.float32]] = {}
        self._on_device: dict[int, Pixels] = {}
        self._thread = ThreadPoolExecutor(1, "decode")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def keep(self, frames: Iterable[int], ahead: Iterable[int] = ()) -> None:
        """Hold these frames and no others; start to decode `ahead`, which will be asked for next."""
        wanted = [*dict.fromkeys([*frames, *ahead])]
        self._on_device = {frame: pixels for frame, pixels in self._on_device.items() if frame in wanted}
        for frame in set(self._decoding) - set(wanted):
            self._decoding.pop(frame).cancel()
        for frame in wanted:
            if frame not in self._on_device and frame not in self._decoding:
                self._decoding[frame] = self._thread.submit(self._decode, frame)

    def pixels(self, frame: int) -> Pixels:
        """A frame that is kept, 8-bit.

        Raises:
            DatasetError: its pictures cannot be read.
        """
        if frame not in self._on_device:
            pixels, self._means[frame] = self._decoding[frame].result()
            self._on_device[frame] = pixels.to(self._device)
            del self._decoding[frame]
        return self._on_device[frame]

    def means(self, frame: int) -> NDArray[np.float32]:
        """[C, h, w, 3] block means of any frame; see `language.changes`. Several threads may ask for them."""
        if frame not in self._means:
            decoding = self._decoding.get(frame)
            if decoding is not None:
                self._means[frame] = decoding.result()[1]
            elif frame not in self._means:  # it may have been decoded since
                self._means[frame] = block_means(self._sequence.images("train", frame))
        return self._means[frame]

    def forget_means(self) -> None:
        """Of frames that are not kept."""
        self._means = {frame: means for frame, means in self._means.items() if frame in self._on_device}

    def _decode(self, frame: int) -> tuple[Pixels, NDArray[np.float32]]:
        images = self._sequence.images("train", frame)
        values = torch.from_numpy(as_bytes(images)).permute(0, 3, 1, 2)
        pixels = Pixels.of(values, self._pyramid)
        if self._device.type == "cuda":
            pixels = Pixels(pixels.values.pin_memory(), pixels.margin)
        return pixels, block_means(images)
