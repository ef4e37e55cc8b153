"""Where masks come from: the footage's object masks, what moves, files of SAM, pictures of ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from legs4d.errors import DatasetError
from legs4d.gaussians.store.footage import cameras_taken
from legs4d.gaussians.store.run import Run
from legs4d.scene import sequence as footage
from legs4d.scene.camera import Cameras
from legs4d.scene.footage.names import folded, list_folder
from legs4d.scene.images import read_labels
from legs4d.segment.bitmaps import read_masks
from legs4d.segment.masks.frame_masks import FrameMasks, masks_of_labels, masks_of_pictures

NAMED = ("auto", "objects", "foreground", "priors")
"""Masks that are no folder."""
SAM_FOLDER = "sam_masks"
_FULL = 0.5
"""Share of a pixel from which it is foreground."""


class MaskSource(Protocol):
    """Masks of a run's training pictures."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def has_identities(self) -> bool:
        """Whether a thing has one number in all pictures and frames."""
        ...

    def frames(self) -> list[int]:
        """The frames of which there are masks."""
        ...

    def masks(self, frame: int) -> FrameMasks:
        """What they say of the pictures of one of `frames`."""
        ...


@dataclass(frozen=True)
class ObjectMasks:
    """The object ids of footage: its own, or those that `legs4d objects` found."""

    run: Run
    sequence: footage.Sequence
    name: str = "objects"
    has_identities: bool = True

    def frames(self) -> list[int]:
        return list(range(self.sequence.num_frames))

    def masks(self, frame: int) -> FrameMasks:
        labels = self.sequence.objects("train", frame)
        assert labels is not None
        return masks_of_labels(frame, cameras_taken(self.run, self.sequence, frame), labels)


@dataclass(frozen=True)
class ForegroundMasks:
    """The foreground of footage, one thing: given by it, or what moves."""

    run: Run
    sequence: footage.Sequence
    name: str = "foreground"
    has_identities: bool = True

    def frames(self) -> list[int]:
        return list(range(self.sequence.num_frames))

    def masks(self, frame: int) -> FrameMasks:
        shares = self.sequence.masks("train", frame)
        assert shares is not None
        return masks_of_labels(frame, cameras_taken(self.run, self.sequence, frame), (shares >= _FULL).astype(np.uint8))


class MaskFiles:
    """A folder with a file for each picture: SAM's .pt [masks, h, w], or .png whose pixels are ids.

    Files are named as the pictures are (NAME.pt), or by camera and frame (CAMERA/FRAME.png, CAMERA.png for the first
    frame). Pictures without a file have no say.

    Args:
        folder: with the files, or with a folder sam_masks/.
        cameras: frame → its training cameras.
        names: frame → the names of their pictures.
        frame_numbers: of the run's frames, in the footage.

    Raises:
        DatasetError: there are no such files, or none of them is of a picture of the run.
    """

    def __init__(
        self,
        folder: Path,
        cameras: Callable[[int], Cameras],
        names: Callable[[int], Sequence[str]],
        frame_numbers: Sequence[int],
    ) -> None:
        inside = folder / SAM_FOLDER if (folder / SAM_FOLDER).is_dir() else folder
        self.name = str(folder)
        self._cameras = cameras
        found = _files(inside)
        if not found:
            raise DatasetError(
                "has no masks",
                where=str(folder),
                fix="give a folder with NAME.pt or .png files, as the pictures are named",
            )
        suffixes = {path.suffix.casefold() for path in found.values()}
        if len(suffixes) > 1:
            raise DatasetError("has .pt and .png masks, which may differ", where=str(folder), fix="keep one kind")
        self.has_identities = suffixes == {".png"}
        self._of: dict[int, dict[int, Path]] = {}
        for frame, number in enumerate(frame_numbers):
            for place, (camera, name) in enumerate(zip(cameras(frame).ids, names(frame), strict=True)):
                keys = [f"{camera}/{number}", folded(name), *([str(camera)] if frame == 0 else [])]
                path = next((found[key] for key in keys if key in found), None)
                if path is not None:
                    self._of.setdefault(frame, {})[place] = path
        if not self._of:
            some = ", ".join(list(found)[:3])
            raise DatasetError(
                f"has masks of no picture of this run (it has {some}, …)",
                where=str(folder),
                fix="name files as the pictures are, or CAMERA/FRAME",
            )

    def frames(self) -> list[int]:
        """Those with a file."""
        return sorted(self._of)

    def masks(self, frame: int) -> FrameMasks:
        """Of the pictures of a frame that have a file."""
        places = sorted(self._of[frame])
        cameras = self._cameras(frame).take(places)
        paths = [self._of[frame][place] for place in places]
        if not self.has_identities:
            return masks_of_pictures(frame, cameras, [read_masks(path) for path in paths], where=self.name)
        labels = [read_labels(path) for path in paths]
        values = [np.unique(some[some > 0]) for some in labels]
        split = [some[None] == ids[:, None, None] for some, ids in zip(labels, values, strict=True)]
        return masks_of_pictures(frame, cameras, split, [ids.astype(np.int64) for ids in values], where=self.name)


def _files(folder: Path) -> dict[str, Path]:
    """Mask files by what they are called: NAME, or CAMERA/FRAME without zeros in front."""
    found: dict[str, Path] = {}
    for path in list_folder(folder):
        inside = list_folder(path) if path.is_dir() else [path]
        for file in inside:
            if file.suffix.casefold() not in (".pt", ".png"):
                continue
            if file is path:
                found[folded(file.stem)] = file
                if file.stem.isdecimal():
                    found.setdefault(str(int(file.stem)), file)
            else:
                camera, frame = _number(path.name), _number(file.stem)
                found[f"{camera}/{frame}"] = file
    return found


def _number(name: str) -> str:
    """The number that a name is, or ends with; else the name."""
    match = re.search(r"(\d+)$", name)
    return str(int(match[1])) if match else folded(name)
