"""What beings do with things: hold, carry, throw, catch, kick, lift, set down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.motion.flight import Flight
from legs4d.motion.measures import NEAREST, Measures, runs
from legs4d.motion.recognised import PAIRS, Recognised
from legs4d.motion.rules import Rules
from legs4d.motion.tracks import Floats, Tracks

NEAR = 2
"""Frames between a flight and a hold that may belong to each other."""
FOOT = 0.25
"""Share of a being's height up to which what touches a thing is a foot, and nobody holds one that never is higher."""
SLACK = 0.15
"""Share of the gap up to which two touch, by which it may be larger than usual while they surely do."""
UNSTEADY = 0.4
"""Sizes a frame: what moves less than that is held by hands that waver by as much as by those of what moves so."""
SLOWED = 0.5
"""Share of the speed of release, or of arrival, below which a thing was moved otherwise before, or is afterwards, if it
is faster there."""
STIRS = 0.2
"""Sizes by which a thing has to move in all to be held, where it could rest on something."""


@dataclass(frozen=True)
class Scene:
    """What the rules are asked about."""

    tracks: Tracks
    measures: Measures
    beings: NDArray[np.bool_]
    flights: list[list[Flight]]
    rules: Rules


def contact(gap: Floats, rules: Rules) -> Floats:
    """0..1 of gaps [T, O] of a thing to others, in its sizes, how surely they touch.

    Surely where the gap is what it usually is while the two touch, which says how much of the hands a reconstruction
    shows; less so up to where they touch at all.
    """
    touching = [one[one <= rules.touch] for one in gap.T]
    usual = np.array([np.median(some) if len(some) else 0.0 for some in touching])
    usual = np.minimum(usual + SLACK * rules.touch, (1 - SLACK) * rules.touch)
    return np.clip((rules.touch - gap) / (rules.touch - usual), 0, 1)


def grip(slip: Floats, speed: Floats, rules: Rules) -> Floats:
    """0..1 of slips [T, O] of what is near a thing, how surely it moves along with that: hands that hold it do.

    Args:
        speed: [T] of the thing, in its sizes a frame.
    """
    most = rules.slips * np.maximum(speed, UNSTEADY)[:, None]
    return np.clip(2 - slip / most, 0, 1)


def note_handling(found: Recognised, scene: Scene) -> None:
    """Of every thing that beings touch."""
    for thing in np.flatnonzero(~scene.beings):
        if scene.beings.any():
            _note_thing(found, scene, int(thing))


def _note_thing(found: Recognised, scene: Scene, thing: int) -> None:
    measures, rules = scene.measures, scene.rules
    gap = np.where(scene.beings, measures.gap[:, thing], np.inf)
    holder = gap.argmin(axis=1)
    nearest = gap.min(axis=1)
    touched = nearest <= rules.touch
    flying = np.zeros(len(touched), bool)
    for flight in scene.flights[thing]:
        flying[flight.start : flight.end + 1] = True
    off_floor = measures.height[:, thing] > rules.aloft
    held = _held(nearest, off_floor & scene.tracks.visible[:, thing] & ~flying, flying, rules)
    places = measures.center[:, thing] / measures.size[thing]
    for start, end in runs(held):
        if np.ptp(places, axis=0).max() < STIRS and _rests(scene, thing, (start + end) // 2):
            continue
        who = int(np.bincount(holder[start : end + 1]).argmax())
        some = slice(start, end + 1)
        if (_over_floor(scene, thing)[some] < FOOT * measures.tall[:, who][some]).all():
            held[some] = False  # it lies at somebody's feet
            continue
        # what nobody holds falls: how near the hands are seen says little against that
        sure = np.clip(1.5 - nearest[some] / max(2 * rules.touch, 1e-9), 0.55, 1.0)
        _both(found, "hold", who, thing, some, sure)
        moves = _level_speed(measures, who, scene.tracks.up)[some] * scene.tracks.fps > rules.walking
        if moves.mean() > 0.6:
            _both(found, "carry", who, thing, some, 0.7)
        _note_beginning(found, scene, thing, who, start, end)
    for flight in scene.flights[thing]:
        _note_release(found, scene, thing, flight, held, holder, touched)
        _note_grasp(found, scene, thing, flight, held, holder)


def _note_release(
    found: Recognised,
    scene: Scene,
    thing: int,
    flight: Flight,
    held: NDArray[np.bool_],
    holder: NDArray[np.intp],
    touched: NDArray[np.bool_],
) -> None:
    measures, rules = scene.measures, scene.rules
    before = [t for t in range(max(0, flight.start - NEAR), flight.start) if held[t] or touched[t]]
    if not before:
        return
    who = int(holder[before[-1]])
    speed = measures.speed[:, thing]
    release = float(speed[flight.start : flight.start + 2].max())
    if release < rules.moving:
        return
    action = "throw"
    if _over_floor(scene, thing)[before[-1]] < FOOT * measures.tall[:, who][before[-1]]:
        action = "kick"
    elif not held[before[-1]]:
        return
    start = flight.start
    # between hold and flight there may be frames that are neither for sure
    near = held | (np.arange(len(held)) >= flight.start - NEAR)
    ways = measures.velocity[:, thing]
    slowest = np.inf
    while start > 0 and near[start - 1] and speed[start - 1] >= rules.swing * release:
        if start < flight.start and ways[start - 1] @ ways[start] < 0:
            break  # it was drawn back
        slowest = min(slowest, float(speed[start - 1]))
        if slowest < SLOWED * release and speed[start - 1] > slowest + rules.anew * release:
            break  # it was moved before, and slowed down
        start -= 1
    start = min(start, flight.start - 1)
    end = min(flight.start - 1 + _frames(scene, rules.released), len(speed) - 1)
    _both(found, action, who, thing, slice(max(start, 0), end + 1), 0.9)


def _note_grasp(
    found: Recognised,
    scene: Scene,
    thing: int,
    flight: Flight,
    held: NDArray[np.bool_],
    holder: NDArray[np.intp],
) -> None:
    after = [t for t in range(flight.end + 1, min(len(held), flight.end + 1 + NEAR)) if held[t]]
    if not after:
        return
    who = int(holder[after[0]])
    gap, start = scene.measures.gap[:, thing, who], after[0]
    while start > flight.start and gap[start - 1] <= scene.rules.reach:
        start -= 1
    speed, last = scene.measures.speed[:, thing], min(after[0] + _frames(scene, scene.rules.grasped), len(held) - 1)
    end = after[0]
    arrival = float(speed[max(flight.end - 1, 0) : flight.end + 1].max())
    # hands go along with what they catch until it has come to rest
    slowest = float(speed[end])
    while end < last and speed[end + 1] >= scene.rules.swing * arrival:
        slowest = min(slowest, float(speed[end + 1]))
        if slowest < SLOWED * arrival and speed[end + 1] > slowest + scene.rules.anew * arrival:
            break  # it is moved on
        end += 1
    _both(found, "catch", who, thing, slice(start, end + 1), 0.9)


def _note_beginning(found: Recognised, scene: Scene, thing: int, who: int, start: int, end: int) -> None:
    """A hold that begins, or ends, where the thing rested."""
    measures, rules = scene.measures, scene.rules
    speed, height = measures.speed[:, thing], measures.height[:, thing]
    climbs = np.append(np.diff(height), 0.0)
    if start > 1 and speed[start - 2] < rules.moving and not _in_flight(scene, thing, start - 1):
        last = start
        while last < end and climbs[last] > rules.moving / 2:
            last += 1
        if height[last] - height[start - 1] > rules.aloft:
            _both(found, "lift", who, thing, slice(start - 1, last + 1), 0.7)
    if end < len(speed) - 2 and speed[end + 2] < rules.moving and not _in_flight(scene, thing, end + 1):
        first = end
        while first > start and -climbs[first - 1] > rules.moving / 2:
            first -= 1
        if height[first] - height[end + 1] > rules.aloft:
            _both(found, "set down", who, thing, slice(first, end + 2), 0.7)


def _over_floor(scene: Scene, who: int) -> Floats:
    """[T] of the centre, scene units."""
    return scene.measures.center[:, who] @ scene.tracks.up - scene.tracks.floor


def _frames(scene: Scene, seconds: float) -> int:
    """The nearest number of them."""
    return round(seconds * scene.tracks.fps)


def _rests(scene: Scene, thing: int, frame: int) -> bool:
    """Whether anything that never moves is there for a thing to lie on."""
    if not len(scene.tracks.scenery):
        return False
    away = cKDTree(scene.tracks.scenery).query(scene.tracks.points[thing][frame])[0]
    return bool(np.quantile(away, NEAREST) <= scene.rules.touch * scene.measures.size[thing])


def _in_flight(scene: Scene, thing: int, frame: int) -> bool:
    return any(flight.start <= frame <= flight.end for flight in scene.flights[thing])


def _both(found: Recognised, action: str, who: int, thing: int, when: slice, sure: float | Floats) -> None:
    """What somebody does with a thing, and what happens to it."""
    found.note(action, who, when, sure, thing)
    found.note(PAIRS[action], thing, when, sure, who)


def _level_speed(measures: Measures, who: int, up: Floats) -> Floats:
    level = measures.velocity[:, who] - np.outer(measures.velocity[:, who] @ up, up)
    return np.linalg.norm(level, axis=1)


def _held(gap: Floats, possible: NDArray[np.bool_], flying: NDArray[np.bool_], rules: Rules) -> NDArray[np.bool_]:
    """[T] whether it is held, with hysteresis: hands are often too thin to be seen, or lost for a moment.

    Somebody who touches it holds it, also before and after that, while he is near. What flies away, or stops flying,
    without the floor, was or is in the hands of whom it is near to.

    Args:
        gap: [T] to the nearest being, in sizes.
        possible: [T] whether it is there, off the floor and does not fly; flying: [T].
    """
    held = np.zeros(len(gap), bool)
    for start, end in runs(possible & (gap <= rules.lets_go)):
        if (gap[start : end + 1] <= rules.touch).any():
            held[start : end + 1] = True
    for start, end in runs(possible & (gap <= rules.reach)):
        if flying[max(start - 1, 0) : end + 2].any():
            held[start : end + 1] = True
    gaps = held.copy()
    gaps[1:-1] |= held[:-2] & held[2:]
    return gaps & ~flying
