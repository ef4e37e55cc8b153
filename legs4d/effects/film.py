"""A film of a run with prompts in it: pictures, each a frame through cameras with one prompt lit up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.effects.backdrop import backdrop_of, before
from legs4d.effects.highlight import HighlightStyle, fade, highlight
from legs4d.effects.video import grid, write_video
from legs4d.errors import Legs4dError, PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding
from legs4d.grounding.intervals import Interval
from legs4d.grounding.masks import Views, render_views
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import Shot


@dataclass(frozen=True)
class Picture:
    """One picture of a film.

    Attributes:
        cameras: one, or several that are shown side by side.
        frame: of the run.
        grounding: the prompt that is lit up.
        amount: 0..1, how much of the effect is shown.
    """

    cameras: Cameras
    frame: int
    grounding: Grounding
    amount: float


def lit(shots: list[Shot], grounding: Grounding) -> list[Picture]:
    """These shots with the prompt lit up while it holds, fading in and out."""
    amount = fade(np.array([grounding.holds(frame) for frame in range(len(grounding.relevancy))]))
    return [Picture(shot.cameras, shot.frame, grounding, float(amount[shot.frame])) for shot in shots]


def moment(grounding: Grounding) -> int:
    """The frame that shows a prompt best: the peak of its strongest interval.

    Raises:
        PromptError: the prompt holds nowhere.
    """
    return max(intervals_of(grounding), key=lambda interval: interval.score).peak


def intervals_of(grounding: Grounding) -> list[Interval]:
    """A prompt's intervals, at least one.

    Raises:
        PromptError: the prompt holds nowhere.
    """
    if not grounding.intervals:
        raise PromptError(
            f"{grounding.prompt!r} was not found in this run",
            where="prompt",
            fix="ask for something that happens in it",
        )
    return grounding.intervals


def write_film(
    run: Run,
    pictures: list[Picture],
    out: str | Path,
    style: HighlightStyle,
    device: torch.device,
    context: Context = QUIET,
    *,
    near: float,
) -> None:
    """Render pictures and write them as a video; see `video.write_video`.

    Args:
        near: near plane, scene units.

    Raises:
        Legs4dError: there are none, or `out` cannot be written.
        Stopped: `stop` was set; no video is left.
    """
    if not pictures:
        raise Legs4dError("the camera path shows nothing of it", where="--cameras", fix="use another path")
    reporter, behind = context.reporter("film"), backdrop_of(run)
    with write_video(out, run.info["fps"]) as write, torch.no_grad():
        for done, picture in enumerate(pictures):
            reporter.step(done, len(pictures))
            views = lit_views(run, picture.grounding, picture.frame, picture.cameras, near, device)
            lit_up = highlight(views.color, views.matte, picture.amount, style)
            write(grid(before(behind, lit_up, views.alpha)))
    reporter.step(len(pictures), len(pictures))


def lit_views(run: Run, grounding: Grounding, frame: int, cameras: Cameras, near: float, device: torch.device) -> Views:
    """A frame with those who take part, beside an interval those of its nearest frame: they fade, and do not pop."""
    held = grounding.nearest_held(frame)
    return render_views(run, grounding, frame, cameras, near=near, device=device, lit_as=held)


def ease(share: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """0..1 to 0..1, starting and ending at rest (Hermite's 3s² - 2s³)."""
    clipped = np.clip(np.asarray(share, np.float64), 0, 1)
    return clipped * clipped * (3 - 2 * clipped)
