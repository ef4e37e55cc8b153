"""Selections made by pointing: what was meant becomes weights in the run, with how it was made; steps can be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.selections import Selection, read_selection, selection_names, undone, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.portable.pointing import DEFAULT_SCALE
from legs4d.segment.bitmaps import read_bitmap
from legs4d.segment.choose import (
    DEFAULT_THRESHOLD,
    Chosen,
    at_click,
    check_fraction,
    for_prompt,
    in_box,
    stretched,
    weights_of,
    without,
)
from legs4d.segment.pick import around_point
from legs4d.segment.segments import Segments, num_slots, read_segments
from legs4d.segment.views import boxed, check_frame, clicked, spread, view_of

Mode = Literal["new", "add", "subtract"]
Relevancy = Callable[[str], tuple[NDArray[np.float32], float]]
"""A prompt → how relevant each of G Gaussians is to it, 0..1, and what a segment's mean has to be."""
BELONGS = 0.5


@dataclass(frozen=True)
class Pointed:
    """What a person points at, in one step; exactly one of clicks, box, point, prompt, bitmap and segments.

    Attributes:
        clicks: pixels (x, y) of a camera's picture in a frame.
        box: (left, top, right, bottom) there.
        camera, frame: of them.
        point: a place, in the run's axes and units.
        prompt: what it is, in words.
        bitmap: a .pt file with a value for each Gaussian.
        segments: their numbers.
        scale: 0..1; None is DEFAULT_SCALE for clicks and places, and leaves boxes and prompts all that they name.
        threshold: of a Gaussian's share in a segment, or of its value in a bitmap, 0..1: from there it belongs.
    """

    clicks: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None
    camera: int | None = None
    frame: int = 0
    point: tuple[float, float, float] | None = None
    prompt: str | None = None
    bitmap: Path | None = None
    segments: tuple[int, ...] = ()
    scale: float | None = None
    threshold: float = DEFAULT_THRESHOLD

    def to_json(self) -> dict[str, Any]:
        """What was given, and no more."""
        values = {name: getattr(self, name) for name in ("clicks", "box", "point", "prompt", "segments", "scale")}
        found = {name: value for name, value in values.items() if value not in (None, ())}
        if self.clicks or self.box is not None:
            found |= {"camera": self.camera, "frame": self.frame}
        if self.bitmap is not None:
            found["bitmap"] = self.bitmap.name
        return {**found, "threshold": self.threshold}


def select(
    run: Run, name: str, pointed: Pointed, mode: Mode = "new", relevancy: Relevancy | None = None
) -> dict[str, Any]:
    """Point at something, and keep it in the run under a name.

    Args:
        mode: "new" in place of what the name holds, "add" to that, or "subtract" from it.
        relevancy: answers prompts.

    Returns:
        {name, gaussians, share, segments, scores, scale}: how many Gaussians belong now, what share of all they are,
        the segments of this step, and the quantile of the first one's size.

    Raises:
        Legs4dError: nothing is there, or nothing would be left; the selection stays as it was then.
        RunError: the run has no segments, or there is no selection to add to.
    """
    check_pointed(pointed)
    before = read_selection(run, name) if mode != "new" or name in selection_names(run) else None
    chosen, weights, scale = resolve(run, pointed, relevancy)
    if before is not None and mode != "new":
        held = _flat(run, before)
        weights = np.maximum(held, weights) if mode == "add" else without(held, weights)
    if not (weights >= BELONGS).any():
        raise Legs4dError(
            "nothing would be left of it" if mode == "subtract" else "no Gaussian belongs to it",
            where=f"the selection {name!r}",
            fix="what is taken away has to leave something" if mode == "subtract" else "use a lower --threshold",
        )
    steps = list(before.made.get("steps", [])) if before is not None and mode != "new" else []
    found: dict[str, Any] = {"segments": list(chosen.segments), "scores": [round(s, 4) for s in chosen.scores]}
    steps.append({"mode": mode, **pointed.to_json(), **found})
    selection = _selection(run, name, weights, {"steps": steps})
    with run.lock_unchanged():
        write_selection(run, selection, keep=before)
    return {**described(run, selection), **found, "scale": scale}


def keep(run: Run, name: str, weights: NDArray[np.float32], step: dict[str, Any]) -> dict[str, Any]:
    """Store weights [G] that were found elsewhere as a selection, in place of one of its name; `described`.

    Args:
        step: JSON, how they were found.

    Raises:
        Legs4dError: nothing belongs.
    """
    if not (weights >= BELONGS).any():
        raise Legs4dError("nothing is selected", where=f"the selection {name!r}", fix="click on something first")
    selection = _selection(run, name, weights, {"steps": [{"mode": "new", **step}]})
    with run.lock_unchanged():
        before = read_selection(run, name) if name in selection_names(run) else None
        write_selection(run, selection, keep=before)
    return described(run, selection)


def undo(run: Run, name: str) -> dict[str, Any]:
    """Take back the last step of a selection. Raises RunError where there is none to take back."""
    with run.lock():
        selection = undone(run, name)
    return described(run, selection)


def resolve(
    run: Run, pointed: Pointed, relevancy: Relevancy | None
) -> tuple[Chosen, NDArray[np.float32], float | None]:
    """The segments that are meant, [G] how much each Gaussian belongs to them, and the first one's scale."""
    if pointed.bitmap is not None:
        weights = np.zeros(num_slots(run), np.float32)
        shares = read_bitmap(pointed.bitmap, run.num_gaussians)
        weights[: run.num_gaussians] = stretched(shares, pointed.threshold)
        return Chosen((), ()), weights, None
    segments = read_segments(run)
    chosen = _meant(run, segments, pointed, relevancy)
    return (
        chosen,
        weights_of(segments, chosen.segments, pointed.threshold),
        float(segments.quantile[chosen.segments[0]]),
    )


def check_pointed(pointed: Pointed) -> None:
    """Raise Legs4dError unless one thing is pointed at, and by numbers that mean something."""
    given = [
        option
        for option, there in (
            ("--click", bool(pointed.clicks)),
            ("--box", pointed.box is not None),
            ("--point", pointed.point is not None),
            ("--prompt", pointed.prompt is not None),
            ("--bitmap", pointed.bitmap is not None),
            ("--segment", bool(pointed.segments)),
        )
        if there
    ]
    if len(given) != 1:
        what = "nothing is pointed at" if not given else f"{' and '.join(given)} are given"
        raise Legs4dError(
            what, where="segment", fix="give one of --click, --box, --point, --prompt, --segment, --bitmap at a time"
        )
    for option, there, whose in (
        ("--camera", pointed.camera is not None, ("--click", "--box")),
        ("--frame", pointed.frame != 0, ("--click", "--box", "--point")),
        ("--scale", pointed.scale is not None, ("--click", "--box", "--point", "--prompt")),
    ):
        if there and given[0] not in whose:
            fix = f"leave it out, or give {' or '.join(whose)}"
            raise Legs4dError(f"says nothing of {given[0]}", where=option, fix=fix)
    check_fraction(pointed.threshold, "--threshold")
    if pointed.scale is not None and not 0 <= pointed.scale <= 1:
        raise Legs4dError(f"{pointed.scale:g} is not in 0..1", where="--scale", fix="0 is the smallest, 1 the largest")


def described(run: Run, selection: Selection) -> dict[str, Any]:
    """{name, gaussians, share, steps} of a selection."""
    count = int((_flat(run, selection) >= BELONGS).sum())
    total = run.num_gaussians + int(run.loose_counts.sum())
    return {
        "name": selection.name,
        "gaussians": count,
        "share": round(count / max(1, total), 4),
        "steps": len(selection.made.get("steps", [])),
    }


def _meant(run: Run, segments: Segments, pointed: Pointed, relevancy: Relevancy | None) -> Chosen:
    scale = DEFAULT_SCALE if pointed.scale is None else pointed.scale
    if pointed.segments:
        for number in pointed.segments:
            if not 0 <= number < len(segments):
                fix = f"it has segments 0 to {len(segments) - 1}"
                raise RunError(f"has no segment {number}", where=str(run.path), fix=fix)
        numbers = tuple(dict.fromkeys(pointed.segments))
        return Chosen(numbers, (1.0,) * len(numbers))
    if pointed.point is not None:
        check_frame(run, pointed.frame)
        there = spread(run, pointed.frame, around_point(run.frame(pointed.frame), pointed.point))
        return at_click(segments, there, scale, "--point")
    if pointed.prompt is not None:
        if relevancy is None:
            raise ValueError("nobody answers prompts")
        values, least = relevancy(pointed.prompt)
        return for_prompt(segments, values, least, pointed.prompt, pointed.scale)
    view = view_of(run, pointed.camera, pointed.frame)
    if pointed.box is not None:
        return in_box(segments, *boxed(run, view, pointed.frame, pointed.box), pointed.scale)
    each = [at_click(segments, clicked(run, view, pointed.frame, pixel), scale) for pixel in pointed.clicks]
    scores = {number: score for one in each for number, score in zip(one.segments, one.scores, strict=True)}
    return Chosen(tuple(scores), tuple(scores.values()))


def _selection(run: Run, name: str, weights: NDArray[np.float32], made: dict[str, Any]) -> Selection:
    ids = run.num_gaussians
    loose = weights[ids:].reshape(run.num_frames, run.max_loose) if run.has_loose else None
    return Selection(name, weights[:ids], loose, made)


def _flat(run: Run, selection: Selection) -> NDArray[np.float32]:
    """[G] weights."""
    parts = [np.asarray(selection.weights, np.float32)]
    if run.has_loose:
        loose = selection.loose
        size = run.num_frames * run.max_loose
        parts.append(np.zeros(size, np.float32) if loose is None else np.asarray(loose, np.float32).ravel())
    return np.concatenate(parts)
