"""Footage with the objects that `legs4d objects` found in it, which lie beside it: DATASET.objects.

They stand in for object masks that the dataset does not have, and for foreground masks where it has none of these too.
A folder of them that lies elsewhere, and was named, wins over the dataset's own object masks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.scene.content import Content
from legs4d.scene.images import ImageCache, area_resize, majority_resize, read_labels
from legs4d.scene.sequence import Sequence, Split
from legs4d.scene.wrapped import Wrapped

TABLE = "objects.json"


class FoundObjects(Wrapped):
    """A `Sequence` with found objects.

    Args:
        sequence: footage.
        folder: that `legs4d objects` made of it.

    Attributes:
        folder: the same.

    Raises:
        DatasetError: the folder is no such one, or lacks masks of some pictures.
    """

    def __init__(self, sequence: Sequence, folder: Path) -> None:
        super().__init__(sequence)
        self.folder = folder.resolve()
        folder = self.folder
        if not (folder / TABLE).is_file():
            fix = "give a folder that `legs4d objects` made"
            raise DatasetError(f"holds no {TABLE}", where=str(folder), fix=fix)
        self._masked = sequence.masks("train", 0, []) is not None
        files = tuple(self._place(camera, frame) for frame in range(self.num_frames) for camera in self._ids(frame))
        for place in files:
            if not place.is_file():
                fix = "find the objects anew by `legs4d objects … --again`, or move their folder away"
                raise DatasetError("is missing", where=str(place), fix=fix)
        content = sequence.content
        # what is foreground matters to the reconstruction, which object a pixel shows to the lift alone
        footage = content.footage if self._masked else (*content.footage, *files)
        language = (*content.language, *files, folder / TABLE)
        self.content = Content(content.root, footage, language, folder)
        self.notes = (*sequence.notes, f"Object masks are those of {folder.name}.")
        self._cache = ImageCache()

    def fingerprint(self, *, language: bool = False) -> str:
        return self.content.fingerprint(language=language)

    def prepare(self, context: Context = QUIET) -> None:
        """Nothing has to be learned before masks are read."""

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        """[C, H, W] ids; None for the test cameras."""
        if split != "train":
            return None
        rig = self.cameras(split, frame)
        wanted = self._wanted(frame, cameras)
        found = [majority_resize(self._labels(frame, camera), rig.width, rig.height) for camera in wanted]
        return np.stack(found) if found else np.zeros((0, rig.height, rig.width), np.uint8)

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] share of each pixel that is foreground: the dataset's own, else what is any object."""
        if self._masked or split != "train":
            return self._sequence.masks(split, frame, cameras)
        rig = self.cameras(split, frame)
        wanted = self._wanted(frame, cameras)
        found = [area_resize(self._labels(frame, camera) > 0, rig.width, rig.height) for camera in wanted]
        return np.stack(found) if found else np.zeros((0, rig.height, rig.width), np.float32)

    def _wanted(self, frame: int, cameras: list[int] | None) -> list[int]:
        return list(range(len(self._ids(frame)))) if cameras is None else [int(camera) for camera in cameras]

    def _ids(self, frame: int) -> tuple[int, ...]:
        return self._sequence.cameras("train", frame).ids

    def _place(self, camera: int, frame: int) -> Path:
        return self.folder / "objects" / str(camera) / f"{self.frame_numbers[frame]:06d}.png"

    def _labels(self, frame: int, camera: int) -> NDArray[np.uint8]:
        place = self._place(self._ids(frame)[camera], frame)
        return self._cache.get(place, lambda: read_labels(place))


def found_beside(dataset: Path) -> Path | None:
    """The folder of found objects beside a dataset; None if there is none."""
    dataset = dataset.resolve()
    folder = dataset.with_name(f"{dataset.name}.objects")
    return folder if (folder / TABLE).is_file() else None


def with_found_objects(sequence: Sequence, found: bool | Path) -> Sequence:
    """The footage with what was found in it.

    Args:
        found: the folder to use; True for the one beside the footage, if it has no object masks of its own and there
            is one; False for none.
    """
    if isinstance(found, Path):
        return FoundObjects(sequence, found)
    if not found or sequence.objects("train", 0, []) is not None:
        return sequence
    folder = found_beside(sequence.root)
    return sequence if folder is None else FoundObjects(sequence, folder)
