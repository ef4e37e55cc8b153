"""The files of NeRF's layout, `transforms_train.json` or `transforms.json`, as they are written: what a picture and its
lens are called, which pictures are held out, and which fields mean nothing here; told in `readers/nerf.py`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from legs4d.errors import DatasetError
from legs4d.scene.footage.camera_file import whole
from legs4d.scene.footage.footage import read_model
from legs4d.scene.footage.names import as_posix
from legs4d.scene.lens import COEFFICIENTS, Lens, lens_of
from legs4d.scene.sequence import Split

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenGL's camera axes to OpenCV's."""

_MODELS = {"PERSPECTIVE": "OPENCV", "PINHOLE": "PINHOLE", "FISHEYE": "OPENCV_FISHEYE"}
"""Names of nerfstudio's that COLMAP has not, or uses for another model."""

_USUAL = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
"""Coefficients that any file may name; those of other models count where their model is named."""

_SILENT = {
    *(
        "aabb_scale",
        "applied_scale",
        "applied_transform",
        "center",
        "colmap_im_id",
        "far",
        "frame_id",
        "near",
        "offset",
    ),
    *("orientation_override", "render_aabb", "rotation", "scale", "sharpness", "up"),
}
"""Fields that mean nothing here: what is wanted of poses is in the poses."""


class LensFields(BaseModel):
    """What may be told of the lens, of one picture or of all."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    camera_model: str | None = None
    is_fisheye: bool = False
    camera_angle_x: float | None = Field(default=None, gt=0, lt=np.pi)
    camera_angle_y: float | None = Field(default=None, gt=0, lt=np.pi)
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    w: int | None = Field(default=None, gt=0)
    h: int | None = Field(default=None, gt=0)

    @field_validator("w", "h", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """Scripts write 96.0, and "96"."""
        number = whole(value)
        return value if number is None else number


class FrameFields(LensFields):
    """A picture."""

    file_path: str
    transform_matrix: list[list[float]]
    mask_path: str | None = None
    time: float | None = None


class TransformsFile(LensFields):
    """A whole file."""

    frames: list[FrameFields]
    fps: float | None = Field(default=None, gt=0)
    ply_file_path: str | None = None
    train_filenames: list[str] | None = None
    val_filenames: list[str] | None = None
    test_filenames: list[str] | None = None

    @cached_property
    def tests(self) -> frozenset[PurePosixPath]:
        """What `test_filenames` has, or `val_filenames` where there are none."""
        return frozenset(map(as_posix, self.test_filenames or self.val_filenames or ()))

    @cached_property
    def spare(self) -> frozenset[PurePosixPath]:
        """What `val_filenames` has beside these: held out, and never asked for."""
        return frozenset(map(as_posix, self.val_filenames or ())) - self.tests

    @cached_property
    def train(self) -> frozenset[PurePosixPath] | None:
        """What `train_filenames` has; None where there are none, and all that is not held out is trained on."""
        return None if self.train_filenames is None else frozenset(map(as_posix, self.train_filenames))


def split_of(name: str, file: TransformsFile, frame: FrameFields) -> Split | None:
    """ "train" or "test", where the files say so."""
    if name == "transforms_train.json":
        return "train"
    if name in ("transforms_test.json", "transforms_val.json"):
        return "test"
    if not file.tests and file.train_filenames is None:
        return None
    return "test" if as_posix(frame.file_path) in file.tests else "train"


def is_left_out(file: TransformsFile, frame: FrameFields) -> bool:
    """Whether a frame is neither one to train on nor one of those that judge, as the file's lists say."""
    name = as_posix(frame.file_path)
    if name in file.tests:
        return False
    return name in file.spare if file.train is None else name not in file.train


def transforms_files(root: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names of the files to read, the first of them with training pictures, and what to note."""
    train, test, val = (f"transforms_{split}.json" for split in ("train", "test", "val"))
    if not (root / train).exists():
        return ["transforms.json"], ()
    held = [name for name in (test, val) if (root / name).exists()]
    return [train, *held[:1]], (f"{val} is not read: {test} has the pictures that are held out.",) * (len(held) > 1)


def lens_in(file: TransformsFile, frame: FrameFields, size: tuple[int, int], where: str) -> Lens:
    """The lens of one picture of `size` (width, height); a picture's own fields count before the file's.

    Raises:
        DatasetError: no focal length is told, one of w and h, or a coefficient that is no number.
    """

    def of(field: str) -> Any:
        own = getattr(frame, field)
        return own if field in frame.model_fields_set else getattr(file, field)

    def coefficient(name: str) -> float:
        value = (frame.model_extra or {}).get(name, (file.model_extra or {}).get(name, 0.0))
        if value is None:
            return 0.0
        if not isinstance(value, int | float):
            raise DatasetError(f"says {name} = {value!r}", where=where, fix="write a number")
        return float(value)

    width, height = of("w") or size[0], of("h") or size[1]
    if (of("w") is None) != (of("h") is None):
        raise DatasetError("has one of w and h alone", where=where, fix="write both, or none")
    if of("fl_x") is None and of("camera_angle_x") is None:
        raise DatasetError("has no focal length", where=where, fix="add camera_angle_x, or fl_x and fl_y")
    fx = of("fl_x") if of("fl_x") is not None else width / 2 / np.tan(of("camera_angle_x") / 2)
    fy = of("fl_y")
    if fy is None:
        tall = of("camera_angle_y") if of("fl_x") is None else None
        fy = fx if tall is None else height / 2 / np.tan(tall / 2)
    center = tuple(of(n) if of(n) is not None else side / 2 for n, side in (("cx", width), ("cy", height)))
    given = of("camera_model") or ("OPENCV_FISHEYE" if of("is_fisheye") else "OPENCV")
    model = _MODELS.get(given.upper(), given.upper())
    values = {name: coefficient(name) for name in {*_USUAL, *COEFFICIENTS.get(model, ())}}
    return lens_of(model, width, height, (float(fx), float(fy)), (float(center[0]), float(center[1])), values, where)


def unused_fields(files: dict[str, TransformsFile]) -> tuple[str, ...]:
    """A note of each field that says something about the footage and is not used."""
    found: dict[str, str] = {}
    known = {*_SILENT, *_USUAL, *(name for names in COEFFICIENTS.values() for name in names)}
    for name, file in files.items():
        for part in (file, *file.frames):
            for field in part.model_extra or {}:
                if field not in known:
                    found.setdefault(field, name)
    return tuple(f"{field} in {name} is read and not used." for field, name in found.items())


def read_transforms(path: Path) -> TransformsFile:
    """A file as it is written. Raises DatasetError when it is missing, cut short or another file."""
    fix = "write camera_angle_x (or fl_x) and frames: [{file_path, transform_matrix}]"
    return read_model(path, TransformsFile, "list of pictures", fix)


def matrix_of(rows: list[list[float]], where: str) -> NDArray[np.float64]:
    """`transform_matrix` as [4, 4]. Raises DatasetError when it is no such matrix."""
    if len(rows) not in (3, 4) or any(len(row) != 4 for row in rows):
        raise DatasetError("transform_matrix is not 4×4", where=where, fix="write camera to world, OpenGL")
    return np.array([*rows, [0, 0, 0, 1]][:4], np.float64)
