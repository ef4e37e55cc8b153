"""The native layout, that of Dynamic3DGS's PanopticSports (Luiten et al. 2023).

train_meta.json, test_meta.json   cameras (the second is optional)
ims/<cam>/<frame>.jpg             images, as named in the camera files
seg/<cam>/<frame>.png             foreground where not zero (optional, training cameras)
objects/<cam>/<frame>.png         object ids (optional, training cameras)
captions.json                     what each object does, and when (optional)
init_pt_cld.npz                   points to start from (optional)
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.checks import check_camera_count, check_scale
from legs4d.scene.images import (
    ImageCache,
    area_resize,
    check_image_size,
    majority_resize,
    read_image,
    read_labels,
    read_mask,
)
from legs4d.scene.readers.camera_file import CameraFile, read_camera_file, read_json
from legs4d.scene.sequence import Caption, InitialPoints, Split

PANOPTIC_FPS = 30.0
"""Frames per second of PanopticSports, whose camera files do not tell."""


class PanopticSequence:
    """A `Sequence` in the native layout. Everything but pixel values is read and checked when it is made.

    Args:
        root: the dataset folder.
        scale: images are resized to round(scale·W) × round(scale·H); 0 < scale ≤ 1.

    Raises:
        DatasetError: see `scene.checks` and `scene.readers.camera_file`; a picture or mask is missing or of another
            size; no mask of frame 0 has any foreground; captions or points cannot be read.
    """

    notes: tuple[str, ...] = ()
    origin = (0.0, 0.0, 0.0)

    def __init__(self, root: Path, scale: float = 1.0) -> None:
        if not root.is_dir() or not any(root.iterdir()):
            what = "is empty" if root.is_dir() else "is not a folder"
            raise DatasetError(what, where=str(root), fix="give a dataset folder (with train_meta.json)")
        self.root, self.scale = root, scale
        self._files: dict[Split, CameraFile] = {"train": read_camera_file(root / "train_meta.json")}
        train = self._files["train"]
        check_camera_count(len(train.ids), str(root / "train_meta.json"))
        check_scale(scale, train.width, train.height)
        self.num_frames = train.num_frames
        self.fps = train.fps or PANOPTIC_FPS
        if (root / "test_meta.json").exists():
            self._files["test"] = self._read_test()
        self.frame_numbers = _frame_numbers(train)
        self._cache = ImageCache()
        self._folders = {kind for kind in ("seg", "objects") if (root / kind).is_dir()}
        self._check_pictures()
        self._check_foreground()
        self.captions = _read_captions(root / "captions.json", self.num_frames)
        self.initial_points = _read_points(root / "init_pt_cld.npz")

    def cameras(self, split: Split, frame: int) -> Cameras:
        """The cameras at the working size; none of them for a "test" that the dataset lacks."""
        if split not in self._files:
            none = np.zeros((0, 4, 4), np.float32), np.zeros((0, 3, 3), np.float32)
            return Cameras(*none, self._files["train"].width, self._files["train"].height, ()).scaled(self.scale)
        return self._files[split].cameras(frame).scaled(self.scale)

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        """[C, H, W, 3] RGB in 0..1, sRGB-encoded as captured."""
        return self._stack("ims", split, frame, cameras, (3,), np.float32)

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] share of each pixel that is foreground; None for the test cameras or without seg/."""
        return self._stack("seg", split, frame, cameras, (), np.float32) if self._has("seg", split) else None

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        """[C, H, W] id of the object that covers most of each pixel; None for the test cameras or without objects/."""
        return self._stack("objects", split, frame, cameras, (), np.uint8) if self._has("objects", split) else None

    def fingerprint(self, *, language: bool = False) -> str:
        """Hash of cameras, scale, points, and the name, size and time of each image and mask.

        Args:
            language: of captions and object masks too, which matter to the lift alone.
        """
        kinds = ["ims", "seg", *(["objects"] if language else [])]
        paths = [self._path(kind, s, t, c) for kind, s, t, c in self._pictures(kinds)]
        content = ["train_meta.json", "test_meta.json", *(["captions.json"] if language else [])]
        digest = hashlib.sha256(f"scale {self.scale!r}".encode())
        for path in [self.root / name for name in content]:
            digest.update(path.read_bytes() if path.exists() else b"none")
        for path in [*paths, self.root / "init_pt_cld.npz"]:
            if path.exists():
                status = path.stat()
                digest.update(f"{path.relative_to(self.root)} {status.st_size} {status.st_mtime_ns}".encode())
        return digest.hexdigest()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _read_test(self) -> CameraFile:
        path = self.root / "test_meta.json"
        test, train = read_camera_file(path), self._files["train"]
        for name in ("num_frames", "width", "height"):
            if getattr(test, name) != getattr(train, name):
                raise DatasetError(
                    f"its {name.replace('num_', 'number of ')} is {getattr(test, name)}, "
                    f"but {getattr(train, name)} in train_meta.json",
                    where=str(path),
                    fix="both files must describe the same footage",
                )
        return test

    def _has(self, kind: str, split: Split) -> bool:
        return kind == "ims" or (split == "train" and kind in self._folders)

    def _pictures(self, kinds: list[str]) -> list[tuple[str, Split, int, int]]:
        """(kind, split, frame, camera position) of every picture of these kinds."""
        return [
            (kind, split, frame, camera)
            for kind in kinds
            for split, file in self._files.items()
            if self._has(kind, split)
            for frame in range(self.num_frames)
            for camera in range(len(file.ids))
        ]

    def _path(self, kind: str, split: Split, frame: int, camera: int) -> Path:
        name = self._files[split].files[frame][camera]
        return self.root / kind / (name if kind == "ims" else PurePosixPath(name).with_suffix(".png"))

    def _check_pictures(self) -> None:
        train = self._files["train"]
        for picture in self._pictures(["ims", "seg", "objects"]):
            check_image_size(self._path(*picture), train.width, train.height)

    def _check_foreground(self) -> None:
        if "seg" not in self._folders:
            return
        cameras = range(len(self._files["train"].ids))
        if not any(read_mask(self._path("seg", "train", 0, camera)).any() for camera in cameras):
            raise DatasetError(
                "no mask of the first frame has any foreground",
                where=str(self.root / "seg"),
                fix="what moves must be non-zero in the masks, from the first frame on",
            )

    def _stack(
        self, kind: str, split: Split, frame: int, cameras: list[int] | None, channels: tuple[int, ...], dtype: type
    ) -> NDArray[Any]:
        size = self.cameras(split, frame)
        wanted = range(len(size)) if cameras is None else cameras
        stack: NDArray[Any] = np.empty((len(wanted), size.height, size.width, *channels), dtype)
        for i, camera in enumerate(wanted):
            load = partial(self._load, kind, split, frame, camera, size.width, size.height)
            stack[i] = self._cache.get((kind, split, frame, int(camera)), load)
        return stack

    def _load(self, kind: str, split: Split, frame: int, camera: int, width: int, height: int) -> NDArray[Any]:
        path = self._path(kind, split, frame, camera)
        if kind == "ims":
            return area_resize(read_image(path), width, height) / np.float32(255)
        if kind == "seg":
            return area_resize(read_mask(path), width, height)
        return majority_resize(read_labels(path), width, height)


def _frame_numbers(file: CameraFile) -> tuple[int, ...]:
    """The digits at the end of each frame's first file name; where they do not tell frames apart, 0, 1, 2, …"""
    digits = [re.search(r"(\d+)$", PurePosixPath(names[0]).stem) for names in file.files]
    numbers = tuple(int(found.group(1)) for found in digits if found)
    return numbers if len(set(numbers)) == file.num_frames else tuple(range(file.num_frames))


def _read_captions(path: Path, num_frames: int) -> dict[int, list[Caption]] | None:
    if not path.exists():
        return None
    content = read_json(path)
    try:
        captions = {
            int(identity): [Caption(int(c["start"]), int(c["end"]), str(c["caption"])) for c in said]
            for identity, said in content["objects"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        fix = 'write {"objects": {"1": [{"start": 0, "end": 7, "caption": "a man running"}]}}'
        raise DatasetError(f"cannot be understood ({error!r})", where=str(path), fix=fix) from error
    for identity, said in captions.items():
        for caption in said:
            if not 0 <= caption.start <= caption.end < num_frames or not caption.text.strip():
                raise DatasetError(
                    f"object {identity} has {caption.text!r} in frames {caption.start} to {caption.end}",
                    where=str(path),
                    fix=f"captions need words, and frames from 0 to {num_frames - 1}",
                )
    return captions


def _read_points(path: Path) -> InitialPoints | None:
    """Dynamic3DGS's initial cloud: `data` [N, 7], xyz, rgb in 0..1, foreground."""
    if not path.exists():
        return None
    fix = "it must hold `data` [N, 7]: x, y, z, red, green, blue (0..1), foreground (0 or 1); or delete it"
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = np.asarray(archive["data"], np.float32)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"cannot be read ({error})", where=str(path), fix=fix) from error
    if data.ndim != 2 or data.shape[1] != 7 or not len(data) or not np.isfinite(data).all():
        raise DatasetError(f"`data` is {data.shape}, or not finite", where=str(path), fix=fix)
    colors = data[:, 3:6]
    if colors.min() < 0 or colors.max() > 1:
        raise DatasetError(f"colours go from {colors.min():g} to {colors.max():g}", where=str(path), fix=fix)
    return InitialPoints(data[:, :3].copy(), colors.copy(), data[:, 6] > 0.5)
