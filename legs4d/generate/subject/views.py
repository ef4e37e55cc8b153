"""Pictures of an object from elsewhere, true or predicted, and where their cameras stand.

Folders of 4DGen's users are read (NAME_sync: FRAME_0_VIEW_rgba.png, sixteen views), SyncDreamer's sixteen pictures of
one moment, and every layout of footage with cameras that `scene.readers` knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.generate.lenses import Lens
from legs4d.generate.resizing import square
from legs4d.generate.subject.background import cut_out
from legs4d.generate.subject.orders import COUNT, check_orders
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras
from legs4d.scene.footage.names import PICTURES, list_files
from legs4d.scene.images import as_bytes, as_unit, read_picture
from legs4d.scene.layouts import layout_of
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence

_SYNC = re.compile(r"(\d+)_0_(\d+)_rgba\.png")


@dataclass(frozen=True)
class Views:
    """F pictures of an object.

    Attributes:
        pictures: [F, S, S, 4] uint8 RGBA, colours times alpha.
        cameras: F; the object's front is on +z, its middle is the origin.
        frames: [F] int64, the moment of each.
        num_frames: moments there are.
        files: what was read.
        lens: of pseudo views, which the reference is seen with too; None where cameras were given.
        notes: what should be known of them, a sentence each.
    """

    pictures: NDArray[np.uint8]
    cameras: Cameras
    frames: NDArray[np.int64]
    num_frames: int
    files: tuple[Path, ...]
    lens: Lens | None
    notes: tuple[str, ...] = ()


def sync_beside(source: Path) -> Path | None:
    """The folder NAME_sync beside a source NAME_pose0, if there is one."""
    beside = source.parent / f"{source.name.removesuffix('_pose0')}_sync"
    return beside if source.name.endswith("_pose0") and beside.is_dir() else None


def read_views(
    path: Path, size: int, lens: Lens, device: torch.device, reporter: StageReporter, *, trusted: bool = False
) -> Views:
    """The views in a folder, in square pictures of size S.

    Args:
        lens: of the cameras of pseudo views, where files do not tell.
        trusted: pseudo views are of these cameras, whatever they show.

    Raises:
        DatasetError: there are none, or they do not fit their cameras.
        Stopped: the reporter says so.
    """
    if not path.is_dir():
        raise DatasetError("is no folder of views", where=str(path), fix="give 4DGen's NAME_sync, or footage")
    if layout_of(path) is not None:
        return _footage(path, size, reporter)
    files = list_files(path, PICTURES)
    named = [(match, file) for file in files if (match := _SYNC.fullmatch(file.name))]
    if named:
        frames = np.array([int(match[1]) for match, _ in named])
        numbers = np.array([int(match[2]) for match, _ in named])
        files = [file for _, file in named]
    elif len(files) == COUNT:
        frames, numbers = np.zeros(COUNT, np.int64), np.arange(COUNT)
    else:
        what = f"holds {len(files)} pictures and no cameras, and predicted views are {COUNT} a moment"
        fix = "name them FRAME_0_VIEW_rgba.png, or give footage with cameras, such as transforms.json"
        raise DatasetError(what, where=str(path), fix=fix)
    _check_complete(frames, numbers, path)
    order = np.lexsort((numbers, frames))
    files = [files[i] for i in order]
    pictures = _squares(files, size, path, device, reporter)
    count = int(frames.max()) + 1
    cameras = Cameras.together([lens.pseudo(size)] * count)
    notes = () if trusted else check_orders(pictures, lens, path)
    return Views(pictures, cameras, frames[order].astype(np.int64), count, tuple(files), lens, notes)


def _check_complete(frames: NDArray[np.int64], numbers: NDArray[np.int64], path: Path) -> None:
    for frame in range(int(frames.max()) + 1):
        there = np.sort(numbers[frames == frame])
        if not np.array_equal(there, np.arange(COUNT)):
            lacking = sorted(set(range(COUNT)) - set(there.tolist()))
            what = (
                f"lacks view {lacking[0]} of frame {frame}" if lacking else f"has {len(there)} views of frame {frame}"
            )
            raise DatasetError(what, where=str(path), fix=f"give views 0 to {COUNT - 1} of every frame from 0 on")


def _squares(
    files: list[Path], size: int, path: Path, device: torch.device, reporter: StageReporter
) -> NDArray[np.uint8]:
    read = []
    for number, file in enumerate(files):
        reporter.step(number, len(files))
        read.append(as_bytes(as_unit(read_picture(file))))
    shape = read[0].shape
    if shape[0] != shape[1]:
        fix = "give square ones, one file a view"
        raise DatasetError(f"is {shape[1]}×{shape[0]} pixels", where=str(files[0]), fix=fix)
    for file, picture in zip(files, read, strict=True):
        if picture.shape != shape:
            what = f"is {picture.shape[1]}×{picture.shape[0]} pixels with {picture.shape[2]} channels"
            fix = f"give all views as {files[0].name}, {shape[1]}×{shape[0]} with {shape[2]}"
            raise DatasetError(what, where=str(file), fix=fix)
    cut = cut_out(read, str(path), device, reporter)
    return np.stack([square(as_unit(picture), (0.0, 0.0, float(shape[1])), size) for picture in cut.pictures])


def _footage(path: Path, size: int, reporter: StageReporter) -> Views:
    """Views of any layout that has cameras; the object is what is opaque, or in masks."""
    footage = open_sequence(path)
    pictures: list[NDArray[np.uint8]] = []
    cameras: list[Cameras] = []
    frames: list[int] = []
    for frame in range(footage.num_frames):
        reporter.step(frame, footage.num_frames)
        some = footage.cameras("train", frame)
        if not len(some):
            continue
        alone = _alone(footage, frame)
        if alone is None:
            fix = "give pictures with alpha, or masks/ beside them"
            raise DatasetError("nothing tells the object from its background", where=str(path), fix=fix)
        side = max(some.width, some.height)
        left, top = (some.width - side) / 2, (some.height - side) / 2
        pictures += [square(picture, (left, top, float(side)), size) for picture in alone]
        lens = some.intrinsics.copy()
        lens[:, 0, 2] -= left
        lens[:, 1, 2] -= top
        lens[:, :2] *= size / side
        cameras.append(Cameras(some.world_to_camera, lens, size, size, some.ids))
        frames += [frame] * len(some)
    together = Cameras.together(cameras)
    files = tuple(footage.content.footage)
    return Views(np.stack(pictures), together, np.array(frames, np.int64), footage.num_frames, files, None)


def _alone(footage: Sequence, frame: int) -> NDArray[np.float32] | None:
    """[C, H, W, 4] the object alone, colours times alpha; None where nothing tells it from what is around it."""
    if footage.see_through:  # readers show on white what is transparent
        shown, alpha = footage.images("train", frame), footage.masks("train", frame)
        return None if alpha is None else np.concatenate([shown - 1 + alpha[..., None], alpha[..., None]], axis=-1)
    cut = footage.cut("train", frame)
    return None if cut is None else np.concatenate([cut[..., :3] * cut[..., 3:], cut[..., 3:]], axis=-1)
