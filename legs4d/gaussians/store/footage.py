"""What a run remembers of the footage that it was made from: where it was last, and what was in its files.

info["dataset"]        the folder, where it was last; of one in the run's own folder, its path there
info["footage"]        fingerprints {content, language}, and how many files there are
info["found_objects"]  the folder of found objects that it was read with, where that was last; "" for none
RUN/footage.json       {footage, language}: name → hash of each file
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.mirror import here
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import Difference, RunDiffers
from legs4d.scene.camera import Cameras
from legs4d.scene.found_objects import FoundObjects
from legs4d.scene.readers import open_sequence, reading_of
from legs4d.scene.sequence import Sequence, Split

LISTING = "footage.json"
STAGE = "first_frame"
"""The stage that footage belongs to, in a `Difference`."""
NAMED = 3
"""Files that a difference names of each kind."""
_TOLERANCE = 1e-4
"""Of poses, relative: what other cameras differ in is larger."""
_OF_LENSES = 1e-2
"""Of intrinsics, relative: older versions scaled them up to half a pixel otherwise than the pictures."""


def find_footage(
    run: Run,
    dataset: str | Path | None = None,
    context: Context = QUIET,
) -> Sequence:
    """The sequence that a run was made from, at the run's scale.

    Args:
        dataset: where it is now, if not where it was last; the run remembers that, unless it cannot be written.

    Raises:
        RunError: the run was not made from footage.
        RunDiffers: this is other footage.
        DatasetError: it is not there, or cannot be read.
        Stopped: `stop` was set.
    """
    if dataset is None and "dataset" not in run.info:
        fix = "say with --dataset where it is, if there is any"
        raise RunError("was not made from footage, so there is none to read", where=str(run.path), fix=fix)
    place = place_of_footage(run) if dataset is None else Path(dataset)
    if dataset is None and not place.is_dir():
        raise DatasetError(
            "is no longer there, and the run was made from it",
            where=str(place),
            fix="say with --dataset where it is now",
        )
    sequence = open_sequence(place, reading_of({"scale": 1.0, **run.info}), found=found_objects_of(run.info))
    sequence.content.hashes(context)
    found = footage_differences(run, sequence)
    if found:
        fix = "say with --dataset where the footage is that the run was made from"
        raise RunDiffers.of(run.path, found, fix=fix)
    if dataset is not None and _told_of(run, place) != run.info.get("dataset"):
        _remember_place(run, place)
    return sequence


def place_of_footage(run: Run) -> Path:
    """Where a run's footage was last. Raises KeyError where it was made from none."""
    return (run.path / run.info["dataset"]).resolve()


def _told_of(run: Run, place: Path) -> str:
    """What a run remembers of a place: what lies in the run goes with it wherever it is moved."""
    whole, folder = place.resolve(), run.path.resolve()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)


def travelling(run: Run, dataset: str | Path | None = None) -> dict[str, Path]:
    """The folders that workers on other machines need of a run: its own, and its footage's, if there is any."""
    folders = {"run": run.path}
    if dataset is not None or "dataset" in run.info:
        folders["dataset"] = place_of_footage(run) if dataset is None else Path(dataset)
    found = found_objects_of(run.info)
    return {**folders, "objects": found} if isinstance(found, Path) else folders


def found_objects_of(info: Mapping[str, Any]) -> bool | Path:
    """`found` of `open_sequence` for a run's footage, from its `info`: what it was read with, if that is still there,
    else what lies beside it; what runs of before say nothing of lies beside it too."""
    told = info.get("found_objects")
    if not told:
        return told is None
    folder = here(told)
    return folder if folder.is_dir() else True


def remember_footage(run: Run, sequence: Sequence, *, language: bool = False) -> None:
    """Note what footage a run is made from, and where that is; the caller holds the run's lock.

    Args:
        language: note what the lift alone is made from, too.
    """
    listed = read_listing(run)
    now = {"footage": sequence.content.hashes()}
    if language:
        now["language"] = sequence.content.hashes(language=True)
    if any(listed.get(kind) != files for kind, files in now.items()):
        listed = {**listed, **now}
        write_file(run.path / LISTING, json.dumps(listed).encode())
    content = {
        "content": sequence.content.fingerprint(),
        "language": sequence.content.fingerprint(language=True) if "language" in listed else None,
        "files": len(listed["footage"]),
    }
    now_read = {"dataset": _told_of(run, sequence.root), "footage": content, "found_objects": _found_folder(sequence)}
    if any(run.info.get(name) != value for name, value in now_read.items()):
        run.set_info(**now_read)


def _found_folder(sequence: Sequence) -> str:
    return str(sequence.folder) if isinstance(sequence, FoundObjects) else ""


def read_listing(run: Run) -> dict[str, dict[str, str]]:
    """ "footage" and "language" → name → hash, as far as the run knows them."""
    try:
        content = json.loads((run.path / LISTING).read_text())
        return {str(kind): dict(files) for kind, files in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        fix = "delete it, if you know that the footage is the same"
        raise RunError(f"cannot be read ({error})", where=str(run.path / LISTING), fix=fix) from error


def cameras_taken(run: Run, sequence: Sequence, frame: int) -> Cameras:
    """The training cameras of a frame of a run's footage, where their poses were refined as the run has them."""
    if run.info.get("poses_refined"):
        return run.cameras("train", frame)
    return sequence.cameras("train", frame)


def footage_differences(run: Run, sequence: Sequence, *, language: bool = False) -> list[Difference]:
    """In what footage is another one than a run was made from; nothing where the run does not know."""
    listed = read_listing(run)
    if "footage" not in listed:
        return _camera_differences(run, sequence)
    found = _file_differences(STAGE, "footage", listed["footage"], sequence.content.hashes())
    if language and "language" in listed:
        now = sequence.content.hashes(language=True)
        found += _file_differences("lift", "language", listed["language"], now)
    return found


def _file_differences(stage: str, key: str, was: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """One difference for the files that are others, one for those that are new, one for those that are gone."""
    kinds = {
        "differ": sorted(name for name in was.keys() & now.keys() if was[name] != now[name]),
        "are new": sorted(now.keys() - was.keys()),
        "are gone": sorted(was.keys() - now.keys()),
    }
    return [
        Difference(stage, key, {n: was.get(n) for n in names}, {n: now.get(n) for n in names}, _told(key, verb, names))
        for verb, names in kinds.items()
        if names
    ]


def _told(key: str, verb: str, names: list[str]) -> str:
    files = f"{len(names)} files {verb}" if len(names) > 1 else f"1 file {_SINGULAR[verb]}"
    shown = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return f"{key}: {files}: {shown}"


_SINGULAR = {"differ": "differs", "are new": "is new", "are gone": "is gone"}


def _camera_differences(run: Run, sequence: Sequence) -> list[Difference]:
    """Of a run that does not know its footage's files: by the number of frames, and the cameras of the first."""
    found = []
    if run.has_geometry and run.num_frames != sequence.num_frames:
        found.append(Difference.of_values(STAGE, "footage.frames", run.num_frames, sequence.num_frames))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        there = run.has_cameras if split == "train" else run.has_test_cameras
        if not there:
            continue
        was, now = run.cameras(split), sequence.cameras(split, 0)
        same = (was.ids, was.width, was.height) == (now.ids, now.width, now.height) and all(
            _close(one, other, tolerance)
            for one, other, tolerance in (
                (was.world_to_camera, now.world_to_camera, _TOLERANCE),
                (was.intrinsics, now.intrinsics, _OF_LENSES),
            )
        )
        if not same:
            told = [f"{len(c)} of {c.width}×{c.height}" for c in (was, now)]
            text = f"footage: other {split} cameras ({told[0]} → {told[1]})"
            found.append(Difference(STAGE, f"footage.{split}_cameras", told[0], told[1], text))
    return found


def _close(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], tolerance: float) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=tolerance, atol=tolerance))


def _remember_place(run: Run, place: Path) -> None:
    try:
        with run.lock():
            run.set_info(dataset=_told_of(run, place))
    except RunError:  # it is being written, or may not be: then its place is told again the next time
        return
