"""The camera files of the native layout: train_meta.json and test_meta.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.checks import check_poses

_FIELDS = ("w", "h", "k", "w2c", "fn", "cam_id")


@dataclass(frozen=True)
class CameraFile:
    """C cameras over T frames, as one file tells of them.

    Attributes:
        width, height: image size in pixels.
        world_to_camera: [T, C, 4, 4] float32.
        intrinsics: [T, C, 3, 3] float32, pixels.
        ids: C camera numbers, the same in every frame.
        files: T lists of C image files, relative to ims/.
        fps: frames per second, if the file tells.
    """

    width: int
    height: int
    world_to_camera: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    ids: tuple[int, ...]
    files: tuple[tuple[str, ...], ...]
    fps: float | None

    @property
    def num_frames(self) -> int:
        return len(self.files)

    def cameras(self, frame: int) -> Cameras:
        """The cameras at this frame, at full size."""
        return Cameras(self.world_to_camera[frame], self.intrinsics[frame], self.width, self.height, self.ids)


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises DatasetError when it is missing or cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError("is missing", where=str(path), fix="copy the dataset again") from error
    except ValueError as error:  # also a file that is not UTF-8
        raise DatasetError(f"is not valid JSON ({error})", where=str(path), fix="copy the dataset again") from error
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})", where=str(path), fix="check the file") from error


def read_camera_file(path: Path) -> CameraFile:
    """Read and check a camera file.

    Raises:
        DatasetError: it is missing, not JSON, lacks a field, a frame lacks a camera, or a camera is impossible.
    """
    content = read_json(path)
    where = str(path)
    missing = [name for name in _FIELDS if not isinstance(content, dict) or name not in content]
    if missing:
        raise DatasetError(f"has no {missing[0]!r}", where=where, fix=f"a camera file has {', '.join(_FIELDS)}")
    width, height = content["w"], content["h"]
    if not all(isinstance(side, int) and side > 0 for side in (width, height)):
        raise DatasetError(f"says images of {width!r}×{height!r}", where=where, fix="w and h are pixels, above 0")
    fps = content.get("fps")
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps < float("inf")):
        raise DatasetError(f"says {fps!r} frames per second", where=where, fix="fps must be above 0, or left out")
    ids = _check_layout(content, where)
    frames = len(content["fn"])
    world_to_camera = _matrices(content["w2c"], (frames, len(ids), 4, 4), f"{where}, w2c")
    intrinsics = _matrices(content["k"], (frames, len(ids), 3, 3), f"{where}, k")
    for frame in range(frames):
        names = [f"{where}, camera {camera}, frame {frame}" for camera in ids]
        check_poses(world_to_camera[frame], intrinsics[frame], names)
    files = tuple(tuple(_safe(name, where) for name in names) for names in content["fn"])
    return CameraFile(width, height, world_to_camera, intrinsics, ids, files, None if fps is None else float(fps))


def _check_layout(content: dict[str, Any], where: str) -> tuple[int, ...]:
    """Camera ids, after checking that every list has one entry per frame, and in it one per camera."""
    per_frame = {name: content[name] for name in ("fn", "cam_id", "k", "w2c")}
    if not all(isinstance(v, list) and all(isinstance(x, list) for x in v) for v in per_frame.values()):
        raise DatasetError("fn, cam_id, k and w2c are not all lists of lists", where=where, fix="one list per frame")
    counts = {name: len(v) for name, v in per_frame.items()}
    if len(set(counts.values())) != 1 or not counts["fn"]:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DatasetError(f"frames do not agree: {found}", where=where, fix="each needs one entry per frame")
    try:
        ids = tuple(int(camera) for camera in content["cam_id"][0])
    except (TypeError, ValueError) as error:
        raise DatasetError(f"has a camera id that is no number ({error})", where=where, fix="use integers") from error
    if len(set(ids)) != len(ids):
        raise DatasetError("names a camera twice in cam_id", where=where, fix="give each camera its own number")
    for frame in range(counts["fn"]):
        if tuple(content["cam_id"][frame]) != ids:
            lost = sorted(set(ids) - set(content["cam_id"][frame]))
            what = f"frame {frame} lacks camera {lost[0]}" if lost else f"frame {frame} has other cameras than frame 0"
            raise DatasetError(what, where=where, fix="every frame needs every camera, in one order")
        for name, values in per_frame.items():
            if len(values[frame]) != len(ids):
                raise DatasetError(
                    f"frame {frame} has {len(values[frame])} entries in {name}, but {len(ids)} cameras",
                    where=where,
                    fix="every frame needs every camera",
                )
    return ids


def _matrices(value: list, shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    try:
        matrices = np.array(value, np.float32).reshape(shape)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"is not {shape[2]}×{shape[3]} numbers per camera and frame", where=where) from error
    return matrices


def _safe(name: Any, where: str) -> str:
    """A file name inside the dataset: a dataset from elsewhere must not make us read other files."""
    if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DatasetError(
            f"names the image {name!r}", where=where, fix="images lie under ims/, as <camera>/<frame>.jpg"
        )
    return name
