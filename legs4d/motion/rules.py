"""The few numbers by which measures become actions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """Where each action begins. Sizes are an object's own, see `measures.Measures`; times are frames or seconds.

    `scripts/training/actions/fit_rules.py` fits them on generated clips, whose truth is exact, as they are and with
    errors as reconstructions have them. These are mixed from two such fits and from older numbers: docs/encoders.md
    says which, and what the mixture is worth on other clips.

    Attributes:
        touch: gap, in sizes of the smaller, up to which two touch.
        lets_go: gap, in its sizes, up to which a thing that somebody touches, or that flies away, is still held.
        slips: share of a thing's speed by which what touches it may move otherwise and surely moves along with it; from
            twice of that on it does not.
        parting, contact: 0..2, how much it speaks against flight that something touches a thing, just before it is
            free and later; 1 is as much as being on the parabola speaks for it.
        aloft: height, in sizes, from which a thing is off the floor.
        leap: height, in sizes, from which a being is off the floor.
        moving: sizes a frame from which a thing moves.
        ballistic: what a parabola may leave of a flight, in sizes.
        turning: radians a frame from which a thing turns about itself.
        rolling: turn a frame, in shares of that of a wheel, from which what moves along the floor rolls.
        hinge: turn in all from which an axis counts as a hinge, radians.
        hinged: radians a frame from which it moves on it.
        steep: share of the way that is down (or up) from which a thing falls (or rises).
        swing: share of the speed of release from which a throw has begun; of that of arrival, down to which a catch
            goes on.
        anew: share of that by which a thing is faster again, before a throw or after a catch, than where it was
            slowest.
        released: seconds after the release that still belong to a throw.
        grasped: seconds after the first touch that still belong to a catch, at most, while the thing comes to rest.
        reach: sizes that a thing is away from hands when a catch begins.
        walking, running: own sizes a second.
        rigid: bend a frame, in sizes, above which an object is a being that moves its limbs.
    """

    touch: float = 0.7
    lets_go: float = 1.0
    slips: float = 0.55
    parting: float = 1.0
    contact: float = 1.0
    aloft: float = 0.25
    leap: float = 0.08
    moving: float = 0.08
    ballistic: float = 0.1
    turning: float = 0.08
    rolling: float = 0.5
    hinge: float = 0.3
    hinged: float = 0.05
    steep: float = 0.92
    swing: float = 0.15
    anew: float = 0.15
    released: float = 0.03
    grasped: float = 0.3
    reach: float = 1.6
    walking: float = 0.4
    running: float = 2.0
    rigid: float = 0.01


RULES = Rules()
