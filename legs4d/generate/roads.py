"""The roads to an object's shape that need no learned weights, and which of them a source allows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.generate.lenses import FOURDGEN
from legs4d.generate.shapes.revolve import roundness
from legs4d.generate.shapes.turntable import Turn, find_turn
from legs4d.generate.subject.source import Subject
from legs4d.scene.layouts import is_run

Prior = Literal["given", "turntable", "static", "revolve", "inflate"]
ROUND = 0.9
"""Of `roundness`, from which on a silhouette is taken for a solid of revolution's."""
FEWEST_TURNED = 8
"""Pictures without which a turn is not looked for."""


@dataclass(frozen=True)
class Road:
    """What was chosen.

    Attributes:
        prior: the road; why: a sentence for a person.
        turn: of a turntable.
    """

    prior: Prior
    why: str
    turn: Turn | None = None


def choose(asked: Prior | Literal["auto"], subject: Subject, views: Path | None) -> Road:
    """The road that was asked for, or the best that a source allows.

    Raises:
        Legs4dError: what was asked for needs something that is not there.
    """
    known = views is not None and is_run(views)
    if asked in ("given", "static") and (views is None or known != (asked == "static")):
        needs = "the run of a known object" if asked == "static" else "pictures of the object from elsewhere"
        raise Legs4dError(f"needs {needs}", where=f"--prior {asked}", fix="name its folder by --views")
    if asked in ("turntable", "revolve", "inflate") and views is not None:
        raise Legs4dError("are not used", where=f"--views beside --prior {asked}", fix="leave one of them out")
    if known and views is not None:
        Run.open(views).require_geometry()
        return Road("static", "Its shape is that of a known run; only how it moves is taken from the video.")
    if views is not None:
        return Road("given", "Views from other sides are given.")
    turn = None
    if asked == "turntable" or (asked == "auto" and len(subject) >= FEWEST_TURNED):
        if len(subject) < FEWEST_TURNED:
            what = f"needs {FEWEST_TURNED} pictures at least, and there are {len(subject)}"
            raise Legs4dError(what, where="--prior turntable", fix="give a video of one whole round")
        turn = find_turn(subject.alphas, FOURDGEN)
    if turn is not None and (asked == "turntable" or turn.is_sure):
        return Road("turntable", turn.told(), turn)
    round_ = roundness(subject.pictures[0])
    if asked == "revolve" or (asked == "auto" and round_ >= ROUND):
        could = "could" if round_ >= ROUND else "can hardly"
        return Road("revolve", f"Its silhouette {could} be a solid of revolution's ({round_:.2f} of 1).")
    return Road("inflate", "One side alone is seen: the silhouette is blown up and mirrored, which is a preview.")
