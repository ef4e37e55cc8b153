"""The camera files of the native layout: train_meta.json and test_meta.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.checks import check_poses
from legs4d.scene.footage.names import natural_key
from legs4d.scene.lens import Lens, lens_of_matrix

_FIELDS = ("w", "h", "k", "w2c", "fn", "cam_id")
_DISTORTION = ("distortion", "dist", "distCoef", "dist_coeffs")
_KNOWN = {*_FIELDS, *_DISTORTION, "fps", "camera_model", "one_place"}


@dataclass(frozen=True)
class CameraFile:
    """C cameras over T frames, as one file tells of them.

    Attributes:
        world_to_camera: [T, C, 4, 4] float64.
        lenses: T lists of C lenses.
        names, ids: C names, and numbers, of the cameras, the same in every frame.
        files: T lists of C image files, relative to ims/.
        fps: frames per second, if the file tells.
        unused: what else the file holds.
        one_place: whether it says that all pictures were taken in one place, as `legs4d video` writes it: enough for
            language on a scene that is there, not to make one.
    """

    world_to_camera: NDArray[np.float64]
    lenses: tuple[tuple[Lens, ...], ...]
    names: tuple[str, ...]
    ids: tuple[int, ...]
    files: tuple[tuple[str, ...], ...]
    fps: float | None
    unused: tuple[str, ...]
    one_place: bool = False

    @property
    def num_frames(self) -> int:
        return len(self.files)

    @property
    def width(self) -> int:
        return self.lenses[0][0].width

    @property
    def height(self) -> int:
        return self.lenses[0][0].height


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises DatasetError when it is missing or cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DatasetError("is missing", where=str(path), fix="copy the dataset again") from error
    except (ValueError, RecursionError) as error:  # also a file that is not UTF-8
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
    width, height = (whole(content[side]) for side in ("w", "h"))
    if width is None or height is None or width <= 0 or height <= 0:
        said = f"{content['w']!r}×{content['h']!r}"
        raise DatasetError(f"says images of {said}", where=where, fix="w and h are pixels, above 0")
    fps = content.get("fps")
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps < float("inf")):
        raise DatasetError(f"says {fps!r} frames per second", where=where, fix="fps must be above 0, or left out")
    _repeat_per_frame(content)
    names = _check_layout(content, where)
    frames = len(content["fn"])
    world_to_camera = _matrices(content["w2c"], (frames, len(names), 4, 4), f"{where}, w2c")
    intrinsics = _matrices(content["k"], (frames, len(names), 3, 3), f"{where}, k")
    for frame in range(frames):
        called = [f"{where}, camera {name}, frame {frame}" for name in names]
        check_poses(world_to_camera[frame], intrinsics[frame], called)
    lenses = _lenses(content, intrinsics, (width, height), names, where)
    files = tuple(tuple(_name(name, where) for name in row) for row in content["fn"])
    unused = tuple(sorted(set(content) - _KNOWN))
    rate = None if fps is None else float(fps)
    one_place = content.get("one_place") is True
    return CameraFile(world_to_camera, lenses, names, _numbers(names), files, rate, unused, one_place)


def whole(value: Any) -> int | None:
    """A whole number, also one that a script wrote as 96.0 or "96"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _repeat_per_frame(content: dict[str, Any]) -> None:
    """Lists that are given once, for cameras that stand still, become one per frame."""
    files = content["fn"]
    frames = len(files) if isinstance(files, list) else 0
    for name, depth in (("cam_id", 1), ("k", 3), ("w2c", 3), *((name, 2) for name in _DISTORTION)):
        value, found = content.get(name), 0
        while isinstance(value, list) and value:
            value, found = value[0], found + 1
        if found == depth:
            content[name] = [content[name]] * frames


def _lenses(
    content: dict[str, Any],
    intrinsics: NDArray[np.float64],
    size: tuple[int, int],
    names: tuple[str, ...],
    where: str,
) -> tuple[tuple[Lens, ...], ...]:
    """Of each frame and camera; `distortion` holds OpenCV's coefficients in its order, or those of `camera_model`."""
    given = next((content[name] for name in _DISTORTION if name in content), None)
    model = content.get("camera_model")
    if model is not None and not isinstance(model, str):
        raise DatasetError(f"says the camera_model {model!r}", where=where, fix="name one of COLMAP's models")
    known: dict[tuple[Any, ...], Lens] = {}

    def lens(frame: int, camera: int) -> Lens:
        called = f"{where}, camera {names[camera]}, frame {frame}"
        try:
            values = np.ravel(given[frame][camera]).astype(float).tolist() if given is not None else []
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise DatasetError("has no distortion that is a list of numbers", where=called) from error
        key = (intrinsics[frame, camera].tobytes(), *values)
        if key not in known:
            known[key] = lens_of_matrix(model, *size, intrinsics[frame, camera], values, called)
        return known[key]

    frames, cameras = intrinsics.shape[:2]
    return tuple(tuple(lens(frame, camera) for camera in range(cameras)) for frame in range(frames))


def _check_layout(content: dict[str, Any], where: str) -> tuple[str, ...]:
    """Camera names, after checking that every list has one entry per frame, and in it one per camera."""
    per_frame = {name: content[name] for name in ("fn", "cam_id", "k", "w2c")}
    if not all(isinstance(v, list) and all(isinstance(x, list) for x in v) for v in per_frame.values()):
        raise DatasetError("fn, cam_id, k and w2c are not all lists of lists", where=where, fix="one list per frame")
    counts = {name: len(v) for name, v in per_frame.items()}
    if len(set(counts.values())) != 1 or not counts["fn"]:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DatasetError(f"frames do not agree: {found}", where=where, fix="each needs one entry per frame")
    named = [[_camera_name(camera, where) for camera in row] for row in content["cam_id"]]
    names = tuple(named[0])
    if not names:
        raise DatasetError("has no camera", where=where, fix="list cameras in cam_id")
    if len(set(names)) != len(names):
        raise DatasetError("names a camera twice in cam_id", where=where, fix="give each camera its own number")
    for frame in range(counts["fn"]):
        if tuple(named[frame]) != names:
            lost = sorted(set(names) - set(named[frame]), key=natural_key)
            what = f"frame {frame} lacks camera {lost[0]}" if lost else f"frame {frame} has other cameras than frame 0"
            raise DatasetError(what, where=where, fix="every frame needs every camera, in one order")
        for name, values in per_frame.items():
            if len(values[frame]) != len(names):
                raise DatasetError(
                    f"frame {frame} has {len(values[frame])} entries in {name}, but {len(names)} cameras",
                    where=where,
                    fix="every frame needs every camera",
                )
    return names


def _camera_name(camera: Any, where: str) -> str:
    number = whole(camera)
    if number is None and not (isinstance(camera, str) and camera.strip()):
        raise DatasetError(f"has the camera id {camera!r}", where=where, fix="use whole numbers, or names")
    return camera.strip() if number is None else str(number)


def _numbers(names: tuple[str, ...]) -> tuple[int, ...]:
    """The names as numbers, if all are; else positions."""
    return tuple(int(name) for name in names) if all(name.isdecimal() for name in names) else tuple(range(len(names)))


def _matrices(value: list, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    try:
        matrices = np.array(value, np.float64).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"is not {shape[2]}×{shape[3]} numbers per camera and frame", where=where) from error
    return matrices


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name:
        raise DatasetError(
            f"names the image {name!r}", where=where, fix="images lie under ims/, as <camera>/<frame>.jpg"
        )
    return name
