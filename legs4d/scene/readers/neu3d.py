"""The layout of Neural 3D Video (Li et al. 2022): `poses_bounds.npy`, and one video per camera, `cam00.mp4`, ….

`poses_bounds.npy` is LLFF's: a row of 17 numbers per camera, in the order of the videos' names; a 3×5 matrix (camera to
world with axes down, right, backwards; then height, width and focal length of the full pictures) and two depth bounds.
The first camera is the test camera, as in the paper. Frames are decoded when they are asked for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.readers.footage import Footage, hash_files, split_cameras
from legs4d.scene.readers.movie_set import SAME_SHAPE, MovieSet
from legs4d.scene.sequence import Split

TEST_CAMERA = 0
"""Position of the camera that is held out."""


class Neu3dSequence(Footage):
    """A `Sequence` in the layout of Neural 3D Video.

    Raises:
        DatasetError: there are no videos, another number than poses, poses that cannot be read, or videos that do not
            go together.
    """

    def __init__(self, root: Path, scale: float = 1.0) -> None:
        paths = sorted(root.glob("cam*.mp4"))
        poses = _read_poses(root / "poses_bounds.npy")
        if len(paths) != len(poses):
            raise DatasetError(
                f"has {len(poses)} poses, but there are {len(paths)} videos cam*.mp4",
                where=str(root / "poses_bounds.npy"),
                fix="copy the dataset again: each camera needs its row and its video",
            )
        self._videos = MovieSet(paths)
        ids = tuple(_number(path, i) for i, path in enumerate(paths))
        self._videos.fit_shape(poses[0, 1, 4], poses[0, 0, 4])
        cameras = _cameras(poses, self._videos.width, self._videos.height, ids, str(root / "poses_bounds.npy"))
        tracks = split_cameras([cameras] * self._videos.num_frames, [TEST_CAMERA])
        self._position = {camera: i for i, camera in enumerate(ids)}
        super().__init__(root, scale, tracks, self._videos.fps, hash_files(root / "poses_bounds.npy", *paths))
        self.notes = self._videos.notes

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        number = self._tracks[split][frame].ids[camera]
        return self._videos.read(self._position[number], frame)


def _read_poses(path: Path) -> NDArray[np.float64]:
    """[C, 3, 5]."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"cannot be read ({error})", where=str(path), fix="copy the dataset again") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        raise DatasetError(f"is {rows.dtype} {rows.shape}", where=str(path), fix="it must be [cameras, 17] numbers")
    return rows[:, :15].reshape(-1, 3, 5).astype(np.float64)


def _cameras(poses: NDArray[np.float64], width: int, height: int, ids: tuple[int, ...], where: str) -> Cameras:
    down, right, back, center = (poses[:, :, i] for i in range(4))
    rotation = np.stack([right, down, -back], axis=1)  # rows: OpenCV's axes in the world
    world_to_camera = np.tile(np.eye(4), (len(poses), 1, 1))
    world_to_camera[:, :3, :3] = rotation
    world_to_camera[:, :3, 3] = -np.einsum("cij,cj->ci", rotation, center)
    full_height, full_width, focal = (poses[:, i, 4] for i in range(3))
    bad = ~(np.abs(full_width * height - full_height * width) <= SAME_SHAPE * full_height * width)
    if bad.any():
        first = int(bad.argmax())
        raise DatasetError(
            f"camera {ids[first]} is calibrated for {full_width[first]:g}×{full_height[first]:g} pixels, its video is "
            f"{width}×{height}",
            where=where,
            fix="the videos may be scaled, but not cropped",
        )
    intrinsics = np.zeros((len(poses), 3, 3))
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = focal * width / full_width, focal * height / full_height
    intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = width / 2, height / 2, 1
    return Cameras(world_to_camera.astype(np.float32), intrinsics.astype(np.float32), width, height, ids)


def _number(path: Path, position: int) -> int:
    digits = path.stem.removeprefix("cam")
    return int(digits) if digits.isdigit() else 1000 + position
