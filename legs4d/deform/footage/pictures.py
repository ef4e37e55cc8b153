"""All training pictures of a sequence on a device, as bytes: each has a camera and a time of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.progress import go_on
from legs4d.raster.states import CameraTable
from legs4d.scene.camera import Cameras
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.images import as_bytes
from legs4d.scene.sequence import Sequence

BLANK = 1e-3
"""Mean alpha under which a picture shows nothing, and pictures that differ by less than this are alike."""
FARTHEST = 1e4
"""Times the median of what is measured: depths beyond it, and nearer than its inverse, are not known. float16 holds
them."""


@dataclass(frozen=True)
class Pictures:
    """F pictures.

    Attributes:
        images: [F, H, W, 4] uint8: colours times alpha, and alpha; alpha is 255 where pictures are opaque.
        table: their cameras.
        frames: [F] int64, the frame of each, on the CPU.
        times: [F] float32 in 0..1 on the device: the place of that frame in the sequence.
        masks: [F, H, W] uint8 share of foreground, or None where nothing tells.
        see_through: whether alpha means that nothing is there; else pictures have a background, and alpha is 0 where
            they are not known.
        depths: [F, H, W] float16 measured camera z in units of `depth_unit`, 0 where it is not known; None if nowhere.
        depth_unit: scene units, about the median of what is measured.
        has_holes: whether some pixels of pictures with a background are not known.
    """

    images: torch.Tensor
    table: CameraTable
    frames: NDArray[np.int64]
    times: torch.Tensor
    masks: torch.Tensor | None
    see_through: bool
    depths: torch.Tensor | None = None
    depth_unit: float = 1.0
    has_holes: bool = False
    names: tuple[str, ...] = ()
    """Of their files; none where they have none."""
    notes: tuple[str, ...] = ()
    """What should be known of them: a sentence each."""

    def __len__(self) -> int:
        return len(self.frames)

    def called(self, number: int) -> str:
        """What a picture is called in a sentence: its file's name, else its number from 0."""
        return self.names[number] if self.names else str(number)


def moments(sequence: Sequence) -> NDArray[np.float64]:
    """[T] the time of each frame in 0..1."""
    times = np.array(sequence.times)
    return times / max(times[-1], 1e-12)


def read_pictures(
    sequence: Sequence,
    device: torch.device,
    step: Callable[[int, int], object] = go_on,
    *,
    removed: bool = False,
    measured: bool = False,
) -> Pictures:
    """The training pictures of all frames.

    Args:
        removed: whether nothing is to be where masks are 0, also in opaque pictures.
        measured: whether depths are wanted, where some were measured.
        step: told after every frame how many are read, of how many; what it raises ends the reading.

    Raises:
        DatasetError: there are too few pictures, they are all alike, nothing is in any of them, or depths are not all
            of one unit.
    """
    times, see_through = moments(sequence), sequence.see_through or removed
    all_of_them = all_cameras(sequence)
    count, height, width = len(all_of_them), all_of_them.height, all_of_them.width
    images = np.empty((count, height, width, 4), np.uint8)  # once: a list, put together afterwards, would need it twice
    masks: list[NDArray[np.uint8]] = []
    depths: NDArray[np.float16] | None = None
    unit, has_holes = 0.0, False
    frames: list[int] = []
    names: list[str] = []
    for frame in range(sequence.num_frames):
        step(frame, sequence.num_frames)
        some = sequence.cameras("train", frame)
        if not len(some):
            continue
        shown = sequence.images("train", frame)
        # What moves is no help here: of one moving camera everything does.
        inside = None if isinstance(sequence, MotionMasks) else sequence.masks("train", frame)
        if removed and inside is None:
            what = "has no masks that say what of the pictures is to be removed"
            raise DatasetError(what, where=str(sequence.root), fix="add masks/, or set deform.background=kept")
        alpha = inside if see_through and inside is not None else np.ones(shown.shape[:3], np.float32)
        if sequence.see_through:  # readers show what is transparent on white
            shown = shown - (1 - alpha[..., None])
        elif removed and (cut := sequence.cut("train", frame)) is not None:
            alpha = cut[..., 3]
            shown = cut[..., :3] * cut[..., 3:]
        elif removed:
            shown = shown * alpha[..., None]
        elif (known := sequence.known("train", frame)) is not None:
            alpha, has_holes = known.astype(np.float32), has_holes or not known.all()
            shown = shown * alpha[..., None]
        both = np.concatenate([shown, alpha[..., None]], axis=-1)
        place = slice(len(frames), len(frames) + len(some))
        images[place] = as_bytes(both)
        if inside is not None:
            masks.append(as_bytes(inside))
        if measured and (away := sequence.depths("train", frame)) is not None:
            if not unit and (away > 0).any():
                unit = float(np.median(away[away > 0]))
            if depths is None:
                depths = np.zeros((count, height, width), np.float16)
            share = away / (unit or 1.0)
            there = away > 0
            fits = (share > 1 / FARTHEST) & (share < FARTHEST)
            if (there & ~fits).sum() > 0.5 * there.sum():
                raise DatasetError(
                    f"depths of frame {frame} are about {float(np.median(share[there])):.1e} times those before",
                    where=str(sequence.root),
                    fix="give all depths in the unit of the poses, or move the folder depth/ away",
                )
            depths[place] = np.where(fits, share, 0)
        frames += [frame] * len(some)
        names += sequence.picture_names("train", frame)
    step(sequence.num_frames, sequence.num_frames)
    notes = _check(images, names, see_through, str(sequence.root))
    if removed:
        notes = ("Masks say what there is: what lies outside of them is left out.", *notes)
    return Pictures(
        torch.as_tensor(images, device=device),
        CameraTable.of(all_of_them, device),
        np.array(frames, np.int64),
        torch.as_tensor(times[frames], dtype=torch.float32, device=device),
        torch.as_tensor(np.concatenate(masks), device=device) if masks else None,
        see_through,
        torch.as_tensor(depths, device=device) if depths is not None and unit else None,
        unit or 1.0,
        has_holes,
        tuple(names),
        notes,
    )


def all_cameras(sequence: Sequence) -> Cameras:
    """The training cameras of all frames."""
    each = [sequence.cameras("train", frame) for frame in range(sequence.num_frames)]
    return Cameras.together([some for some in each if len(some)])


def _check(images: NDArray[np.uint8], names: list[str], see_through: bool, where: str) -> tuple[str, ...]:
    """Raise DatasetError where they tell nothing; what else to tell of them."""
    count = len(names)
    if count < 2:
        raise DatasetError(
            "has one picture, which tells nothing of depth", where=where, fix="add pictures from other sides"
        )
    notes: tuple[str, ...] = ()
    if see_through:
        shown = images[..., 3].reshape(count, -1).mean(axis=1) / 255
        empty = np.flatnonzero(shown < BLANK)
        if len(empty) == count:
            raise DatasetError("all pictures are transparent", where=where, fix="check the alpha channel")
        if len(empty):
            which = ", ".join(names[i] for i in empty[:3]) + (", …" if len(empty) > 3 else "")
            notes = (f"Pictures that show nothing ({which}: {len(empty)} of {count}) say where nothing is.",)
    first = images[0].astype(np.float32)
    apart = max(float(np.abs(image - first).mean()) for image in images[1:]) / 255
    if apart < BLANK:
        raise DatasetError(
            f"all {count} pictures are alike (they differ by {apart:.1e} on average)",
            where=where,
            fix="check that the files are not copies of one picture",
        )
    return notes
