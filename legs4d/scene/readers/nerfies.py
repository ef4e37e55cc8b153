"""The layout of Nerfies and HyperNeRF (Park et al. 2021), and of DyCheck's iPhone captures (Gao et al. 2022):

    dataset.json            {"ids", "train_ids", "val_ids"}, names of pictures
    metadata.json           {ID: {"warp_id" or "time_id", "camera_id", "appearance_id"}}
    scene.json              {"scale", "center", "near", "far"}: not needed here
    camera/ID.json          {"orientation" 3×3 world to camera, "position", "focal_length", "principal_point", …}
    rgb/1x/ID.png           pictures, or smaller ones in rgb/2x, …; the largest that are there are read
    splits/train.json, …    {"frame_names", "camera_ids", "time_ids"} (DyCheck), in place of dataset.json's
    points.npy              [N, 3] points to start from (optional)
    depth/1x/ID.npy         LiDAR's camera z in the unit of the poses, 0 where it says nothing (DyCheck, optional)

Where there is depth/, an alpha channel is 0 where LiDAR says nothing: what is there is not known, colours neither.

Cameras are OpenCV's, with distortion. Pictures of one time are one frame; those that are held out are shown in the
frame nearest to their time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, RootModel

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError, reason_of
from legs4d.scene.footage.arrays import ARRAY_ERRORS
from legs4d.scene.footage.choice import absent_tests, whole_frames
from legs4d.scene.footage.clock import moment_of
from legs4d.scene.footage.footage import Footage, read_model
from legs4d.scene.footage.names import PICTURES, find_inside, list_folder
from legs4d.scene.footage.rig import nearest_time
from legs4d.scene.footage.shots import Shot, Shots, file_shot
from legs4d.scene.layouts import NERFIES_DATASET, NERFIES_METADATA
from legs4d.scene.lens import Lens, lens_of
from legs4d.scene.sequence import Split

FPS = 30.0
"""Frames per second, where no extra.json tells."""
_EXTRA, _POINTS = "extra.json", "points.npy"
_FIX = "copy the dataset again"


_Row = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Dataset(BaseModel):
    ids: list[str] = Field(min_length=1)
    train_ids: list[str] = []
    val_ids: list[str] = []


class _Of(BaseModel):
    warp_id: int | None = None
    time_id: int | None = None
    camera_id: int = 0


class _Metadata(RootModel[dict[str, _Of]]):
    pass


class _Split(BaseModel):
    frame_names: list[str] = Field(min_length=1)


class _Extra(BaseModel):
    fps: float | None = Field(default=None, gt=0)


class _Camera(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    orientation: list[_Row] = Field(min_length=3, max_length=3)
    position: _Row
    focal_length: float = Field(gt=0)
    principal_point: list[float] = Field(min_length=2, max_length=2)
    image_size: list[int] = Field(min_length=2, max_length=2)
    pixel_aspect_ratio: float = Field(default=1.0, gt=0)
    skew: float = 0.0
    radial_distortion: list[float] | None = None
    tangential_distortion: list[float] | None = None
    tangential: list[float] | None = None


class NerfiesSequence(Footage):
    """A `Sequence` in the layout of Nerfies.

    Raises:
        DatasetError: a file is missing or says something else, a picture is missing or does not fit its lens, or a
            camera is impossible.
    """

    def __init__(self, root: Path, settings: DatasetSettings) -> None:
        if settings.cameras or settings.leave_out:
            what = "its cameras move, so that none can be told from another"
            raise DatasetError(what, where=str(root), fix="edit the lists of pictures")
        fix = 'write {"ids": […], "train_ids": […], "val_ids": […]}'
        dataset = read_model(root / NERFIES_DATASET, _Dataset, "list of pictures", fix)
        of = read_model(root / NERFIES_METADATA, _Metadata, "table of times", 'write {ID: {"warp_id": 0, …}}').root
        split_of, split_files = _splits(root, dataset)
        folder = _pictures(root)
        depths = _depths(root, folder.name)
        missing: dict[Split, list[str]] = {"train": [], "test": []}
        times: dict[str, int] = {}
        shots: dict[str, Shot] = {}
        cameras: list[Path] = []
        for name in split_of:
            if name not in of:
                raise DatasetError(f"has no entry of picture {name!r}", where=str(root / NERFIES_METADATA), fix=_FIX)
            own = of[name]
            time = own.warp_id if own.time_id is None else own.time_id
            if time is None:
                what = f"picture {name!r} has neither warp_id nor time_id, so that nothing says when it was taken"
                raise DatasetError(
                    what, where=str(root / NERFIES_METADATA), fix="write one for every picture; 0 if nothing moves"
                )
            times[name] = time
            path = find_inside(folder, name, str(folder), suffixes=PICTURES)
            if path is None:
                missing[split_of[name]].append(name)
                continue
            cameras.append(root / "camera" / f"{name}.json")
            pose, lens = _camera(cameras[-1])
            depth = None if depths is None else find_inside(depths, f"{name}.npy", str(depths))
            shots[name] = file_shot(Shot(own.camera_id, pose, lens, path, depth=depth))
        moments = sorted({times[name] for name, split in split_of.items() if split == "train" and name in shots})
        lacking = {i: [f"{folder / name}: is missing"] for i, name in enumerate(missing["train"])}
        _, left_out = whole_frames(sum(split == "train" for split in split_of.values()), lacking, str(root))
        left_out = (*left_out, *absent_tests(missing["test"], sum(split == "test" for split in split_of.values())))
        if not moments:
            raise DatasetError(
                "has no training pictures", where=str(root / NERFIES_DATASET), fix="list some in train_ids"
            )
        frames: Shots = {split: [[] for _ in moments] for split in ("train", "test")}
        for name, shot in shots.items():
            at = moment_of(moments, times[name])
            frame = nearest_time(moments, times[name])
            frames[split_of[name]][frame].append(shot if at == frame else replace(shot, moment=at))
        if not any(frames["test"]):
            del frames["test"]
        points, notes = _points(root, depths is not None)
        extra = read_model(root / _EXTRA, _Extra, "note", "write fps") if (root / _EXTRA).is_file() else _Extra()
        tables = [root / NERFIES_DATASET, root / NERFIES_METADATA, *split_files]
        tables += [root / name for name in (_EXTRA, _POINTS) if (root / name).is_file()]
        given = [shot.picture for shot in shots.values() if shot.picture is not None]
        super().__init__(
            root,
            settings,
            frames,
            extra.fps or FPS,
            (*tables, *cameras, *given),
            points=points,
            times=moments,
            notes=(*notes, *left_out, *_of_depths(depths, frames["train"]), *_of_times(frames["train"])),
            opaque=depths is not None,
        )


def _splits(root: Path, dataset: _Dataset) -> tuple[dict[str, Split], list[Path]]:
    """The split of each picture that is read, and the files that say so."""
    train, val = root / "splits/train.json", root / "splits/val.json"
    if train.is_file():
        fix, files = 'write {"frame_names": […]}', [path for path in (train, val) if path.is_file()]
        names = [read_model(path, _Split, "list of pictures", fix).frame_names for path in files]
        of: dict[str, Split] = dict.fromkeys(names[0], "train")
        return of | {name: "test" for name in (names[1] if len(names) > 1 else []) if name not in of}, files
    known = dataset.train_ids or [name for name in dataset.ids if name not in set(dataset.val_ids)]
    of = dict.fromkeys(known, "train")
    return of | {name: "test" for name in dataset.val_ids if name not in of}, []


def _pictures(root: Path) -> Path:
    """The folder of the largest pictures."""
    scales = _scales(root / "rgb")
    if not scales:
        raise DatasetError("has no pictures in rgb/1x, rgb/2x, …", where=str(root), fix=_FIX)
    return scales[min(scales)]


def _depths(root: Path, scale: str) -> Path | None:
    """The folder of depths at the scale of the pictures, else of the largest; None where there is none."""
    scales = _scales(root / "depth")
    same = root / "depth" / scale
    return same if same in scales.values() else scales[min(scales)] if scales else None


def _scales(folder: Path) -> dict[int, Path]:
    """Folders called 1x, 2x, … in a folder, by number."""
    return {
        int(path.name[:-1]): path
        for path in list_folder(folder)
        if path.is_dir() and path.name.endswith("x") and path.name[:-1].isdecimal()
    }


def _of_depths(folder: Path | None, frames: list[list[Shot]]) -> tuple[str, ...]:
    """What is known of depths, where there are some."""
    if folder is None:
        return ()
    shots = [shot for frame in frames for shot in frame]
    found = sum(shot.depth is not None for shot in shots)
    return (f"{found} of {len(shots)} training pictures have measured depths ({folder.parent.name}/{folder.name}).",)


def _of_times(frames: list[list[Shot]]) -> tuple[str, ...]:
    """A note where all pictures have one time."""
    what = f"All {len(frames[0])} training pictures have one time: nothing moves in what they show."
    return (what,) * (len(frames) == 1)


def _camera(path: Path) -> tuple[NDArray[np.float64], Lens]:
    """World to camera [4, 4], and the lens."""
    own = read_model(path, _Camera, "camera", "write orientation, position, focal_length, principal_point, image_size")
    turn = np.array(own.orientation, np.float64)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, -turn @ np.array(own.position)
    if abs(own.skew) > 1e-6 * own.focal_length:
        raise DatasetError(f"has a skew of {own.skew:g}", where=str(path), fix="calibrate without")
    names = dict(zip(("k1", "k2", "k3"), own.radial_distortion or (), strict=False))
    names |= dict(zip(("p1", "p2"), own.tangential_distortion or own.tangential or (), strict=False))
    focal = own.focal_length, own.focal_length * own.pixel_aspect_ratio
    center = own.principal_point[0], own.principal_point[1]
    return pose, lens_of("OPENCV", own.image_size[0], own.image_size[1], focal, center, names, str(path))


def _points(
    root: Path, measured: bool
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None, tuple[str, ...]]:
    """Points to start from, grey, and a note where there are none, and nothing was measured."""
    path = root / _POINTS
    if not path.is_file() and measured:
        return None, ()
    if not path.is_file():
        note = (
            f"There is no {_POINTS} to start from: points are put where the cameras look, which takes longer to settle."
        )
        return None, (note,)
    try:
        points = np.load(path, allow_pickle=False)
    except ARRAY_ERRORS as error:
        raise DatasetError(
            f"cannot be read ({reason_of(error)})", where=str(path), fix="delete it, or copy it again"
        ) from error
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        found = f"{points.dtype} {points.shape}" if isinstance(points, np.ndarray) else "an archive"
        raise DatasetError(f"holds {found}, not points [N, 3]", where=str(path), fix="delete it")
    values = points.astype(np.float64)
    known = values[np.isfinite(values).all(axis=1)]
    if not len(known):
        raise DatasetError(f"holds {len(values)} points, none of them finite", where=str(path), fix="delete it")
    notes = (f"{len(values) - len(known)} of {len(values)} points in {_POINTS} are not finite, and left out.",)
    return (known, np.full((len(known), 3), 0.5), np.zeros(len(known), bool)), notes * (len(known) < len(values))
