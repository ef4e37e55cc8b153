"""Tracks as a reconstruction may have them: what is exact in generated clips, with the errors of real ones.

How much of each is from reconstructions of the calibration scenes (`training/calibration`), whose truth is known,
and from nothing that judges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.actions.generated import Clip

SHRUNK = 0.35
"""Most by which things are smaller in a reconstruction, whose Gaussians lie inside of what they show, as share."""
JITTER, SWAY, SLOW = 0.02, 0.015, 3
"""Of points and of whole objects, in their sizes, over so many frames: a still object of the calibration scenes'
reconstructions moves by 0.00 to 0.03 of its size a frame, and bends by 0.01 to 0.03."""
OFF, DRIFT = 0.15, 0.2
"""Most by which a whole object is beside its place, and by which it has wandered away at the end, in its sizes."""
STRAY, SCATTER = 0.015, 0.3
"""Most of a body's points that go some of the way with a thing that it lets go, or come with one that it takes, and how
far they are beside that, in the thing's sizes: masks are wrong at outlines, and a Gaussian of the calibration scenes'
reconstructions in a hundred hangs between who throws a box and the box."""
LEFT = 0.1
"""Most of a thing's points that masks took for it: they move with what is nearest of a body."""
THIN = 0.45
"""Most by which hands end before the thing that they hold, in its sizes: fingers are thinner than pixels."""
LOST = 0.02
"""Share of frames in which a thing is not followed: it is then where it was."""

Floats = NDArray[np.float64]


def with_errors(clip: Clip, seed: int) -> Clip:
    """The same clip, its truth as it is."""
    draw = np.random.default_rng(seed)
    tracks = clip.tracks
    made = [points.copy() for points in tracks.points]
    things = [i for i in range(len(made)) if clip.kind(i) == "thing"]
    beings = [i for i in range(len(made)) if clip.kind(i) == "being"]
    for thing in things:
        for being in beings:
            made[being], made[thing] = _swapped(draw, made[being], made[thing])
    return replace(
        clip,
        tracks=replace(tracks, points=tuple(_strayed(draw, points, i in things) for i, points in enumerate(made))),
    )


def _swapped(draw: np.random.Generator, body: Floats, thing: Floats) -> tuple[Floats, Floats]:
    """A body without fingers, and both with some of the other's points, where they are ever near to each other."""
    middle = np.median(thing, axis=1)
    size = _size(thing)
    away = np.linalg.norm(body - middle[:, None], axis=2) / size
    nearest = away.min(axis=0)
    if nearest.min() > 1.5:
        return body, thing
    close = int(np.median(away, axis=1).argmin()) if len(away) else 0
    kept = nearest > 0.5 + draw.uniform(0, THIN)
    if kept.sum() >= 20:
        body, away = body[:, kept], away[:, kept]
    body = np.concatenate([body, _strung(draw, body, thing, away)], axis=1)
    others = draw.integers(0, int(LEFT * thing.shape[1]) + 1)
    hand = body[:, away[close].argsort()[: max(others, 1)]][:, :others]
    return body, np.concatenate([thing, hand], axis=1)


def _strung(draw: np.random.Generator, body: Floats, thing: Floats, away: Floats) -> Floats:
    """[T, n, 3] points of a body that go some of the way with a thing, before and after it is near.

    Args:
        body: [T, m, 3]; thing: [T, k, 3]; away: [T, m] of the body's points from the thing's middle, in its sizes.
    """
    near = np.flatnonzero(away.min(axis=1) <= 1.0)
    some = draw.integers(0, round(STRAY * body.shape[1]) + 1)
    if not len(near) or not some:
        return body[:, :0]
    first, last = near[0], near[-1]
    chosen = draw.choice(np.argsort(away[first])[: 4 * some], some)
    middle = np.median(thing, axis=1)
    gone = middle - middle[np.clip(np.arange(len(body)), first, last)]
    along = draw.uniform(0, 1, (1, some, 1))
    apart = draw.normal(0, SCATTER * _size(thing), (1, some, 3)) * (np.abs(gone).max(axis=1) > 0)[:, None, None]
    return body[:, chosen] + along * gone[:, None] + apart


def _strayed(draw: np.random.Generator, points: Floats, is_thing: bool) -> Floats:
    """Points that wander, an object that sways, drifts, is too small, and is lost for single frames."""
    frames = len(points)
    middle, size = np.median(points, axis=1, keepdims=True), _size(points)
    shrink = 1 - draw.uniform(0, SHRUNK) if is_thing else 1.0
    steps = draw.normal(0, JITTER * size, points.shape) + draw.normal(0, SWAY * size, (frames, 1, 3))
    padded = np.pad(steps, ((1, 1), (0, 0), (0, 0)), mode="reflect")
    slow = np.mean([padded[i : i + frames] for i in range(SLOW)], axis=0) * np.sqrt(SLOW)
    made = middle + (points - middle) * shrink + slow
    if not is_thing:
        return made
    beside = draw.normal(size=3)
    beside *= draw.uniform(0, OFF) * size / np.linalg.norm(beside)
    gone = draw.normal(size=3)
    gone *= draw.uniform(0, DRIFT) * size / np.linalg.norm(gone)
    made += beside + np.linspace(0, 1, frames)[:, None, None] * gone
    for t in range(1, frames):
        if draw.random() < LOST:
            made[t] = made[t - 1]
    return made


def _size(points: Floats) -> float:
    middle = np.median(points, axis=1, keepdims=True)
    return float(2 * np.median(np.quantile(np.linalg.norm(points - middle, axis=2), 0.8, axis=1)))
