"""Which layout a folder of footage has, by the names in it, or whether it is a run. The readers of layouts are in
`scene/readers/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from legs4d.scene.footage.names import list_folder

RUN_FILE = "run.json"
"""By which a run's folder is known."""
CAMERA_FILE = "cameras.json"
RESULT = "point_cloud"
"""Folder in what 3DGS and its kin leave, beside a `cameras.json` of their own: they write
`point_cloud/iteration_30000/point_cloud.ply`, and the highest iteration is the result."""
NERFIES_DATASET, NERFIES_METADATA = "dataset.json", "metadata.json"
MULTIPLEVIEW_MODEL, MULTIPLEVIEW_POSES = "sparse_", "poses_bounds_multipleview.npy"
PICTURE_FOLDER = "images"
"""Of COLMAP."""


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, of any format."""
    return (folder / RUN_FILE).is_file()


def layout_of(root: Path) -> str | None:
    """Which layout a folder's names say it has, by a look at a few of them; None if none."""
    return next((name for name, is_in in LAYOUTS.items() if is_in(root)), None)


def has_model(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model."""
    return any((folder / f"cameras.{suffix}").is_file() for suffix in ("bin", "txt"))


def find_models(root: Path) -> list[Path]:
    """The folders of the COLMAP models in a dataset folder; several where the mapper could not join its pictures."""
    for folder in (root / "sparse", root / "colmap/sparse"):
        if found := [each for each in list_folder(folder) if each.name.isdecimal() and has_model(each)]:
            return found
        if has_model(folder):
            return [folder]
    return [root] if has_model(root) and (root / PICTURE_FOLDER).is_dir() else []


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda root: any((root / name).is_file() for name in names)


def _is_nerfies(root: Path) -> bool:
    return (root / "camera").is_dir() and _has(NERFIES_METADATA, NERFIES_DATASET)(root)


def _is_videos(root: Path) -> bool:
    return _has(CAMERA_FILE)(root) and not (root / RESULT).is_dir()


def _is_multipleview(root: Path) -> bool:
    return has_model(root / MULTIPLEVIEW_MODEL) or _has(MULTIPLEVIEW_POSES)(root)


LAYOUTS: Mapping[str, Callable[[Path], bool]] = {
    "panoptic": _has("train_meta.json"),
    "nerf": _has("transforms_train.json", "transforms.json"),
    "nerfies": _is_nerfies,
    "neu3d": _has("poses_bounds.npy"),
    "videos": _is_videos,
    "multipleview": _is_multipleview,
    "colmap": lambda root: bool(find_models(root)),
}
"""Name → whether a folder's names are its; the first that fits counts. What then lacks is told on reading."""
