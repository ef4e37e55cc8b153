"""A sequence's training pictures, read onto a device: of one frame, of several in turn, and what they show behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import torch

from legs4d.errors import DatasetError
from legs4d.progress import Stopped, go_on
from legs4d.reconstruct.observation import Backdrop, Observation, spread
from legs4d.scene.sequence import Sequence, cameras_move

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
    cameras = sequence.cameras("train", frame)
    images = np.empty((len(cameras), cameras.height, cameras.width, 3), np.float32)
    masks = np.empty(images.shape[:3], np.float32)

    def read(camera: int) -> None:
        images[camera] = sequence.images("train", frame, [camera])[0]

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
    return Observation(
        cameras,
        torch.as_tensor(images, device=device),
        torch.as_tensor(masks, device=device),
        sequence.objects("train", frame) if labels else None,
    )


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
    left = Event()

    def step(*_: int) -> None:
        if left.is_set():
            raise Stopped("reading ahead")
        check()

    def read(frame: int) -> Observation:
        return observe(sequence, frame, device, step, labels=labels)

    with ThreadPoolExecutor(1, thread_name_prefix="legs4d-read") as reader:
        try:
            ahead = [reader.submit(read, frame) for frame in frames[:1]]
            for position, frame in enumerate(frames):
                current = ahead.pop()
                if position + 1 < len(frames):
                    ahead.append(reader.submit(read, frames[position + 1]))
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
    frames = np.unique(np.linspace(0, sequence.num_frames - 1, count + 1).round().astype(int))[1:]
    later = observations(sequence, [int(frame) for frame in frames], first.images.device, check)
    seen = [first, *(observed for _, observed in later)]
    backdrop = Backdrop(
        cameras=[observed.cameras for observed in seen],
        images=torch.stack([(observed.images * 255).round().to(torch.uint8) for observed in seen]),
        open=torch.stack([~spread(observed.masks > 0) for observed in seen]),
    )
    return backdrop if cameras_move(sequence) else backdrop.settled(check)
