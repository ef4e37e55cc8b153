"""Footage as it is, to be changed in part: with masks of what moves, or with objects that were found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Sequence, Split


class Wrapped:
    """What a `Sequence` says of everything but its masks.

    Args:
        sequence: footage.
    """

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self.root, self.num_frames, self.fps = sequence.root, sequence.num_frames, sequence.fps
        self.frame_numbers, self.times = sequence.frame_numbers, sequence.times
        self.captions, self.see_through = sequence.captions, sequence.see_through
        self.initial_points, self.bounds, self.content = sequence.initial_points, sequence.bounds, sequence.content
        self.notes, self.origin, self.reading = sequence.notes, sequence.origin, sequence.reading

    def cameras(self, split: Split, frame: int) -> Cameras:
        return self._sequence.cameras(split, frame)

    def taken_at(self, split: Split, frame: int) -> NDArray[np.float64]:
        return self._sequence.taken_at(split, frame)

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        return self._sequence.images(split, frame, cameras)

    def in_bytes(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        return self._sequence.in_bytes(split, frame, camera)

    def cut(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        return self._sequence.cut(split, frame, cameras)

    def depths(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        return self._sequence.depths(split, frame, cameras)

    def known(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.bool_] | None:
        return self._sequence.known(split, frame, cameras)

    def picture_names(self, split: Split, frame: int) -> tuple[str, ...]:
        return self._sequence.picture_names(split, frame)
