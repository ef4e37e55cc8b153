"""What the command `segment` does: pointing, and prompts, which are answered here and told to `segment` as numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.commands import Segment
from legs4d.errors import Legs4dError, PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import Grounding, query
from legs4d.segment.choose import BORDER, DEFAULT_THRESHOLD, Chosen, for_prompt
from legs4d.segment.segments import Segments, num_slots, slots_of
from legs4d.segment.selecting import Mode, Pointed, Relevancy, select, undo


def select_in(folder: str | Path, asked: Segment) -> dict[str, Any]:
    """Make or change a selection; {run, name, gaussians, share, segments, scores, scale, steps}.

    Raises:
        Legs4dError: what is pointed at is not there; the selection stays as it was then.
        PromptError: the prompt cannot be answered.
        RunError: there is no such run, or it has no segments.
    """
    run = Run.open(folder)
    run.require_geometry()
    if sum((asked.add, asked.subtract, asked.undo)) > 1:
        raise Legs4dError("two of --add, --subtract and --undo are given", where="segment", fix="give one at a time")
    if asked.undo:
        if any(
            value is not None
            for value in (
                *(asked.click, asked.box, asked.point, asked.prompt, asked.segment, asked.bitmap),
                *(asked.camera, asked.scale, asked.threshold, asked.frame or None),
            )
        ):
            raise Legs4dError("takes the last step back, and points at nothing", where="--undo", fix="give it alone")
        return {"run": str(run.path), **undo(run, asked.name)}
    mode: Mode = "add" if asked.add else "subtract" if asked.subtract else "new"
    return {"run": str(run.path), **select(run, asked.name, pointed_of(asked), mode, relevancy_in(run))}


def pointed_of(asked: Segment) -> Pointed:
    """What is pointed at."""
    clicks = tuple((x, y) for x, y in asked.click or ())
    box = None if asked.box is None else (asked.box[0], asked.box[1], asked.box[2], asked.box[3])
    point = None if asked.point is None else (asked.point[0], asked.point[1], asked.point[2])
    return Pointed(
        clicks=clicks,
        box=box,
        camera=asked.camera,
        frame=asked.frame,
        point=point,
        prompt=asked.prompt,
        bitmap=None if asked.bitmap is None else Path(asked.bitmap),
        segments=tuple(asked.segment or ()),
        scale=asked.scale,
        threshold=DEFAULT_THRESHOLD if asked.threshold is None else asked.threshold,
    )


def relevancy_in(run: Run) -> Relevancy:
    """Answers prompts of a run, by a number for each of its Gaussians: where the prompt holds most."""

    def relevancy(prompt: str) -> tuple[NDArray[np.float32], float]:
        (found,) = query(run, [prompt])
        return relevancy_of(run, found)

    return relevancy


def relevancy_of(run: Run, found: Grounding) -> tuple[NDArray[np.float32], float]:
    """[G] how relevant each of a run's Gaussians is where a prompt holds most, 0..1, and from where on it counts.

    Raises:
        PromptError: the prompt holds nowhere.
    """
    if not found.intervals:
        raise PromptError(f"{found.prompt!r} was not found in this run", where="prompt", fix="say it otherwise")
    values = np.zeros(num_slots(run), np.float32)
    peak = max(found.intervals, key=lambda interval: interval.score).peak
    frames = [peak]
    if run.has_loose:  # each frame's are others
        frames = [*(frame for frame in range(run.num_frames) if found.holds(frame) and frame != peak), peak]
    for frame in frames:
        values[slots_of(run, frame)] = found.frame(frame)
    return values, found.threshold


def by_segments(run: Run, segments: Segments, found: Grounding, scale: float | None = None) -> tuple[Grounding, Chosen]:
    """A prompt's answer by whole segments, so that its edges are theirs: when it holds stays as it was found.

    Args:
        segments: of the run.
        scale: 0..1, which of the segments that answer is meant; by default the surest.

    Returns:
        The grounding, in which Gaussians of the segments that answer have these segments' scores and all others 0;
        and the segments, those that `segment --prompt` takes. Of a prompt that holds nowhere they are none.

    Raises:
        Legs4dError: no segment answers.
    """
    if not found.intervals:
        return found, Chosen((), ())
    values, least = relevancy_of(run, found)
    chosen = for_prompt(segments, values, least, found.prompt, scale)
    scores = np.zeros(segments.count, np.float32)
    for number, score in zip(chosen.segments, chosen.scores, strict=True):
        index, weight = segments.of(number)
        np.maximum.at(scores, index[weight >= BORDER], score)
    still = run.num_static
    return replace(found, static=scores[:still], scale=1.0, _moving=_OfSlots(run, still, scores)), chosen


@dataclass(frozen=True)
class _OfSlots:
    """`FrameStrengths` that are the same in all frames: of G Gaussians, those of a frame that are not static."""

    run: Run
    num_static: int
    values: NDArray[np.float32]

    def __getitem__(self, frame: int, /) -> NDArray[np.float32]:
        return self.values[slots_of(self.run, frame)[self.num_static :]]
