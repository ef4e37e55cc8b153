"""Readers of dataset layouts: each returns a `Sequence`."""

from __future__ import annotations

from pathlib import Path

from legs4d.errors import DatasetError
from legs4d.scene.readers.panoptic import PanopticSequence
from legs4d.scene.sequence import Sequence


def open_sequence(path: str | Path, scale: float = 1.0) -> Sequence:
    """The footage in a folder, by the reader that knows its layout.

    Args:
        path: a dataset folder in the native layout (`scene.readers.panoptic`).
        scale: images are resized to round(scale·W) × round(scale·H), intrinsics with them; 0 < scale ≤ 1.

    Raises:
        DatasetError: there is no such folder, no reader knows its layout, or its content cannot be used.
    """
    root = Path(path)
    if root.is_dir() and any(root.iterdir()) and not (root / "train_meta.json").exists():
        raise DatasetError(
            "has no train_meta.json", where=str(root), fix="give a folder in the PanopticSports layout, see README"
        )
    return PanopticSequence(root, scale)
