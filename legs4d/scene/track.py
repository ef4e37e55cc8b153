"""Cameras that move: where each picture of a split was taken, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Sequence, Split, cameras_move


@dataclass(frozen=True)
class Track:
    """P pictures of cameras that move.

    Attributes:
        cameras: of all pictures, frame by frame.
        frames: [P] int32, ascending: the frame that each picture belongs to; frames may have none, or several.
        moments: [P] float64, when it was taken, in frames; see `Sequence.taken_at`.
    """

    cameras: Cameras
    frames: NDArray[np.int32]
    moments: NDArray[np.float64]

    @property
    def is_one(self) -> bool:
        """Whether it is one camera's, with a picture in every frame."""
        return np.array_equal(self.frames, np.arange(len(self.frames)))

    def between(self, moment: float) -> Cameras:
        """Where a track that `is_one` is at a moment, in frames: it goes straight and turns evenly between pictures."""
        from scipy.spatial.transform import Rotation, Slerp  # not for those who read a run and no more

        first = min(int(moment), max(len(self.frames) - 2, 0))
        share = moment - first
        if share == 0 or len(self.frames) < 2:
            return self.cameras.take([first])
        pair = self.cameras.take([first, first + 1])
        poses = pair.world_to_camera.astype(np.float64)
        turn = Slerp([0, 1], Rotation.from_matrix(poses[:, :3, :3]))(share).as_matrix()
        centers = pair.centers.astype(np.float64)
        between = np.eye(4)
        between[:3, :3] = turn
        between[:3, 3] = -turn @ (centers[0] + share * (centers[1] - centers[0]))
        intrinsics = pair.intrinsics[:1] + np.float32(share) * (pair.intrinsics[1:] - pair.intrinsics[:1])
        return Cameras(between[None].astype(np.float32), intrinsics, pair.width, pair.height, pair.ids[:1])

    def at(self, frame: int) -> Cameras:
        """The cameras of a frame."""
        return self.cameras.take(np.flatnonzero(self.frames == frame))


def track_of(sequence: Sequence, split: Split) -> Track:
    """The cameras of every frame of footage."""
    frames = range(sequence.num_frames)
    cameras = [sequence.cameras(split, frame) for frame in frames]
    counts = [len(some) for some in cameras]
    return Track(
        Cameras.together(cameras),
        np.repeat(np.arange(sequence.num_frames, dtype=np.int32), counts),
        np.concatenate([sequence.taken_at(split, frame) for frame in frames]),
    )


def filmed(sequence: Sequence, split: Split) -> Cameras | Track | None:
    """What a run keeps of a split: its cameras, or where they were if they move; None if there are none."""
    if cameras_move(sequence):
        track = track_of(sequence, split)
        return track if len(track.cameras) else None
    cameras = sequence.cameras(split, 0)
    return cameras if len(cameras) else None
