"""What a process finds that was handed frames of a run by name: the run as it was told of, and its footage."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from legs4d.config import DatasetSettings
from legs4d.errors import RunError
from legs4d.gaussians.store.footage import found_objects_of, place_of_footage
from legs4d.gaussians.store.mirror import here
from legs4d.gaussians.store.run import Run
from legs4d.scene.readers import open_sequence, reading_of
from legs4d.scene.sequence import Sequence


def not_as_told(path: str, done: str) -> RunError:
    """What to raise where a run is not what the driver said; `done` is the work, as "lifted"."""
    return RunError(
        f"is not being {done} as this worker was told",
        where=path,
        fix="keep runs and datasets on storage that all machines see under the same path",
    )


def check_handed(path: str, stage: str, fingerprint: str, done: str) -> None:
    """Raises RunError where the run is not there, or its stage is not the one handed out, or begun anew meanwhile."""
    record = Run.open(path).stages.get(stage)
    if record is None or record.fingerprint != fingerprint:
        raise not_as_told(path, done)


def handed_footage(run: Run) -> Sequence:
    """A run's footage as this machine sees it; opened once for all that is made of it."""
    reading = reading_of(run.info).model_dump_json()
    return _open(here(place_of_footage(run)), reading, found_objects_of(run.info), json.dumps(run.info.get("footage")))


@functools.lru_cache(maxsize=1)
def _open(place: Path, reading: str, found: bool | Path, content: str) -> Sequence:
    """`content` tells footage that has changed from what it was."""
    return open_sequence(place, DatasetSettings.model_validate_json(reading), found=found)
