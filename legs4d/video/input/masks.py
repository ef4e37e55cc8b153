"""Masks that are given: a folder an object, ids in one picture, or videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.progress import StageReporter
from legs4d.scene.footage.names import PICTURES, VIDEOS, list_files, list_folder, numbers_of, some
from legs4d.scene.images import as_unit, majority_resize, read_labels, read_mask, read_picture
from legs4d.scene.movies.movie import Movie
from legs4d.video.input.clip import LAYOUT, Clip, _small
from legs4d.video.input.things import Thing

ANNOTATIONS, WHOLE, FILLED = "Annotations", "InpaintedMasks", "InpaintedImages"
LIKE = 0.02
"""Relative difference of two shapes of pictures that is rounding."""


def masks_beside(clip: Clip) -> Path | None:
    """The masks of DreamScene4D's layout, where a video is of one."""
    if clip.root is None:
        return None
    folder = clip.root / ANNOTATIONS / clip.name
    return folder if folder.is_dir() else None


def folders_beside(source: Path) -> dict[str, Path | None]:
    """What counts though it is not inside of the folder of pictures that is named, in DreamScene4D's layout: kind →
    folder, None where there is none."""
    if source.parent.name != LAYOUT or not source.is_dir():
        return {}
    folders = {kind: source.parent.parent / kind / source.name for kind in (ANNOTATIONS, WHOLE, FILLED)}
    return {kind: folder if folder.is_dir() else None for kind, folder in folders.items()}


def read_masks(clip: Clip, folder: Path, reporter: StageReporter, *, first: bool = False) -> list[Thing]:
    """The objects of a video by the masks that are given, also those whose masks are empty.

    Args:
        folder: with a folder of pictures an object (white is the object), pictures of ids, or videos of masks, one an
            object; or one such video. Pictures belong to the video's by their name, or by their order where there are
            as many.
        first: whether those of the first frame that has any count alone.

    Raises:
        DatasetError: there are none, or they are of other pictures.
    """
    if not folder.exists():
        raise DatasetError("there is no such file or folder", where=str(folder), fix="give the masks of the video")
    things = _read(clip, folder, reporter)
    if not any(thing.masks.any() for thing in things):
        raise DatasetError("all masks are empty", where=str(folder), fix="give masks in which the objects are white")
    if clip.root is not None:
        _read_whole(clip, things)
    if first:
        for thing in things:
            shown = np.flatnonzero(thing.areas)[:1]
            thing.masks[shown[0] + 1 if len(shown) else 0 :] = False
    return things


def _read(clip: Clip, folder: Path, reporter: StageReporter) -> list[Thing]:
    if folder.is_file():
        return [Thing(1, "", _of_video(clip, folder, reporter))]
    videos = list_files(folder, VIDEOS)
    parts = [path for path in list_folder(folder) if path.is_dir() and list_files(path, PICTURES)]
    named = videos or parts
    if named:
        numbers = _numbers([path.stem if path.is_file() else path.name for path in named])
        read = _of_video if videos else _of_folder
        things = []
        for number, path in zip(numbers, named, strict=True):
            name = path.stem if path.is_file() else path.name
            things.append(Thing(number, "" if name.isdecimal() else name, read(clip, path, reporter)))
        return things
    files = list_files(folder, PICTURES)
    if not files:
        fix = "give a folder an object with a picture a frame, or pictures of object ids"
        raise DatasetError("holds no masks", where=str(folder), fix=fix)
    return _of_ids(clip, folder, files, reporter)


def _numbers(names: list[str]) -> list[int]:
    """Of objects: their names where these are numbers, else from 1 on."""
    if all(name.isdecimal() for name in names) and len({int(name) for name in names}) == len(names):
        return [int(name) for name in names]
    return list(range(1, len(names) + 1))


def matched(clip: Clip, folder: Path, files: list[Path], kind: str = "masks") -> dict[int, Path]:
    """Frame → its file. Raises DatasetError when none belongs to a picture."""
    by_name = {path.stem: path for path in files}
    found = {frame: by_name[name] for frame, name in enumerate(clip.names) if name in by_name}
    if found:
        return found
    digits = [path for path in files if any(letter.isdecimal() for letter in path.stem)]
    if len(digits) == len(files):
        by_number = dict(zip(numbers_of([path.stem for path in files]), files, strict=True))
        found = {frame: by_number[n] for frame, n in enumerate(clip.numbers) if n in by_number}
        if found:
            return found
    if len(files) == clip.num_frames:
        return dict(enumerate(files))
    names = some([path.name for path in files])
    what = f"holds {len(files)} {kind} ({names}) for {clip.num_frames} pictures, none of their names"
    raise DatasetError(what, where=str(folder), fix=f"call {kind} as the pictures are called, {clip.names[0]}.png")


def _of_folder(clip: Clip, folder: Path, reporter: StageReporter) -> NDArray[np.bool_]:
    found = np.zeros((clip.num_frames, clip.height, clip.width), np.bool_)
    for frame, path in matched(clip, folder, list_files(folder, PICTURES)).items():
        reporter.check()
        found[frame] = fitted(read_mask(path).astype(np.uint8), clip, path) > 0
    return found


def _of_ids(clip: Clip, folder: Path, files: list[Path], reporter: StageReporter) -> list[Thing]:
    ids: dict[int, NDArray[np.bool_]] = {}
    for frame, path in matched(clip, folder, files).items():
        reporter.check()
        labels = fitted(_labels(path), clip, path)
        for number in np.unique(labels[labels > 0]).tolist():
            shape = clip.num_frames, clip.height, clip.width
            ids.setdefault(number, np.zeros(shape, np.bool_))[frame] = labels == number
    if set(ids) == {255}:  # black and white
        ids = {1: ids[255]}
    return [Thing(number, "", ids[number]) for number in sorted(ids)]


def _labels(path: Path) -> NDArray[np.uint8]:
    """Ids; of coloured pictures each colour is one, in the order of DAVIS's palette's bits."""
    try:
        return read_labels(path)
    except DatasetError:
        values = np.rint(as_unit(read_picture(path))[..., :3] * 255).astype(np.int64)
        codes = values[..., 0] * 65536 + values[..., 1] * 256 + values[..., 2]
        kinds = np.unique(codes)
        if len(kinds) > 255:
            raise
        return np.searchsorted(np.unique([0, *kinds.tolist()]), codes).astype(np.uint8)


def _of_video(clip: Clip, path: Path, reporter: StageReporter) -> NDArray[np.bool_]:
    movie = Movie(path)
    chosen = clip.numbers if max(clip.numbers) < movie.num_frames else range(clip.num_frames)
    if movie.num_frames < clip.num_frames:
        what = f"has {movie.num_frames} frames, and the video {clip.num_frames}"
        raise DatasetError(what, where=str(path), fix="give a video of masks of all frames")
    found = np.zeros((clip.num_frames, clip.height, clip.width), np.bool_)
    for frame, number in enumerate(chosen):
        reporter.check()
        bright = movie.read(number, square=True).max(axis=-1) > 127
        found[frame] = fitted(bright.astype(np.uint8), clip, path) > 0
    return found


def _read_whole(clip: Clip, things: list[Thing]) -> None:
    """What DreamScene4D's layout says of hidden parts."""
    assert clip.root is not None
    for thing in things:
        folders = [
            next(
                (
                    f
                    for f in list_folder(clip.root / kind / clip.name)
                    if f.is_dir() and f.name.isdecimal() and int(f.name) == thing.id
                ),
                None,
            )
            for kind in (WHOLE, FILLED)
        ]
        masks, pictures = (
            {} if folder is None else matched(clip, folder, list_files(folder, PICTURES)) for folder in folders
        )
        for frame in sorted(masks.keys() & pictures.keys()):
            whole = fitted(read_mask(masks[frame]).astype(np.uint8), clip, masks[frame]) > 0
            if whole.any():
                thing.whole[frame] = whole
                size = clip.width, clip.height
                thing.filled[frame] = _small(as_unit(read_picture(pictures[frame]))[..., :3], size)


def fitted(labels: NDArray[np.uint8], clip: Clip, path: Path) -> NDArray[np.uint8]:
    """Labels at the clip's size. Raises DatasetError when they are of another shape."""
    height, width = labels.shape
    if abs(width / height / (clip.width / clip.height) - 1) > max(LIKE, 1.5 / min(clip.width, clip.height)):
        full = f"{clip.full[0]}×{clip.full[1]}"
        what = f"is {width}×{height}, and the video {full}, which is another shape"
        raise DatasetError(what, where=str(path), fix="give masks of the video's shape: nothing is squashed here")
    if labels.shape == (clip.height, clip.width):
        return labels
    if len(np.unique(labels)) > 1 and width < clip.width:
        rows = np.minimum((np.arange(clip.height) + 0.5) * height / clip.height, height - 1).astype(int)
        columns = np.minimum((np.arange(clip.width) + 0.5) * width / clip.width, width - 1).astype(int)
        return labels[np.ix_(rows, columns)]
    return majority_resize(labels, clip.width, clip.height)
