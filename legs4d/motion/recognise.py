"""From measures to actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.motion.flight import Flight, Freedom, find_flights
from legs4d.motion.handling import Scene, contact, grip, note_handling
from legs4d.motion.measures import Measures, few, measure, runs
from legs4d.motion.recognised import Recognised
from legs4d.motion.rules import RULES, Rules
from legs4d.motion.tracks import Floats, Tracks
from legs4d.motion.turning import Hinge, find_hinge, find_spin

Kind = Literal["being", "thing"]
KindOf = Callable[[int], Kind | None]
"""From a row of the run's objects to what its name says that it is; None where that says nothing."""

REACH, FEWEST_REACH = 0.2, 3
"""Seconds, and frames, by which a thing may have been flying before, or go on after, it was seen to be free."""
GRAVITY, TALL = 9.8, 1.7
"""Metres a second², and metres of a person: scenes have no scale but what stands in them."""
COHERENT = 0.6
"""Share of its turning that is about one axis, for a spin; what jitters has less."""
DOOR_ERROR, BEING_ERROR, DOOR_BESIDE = 0.12, 0.04, 0.2
"""In sizes: how well points have to follow a hinge, of things and of what is called a being, and how far from it an
object's centre has to be."""
ARM_ERROR = 1 / 3
"""The same in shares of that distance: what spins about itself, and strays, seems to have an axis a little beside."""
UPRIGHT, LEVEL = 0.8, 0.4
"""Cosines with up of axes that count as upright, and as level."""
CLOSING = 0.05
"""Sizes by which the free edge has to come nearer to, or go away from, what stands still, to know which it is."""
BOUNCE_HEIGHT = 0.5
"""Sizes over the floor up to which it may be the floor that turns a thing's way: frames lie beside the moment."""
WAVERING = 3
"""Frames before and after over which what shakes comes back to where it was."""


def recognise(
    tracks: Tracks,
    kind_of: KindOf = lambda row: None,
    rules: Rules = RULES,
    measures: Measures | None = None,
) -> Recognised:
    """What objects do.

    Args:
        tracks: of them.
        kind_of: what a name says; where it says nothing, what moves its limbs is a being.
        rules: numbers.
        measures: of the tracks, where they are there already.
    """
    found = Recognised(tracks.num_frames, len(tracks))
    if not len(tracks) or tracks.num_frames < 2:
        return found
    measures = measures or measure(tracks)
    beings = np.array([_is_being(kind_of(row), measures.bend[:, i], rules) for i, row in enumerate(tracks.rows)])
    hinges = [_hinge(tracks, measures, i, bool(beings[i]), rules) for i in range(len(tracks))]
    beings &= np.array([hinge is None for hinge in hinges])  # a name may be wrong: nobody turns like a door
    flights = [_flights(tracks, measures, beings, i, rules) for i in range(len(tracks))]
    scene = Scene(tracks, measures, beings, flights, rules)
    for who in range(len(tracks)):
        _note_flights(found, scene, who)
        hinge = None if flights[who] else hinges[who]
        if hinge is not None:
            _note_hinge(found, scene, who, hinge)
        else:
            _note_turning(found, scene, who)
        if not beings[who] and hinge is None:
            _note_floor(found, scene, who)
        if beings[who]:
            _note_gait(found, scene, who)
    note_handling(found, scene)
    _note_approach(found, scene)
    _note_still(found, scene)
    return found


def _is_being(kind: Kind | None, bend: Floats, rules: Rules) -> bool:
    return kind == "being" if kind else bool(np.median(bend) > rules.rigid)


def _flights(tracks: Tracks, measures: Measures, beings: NDArray[np.bool_], who: int, rules: Rules) -> list[Flight]:
    """In which nothing touches it and it moves."""
    there, height = tracks.visible[:, who], measures.height[:, who]
    gap = measures.gap[:, who]
    touched = gap.min(axis=1) <= rules.touch
    # what a thing flies past, or into, does not carry it, nor what it moves away from
    others = beings if beings.any() and not beings[who] else np.ones(len(beings), bool)
    along = 1.0 if beings[who] else grip(measures.slip[:, who], measures.speed[:, who], rules)
    sure = (contact(gap, rules) * along)[:, others].max(axis=1)
    near = gap[:, beings].min(axis=1, initial=np.inf) <= rules.lets_go
    if beings[who]:
        possible = there & (height > rules.leap)
        free = possible & ~touched
    else:
        possible = there & (height > rules.aloft)
        free = possible & ~touched & (measures.speed[:, who] > rules.moving)
    reach = max(FEWEST_REACH, round(REACH * tracks.fps))
    flights = find_flights(
        measures.center[:, who],
        Freedom(free, possible, sure, near, 0.0 if beings[who] else _gravity(tracks, measures, beings, who)),
        tracks.up,
        float(measures.size[who]),
        rules.ballistic,
        (rules.parting, rules.contact),
        0 if beings[who] else reach,
    )
    least = rules.leap if beings[who] else 0.5
    return [flight for flight in flights if _way(measures, who, flight.start, flight.end)[1] > least]


def _gravity(tracks: Tracks, measures: Measures, beings: NDArray[np.bool_], who: int) -> float:
    """Sizes a frame², where the tallest being is taken for a person of usual height; 0 without any."""
    if not beings.any():
        return 0.0
    tall = float(np.median(measures.tall[:, beings], axis=0).max())
    return GRAVITY / tracks.fps**2 * tall / TALL / float(measures.size[who])


def _way(measures: Measures, who: int, start: int, end: int) -> tuple[Floats, float]:
    """([3] from its first place to its last, the length of the path), in its sizes."""
    places = measures.center[start : end + 1, who] / measures.size[who]
    return places[-1] - places[0], float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def _note_flights(found: Recognised, scene: Scene, who: int) -> None:
    measures, rules = scene.measures, scene.rules
    flights = scene.flights[who]
    bounces = _note_bounces(found, scene, who)
    for flight in flights:
        when = slice(flight.start, flight.end + 1)
        sure = float(np.exp(-((flight.error / (2 * rules.ballistic)) ** 2)))
        if scene.beings[who]:
            found.note("jump", who, when, sure)
            continue
        way, length = _way(measures, who, flight.start, flight.end)
        climb = float(way @ scene.tracks.up) / max(length, 1e-9)
        if bounces[when].mean() > 0.5:
            continue
        if climb < -rules.steep:
            found.note("fall", who, when, sure)
        elif climb > rules.steep and flight.pull < rules.moving / 4:
            found.note("rise", who, when, sure)
        else:
            found.note("fly", who, when, sure)


def _note_bounces(found: Recognised, scene: Scene, who: int) -> NDArray[np.bool_]:
    """[T] where the floor throws a thing up again: from the height before to the height after."""
    measures, rules = scene.measures, scene.rules
    bounces = np.zeros(len(measures.center), bool)
    if scene.beings[who]:
        return bounces
    high = measures.center[:, who] @ scene.tracks.up / measures.size[who]
    for t in range(1, len(high) - 1):
        lowest = high[t] <= high[t - 1] and high[t] <= high[t + 1]
        if not lowest or measures.height[t, who] > BOUNCE_HEIGHT:
            continue
        first, last = t, t
        while first > 0 and high[first - 1] > high[first]:
            first -= 1
        while last < len(high) - 1 and high[last + 1] > high[last]:
            last += 1
        if min(high[first], high[last]) - high[t] > rules.aloft:
            bounces[first : last + 1] = True
    for start, end in runs(bounces):
        found.note("bounce", who, slice(start, end + 1), 0.9)
    return bounces


def _hinge(tracks: Tracks, measures: Measures, who: int, being: bool, rules: Rules) -> Hinge | None:
    """What an object turns on, None where it does not move as on one."""
    hinge = find_hinge(
        few(tracks.points[who]), measures.poses[who], float(measures.size[who]), tracks.scenery, rules.hinge
    )
    if hinge is None or hinge.beside < DOOR_BESIDE:
        return None
    most = BEING_ERROR if being else min(DOOR_ERROR, ARM_ERROR * hinge.beside)
    return hinge if hinge.error <= most else None


def _note_hinge(found: Recognised, scene: Scene, who: int, hinge: Hinge) -> None:
    tracks, measures, rules = scene.tracks, scene.measures, scene.rules
    upright = abs(float(hinge.axis @ tracks.up))
    low = (float(hinge.point @ tracks.up) - tracks.floor) / float(measures.size[who])  # of an axis that is level
    rate = np.abs(np.gradient(hinge.angle))
    for start, end in runs(rate > rules.hinged):
        when = slice(start, end + 1)
        if abs(hinge.angle[end] - hinge.angle[start]) < rules.hinge / 2:
            continue
        sure = float(np.exp(-((hinge.error / DOOR_ERROR) ** 2) / 2))
        if upright > UPRIGHT:
            way = float(hinge.away[end] - hinge.away[start])
            opens, closes = (0.5, 0.5) if abs(way) < CLOSING or np.isnan(way) else (float(way > 0), float(way < 0))
            found.note("open", who, when, sure * opens)
            found.note("close", who, when, sure * closes)
        elif upright < LEVEL and low < DOOR_BESIDE:
            found.note("topple", who, when, sure)


def _note_turning(found: Recognised, scene: Scene, who: int) -> None:
    measures, rules = scene.measures, scene.rules
    turn, spin = measures.turn[:, who], find_spin(measures.turn[:, who])
    speed = measures.speed[:, who]
    # a wheel that rolls turns by 2 · way / size
    in_place = 2 * speed < rules.rolling * np.maximum(spin.rate, 1e-9)
    flying = np.zeros(len(speed), bool)
    for flight in scene.flights[who]:
        flying[flight.start : flight.end + 1] = True
    for start, end in runs((spin.rate > rules.turning) & in_place & ~flying):
        some = turn[start : end + 1]
        whole, much = np.linalg.norm(some.sum(axis=0)), np.linalg.norm(some, axis=1).sum()
        if end - start >= 2 and whole > COHERENT * much and whole > 2 * rules.hinge:
            found.note("spin", who, slice(start, end + 1), float(np.clip(whole / much, 0, 1)))
    if scene.beings[who]:
        return
    size = 2 * WAVERING + 1
    padded = np.pad(turn, ((WAVERING, WAVERING), (0, 0)), mode="edge")
    windows = np.stack([padded[i : i + len(turn)] for i in range(size)])
    much, net = np.linalg.norm(windows, axis=2).mean(axis=0), np.linalg.norm(windows.mean(axis=0), axis=1)
    for start, end in runs((much > rules.turning) & (net < 0.4 * much) & (speed < 4 * rules.moving) & ~flying):
        if end - start >= 3:
            found.note("shake", who, slice(start, end + 1), 0.7)


def _note_floor(found: Recognised, scene: Scene, who: int) -> None:
    """What moves along the floor rolls or slides."""
    measures, rules, up = scene.measures, scene.rules, scene.tracks.up
    level = measures.velocity[:, who] - np.outer(measures.velocity[:, who] @ up, up)
    speed = np.linalg.norm(level, axis=1)
    down = measures.height[:, who] < rules.aloft
    spin = find_spin(measures.turn[:, who])
    for start, end in runs(down & (speed > rules.moving / 2)):
        if end - start < 2 or _way(measures, who, start, end)[1] < 0.5:
            continue
        some = slice(start, end + 1)
        share = float(np.median(spin.rate[some] / np.maximum(2 * speed[some], 1e-9)))
        flat = 1 - abs(float(np.median(np.abs(spin.axis[some] @ up))))
        rolls = share > rules.rolling and flat > 0.5
        found.note("roll" if rolls else "slide", who, some, 0.8)


def _note_gait(found: Recognised, scene: Scene, who: int) -> None:
    measures, rules, up = scene.measures, scene.rules, scene.tracks.up
    level = measures.velocity[:, who] - np.outer(measures.velocity[:, who] @ up, up)
    padded = np.pad(level, ((2, 2), (0, 0)), mode="edge")
    speed = np.linalg.norm(np.mean([padded[i : i + len(level)] for i in range(5)], axis=0), axis=1) * scene.tracks.fps
    for flight in scene.flights[who]:
        speed[flight.start : flight.end + 1] = 0
    for action, stretch in (
        ("walk", (speed > rules.walking) & (speed <= rules.running)),
        ("run", speed > rules.running),
    ):
        for start, end in runs(stretch):
            if end - start >= 3 and _way(measures, who, start, end)[1] > 0.25:
                found.note(action, who, slice(start, end + 1), 0.8)


def _note_approach(found: Recognised, scene: Scene) -> None:
    """Who moves nearer and nearer to another."""
    measures, rules = scene.measures, scene.rules
    for who in range(len(scene.tracks)):
        for other in range(len(scene.tracks)):
            gap = measures.gap[:, who, other] * min(measures.size[who], measures.size[other]) / measures.size[who]
            if who == other or not np.isfinite(gap).all():
                continue
            toward = measures.center[:, other] - measures.center[:, who]
            toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
            speed = (measures.velocity[:, who] * toward).sum(axis=1)
            for start, end in runs((speed > rules.moving) & (np.gradient(gap) < 0)):
                if end - start >= 3 and gap[start] - gap[end] > 0.5:
                    found.note("approach", who, slice(start, end + 1), 0.7, other)


def _note_still(found: Recognised, scene: Scene) -> None:
    """Who does not move at all."""
    measures, rules = scene.measures, scene.rules
    calm = (measures.speed < rules.moving / 2) & (find_rates(measures) < rules.turning) & scene.tracks.visible
    for who in range(len(scene.tracks)):
        quiet = calm[:, who]
        if scene.beings[who]:
            quiet = quiet & (measures.bend[:, who] <= rules.rigid)
            quiet &= measures.speed[:, who] * scene.tracks.fps <= rules.walking
        for start, end in runs(quiet):
            if end - start >= 2:
                found.note("still", who, slice(start, end + 1), 0.8)


def find_rates(measures: Measures) -> Floats:
    """[T, O] radians a frame."""
    return np.stack([find_spin(measures.turn[:, who]).rate for who in range(measures.turn.shape[1])], axis=1)
