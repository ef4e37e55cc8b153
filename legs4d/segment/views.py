"""The views in which people point at things: a camera of the run, in a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.store.footage import place_of_footage
from legs4d.gaussians.store.run import Run
from legs4d.raster.lift import lift_weights
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence, reading_of
from legs4d.scene.sequence import Split
from legs4d.segment.pick import under_pixel
from legs4d.segment.segments import num_slots, slots_of


def check_frame(run: Run, frame: int) -> None:
    """Raise RunError where a run has no such frame."""
    if not 0 <= frame < run.num_frames:
        raise RunError(f"has no frame {frame}: it has {run.num_frames}, counted from 0", where=str(run.path))


def view_of(run: Run, camera: int | None, frame: int) -> Cameras:
    """One camera, by its number, as it stands in a frame. Raises Legs4dError where there is none."""
    check_frame(run, frame)
    splits: tuple[Split, Split] = ("train", "test")
    if run.info.get("cameras_move") and run.track("train") is None:  # older runs keep those of the first frame alone
        sequence = open_sequence(place_of_footage(run), reading_of(run.info))
        there = [sequence.cameras(split, frame) for split in splits]
    else:
        there = [run.cameras(split, frame) for split in splits if split == "train" or run.has_test_cameras]
    for cameras in there:
        if camera in cameras.ids:
            return cameras.take([cameras.ids.index(int(camera))])
    numbers = sorted(number for cameras in there for number in cameras.ids)
    some = ", ".join(map(str, numbers[:12])) + (", …" if len(numbers) > 12 else "")
    what = "no camera is given" if camera is None else f"there is no camera {camera} in frame {frame}"
    raise Legs4dError(what, where="--camera", fix=f"say whose picture is meant: {some}")


def near_of(run: Run) -> float:
    """The near plane, scene units. Raises RunError where the run does not tell."""
    if run.info.get("near") is None:
        raise RunError("has no near plane, as it was made without footage", where=str(run.path), fix="import it anew")
    return float(run.info["near"])


def clicked(run: Run, view: Cameras, frame: int, pixel: tuple[float, float]) -> NDArray[np.float32]:
    """[G] how much each of the run's Gaussians fills a pixel."""
    return spread(run, frame, under_pixel(run.frame(frame), view, pixel, near_of(run)))


def boxed(
    run: Run, view: Cameras, frame: int, box: tuple[float, float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[G] pixels of a view that each Gaussian fills, and [G] those inside of a box (left, top, right, bottom).

    Raises:
        Legs4dError: the box is empty, or not in the picture.
    """
    left, top, right, bottom = box
    columns, rows = np.arange(view.width) + 0.5, np.arange(view.height) + 0.5
    inside = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))[None]
    if not inside.any():
        size = f"{view.width}×{view.height}"
        raise Legs4dError(
            f"({left:g}, {top:g}, {right:g}, {bottom:g}) holds no pixel of a picture of {size}",
            where="--box",
            fix="give LEFT,TOP,RIGHT,BOTTOM in pixels",
        )
    index = np.where(inside, 0, -1).astype(np.int32)[None, ..., None]
    weight = np.ones(index.shape, np.float32)
    held, filled = lift_weights(run.frame(frame), view, index, weight, 1, near_of(run))
    return spread(run, frame, filled), spread(run, frame, np.asarray(held.toarray()[:, 0], np.float32))


def spread(run: Run, frame: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """[G] of a frame's values [count], 0 elsewhere."""
    if not run.has_loose:
        return values
    full = np.zeros(num_slots(run), np.float32)
    full[slots_of(run, frame)] = values
    return full
