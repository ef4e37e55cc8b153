"""Readers of dataset layouts: each returns a `Sequence`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from legs4d.config import DatasetSettings
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import check_no_offsets
from legs4d.scene.foreground import with_masks
from legs4d.scene.found_objects import with_found_objects
from legs4d.scene.given import which_takes
from legs4d.scene.layouts import layout_of
from legs4d.scene.readers.colmap import ColmapSequence
from legs4d.scene.readers.multipleview import MultipleViewSequence
from legs4d.scene.readers.nerf import NerfSequence
from legs4d.scene.readers.nerfies import NerfiesSequence
from legs4d.scene.readers.neu3d import Neu3dSequence
from legs4d.scene.readers.panoptic import PanopticSequence
from legs4d.scene.readers.videos import VideoSequence
from legs4d.scene.sequence import Sequence

_FIX = 'give a dataset folder, as README\'s "A dataset" has them'


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
        raise DatasetError(what, where=str(root), fix=which_takes(root) or _FIX)
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


READERS: Mapping[str, Callable[[Path, DatasetSettings], Sequence]] = {
    "panoptic": PanopticSequence,
    "nerf": NerfSequence,
    "nerfies": NerfiesSequence,
    "neu3d": Neu3dSequence,
    "videos": VideoSequence,
    "multipleview": MultipleViewSequence,
    "colmap": ColmapSequence,
}
"""Name of a layout (`scene.layouts`) → its reader."""


def _choose_reader(root: Path) -> Callable[[Path, DatasetSettings], Sequence]:
    if (layout := layout_of(root)) is not None:
        return READERS[layout]
    raise DatasetError(
        "has none of train_meta.json, transforms.json, metadata.json, poses_bounds.npy, cameras.json and sparse/, "
        "by which layouts are known",
        where=str(root),
        fix=which_takes(root) or _FIX,
    )
