"""Which cameras of a dataset are read, and what is done about pictures that are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.scene.footage.names import natural_key, some

MISSING_SHARE = 0.05
"""Of a dataset's frames: so many may lack a picture, and are left out. With more, something else is wrong."""


def chosen_cameras(names: Sequence[tuple[str, ...]], settings: DatasetSettings, where: str) -> list[int]:
    """Positions of the cameras that `settings` ask for, in their order.

    Args:
        names: of each camera, all that it may be called: its number, its folder, its video, …; the first is shown.

    Raises:
        DatasetError: a name that was asked for belongs to no camera, or nothing is left.
    """
    known = [{natural_key(name) for name in called} for called in names]
    shown = some([called[0] for called in names])

    def find(asked: tuple[str, ...], option: str) -> set[int]:
        found: set[int] = set()
        for name in asked:
            matching = {i for i, keys in enumerate(known) if natural_key(name) in keys}
            if not matching:
                raise DatasetError(f"there is no camera {name!r} in {where}", where=option, fix=f"there are: {shown}")
            found |= matching
        return found

    wanted = find(settings.cameras, "cameras") if settings.cameras else set(range(len(names)))
    kept = sorted(wanted - find(settings.leave_out, "leave_out"))
    if not kept:
        raise DatasetError("no camera is left", where="leave_out", fix=f"there are: {shown}")
    return kept


def check_no_offsets(settings: DatasetSettings, where: str) -> None:
    """Raise DatasetError when offsets are asked for of a dataset that has no videos."""
    if settings.offsets or settings.align:
        raise DatasetError(
            "has no videos, whose offsets could be given or found",
            where=where,
            fix="leave out --offset and --align: pictures of one name or time are one frame",
        )


def whole_frames(
    num_frames: int, missing: Mapping[int, Sequence[str]], where: str
) -> tuple[list[int], tuple[str, ...]]:
    """The frames in which no picture is missing, and a note of those that are left out.

    Args:
        missing: frame → what it lacks, a phrase each.

    Raises:
        DatasetError: more than `MISSING_SHARE` of the frames lack one.
    """
    lacking = [name for frame in sorted(missing) for name in missing[frame]]
    if not lacking:
        return list(range(num_frames)), ()
    if len(missing) > MISSING_SHARE * num_frames:
        raise DatasetError(some(lacking), where=where, fix="add what is missing, or leave its camera or frame out")
    kept = [frame for frame in range(num_frames) if frame not in missing]
    count = f"{len(missing)} of {num_frames} frames {'lacks' if len(missing) == 1 else 'lack'}"
    return kept, (f"{count} a picture and {'is' if len(missing) == 1 else 'are'} left out: {some(lacking)}.",)


def absent_tests(names: Sequence[str], count: int) -> tuple[str, ...]:
    """A note of held-out pictures without files, of `count`: nothing is trained on them, so all else may be used."""
    what = "held-out pictures without a file are left out"
    return (f"{len(names)} of {count} {what}: {some(names)}.",) if names else ()
