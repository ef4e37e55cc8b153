"""What readers of other layouts than the native one share: cameras as tables, pictures on demand, no more memory than
a few frames."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.checks import check_camera_count, check_poses, check_scale
from legs4d.scene.images import ImageCache, area_resize
from legs4d.scene.sequence import Caption, InitialPoints, Split

Model = TypeVar("Model", bound=BaseModel)

HOLD_OUT_EVERY = 8
"""Where a layout names no test cameras, the first of every eight is held out (Mip-NeRF 360's custom)."""


class Footage(ABC):
    """A `Sequence` without object masks; with masks where pictures have an alpha channel.

    Args:
        root: the dataset folder.
        scale: images are resized to round(scale·W) × round(scale·H); 0 < scale ≤ 1.
        tracks: per split, the cameras of each frame at full size, all of one size; as many frames in each split.
        fps: frames per second.
        fingerprint: hash of all that was read so far, from which the run's first fingerprint is made.
        has_alpha: whether pictures have a fourth channel that tells the foreground.
        points: to start from, if the dataset knows any.

    Raises:
        DatasetError: a camera is impossible, or there are too few.
    """

    captions: dict[int, list[Caption]] | None = None
    notes: tuple[str, ...] = ()
    origin = (0.0, 0.0, 0.0)

    def __init__(
        self,
        root: Path,
        scale: float,
        tracks: dict[Split, list[Cameras]],
        fps: float,
        fingerprint: str,
        *,
        has_alpha: bool = False,
        points: InitialPoints | None = None,
    ) -> None:
        self.root, self.scale, self.fps = root, scale, fps
        self._tracks, self._has_alpha, self._fingerprint = tracks, has_alpha, fingerprint
        self.num_frames = len(tracks["train"])
        self.frame_numbers = tuple(range(self.num_frames))
        self.initial_points = points
        first = tracks["train"][0]
        check_scale(scale, first.width, first.height)
        for split, track in tracks.items():
            for frame, cameras in enumerate(track):
                names = [f"{root}, {split} camera {camera}, frame {frame}" for camera in cameras.ids]
                check_poses(cameras.world_to_camera, cameras.intrinsics, names)
        if len({pose.tobytes() for cameras in tracks["train"] for pose in cameras.world_to_camera}) == 1:
            check_camera_count(1, str(root))
        self._cache = ImageCache()

    @abstractmethod
    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB, or [H, W, 4] with alpha, at full size; `camera` is a position. May be called by threads."""

    def cameras(self, split: Split, frame: int) -> Cameras:
        """The cameras at the working size; none of them where the dataset has no test pictures of this frame."""
        if split not in self._tracks:
            return _none_like(self._tracks["train"][0]).scaled(self.scale)
        return self._tracks[split][frame].scaled(self.scale)

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        """[C, H, W, 3] RGB in 0..1; what is transparent is white, as NeRF's synthetic scenes are shown."""
        pictures = self._pictures(split, frame, cameras)
        if not self._has_alpha:
            return pictures
        return pictures[..., :3] * pictures[..., 3:] + (1 - pictures[..., 3:])

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] share of each pixel that is foreground; None without an alpha channel."""
        return self._pictures(split, frame, cameras)[..., 3] if self._has_alpha else None

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        """None: these layouts have no object masks."""
        return None

    def fingerprint(self, *, language: bool = False) -> str:
        """Hash of cameras, scale, and the name, size and time of each file."""
        return hashlib.sha256(f"{self._fingerprint} scale {self.scale!r}".encode()).hexdigest()

    def _pictures(self, split: Split, frame: int, cameras: list[int] | None) -> NDArray[np.float32]:
        """[C, H, W, 3 or 4] in 0..1, at the working size."""
        size = self.cameras(split, frame)
        wanted = range(len(size)) if cameras is None else cameras
        stack = np.empty((len(wanted), size.height, size.width, 4 if self._has_alpha else 3), np.float32)
        for i, camera in enumerate(wanted):
            load = partial(self._load, split, frame, int(camera))
            stack[i] = self._cache.get((split, frame, int(camera)), load)
        return stack

    def _load(self, split: Split, frame: int, camera: int) -> NDArray[np.float32]:
        full, size = self._tracks[split][frame], self.cameras(split, frame)
        picture = self._picture(split, frame, camera)
        if picture.shape[:2] != (full.height, full.width):
            raise DatasetError(
                f"camera {full.ids[camera]}, frame {frame} is {picture.shape[1]}×{picture.shape[0]} pixels, its camera "
                f"{full.width}×{full.height}",
                where=str(self.root),
                fix="all pictures must have the size that their cameras were calibrated for",
            )
        values = picture.astype(np.float32) / np.float32(255)
        if not self._has_alpha:
            return area_resize(values, size.width, size.height)
        # Colours count by how opaque they are, or what is transparent would bleed into the edges.
        values[..., :3] *= values[..., 3:]
        resized = area_resize(values, size.width, size.height)
        resized[..., :3] /= np.maximum(resized[..., 3:], 1e-6)
        return resized


def held_out(count: int) -> list[int]:
    """Positions of the test cameras among `count`: every eighth from the first, none of eight or fewer."""
    return list(range(0, count, HOLD_OUT_EVERY)) if count > HOLD_OUT_EVERY else []


def split_cameras(cameras: list[Cameras], test: list[int]) -> dict[Split, list[Cameras]]:
    """Tracks of the training and of the test cameras, from all cameras of each frame."""
    train = [i for i in range(len(cameras[0])) if i not in set(test)]
    tracks: dict[Split, list[Cameras]] = {"train": [c.take(train) for c in cameras]}
    if test:
        tracks["test"] = [c.take(test) for c in cameras]
    return tracks


def hash_files(*paths: Path) -> str:
    """Hash of the names, sizes and times of files."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name} {path.parent.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def inside(root: Path, name: str, where: str) -> Path:
    """`root/name`, which must stay inside: a dataset from elsewhere must not make us read other files."""
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts:
        raise DatasetError(f"names the file {name!r}", where=where, fix="name files inside the dataset folder")
    return root / name


def _none_like(cameras: Cameras) -> Cameras:
    none = np.zeros((0, 4, 4), np.float32), np.zeros((0, 3, 3), np.float32)
    return Cameras(*none, cameras.width, cameras.height, ())


def read_model(path: Path, model: type[Model], what: str, fix: str) -> Model:
    """A JSON file as a pydantic model. Raises DatasetError that it is no `what`, and which field is wrong."""
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})", where=str(path), fix="check the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = f"{place}: {first['msg']}" if place else first["msg"]
        raise DatasetError(f"is no {what} ({wrong})", where=str(path), fix=fix) from error
