"""Where films, pictures and files of a run may go: not over what it was made from, nor among the files of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

from legs4d.errors import RunError
from legs4d.gaussians.store.footage import LISTING, place_of_footage
from legs4d.gaussians.store.run import Run
from legs4d.scene.layouts import is_run

PICTURES = r"\d{6}\.png"
"""Names of the pictures that films without suffix are."""


def check_output(run: Run, target: str | Path, names: str = PICTURES) -> None:
    """Look at a place before anything is written there.

    Args:
        target: a file with a suffix, or a folder.
        names: a regular expression of the files that will be written in a folder.

    Raises:
        RunError: the folder is a run, or what lies there would be replaced, and the run was made from it.
    """
    target = Path(target)
    if is_run(target):
        raise RunError(
            "is a run, whose own files lie there", where=str(target), fix="name another folder, such as one beside it"
        )
    there = [target] if target.is_file() else []
    if target.is_dir():
        there = [path for path in target.iterdir() if re.fullmatch(names, path.name)]
    if not there:
        return
    sources = _sources(run)
    for path in sorted(there):
        if path.resolve() in sources:
            raise RunError("is what the run was made from, and would be replaced", where=str(path), fix="name another")


def _sources(run: Run) -> set[Path]:
    """The files that a run was made from, as far as it knows where they are."""
    found: set[Path] = set()
    if "dataset" in run.info and (run.path / LISTING).is_file():
        place = place_of_footage(run)
        listed = json.loads((run.path / LISTING).read_text())
        found |= {(place / name).resolve() for names in listed.values() for name in names}
    told = run.info.get("made_from") or {}
    for value in told.values():
        if isinstance(value, str) and (source := Path(value)).is_absolute() and source.exists():
            # Of a sequence the first file is told; the others lie beside it, and differ in their number.
            lying = source.iterdir() if source.is_dir() else source.parent.iterdir()
            found.add(source.resolve())
            found |= {p.resolve() for p in lying if source.is_dir() or _style(p) == _style(source)}
    return found


def _style(path: Path) -> str:
    return re.sub(r"\d+", "#", path.name)
