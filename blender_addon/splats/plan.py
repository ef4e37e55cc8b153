"""Which splat files make a sequence, in which order, and how they are read. No bpy."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..cache.frames import run_id
from ..portable.files import SUFFIXES

BY_BACKEND = (".sog", ".glb", ".gltf", ".usd", ".usda", ".usdc", ".usdz", ".npz", ".json")
"""Endings of files that only a backend reads; .json is the `meta.json` of an unpacked .sog."""

Triple = tuple[float, float, float]


class PlanProblem(Exception):
    """These files are no sequence; the message is a sentence for the artist."""


@dataclass(frozen=True)
class Plan:
    """A sequence of files.

    Attributes:
        folder: where they are.
        names: of the files, one a frame, in order.
        fps: frames per second.
        up: what is up in the files' axes; None: as the first file or its format has it.
        origin: what is taken off all positions; None: found by the first file.
    """

    folder: Path
    names: tuple[str, ...]
    fps: float
    up: Triple | None = None
    origin: Triple | None = None

    @property
    def files(self) -> list[Path]:
        """One a frame."""
        return [self.folder / name for name in self.names]

    @property
    def title(self) -> str:
        """What the artist would call it: the file's name, or what the files' names have in common."""
        stem = Path(self.names[0]).stem
        if len(self.names) == 1:
            return stem
        return re.sub(r"[\W_]*\d+$", "", stem) or self.folder.name or stem

    @property
    def by_backend(self) -> bool:
        """Whether the files are of a format that only a backend reads."""
        return Path(self.names[0]).suffix.lower() not in SUFFIXES

    def run_id(self) -> str:
        """The cache folder: another one when the files are others. OSError if one is gone."""
        seen = [(name, (self.folder / name).stat()) for name in self.names]
        content = json.dumps([(name, found.st_size, found.st_mtime_ns) for name, found in seen])
        return run_id(self.title, hashlib.blake2b(content.encode(), digest_size=8).hexdigest())

    def to_json(self) -> str:
        """All but the folder, for the `.blend`."""
        stored = asdict(self)
        del stored["folder"]
        return json.dumps(stored)


def from_json(text: str, folder: Path) -> Plan:
    """What `to_json` stored, of files that are in this folder now."""
    stored = json.loads(text)
    triples = {name: None if stored[name] is None else tuple(stored[name]) for name in ("up", "origin")}
    return Plan(folder, tuple(stored["names"]), float(stored["fps"]), **triples)


def make(folder: Path, names: Sequence[str], fps: float, up: Triple | None = None, *, whole: bool = False) -> Plan:
    """The files of these names in a folder; without any, all splat files of the folder.

    Args:
        whole: for a single name: with all files of the folder that differ from it by their number alone.

    PlanProblem where there are none, some are missing, or kinds mix.
    """
    chosen = [name for name in names if name]
    if not chosen:
        chosen = [path.name for path in _listed(folder) if _is_splats(path)]
        if not chosen:
            raise PlanProblem(f"There are no splat files in {folder}; choose another folder.")
    elif whole and len(chosen) == 1:
        pattern = _pattern(chosen[0])
        chosen = [path.name for path in _listed(folder) if _pattern(path.name) == pattern] or chosen
    chosen.sort(key=natural_key)
    gone = next((name for name in chosen if not (folder / name).is_file()), None)
    if gone is not None:
        raise PlanProblem(f"{folder / gone} is not there; choose the files again.")
    kinds = sorted({Path(name).suffix.lower() for name in chosen})
    if len(kinds) > 1:
        raise PlanProblem(f"The files are of several formats ({', '.join(kinds)}); choose files of one.")
    if kinds[0] not in (*SUFFIXES, *BY_BACKEND):
        raise PlanProblem(f"{chosen[0]} is no splat file; known are {', '.join((*SUFFIXES, *BY_BACKEND[:-1]))}.")
    _check_numbers(chosen)
    return Plan(folder, tuple(chosen), fps, up)


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts], name


def with_origin(plan: Plan, origin: Triple) -> Plan:
    """The same plan, whose files are all counted from one origin."""
    return replace(plan, origin=origin)


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise PlanProblem(f"{folder} cannot be read ({error.strerror}); choose another folder.") from error


def _is_splats(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _pattern(name: str) -> tuple[str, str]:
    """A file's name without the last number in it."""
    found = re.match(r"(.*?)(\d*)(\D*)$", name)
    assert found is not None  # it matches everything
    return found.group(1), found.group(3)


def _check_numbers(names: Sequence[str]) -> None:
    """PlanProblem where a number is left out: a frame would be shown at another one's time."""
    if len({_pattern(name) for name in names}) > 1 or len(names) < 3:
        return
    numbers = [int(found.group(1)) for name in names if (found := re.search(r"(\d+)\D*$", name))]
    if len(numbers) < len(names):
        return
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    step = min(steps)
    wide = next((i for i, each in enumerate(steps) if each != step), None)
    if wide is not None:
        raise PlanProblem(
            f"A frame is missing between {names[wide]} and {names[wide + 1]}; add it, or choose files without a gap."
        )
