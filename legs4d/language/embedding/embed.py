"""Crops to embeddings, in batches that fill the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from legs4d.language.embedding.changes import StillCrops
from legs4d.language.embedding.crops import FrameRing, Indices, Pixels, cut
from legs4d.language.embedding.features import ClipModel, CropEncoder, FrameModel
from legs4d.language.embedding.pyramid import Pyramid


class CropEmbedder:
    """Embeds crops of the frames that a ring holds.

    With a `FrameModel` a crop of a frame is embedded once for all the windows that it is in, and not at all where it
    still looks as in an earlier frame. On a CPU batches are done side by side, each by one thread: products this small
    leave several threads waiting for each other, and many times so when another program runs.

    Args:
        still: which crops look as they did earlier.
    """

    def __init__(
        self, encoder: CropEncoder, pyramid: Pyramid, ring: FrameRing, device: torch.device, still: StillCrops
    ) -> None:
        self._pyramid, self._ring, self._device, self._still = pyramid, ring, device, still
        self._side = encoder.input_size
        self._dim = encoder.dim
        self._model = encoder.vision(device)
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        std = 255 * torch.tensor(encoder.std, device=device)
        self._scale = (1 / std).to(self._dtype)[:, None, None]
        self._shift = (255 * torch.tensor(encoder.mean, device=device) / std).to(self._dtype)[:, None, None]
        self._seen = _SeenCrops(still.shape[0] * still.shape[1])
        side_by_side = device.type == "cpu" and isinstance(self._model, FrameModel)
        self._threads = _SingleThreads(torch.get_num_threads()) if side_by_side else None

    def needs(self, frames: list[int]) -> list[int]:
        """The frames that the ring has to hold for a window."""
        if not isinstance(self._model, FrameModel):
            return frames
        return [*range(self._still.earliest(frames[0]), frames[0]), *frames]

    def close(self) -> None:
        """Let go of the threads."""
        if self._threads is not None:
            self._threads.close()

    def embed(
        self, frames: list[int], cameras: Indices, crops: Indices, check: Callable[[], None]
    ) -> NDArray[np.float16]:
        """Embeddings of N crops over a window.

        Args:
            frames: the window's; the ring holds what it `needs`.
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
            cuts = {
                frame: self._cut(self._ring.pixels(frame), cameras[some], crops[some])
                for frame in dict.fromkeys(frames)
            }
            parts.append(model.embed_clips(torch.stack([cuts[frame] for frame in frames], dim=1)))
        return parts

    def _embed_frames(
        self, model: FrameModel, frames: list[int], cameras: Indices, crops: Indices, check: Callable[[], None]
    ) -> list[Tensor]:
        self._seen.forget_before(self._still.earliest(frames[0]))
        which = cameras * self._pyramid.num_crops + crops
        seen_in = {frame: self._still.seen_in(frame)[cameras, crops] for frame in dict.fromkeys(frames)}
        for frame in np.unique(np.stack(list(seen_in.values()))).tolist():
            wanted = np.logical_or.reduce([seen == frame for seen in seen_in.values()])
            self._see(model, frame, self._seen.missing(frame, which[wanted]), check)
        slots = np.stack([self._seen.slots(seen_in[frame], which) for frame in frames], axis=1)
        return list(
            self._each(lambda some: model.embed_windows(self._seen.said(slots[some])), len(slots), model.batch, check)
        )

    def _see(self, model: FrameModel, frame: int, which: Indices, check: Callable[[], None]) -> None:
        """Embed crops of a frame."""
        camera, crop = np.divmod(which, self._pyramid.num_crops)
        order = np.argsort(crop, kind="stable")  # crops of one size are cut together
        which, camera, crop = which[order], camera[order], crop[order]
        pixels = self._ring.pixels(frame) if len(which) else None

        def see(some: slice) -> Tensor:
            assert pixels is not None
            return model.embed_frames(self._cut(pixels, camera[some], crop[some]))

        said = list(self._each(see, len(which), model.batch, check))
        if said:
            self._seen.add(frame, which, torch.cat(said))

    def _each(
        self, work: Callable[[slice], Tensor], count: int, batch: int, check: Callable[[], None]
    ) -> Iterator[Tensor]:
        if self._threads is not None:
            yield from self._threads.each(work, _batches(count, batch), check)
            return
        for some in _batches(count, batch):
            check()
            yield work(some)

    def _cut(self, pixels: Pixels, cameras: Indices, crops: Indices) -> Tensor:
        """[n, 3, S, S], normalised."""
        values = cut(pixels, self._pyramid, cameras, crops, self._side, self._dtype)
        return values.mul_(self._scale).sub_(self._shift)


class _SeenCrops:
    """What a `FrameModel` said of crops of frames, one row each.

    Args:
        crops: of a frame, of all its cameras.
    """

    def __init__(self, crops: int) -> None:
        self._crops = crops
        self._slots: dict[int, NDArray[np.int64]] = {}
        """Frame → row of each crop, -1 where there is none."""
        self._rows: Tensor | None = None
        self._free: NDArray[np.int64] = np.zeros(0, np.int64)

    def forget_before(self, frame: int) -> None:
        for earlier in [known for known in self._slots if known < frame]:
            slots = self._slots.pop(earlier)
            self._free = np.concatenate([self._free, slots[slots >= 0]])

    def missing(self, frame: int, which: Indices) -> Indices:
        known = self._slots.setdefault(frame, np.full(self._crops, -1))
        return which[known[which] < 0]

    def add(self, frame: int, which: Indices, said: Tensor) -> None:
        """Keep [n, width] of crops that were missing."""
        if self._rows is None:
            self._rows = said.new_empty((0, said.shape[1]))
        if len(self._free) < len(which):
            more = max(len(which) - len(self._free), len(self._rows) // 2)
            self._free = np.concatenate([self._free, len(self._rows) + np.arange(more)])
            self._rows = torch.cat([self._rows, said.new_empty((more, said.shape[1]))])
        chosen, self._free = self._free[: len(which)], self._free[len(which) :]
        self._rows[torch.from_numpy(chosen).to(said.device)] = said
        self._slots[frame][which] = chosen

    def slots(self, frames: NDArray[np.int32], which: Indices) -> NDArray[np.int64]:
        """[n] rows of crops that were added, each in the frame it was seen in."""
        found = np.empty(len(which), np.int64)
        for frame in np.unique(frames).tolist():
            there = frames == frame
            found[there] = self._slots[frame][which[there]]
        return found

    def said(self, slots: NDArray[np.int64]) -> Tensor:
        """[..., width]"""
        assert self._rows is not None
        return self._rows[torch.from_numpy(slots).to(self._rows.device)]


class _SingleThreads:
    """Does batches side by side, in threads whose products use no other threads."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "embed")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def each(
        self, work: Callable[[slice], Tensor], batches: list[slice], check: Callable[[], None]
    ) -> Iterator[Tensor]:
        """What `work` makes of each batch, in order."""
        threads = torch.get_num_threads()
        waiting = [self._pool.submit(_alone, work, batch) for batch in batches]
        try:
            for future in waiting:
                check()
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)  # what threads begin with that are made later: `_alone` has changed it


def _alone(work: Callable[[slice], Tensor], batch: slice) -> Tensor:
    torch.set_num_threads(1)
    return work(batch)


def _batches(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
