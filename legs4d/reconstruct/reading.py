"""A sequence's training pictures, read onto a device: of one frame, of several in turn, and what they show behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.progress import Stopped, go_on
from legs4d.reconstruct.observation import Backdrop, Observation, spread
from legs4d.scene.sequence import Sequence, cameras_move

Frame = TypeVar("Frame")

READ_AT_ONCE = max(2, os.cpu_count() or 1)
"""Pictures that are read side by side between two looks at whether to stop, as their masks are found."""


def observe(
    sequence: Sequence,
    frame: int,
    device: torch.device,
    step: Callable[[int, int], object] = go_on,
    *,
    labels: bool = False,
) -> Observation:
    """A frame's training pictures on a device.

    Args:
        labels: read object masks too.
        step: told after every few pictures how many are read, of how many; what it raises ends the reading.

    Raises:
        DatasetError: there are no masks.
    """
    images, masks = _read(sequence, frame, step, np.float32)
    return Observation(
        sequence.cameras("train", frame),
        torch.as_tensor(images, device=device),
        torch.as_tensor(masks, device=device),
        sequence.objects("train", frame) if labels else None,
    )


def _read(
    sequence: Sequence, frame: int, step: Callable[[int, int], object], dtype: type[np.float32] | type[np.uint8]
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """A frame's training pictures [C, H, W, 3], in 0..1 or in bytes, and masks [C, H, W]; see `observe`."""
    cameras = sequence.cameras("train", frame)
    images = np.empty((len(cameras), cameras.height, cameras.width, 3), dtype)
    masks = np.empty(images.shape[:3], np.float32)

    def read(camera: int) -> None:
        if dtype is np.float32:
            images[camera] = sequence.images("train", frame, [camera])[0]
        else:
            images[camera] = sequence.in_bytes("train", frame, camera)

    with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="legs4d-picture") as readers:
        for start in range(0, len(cameras), READ_AT_ONCE):
            step(start, len(cameras))
            some = list(range(start, min(start + READ_AT_ONCE, len(cameras))))
            # Pictures before their masks, which are found in them.
            list(readers.map(read, some))
            found = sequence.masks("train", frame, some)
            if found is None:
                where, fix = f"{sequence.root}/seg", "add seg/<camera>/<frame>.png"
                raise DatasetError("has no foreground masks", where=where, fix=fix)
            masks[some] = found
    step(len(cameras), len(cameras))
    return images, masks


def observations(
    sequence: Sequence,
    frames: list[int],
    device: torch.device,
    check: Callable[..., object] = go_on,
    *,
    labels: bool = False,
) -> Iterator[tuple[int, Observation]]:
    """Frames and their training pictures; the next is read while the caller works on one.

    Args:
        check: called every few pictures, while these are read; what it raises is raised here, at the frame's turn.
        labels: read object masks too.
    """
    return _ahead(frames, lambda frame, step: observe(sequence, frame, device, step, labels=labels), check)


def _ahead(
    frames: list[int], read: Callable[[int, Callable[..., None]], Frame], check: Callable[..., object]
) -> Iterator[tuple[int, Frame]]:
    """Frames and what `read(frame, step)` reads of them; the next while the caller works on one."""
    left = Event()

    def step(*_: int) -> None:
        if left.is_set():
            raise Stopped("reading ahead")
        check()

    with ThreadPoolExecutor(1, thread_name_prefix="legs4d-read") as reader:
        try:
            ahead = [reader.submit(read, frame, step) for frame in frames[:1]]
            for position, frame in enumerate(frames):
                current = ahead.pop()
                if position + 1 < len(frames):
                    ahead.append(reader.submit(read, frames[position + 1], step))
                yield frame, current.result()
        finally:
            left.set()  # nobody waits for pictures that nobody wants


def find_backdrop(
    sequence: Sequence, count: int, first: Observation, check: Callable[..., object] = go_on
) -> Backdrop | None:
    """What the first and `count` later frames, evenly spread, show of the background; None where that is not asked for.

    Args:
        first: the first frame's pictures; their device is used.
        check: called every few pictures; what it raises ends the work.
    """
    if count == 0:
        return None
    device, shape = first.images.device, first.images.shape
    frames = [int(frame) for frame in np.unique(np.linspace(0, sequence.num_frames - 1, count + 1).round())][1:]
    backdrop = Backdrop(
        cameras=[first.cameras, *(sequence.cameras("train", frame) for frame in frames)],
        images=torch.empty(1 + len(frames), *shape, dtype=torch.uint8, device=device),
        open=torch.empty(1 + len(frames), *shape[:3], dtype=torch.bool, device=device),
    )
    backdrop.images[0] = (first.images * 255).round()
    backdrop.open[0] = ~spread(first.masks > 0)
    later = _ahead(frames, lambda frame, step: _read(sequence, frame, step, np.uint8), check)
    for position, (_, (images, masks)) in enumerate(later, start=1):  # bytes: as floats all of them are a gigabyte
        backdrop.images[position] = torch.from_numpy(images)
        backdrop.open[position] = ~spread(torch.from_numpy(masks > 0).to(device))
    return backdrop if cameras_move(sequence) else backdrop.settled(check)
