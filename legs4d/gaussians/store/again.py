"""Going on with a run, or making it anew: what is there is lost by neither.

What is made anew grows in a run folder of its own inside the run (`swap.REMADE`); what of the old is still valid is
shared with it by hard links. Until the new is finished the old opens, answers and exports.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from legs4d.context import Tell, tell_nobody
from legs4d.errors import RunError
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.selections import selection_names
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, write_file
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import (
    FOLLOWING,
    LAYOUT_STAGES,
    Difference,
    MadeFrom,
    RunDiffers,
    StageRecord,
    differences,
    listed,
)
from legs4d.gaussians.store.swap import NOTE, REMADE, publish
from legs4d.progress import duration

Wanted = Mapping[str, MadeFrom]
"""Stage → what it is to be made from, in the order in which stages are made."""

Forget = Callable[[Run, str], None]
"""Loses what a run has of a stage."""

_IMPORTED = "imported from "
"""How earlier versions began the fingerprints of what they imported."""
_ROADS = {
    "import": "import of splats",
    "deform": "deforming",
    "animate": "animating",
    "object": "making an object",
    "video": "a scene of a video",
    "first_frame": "tracking",
}
"""What a run's Gaussians come from, by the stage that lays them out."""
_OF_GAUSSIANS = (*LAYOUT_STAGES, "tracking", "births")
"""Stages that, made anew, make other Gaussians."""
_NEEDING = {**FOLLOWING, "extract": ("lift",)}
"""Stage → those that are made anew with it, if they are wanted."""


@dataclass
class Verdict:
    """What a run holds of what is wanted.

    Attributes:
        differences: in which what has begun was made otherwise.
        differing: the stages of these.
        outdated: finished stages that an earlier version of the code made.
        unknown: stages of which is not known what they were made from.
        lost: stages of which nothing is made yet, but which have worked at what is not asked for now, and why.
        left: stages that are not finished.
    """

    differences: list[Difference] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    lost: dict[str, list[Difference]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def add(self, stage: str, found: list[Difference]) -> None:
        """Count these differences in."""
        self.differences += found
        self.differing += [stage] if found else []


def compare(stages: Mapping[str, StageRecord], wanted: Wanted) -> Verdict:
    """What records of stages say of what is wanted."""
    verdict = Verdict()
    for layout in LAYOUT_STAGES:
        others = [name for name in LAYOUT_STAGES if name != layout and name in stages and stages[name].has_begun]
        if layout in wanted and others and layout not in stages:
            verdict.add(layout, [Difference.of_values(layout, "made by", _ROADS[others[0]], _ROADS[layout])])
    for name, now in wanted.items():
        record = stages.get(name)
        if record is None or not record.has_begun:
            verdict.left.append(name)
            worked_at = record.made_from if record is not None and record.seconds else None
            if worked_at is not None and (found := _begun_otherwise(name, worked_at, now)):
                verdict.lost[name] = found
            if record is None and any(name in wanted and stages[name].finished for name in _after(name, stages)):
                verdict.add(name, [Difference.of_values(name, name.replace("_", " "), "left out", "wanted")])
            continue
        if not record.finished:
            verdict.left.append(name)
        if record.made_from is None:
            if record.fingerprint.startswith(_IMPORTED) != bool(now.by):
                verdict.add(name, [Difference.of_values(name, "made by", record.fingerprint, now.by or "training")])
            elif record.fingerprint != now.fingerprint:
                verdict.unknown.append(name)
            continue
        if not record.finished:
            verdict.add(name, _begun_otherwise(name, record.made_from, now))
            continue
        verdict.add(name, differences(name, record.made_from, now))
        if record.made_from.version != now.version:
            verdict.outdated.append(name)
    return verdict


def _begun_otherwise(name: str, was: MadeFrom, now: MadeFrom) -> list[Difference]:
    """In what a stage that is not finished was begun otherwise than it would be gone on with."""
    versions = [Difference.of_version(name, was.version, now.version)] if was.version != now.version else []
    return differences(name, was, now) + versions


def _after(name: str, stages: Mapping[str, StageRecord]) -> list[str]:
    return [other for other in FOLLOWING[name] if other in stages]


def run_in(folder: str | Path) -> Run | None:
    """The run in a folder, if there is one. Raises RunError when it cannot be read."""
    return Run.open(folder) if (Path(folder) / "run.json").exists() else None


@contextmanager
def working_on(
    out: str | Path | Run,
    wanted: Callable[[Run], Wanted],
    *,
    again: bool | str = False,
    records: Callable[[Run], Mapping[str, StageRecord]] = lambda run: run.stages,
    explain: Callable[[Run, list[Difference]], list[Difference]] = lambda run, found: found,
    forget: Forget = Run.forget_stage,
    tell: Tell = tell_nobody,
    fix: str = "",
) -> Iterator[Run]:
    """The run in a folder, locked, to make what is wanted in; what is made anew counts when the block ends.

    Args:
        out: run folder, made if need be, or the run in it.
        wanted: called with the run as it is; what the block will make.
        again: whether what was made otherwise is to be made anew; all of it where nothing was and all is finished. A
            name makes that happen once: the run remembers it.
        records: what there is of the stages, where the run's own records do not tell.
        explain: says more of differences, or finds further ones.
        forget: loses what there is of a stage, of one that is made anew.
        tell: is told of what is kept though it cannot be compared, or though the code has changed.
        fix: what to do about differences, where it is not to give another --out.

    Raises:
        RunDiffers: what has begun was made from something else, and `again` is not set. Nothing has been changed.
        RunError: another process writes the run.
    """
    run = out if isinstance(out, Run) else run_in(out) or Run.create(out)
    with run.lock():
        if isinstance(again, str) and run.info.get("again") == again:
            again = False
        plan = wanted(run)
        verdict = compare(records(run), plan)
        found = explain(run, verdict.differences)
        if found and not again:
            raise RunDiffers.of(run.path, found, fix=fix)
        stages = _anew(verdict, plan, found) if again else []
        if not stages:
            for sentence in _kept(run, verdict):
                tell(sentence)
            yield run
            return
        with _beside(run, plan, stages, forget, tell) as new:
            if isinstance(again, str):
                new.set_info(again=again)
            yield new


def _anew(verdict: Verdict, plan: Wanted, found: list[Difference]) -> list[str]:
    """The stages to make anew when that is asked for."""
    named = {one.stage for one in found} | {*verdict.unknown, *verdict.outdated}
    if not named:
        return [] if verdict.left else list(plan)
    return [name for name in plan if name in named or any(name in _NEEDING[other] for other in named)]


def _kept(run: Run, verdict: Verdict) -> Iterator[str]:
    finished = [name for name in verdict.unknown if run.stages[name].finished]
    begun = [name for name in verdict.unknown if not run.stages[name].finished]
    if finished:
        yield f"{run.path}: an earlier version made {_listed(finished)} and kept no settings; what it made is kept."
    if begun:
        yield (
            f"{run.path}: an earlier version began {_listed(begun)} and kept no settings; it goes on with those given "
            "now, which should be the same."
        )
    for name, found in verdict.lost.items():
        yield (
            f"{run.path}: {_listed([name])} was begun otherwise ({listed(found)}) and is not finished: it begins anew, "
            f"and {duration(run.stages[name].seconds)} of work are given up."
        )
    if not (verdict.left or verdict.unknown or verdict.outdated):
        yield f"{run.path}: is there already, made as is asked for; nothing is done again."
    if verdict.outdated:
        yield (
            f"{run.path}: {_listed(verdict.outdated)} was made by an earlier version of the code, and is kept; --again "
            "makes it anew."
        )


def _listed(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


@contextmanager
def _beside(run: Run, plan: Wanted, stages: list[str], forget: Forget, tell: Tell) -> Iterator[Run]:
    """A run in which `stages` are missing, which takes the place of `run` when the block ends."""
    folder = run.path / REMADE
    note = {
        "stages": stages,
        "wanted": {name: plan[name].fingerprint for name in stages},
        "kept": {name: record.to_json() for name, record in run.stages.items() if name not in stages},
    }
    if _note_of(folder) == note:
        tell(f"{run.path}: goes on making {_listed(stages)} anew.")
    else:
        if folder.exists():
            tell(f"{run.path}: something else was being made anew here, which is given up.")
        _begin(run, folder, stages, forget)
        if called := _object_names(run, plan):
            Run.open(folder).set_info(object_names=called)
        write_file(folder / NOTE, json.dumps(note).encode())
        tell(f"{run.path}: {_listed(stages)} will be made anew; what is there stays until that is done.")
        if any(name in _OF_GAUSSIANS for name in stages) and (names := selection_names(run)):
            tell(f"{run.path}: selections are of the Gaussians that are there, and go with them: {', '.join(names)}")
    new = Run.open(folder)
    with new.lock():
        yield new
        left = [name for name in stages if name in new.stages and not new.stages[name].finished]
        if left or not new.stages:
            raise RunError(f"is not finished ({_listed(left)})", where=str(folder), fix="run the same command again")
    publish(run.path)


def _object_names(run: Run, plan: Wanted) -> dict[str, str]:
    """What objects are called by their ids, where the run that is made is told of them by the same masks."""
    was, wanted, objects = run.stages.get("objects"), plan.get("objects"), read_objects(run)
    if was is None or was.made_from is None or wanted is None or objects is None:
        return {}
    if was.made_from.inputs.get("objects") != wanted.inputs["objects"]:
        return {}
    return {str(number): name for number, name in zip(objects.ids, objects.names, strict=True) if name}


def _note_of(folder: Path) -> object:
    try:
        return json.loads((folder / NOTE).read_text())
    except (OSError, ValueError):  # not begun, or killed while it was
        return None


def _begin(run: Run, folder: Path, stages: list[str], forget: Forget) -> None:
    with clear_write_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        anew = any(name in LAYOUT_STAGES for name in stages)
        for name in ("features", *(() if anew else ("run.zarr", "footage.json", "run.json"))):
            _share(run.path / name, folder / name)
    new = Run.begin(folder) if anew else Run.open(folder)
    for stage in stages:
        forget(new, stage)


def _share(source: Path, target: Path) -> None:
    """The same files under another name, without copying where the file system has hard links: none is ever changed
    in place."""
    if not source.exists():
        return
    if source.is_file():
        _link(source, target)
        return
    for folder, _, names in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not name.startswith(TEMPORARY_PREFIX):
                _link(Path(folder) / name, here / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links; a copy says why if it cannot be made either
        shutil.copy2(source, target)
