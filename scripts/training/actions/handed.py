"""Tracks of people who hand a thing about, longer than the generator's clips: held, thrown, in flight, caught.

Eight frames are too few to see where a throw begins and a catch ends. Here clips take one to three seconds at several
frame rates, and what happens in each frame is what moved the thing in it, exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.motion.tracks import Tracks
from training.actions.generated import Clip

RATES = (10.0, 12.0, 15.0, 24.0, 30.0)
GRAVITY = 9.8
POINTS = 80
BEFORE_CATCH = 0.1
"""Seconds before the hands touch it in which a catch has begun."""
FADES = 0.045
"""Seconds after the release that are still of the throw, as people say when one ends."""
SWAYS = (0.02, 0.12)
"""Metres by which hands that hold a thing move it to and fro meanwhile."""
SLOWING = (0.02, 0.12)
"""Seconds in which hands that have let go of a thing lose most of its speed."""
STORIES = ("pass", "drop", "keep", "carry", "fetch", "beside", "fly by")

Floats = NDArray[np.float64]
Draw = np.random.Generator


def handed(seed: int, count: int) -> list[Clip]:
    """Clips of `STORIES` in turn."""
    draw = np.random.default_rng(seed)
    return [_story(draw, STORIES[i % len(STORIES)]) for i in range(count)]


def _story(draw: Draw, story: str) -> Clip:
    fps = float(draw.choice(RATES))
    radius = draw.uniform(0.07, 0.2)
    frames = round(draw.uniform(1.2, 2.6) * fps)
    times = np.arange(frames) / fps
    feet = np.array([[0.0, 0.0, 0.0], [draw.uniform(1.6, 5.0), draw.uniform(-0.3, 0.3), 0.0]])
    path, truth = _thing(draw, story, times, feet, radius)
    names = ("ball" if draw.random() < 0.7 else "box", "man", "woman")
    holders = _holders(truth)
    bodies = [
        _body(draw, foot, path, holders == i + 1, radius, times) for i, foot in enumerate(_walked(feet, path, story))
    ]
    shape = _sphere(draw, POINTS) * radius if names[0] == "ball" else draw.uniform(-1, 1, (POINTS, 3)) * radius * 0.8
    flies = np.array([row[0] == "fly" for row in truth])
    spin = draw.uniform(-6, 6) / fps * np.cumsum(flies)
    thing = path[:, None] + _turned(shape, spin)
    here = np.ones((frames, 3), bool)
    up = np.array([0.0, 0.0, 1.0])
    tracks = Tracks((0, 1, 2), (thing, *bodies), here, fps, up, 0.0, np.zeros((0, 3)))
    return Clip(tracks, names, _named(truth, story))


def _thing(draw: Draw, story: str, times: Floats, feet: Floats, radius: float) -> tuple[Floats, list[list[str]]]:
    """([T, 3] its path, [T][3] what it and both people do; "carry" of somebody means that he has it in his hands)."""
    frames, end = len(times), times[-1]
    hands = [_hands(draw, foot, feet[1 - i] - foot) for i, foot in enumerate(feet)]
    sway = draw.uniform(*SWAYS) * np.sin(times[:, None] * draw.uniform(1, 4, 3) + draw.uniform(0, 6, 3))
    kept = hands[0] + sway
    truth = [["held", "hold", "still"] for _ in range(frames)]
    if story == "keep":
        return kept, truth
    if story == "carry":
        return kept + np.outer(times, [draw.uniform(0.7, 1.6), 0, 0]), [
            ["held", "carry", "still"] for _ in range(frames)
        ]
    if story == "beside":
        spot = feet[0] + [draw.uniform(0.35, 0.8), draw.uniform(-0.4, 0.4), radius]
        return np.repeat(spot[None], frames, 0), [["still", "still", "still"] for _ in range(frames)]
    if story == "fetch":
        return _fetched(draw, times, feet[0], kept, radius)
    release = draw.uniform(0.25, 0.6) * end if story != "fly by" else -draw.uniform(0.1, 0.4)
    swing = draw.uniform(0.12, 0.3)
    target = hands[1] if story == "pass" else feet[1] + [draw.uniform(-1.2, 0), 0, radius]
    leave = hands[0] + [draw.uniform(0.1, 0.3), 0, draw.uniform(0.0, 0.4)]
    span = draw.uniform(0.35, 0.85)
    speed = (target - leave) / span + [0, 0, 0.5 * GRAVITY * span]
    gone = times - release
    path = kept.copy()
    swung = (gone > -swing) & (gone <= 0)
    # the hand takes it from rest to the speed of release, and may draw back before
    share = np.clip(1 + gone / swing, 0, 1)[:, None]
    start = leave - speed * swing / 2
    back = np.clip((gone + swing + 0.3) / 0.3, 0, 1)[:, None]
    path = np.where(gone[:, None] <= -swing, kept * (1 - back) + start * back, path)
    path[swung] = (start + speed * swing / 2 * share**2)[swung]
    flown = np.minimum(gone, span)
    air = (gone > 0) & (gone <= span)
    path[air] = (leave + np.outer(gone, speed) - np.outer(gone**2, [0, 0, 0.5 * GRAVITY]))[air]
    late = gone > span
    arriving = speed - [0, 0, GRAVITY * span]
    if story == "pass":
        stop = draw.uniform(0.08, 0.22)
        since = np.clip(gone - span, 0, stop)[:, None]
        path[late] = (
            (target + arriving * (since - since**2 / (2 * stop)) + sway - sway[late][:1])[late] if late.any() else 0
        )
    else:
        stop = draw.uniform(0.2, 0.8)
        since = np.clip(gone - span, 0, stop)[:, None]
        path[late] = (target + arriving * [1, 1, 0] * (since - since**2 / (2 * stop)))[late] if late.any() else 0
    for t in range(frames):
        if gone[t] > -swing and gone[t] <= FADES:
            truth[t] = ["held" if gone[t] <= 0 else "fly", "throw", "still"]
        elif air[t]:
            truth[t] = ["fly", "", "still"]
        elif late[t]:
            truth[t] = ["held", "", "hold"] if story == "pass" else ["", "", "still"]
        if story == "pass" and span - BEFORE_CATCH <= gone[t] <= span + stop:
            truth[t][2] = "catch"
    assert len(flown) == frames
    return path, truth


def _fetched(draw: Draw, times: Floats, foot: Floats, kept: Floats, radius: float) -> tuple[Floats, list[list[str]]]:
    """Up from the floor, or down to it."""
    at, takes = draw.uniform(0.3, 0.6) * times[-1], draw.uniform(0.4, 0.8)
    low = foot + np.array([draw.uniform(0.3, 0.45), 0, radius])
    share = np.clip((times - at) / takes, 0, 1)
    downwards = draw.random() < 0.5
    up = share if not downwards else 1 - share
    smooth = (up * up * (3 - 2 * up))[:, None]
    path = low * (1 - smooth) + kept * smooth
    moving = (share > 0) & (share < 1)
    does = "set down" if downwards else "lift"
    truth = [
        ["held" if m or u > 0.5 else "still", does if m else ("hold" if u > 0.5 else ""), "still"]
        for m, u in zip(moving, up, strict=True)
    ]
    return path, truth


def _hands(draw: Draw, foot: Floats, ahead: Floats) -> Floats:
    """[3] where somebody who stands there holds a thing."""
    return foot + ahead / np.linalg.norm(ahead) * draw.uniform(0.3, 0.45) + [0, 0, draw.uniform(0.9, 1.3)]


def _holders(truth: list[list[str]]) -> NDArray[np.int64]:
    """[T] 1 or 2: whose hands are at it; 0 nobody's."""
    mine = ("hold", "carry", "throw", "lift", "set down", "catch")
    return np.array([next((i for i in (1, 2) if row[i] in mine and row[0] == "held"), 0) for row in truth])


def _walked(feet: Floats, path: Floats, story: str) -> list[Floats]:
    """[T, 3] of each person's feet: who carries a thing walks with it."""
    still = [np.repeat(foot[None], len(path), 0) for foot in feet]
    if story == "carry":
        still[0] = still[0] + (path - path[0]) * [1, 0, 0]
    return still


def _body(draw: Draw, feet: Floats, path: Floats, holds: NDArray[np.bool_], radius: float, times: Floats) -> Floats:
    """[T, n, 3] torso, head, legs, and arms whose hands are at the thing, before and after near where it was held."""
    tall = draw.uniform(0.9, 1.1)
    torso = _sphere(draw, 160) * [0.13, 0.19, 0.36] * tall + np.array([0, 0, 1.1]) * tall
    head = _sphere(draw, 40) * 0.11 * tall + np.array([0, 0, 1.62]) * tall
    legs = np.concatenate(
        [_sphere(draw, 80) * [0.08, 0.08, 0.42] * tall + np.array([0, y, 0.42]) * tall for y in (0.11, -0.11)]
    )
    rigid = np.concatenate([torso, head, legs])
    rest = feet + np.array([0.1, 0.0, 0.95]) * tall
    share = _near_in_time(holds, times)[:, None]
    nearest = path[_nearest(holds)] if holds.any() else rest
    goal = rest * (1 - share) + (nearest + _followed(draw, holds, path, times)) * share
    goal[holds] = path[holds]
    arms = []
    for side in (1, -1):
        shoulder = feet + np.array([0, 0.2 * side, 1.38]) * tall
        hand = goal + np.array([0, side, 0]) * (radius * share + 0.22 * (1 - share))
        along = np.linspace(0, 1, 50)[None, :, None]
        bend = np.sin(np.pi * along) * np.array([-0.05, 0.08 * side, -0.12])
        line = shoulder[:, None] * (1 - along) + hand[:, None] * along + bend
        arms.append(line + draw.normal(0, 0.035, (1, 50, 3)))
        palm = _sphere(draw, 12) * 0.05
        arms.append(hand[:, None] + palm)
    return np.concatenate([feet[:, None] + rigid, *arms], axis=1)


def _near_in_time(holds: NDArray[np.bool_], times: Floats) -> Floats:
    """[T] 1 where it is held, down to 0 a third of a second away from that."""
    if not holds.any():
        return np.zeros(len(times))
    away = np.abs(times[:, None] - times[holds][None]).min(axis=1)
    return np.clip(1 - away / 0.33, 0, 1)


def _nearest(holds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[T] the frame in which it is held that is nearest in time."""
    held = np.flatnonzero(holds)
    return held[np.abs(np.arange(len(holds))[:, None] - held[None]).argmin(axis=1)]


def _followed(draw: Draw, holds: NDArray[np.bool_], path: Floats, times: Floats) -> Floats:
    """[T, 3] how far hands have gone on the way of a thing since they let it go: they are slowed down, not stopped."""
    since = np.zeros((len(times), 3))
    slowing = draw.uniform(*SLOWING)
    for last in np.flatnonzero(holds[1:-1] & ~holds[2:]) + 1:
        gone = times[last + 1 :] - times[last]
        speed = (path[last] - path[last - 1]) * (1 / (times[1] - times[0]))
        since[last + 1 :] = np.outer(slowing * (1 - np.exp(-gone / slowing)), speed)
    return since


def _named(truth: list[list[str]], story: str) -> list[list[str]]:
    """With "" where the generator's words leave open what somebody does."""
    return [
        ["" if name == "still" and i and story != "beside" else name for i, name in enumerate(row)] for row in truth
    ]


def _sphere(draw: Draw, count: int) -> Floats:
    points = draw.normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _turned(shape: Floats, angles: Floats) -> Floats:
    """[T, n, 3] about the upright axis."""
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y, z = shape.T
    return np.stack([c * x - s * y, s * x + c * y, np.broadcast_to(z, (len(angles), len(z)))], axis=-1)
