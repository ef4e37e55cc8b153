"""`legs4d object --method onepass`: from what a person asks for to the Gaussians of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from legs4d.config.onepass import OnePassSettings
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.generate.onepass.checkpoint import find_files, open_networks, sha256_of
from legs4d.generate.onepass.network import Variant
from legs4d.generate.onepass.passes import Passes
from legs4d.generate.onepass.stage import Footage, OnePassObject, cameras_of
from legs4d.generate.onepass.views import SideViews, read_views, views_by_prior
from legs4d.generate.subject.source import Subject, read_subject
from legs4d.priors.cache import open_prior
from legs4d.priors.registry import PRIORS, find_prior

if TYPE_CHECKING:
    from legs4d.commands import Object

OWN = ("weights", "views_by", "interpolate", "stride", "chunk", "elevation")
"""What can be asked for with this method alone."""


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
    """

    asked: Object
    run: Run
    source: Path
    fps: float | None
    device: torch.device
    context: Context

    def finish(self) -> list[str]:
        """Do what is left; the caller has begun the run's stage, and finishes it.

        Returns:
            what should be known of the result, a sentence each.

        Raises:
            Legs4dError: weights, source or views are not what they should be.
            Stopped: the stop signal is set; finished chunks are kept.
        """
        asked, settings = self.asked, settings_of(self.asked)
        networks = open_networks([Path(path) for path in asked.weights or ()], self.device)
        reading = self.context.reporter("reading_pictures")
        frames = None if asked.frames is None else (asked.frames[0], asked.frames[1])
        size = networks.variant.size
        subject = read_subject(self.source, size, self.device, reading, frames=frames, fps=self.fps)
        sides = self._sides(subject, networks.variant)
        footage = Footage(subject.pictures, subject.fps, sides, subject.notes)
        passes = Passes(networks, cameras_of(sides, settings.elevation), self.device)
        work = OnePassObject(self.run, footage, passes, settings, self.context)
        work.finish()
        return work.describe()

    def _sides(self, subject: Subject, variant: Variant) -> SideViews | None:
        asked = self.asked
        if asked.views is not None:
            return read_views(Path(asked.views), variant.size, subject.pictures[0], asked.elevation)
        if asked.views_by is None:
            return None
        prior = find_prior(asked.views_by)
        if prior.role != "views":
            known = ", ".join(each.name for each in PRIORS if each.role == "views")
            what = f"{prior.name} invents no views, it is a helper for {prior.role}"
            raise Legs4dError(what, where="--views-by", fix=f"choose one of: {known}")
        self.context.reporter("making_views").step(0, 1)
        helper = open_prior(prior.name, self.device)
        return views_by_prior(helper, prior.name, subject.pictures[0], variant.size, asked.elevation, asked.seed)
