"""The native layout, that of Dynamic3DGS's PanopticSports (Luiten et al. 2023).

train_meta.json, test_meta.json   cameras (the second is optional)
ims/<cam>/<frame>.jpg             images, as named in the camera files
seg/<cam>/<frame>.png             foreground where not zero (optional, training cameras); without it, alpha channels
objects/<cam>/<frame>.png         object ids (optional, training cameras)
captions.json                     what each object does, and when (optional)
init_pt_cld.npz                   points to start from (optional)

Beside Dynamic3DGS's fields, camera files may have `fps`, and for distorted lenses `distortion`: OpenCV's coefficients
(k1, k2, p1, p2, k3 to k6) per frame and camera, or those of `camera_model`, a name of COLMAP's. `cam_id`, `k`, `w2c`
and `distortion` may be given once instead of per frame.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError, reason_of
from legs4d.scene.checks import check_scale
from legs4d.scene.footage.arrays import ARRAY_ERRORS
from legs4d.scene.footage.camera_file import CameraFile, read_camera_file, read_json
from legs4d.scene.footage.choice import chosen_cameras, whole_frames
from legs4d.scene.footage.footage import Footage
from legs4d.scene.footage.names import PICTURES, as_posix, find_inside
from legs4d.scene.footage.shots import Shot, Shots, file_shot
from legs4d.scene.sequence import Caption, Split

PANOPTIC_FPS = 30.0
"""Frames per second of PanopticSports, whose camera files do not tell."""

_FILES = ("train_meta.json", "test_meta.json", "init_pt_cld.npz")

MASKS = frozenset((".png", *PICTURES))


class PanopticSequence(Footage):
    """A `Sequence` in the native layout. Everything but pixel values is read and checked when it is made.

    Args:
        root: the dataset folder.
        settings: how it is read.

    Raises:
        DatasetError: see `scene.checks` and `scene.readers.camera_file`; a picture or mask is missing or of another
            size; no mask of frame 0 has any foreground; captions or points cannot be read.
    """

    def __init__(self, root: Path, settings: DatasetSettings) -> None:
        files: dict[Split, CameraFile] = {"train": read_camera_file(root / "train_meta.json")}
        train = files["train"]
        check_scale(settings.scale, train.width, train.height)
        if (root / "test_meta.json").exists():
            files["test"] = _read_test(root / "test_meta.json", train)
        shots, kept, notes = _shots(root, files, settings)
        self.captions = _read_captions(root / "captions.json", train.num_frames)
        super().__init__(
            root,
            settings,
            shots,
            train.fps or PANOPTIC_FPS,
            tuple(root / name for name in _FILES if (root / name).exists()),
            language=tuple(root / name for name in ("captions.json",) if (root / name).exists()),
            points=_read_points(root / "init_pt_cld.npz"),
            times=kept,
            notes=(*notes, *_unused(files)),
            one_place=train.one_place,
        )
        numbers = _frame_numbers(train)
        self.frame_numbers = tuple(numbers[frame] for frame in kept)
        if self.captions is not None:
            self.captions = _captions_of(self.captions, kept)


def _read_test(path: Path, train: CameraFile) -> CameraFile:
    test = read_camera_file(path)
    for name in ("num_frames", "width", "height"):
        if getattr(test, name) != getattr(train, name):
            raise DatasetError(
                f"its {name.replace('num_', 'number of ')} is {getattr(test, name)}, "
                f"but {getattr(train, name)} in train_meta.json",
                where=str(path),
                fix="both files must describe the same footage",
            )
    return test


def _shots(
    root: Path, files: dict[Split, CameraFile], settings: DatasetSettings
) -> tuple[Shots, list[int], tuple[str, ...]]:
    """The chosen cameras' shots of all frames that lack no picture, which frames these are, and what to note."""
    owners = [(split, camera) for split, file in files.items() for camera in range(len(file.ids))]
    called = [(files[split].names[camera], *_folders(files[split], camera)) for split, camera in owners]
    chosen = [owners[i] for i in chosen_cameras(called, settings, str(root))]
    numbers = _numbers(files)
    has = {kind: (root / kind).is_dir() for kind in ("seg", "objects")}
    missing: dict[int, list[str]] = {}
    table: dict[tuple[Split, int, int], Shot] = {}
    for frame in range(files["train"].num_frames):
        for split, camera in chosen:
            file = files[split]
            where, name = str(root / f"{split}_meta.json"), file.files[frame][camera]
            kinds = ["ims", *(k for k in ("seg", "objects") if has[k] and split == "train")]
            paths = {kind: _find(root, kind, name, where) for kind in kinds}
            lost = [kind for kind, path in paths.items() if path is None]
            if lost:
                shown = as_posix(name) if lost[0] == "ims" else as_posix(name).with_suffix(".png")
                missing.setdefault(frame, []).append(f"{root / lost[0] / shown}: is missing")
                continue
            table[split, frame, camera] = Shot(
                numbers[split, camera],
                file.world_to_camera[frame, camera],
                file.lenses[frame][camera],
                paths["ims"],
                paths.get("seg"),
                paths.get("objects"),
            )
    kept, notes = whole_frames(files["train"].num_frames, missing, str(root))
    shots: Shots = {
        split: [[file_shot(table[split, f, camera]) for s, camera in chosen if s == split] for f in kept]
        for split in files
    }
    if not shots["train"][0]:
        raise DatasetError("no training camera is left", where=str(root), fix="choose some of train_meta.json's")
    return {split: frames for split, frames in shots.items() if frames[0]}, kept, notes


def _find(root: Path, kind: str, name: str, where: str) -> Path | None:
    """A picture of a kind: masks and labels are PNGs, if not of the picture's own suffix."""
    if kind == "ims":
        return find_inside(root / kind, name, where)
    return find_inside(root / kind, str(as_posix(name).with_suffix("")), where, suffixes=MASKS)


def _folders(file: CameraFile, camera: int) -> tuple[str, ...]:
    """The folder of a camera's pictures, by which it may be called too, if it has one of its own."""
    own = {as_posix(names[camera]).parent.name for names in file.files}
    others = {as_posix(names[i]).parent.name for names in file.files[:1] for i in range(len(names)) if i != camera}
    return tuple(own - {""}) if len(own) == 1 and not own & others else ()


def _numbers(files: dict[Split, CameraFile]) -> dict[tuple[Split, int], int]:
    """A number for each camera of each split: its own, or where names are no numbers, its place among all."""
    named = any(file.names != tuple(map(str, file.ids)) for file in files.values())
    owners = [(split, camera) for split, file in files.items() for camera in range(len(file.ids))]
    return {owner: i if named else files[owner[0]].ids[owner[1]] for i, owner in enumerate(owners)}


def _unused(files: dict[Split, CameraFile]) -> tuple[str, ...]:
    names = sorted({name for file in files.values() for name in file.unused})
    return tuple(f"{name} in the camera files is read and not used." for name in names)


def _captions_of(captions: dict[int, list[Caption]], kept: list[int]) -> dict[int, list[Caption]]:
    """The captions of the frames that are kept, counted anew."""
    place = {frame: i for i, frame in enumerate(kept)}

    def counted(caption: Caption) -> Caption | None:
        inside = [place[frame] for frame in range(caption.start, caption.end + 1) if frame in place]
        return Caption(inside[0], inside[-1], caption.text) if inside else None

    return {identity: [c for c in map(counted, said) if c is not None] for identity, said in captions.items()}


def _frame_numbers(file: CameraFile) -> tuple[int, ...]:
    """The digits at the end of each frame's first file name; where they do not tell frames apart, 0, 1, 2, …"""
    digits = [re.search(r"(\d+)$", as_posix(names[0]).stem) for names in file.files]
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


def _read_points(path: Path) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.bool_]] | None:
    """Dynamic3DGS's initial cloud: `data` [N, 7], xyz, rgb in 0..1, foreground."""
    if not path.exists():
        return None
    fix = "it must hold `data` [N, 7]: x, y, z, red, green, blue (0..1), foreground (0 or 1); or delete it"
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = np.asarray(archive["data"], np.float64)
    except ARRAY_ERRORS as error:
        raise DatasetError(f"cannot be read ({reason_of(error)})", where=str(path), fix=fix) from error
    if data.ndim != 2 or data.shape[1] != 7 or not len(data) or not np.isfinite(data).all():
        raise DatasetError(f"`data` is {data.shape}, or not finite", where=str(path), fix=fix)
    colors = data[:, 3:6]
    if colors.min() < 0 or colors.max() > 1:
        raise DatasetError(f"colours go from {colors.min():g} to {colors.max():g}", where=str(path), fix=fix)
    return data[:, :3], colors, data[:, 6] > 0.5
