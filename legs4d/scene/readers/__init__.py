"""Readers of dataset layouts: each returns a `Sequence`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legs4d.config import DatasetSettings
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import check_no_offsets
from legs4d.scene.foreground import with_masks
from legs4d.scene.found_objects import with_found_objects
from legs4d.scene.readers.colmap import ColmapSequence, find_model
from legs4d.scene.readers.multipleview import MultipleViewSequence, is_multipleview
from legs4d.scene.readers.nerf import NerfSequence
from legs4d.scene.readers.nerfies import NerfiesSequence, is_nerfies
from legs4d.scene.readers.neu3d import Neu3dSequence
from legs4d.scene.readers.panoptic import PanopticSequence
from legs4d.scene.readers.videos import CAMERA_FILE, VideoSequence
from legs4d.scene.sequence import Sequence


def open_sequence(
    path: str | Path,
    settings: DatasetSettings | float = 1.0,
    context: Context = QUIET,
    *,
    found: bool | Path = True,
) -> Sequence:
    """The footage in a folder, by the reader that knows its layout; each layout is told in its reader's file.

    Footage without foreground masks gets those of the objects that were found in it (`scene.found_objects`), else of
    what moves (`scene.foreground`), found when they are asked for.

    Args:
        path: a dataset folder: PanopticSports (train_meta.json), NeRF (transforms.json or transforms_train.json),
            Nerfies, HyperNeRF and DyCheck (metadata.json), Neural 3D Video and LLFF (poses_bounds.npy), videos
            (cameras.json), 4DGaussians' multipleview (sparse_/), or COLMAP (sparse/).
        settings: scale, choice of cameras, and when videos were begun; a number is a scale.
        context: told of videos that are opened, and put on one clock.
        found: objects that `legs4d objects` found in it: the folder of them; True for the one beside it, if there is
            one and it has no object masks of its own; False for none.

    Raises:
        DatasetError: there is no such folder, no reader knows its layout, or its content cannot be used.
        Stopped: `stop` was set.
    """
    root = Path(path)
    if not isinstance(settings, DatasetSettings):
        # A scale that is no scale is told of when the size of the pictures is known.
        settings = DatasetSettings().model_copy(update={"scale": settings})
    if not root.is_dir() or not any(root.iterdir()):
        what = "is empty" if root.is_dir() else "is not a folder"
        raise DatasetError(what, where=str(root), fix="give a dataset folder, see README")
    reader = _choose_reader(root)
    footage: Sequence
    if reader is Neu3dSequence or reader is VideoSequence:
        footage = reader(root, settings, context)
    else:
        check_no_offsets(settings, str(root))
        footage = reader(root, settings)
    return with_masks(with_found_objects(footage, found))


def open_finer(sequence: Sequence, pixels: int) -> Sequence:
    """The same footage in larger pictures, of about so many pixels at most; as it is, if its own are as large.

    Found objects are left out. For networks, which see more in larger pictures than may be reconstructed.
    """
    rig = sequence.cameras("train", 0)
    share = (pixels / (rig.width * rig.height)) ** 0.5
    if share <= 1 or sequence.reading.scale >= 1:
        return sequence
    scale = min(1.0, sequence.reading.scale * share)
    return open_sequence(sequence.root, sequence.reading.model_copy(update={"scale": scale}), found=False)


def reading_of(info: Mapping[str, Any]) -> DatasetSettings:
    """How a run's footage was read, from the run's `info`."""
    return DatasetSettings.model_validate({**info.get("reading", {}), "scale": info["scale"]})


def layout_of(root: Path) -> str | None:
    """Which layout a folder's names say it has, by a look at a few of them; None if none."""
    return next((layout.name for layout in LAYOUTS if layout.is_in(root)), None)


@dataclass(frozen=True)
class Layout:
    """A layout of datasets: how it is called, told from a folder's names, and read."""

    name: str
    is_in: Callable[[Path], bool]
    reader: Callable[[Path, DatasetSettings], Sequence]


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda root: any((root / name).is_file() for name in names)


LAYOUTS = (
    Layout("panoptic", _has("train_meta.json"), PanopticSequence),
    Layout("nerf", _has("transforms_train.json", "transforms.json"), NerfSequence),
    Layout("nerfies", is_nerfies, NerfiesSequence),
    Layout("neu3d", _has("poses_bounds.npy"), Neu3dSequence),
    Layout("videos", _has(CAMERA_FILE), VideoSequence),
    Layout("multipleview", is_multipleview, MultipleViewSequence),
    Layout("colmap", lambda root: find_model(root) is not None, ColmapSequence),
)
"""The first that fits is taken."""


def _choose_reader(root: Path) -> Callable[[Path, DatasetSettings], Sequence]:
    for layout in LAYOUTS:
        if layout.is_in(root):
            return layout.reader
    raise DatasetError(
        "has none of train_meta.json, transforms.json, metadata.json, poses_bounds.npy, cameras.json and sparse/, "
        "by which layouts are known",
        where=str(root),
        fix="give a dataset folder, see README",
    )
