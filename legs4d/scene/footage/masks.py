"""Masks in a folder of their own, for layouts whose files name none.

    masks/ (or seg/, mask/)                      beside pictures: named as they are, with its own suffix, or one more,
                                                 and without folders where no two pictures have one name
    masks/<camera>/0000.png, 0001.png, …         of a video: a mask for every picture, in the order of their numbers

White is what moves; a `Sequence` needs the masks of all training pictures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

from legs4d.errors import DatasetError
from legs4d.scene.footage.names import PICTURES, find_inside, in_order, list_files, list_folder, natural_key
from legs4d.scene.footage.shots import Shot, Shots

FOLDERS = ("masks", "seg", "mask")
_PICTURE_FOLDERS = {"images", "ims"}


def find_masks(root: Path, shots: Shots) -> tuple[Shots, tuple[str, ...]]:
    """The shots with their masks, if none has one and there is a folder of masks; and what to note.

    Raises:
        DatasetError: a video's masks are fewer than its pictures, or their order is a guess.
    """
    folder = _folder(root)
    if folder is None or any(shot.mask for frame in shots["train"] for shot in frame):
        return shots, ()
    films: dict[tuple[str, ...], list[Path]] = {}
    training = [[replace(s, mask=_find(root, folder, s, films)) for s in frame] for frame in shots["train"]]
    if not any(shot.mask for frame in training for shot in frame) and (flat := _by_names(folder, shots)) is not None:
        shots, training = flat, flat["train"]
    if not any(shot.mask for frame in training for shot in frame):
        return shots, (f"{folder.name}/ is not used: it holds no masks that are named as the pictures are.",)
    return {**shots, "train": training}, (f"{folder.name}/ is taken for the foreground: white is what moves.",)


def mask_of(root: Path, shot: Shot) -> Path | None:
    """The mask of one shot, which need not have one, as held-out pictures: its own, else by its name in a folder."""
    folder = _folder(root)
    return shot.mask or (None if folder is None else _find(root, folder, shot, {}))


def _folder(root: Path) -> Path | None:
    return next((root / name for name in FOLDERS if (root / name).is_dir() and list_folder(root / name)), None)


def _by_names(folder: Path, shots: Shots) -> Shots | None:
    """Shots with the masks that lie in the folder itself, by the pictures' names; None where these name no picture."""
    names = [shot.picture.name for frames in shots.values() for frame in frames for shot in frame if shot.picture]
    if not names or len(set(names)) < len(names):
        return None

    def with_mask(shot: Shot) -> Shot:
        named = (PurePath(shot.picture.name).with_suffix("").name, shot.picture.name) if shot.picture else ()
        found = (find_inside(folder, name, str(folder), suffixes=PICTURES) for name in named)
        return replace(shot, mask=next((mask for mask in found if mask is not None), None))

    return {split: [[with_mask(shot) for shot in frame] for frame in frames] for split, frames in shots.items()}


def _find(root: Path, folder: Path, shot: Shot, films: dict[tuple[str, ...], list[Path]]) -> Path | None:
    if shot.film is not None:
        return _of_film(folder, *shot.film, films)
    assert shot.picture is not None
    whole = shot.picture.relative_to(root)
    inside = PurePath(*(part for part in whole.parts if part not in _PICTURE_FOLDERS))
    for name in dict.fromkeys((inside, whole, PurePath(*whole.parts[1:]))):
        for written in (name.with_suffix(""), name) if name.parts else ():
            found = find_inside(folder, written.as_posix(), str(folder), suffixes=PICTURES)
            if found is not None:
                return found
    return None


def _of_film(
    folder: Path, called: tuple[str, ...], number: int, films: dict[tuple[str, ...], list[Path]]
) -> Path | None:
    """The mask of a video's picture; `films` holds what was listed before."""
    if called not in films:
        keys = {natural_key(name) for name in called}
        own = next((path for path in list_folder(folder) if path.is_dir() and natural_key(path.name) in keys), None)
        files = [] if own is None else list_files(own, PICTURES)
        in_order([path.stem for path in files], "masks", str(own))
        films[called] = files
    masks = films[called]
    if masks and number >= len(masks):
        raise DatasetError(
            f"has {len(masks)} masks, its video more pictures",
            where=str(masks[0].parent),
            fix="write a mask for every picture of the video",
        )
    return masks[number] if masks else None
