"""`legs4d object --method onepass`: from what a person asks for to the Gaussians of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config.onepass import OnePassSettings
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.gaussians.store.unfinished import finish, kept
from legs4d.generate.onepass.checkpoint import find_files, open_networks, sha256_of
from legs4d.generate.onepass.mirrored import mirrored, mirrored_pictures, mirrored_views
from legs4d.generate.onepass.network import Variant
from legs4d.generate.onepass.passes import Passes
from legs4d.generate.onepass.refine import Refinement, Refining, Shown
from legs4d.generate.onepass.stage import STAGE, UP, Footage, OnePassObject, cameras_of, taken
from legs4d.generate.onepass.views import SideViews, read_views, views_by_prior
from legs4d.generate.resizing import scaled
from legs4d.generate.result import Made, write_object
from legs4d.generate.subject.source import read_subject
from legs4d.priors.cache import open_prior
from legs4d.priors.registry import PRIORS, find_prior

if TYPE_CHECKING:
    from legs4d.commands import Object

WITHIN = Path("made") / "onepass"
"""In the run folder: what the pass made of each frame, a run of its own, until it is refined."""
IN_THE_MIRROR = Path("made") / "mirrored"
"""The same of the object's mirror image."""


def settings_of(asked: Object) -> OnePassSettings:
    return OnePassSettings(**{name: getattr(asked, name) for name in OnePassSettings.model_fields})


def made_from(asked: Object) -> dict[str, Any]:
    """Beside source and views, what decides on the result: settings by dotted key."""
    files = find_files([Path(path) for path in asked.weights or ()])
    told = {f"onepass.{name}": value for name, value in settings_of(asked).model_dump(mode="json").items()}
    return {**told, "views_by": asked.views_by, "weights": [sha256_of(path) for path in files]}


@dataclass(frozen=True)
class OnePassWork:
    """What is made in which run, of which source.

    Attributes:
        source: file or folder; fps: its pictures a second, where that is known.
        made_from: all that decides on the result; told: what run.json says of that.
        refined_size: pixels of the pictures to which a refinement fits, the network's at least.
    """

    asked: Object
    run: Run
    source: Path
    fps: float | None
    device: torch.device
    context: Context
    made_from: MadeFrom
    told: dict[str, Any]
    refined_size: int

    def finish(self) -> list[str]:
        """Do what is left; the caller has begun the run's stage, and finishes it.

        Returns:
            what should be known of the result, a sentence each.

        Raises:
            Legs4dError: weights, source or views are not what they should be.
            Stopped: the stop signal is set; finished chunks, and a refinement so far, are kept.
        """
        asked, settings = self.asked, settings_of(self.asked)
        networks = open_networks([Path(path) for path in asked.weights or ()], self.device)
        reading = self.context.reporter("reading_pictures")
        frames = None if asked.frames is None else (asked.frames[0], asked.frames[1])
        size = networks.variant.size
        shown = max(size, self.refined_size) if settings.refine else size
        subject = read_subject(self.source, shown, self.device, reading, frames=frames, fps=self.fps)
        small = scaled(subject.pictures, size)
        sides = self._sides(small[0], networks.variant)
        passes = Passes(networks, cameras_of(sides, settings.elevation), self.device)
        notes = subject.notes if sides is None else (*subject.notes, *sides.notes)
        footage = Footage(small, subject.fps, sides, notes)
        if not settings.refine:
            self.run.set_info(made_from=self.told)
            return self._passed(self.run, footage, passes)
        passed = [self._within(WITHIN, footage, passes)]
        if networks.variant.knows_what_is_missing:
            passed.append(self._within(IN_THE_MIRROR, _mirrored(footage), passes))
        chosen = subject.pictures[taken(len(subject), subject.fps, settings.stride)]
        return self._refined(passed, Shown.of(chosen, passes.cameras, sides, settings.elevation))

    def _within(self, place: Path, footage: Footage, passes: Passes) -> Run:
        """A pass that is kept until it is refined."""
        wanted = {STAGE: self.made_from}
        with working_on(self.run.path / place, lambda run: wanted) as run:
            if not run.begin_stage(STAGE, self.made_from).finished:
                self._passed(run, footage, passes)
                run.finish_stage(STAGE)
        return Run.open(self.run.path / place)

    def _passed(self, run: Run, footage: Footage, passes: Passes) -> list[str]:
        work = OnePassObject(run, footage, passes, settings_of(self.asked), self.context)
        work.finish()
        return work.describe()

    def _refined(self, passed: Sequence[Run], shown: Shown) -> list[str]:
        """One set of Gaussians that moves, of what passes made of the object, and of its mirror image."""
        looking, fingerprint = self.context.reporter("looking_around"), self.made_from.fingerprint
        first, *others = passed
        loose = [first.loose, *(lambda frame, run=run: mirrored(run.loose(frame)) for run in others)]
        work = Refinement(shown, loose, Refining.of(self.device), self.device, looking)
        if kept(self.run, fingerprint) is None:
            work.follow(self.context.reporter("following"))
        finish(work.fit, self.run, fingerprint, self.context.reporter("refining"))
        fps, up = float(first.info["fps"]), np.array(UP)
        report = {**first.info["report"], "refined": True}
        made = Made(work.fit, len(shown.video), fps, shown.front, up, work.seen())
        write_object(self.run, made, self.told, report)
        return [str(sentence) for sentence in report["warnings"]]

    def _sides(self, front: NDArray[np.uint8], variant: Variant) -> SideViews | None:
        asked = self.asked
        if asked.views is not None:
            return read_views(Path(asked.views), variant.size, front, asked.elevation)
        if asked.views_by is None:
            return None
        prior = find_prior(asked.views_by)
        if prior.role != "views":
            known = ", ".join(each.name for each in PRIORS if each.role == "views")
            what = f"{prior.name} invents no views, it is a helper for {prior.role}"
            raise Legs4dError(what, where="--views-by", fix=f"choose one of: {known}")
        self.context.reporter("making_views").step(0, 1)
        helper = open_prior(prior.name, self.device)
        return views_by_prior(helper, prior.name, front, variant.size, asked.elevation, asked.seed)


def _mirrored(footage: Footage) -> Footage:
    sides = None if footage.sides is None else mirrored_views(footage.sides)
    return replace(footage, pictures=mirrored_pictures(footage.pictures), sides=sides)


def forget_pass(run: Run) -> None:
    """Delete what a refinement began with."""
    for place in (WITHIN, IN_THE_MIRROR):
        shutil.rmtree(run.path / place, ignore_errors=True)
