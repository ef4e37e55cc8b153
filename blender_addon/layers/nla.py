"""What the NLA gives a property at any frame, told ahead of Blender, which tells only the frame that it evaluated.

As Blender evaluates it ("Nonlinear Animation", Blender's manual): tracks from below, each with at most one strip, then
the action that is being edited on top. Transitions, meta strips and quaternions are not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import bpy

Evaluate = Callable[[float], float]


_UNKNOWN = ("TRANSITION", "META")


class UnknownStrip(Exception):
    """There is a kind of strip whose result cannot be told ahead."""


def tracks_of(owner: bpy.types.ID) -> list[Any]:
    """The tracks that act: neither muted nor beside a solo one; none while the NLA is off."""
    data: Any = getattr(owner, "animation_data", None)
    if data is None or not data.use_nla:
        return []
    solo = any(track.is_solo for track in data.nla_tracks)
    return [track for track in data.nla_tracks if not track.mute and (track.is_solo or not solo)]


def has_unknown(owner: bpy.types.ID) -> bool:
    """Whether there are strips whose result cannot be told ahead."""
    return any(strip.type in _UNKNOWN for track in tracks_of(owner) for strip in track.strips if not strip.mute)


def evaluator(owner: Any, path: str, index: int, default: float, own: bpy.types.FCurve | None) -> Evaluate | None:
    """The property's course under the owner's tracks and its own F-curve; None where no strip has the property.

    Args:
        default: the property's default value, from which the NLA starts.
        own: the F-curve of the action that is being edited, or None.

    Raises:
        UnknownStrip: transitions or meta strips.
    """
    tracks = [(track, [s for s in track.strips if not s.mute]) for track in tracks_of(owner)]
    if has_unknown(owner):
        raise UnknownStrip
    if not any(_curve(strip, path, index) is not None for _, strips in tracks for strip in strips):
        return None
    data = owner.animation_data
    if any(track.is_solo for track in data.nla_tracks):
        own = None

    def evaluate(frame: float) -> float:
        value = default
        for _, strips in tracks:
            found = _strip_at(strips, frame)
            if found is None:
                continue
            strip, at = found
            curve = _curve(strip, path, index)
            if curve is not None:
                time = _fcurve_of(strip, "strip_time", at) if strip.use_animated_time else _time_in(strip, at)
                blended = curve.evaluate(time)
                value = _blend(strip.blend_type, value, blended, _influence(strip, at), default)
        if own is not None:
            value = _blend(data.action_blend_type, value, own.evaluate(frame), data.action_influence, default)
        return float(value)

    return evaluate


def span(owner: Any, path: str, index: int = 0) -> tuple[float, float] | None:
    """First and last frame of the strips that have the property."""
    found = [s for track in tracks_of(owner) for s in track.strips if not s.mute and _curve(s, path, index) is not None]
    return (min(s.frame_start for s in found), max(s.frame_end for s in found)) if found else None


def curves_of(strip: Any) -> Iterator[bpy.types.FCurve]:
    """The F-curves of a strip's action that act."""
    for bag in channelbags(strip):
        yield from (curve for curve in bag.fcurves if not curve.mute and not curve.is_empty)


def _curve(strip: Any, path: str, index: int) -> bpy.types.FCurve | None:
    for bag in channelbags(strip):
        curve = bag.fcurves.find(path, index=index)
        if curve is not None and not curve.mute and not curve.is_empty:
            return curve
    return None


def channelbags(user: Any) -> Iterator[bpy.types.ActionChannelbag]:
    """What its action holds for it; the user is an object's animation data, or a strip."""
    if user is None or user.action is None or user.action_slot is None:
        return
    for layer in user.action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(user.action_slot)
            if bag is not None:
                yield bag


def _strip_at(strips: list[Any], frame: float) -> tuple[Any, float] | None:
    """A track's strip that acts at a frame, and the frame of it that shows: its end where it is held."""
    before = None
    for strip in strips:
        if strip.frame_start <= frame <= strip.frame_end:
            return strip, frame
        if frame < strip.frame_start:
            if before is None:
                return (strip, strip.frame_start) if strip.extrapolation == "HOLD" else None
            break
        before = strip
    if before is None or before.extrapolation == "NOTHING":
        return None
    return before, before.frame_end


def _time_in(strip: Any, frame: float) -> float:
    """The frame of the strip's action that shows at a frame."""
    start, end = strip.action_frame_start, strip.action_frame_end
    scale = abs(strip.scale) or 1.0
    length = (end - start) or 1.0
    at_end = math.isclose(frame, strip.frame_end, abs_tol=1e-4) and float(strip.repeat).is_integer()
    done = length if at_end else math.fmod(frame - strip.frame_start, length * scale) / scale
    return float(end - done if strip.use_reverse else start + done)


def _influence(strip: Any, frame: float) -> float:
    if strip.use_animated_influence:
        return _fcurve_of(strip, "influence", frame)
    if strip.blend_in and frame <= strip.frame_start + strip.blend_in:
        return float(abs(frame - strip.frame_start) / strip.blend_in)
    if strip.blend_out and frame >= strip.frame_end - strip.blend_out:
        return float(abs(strip.frame_end - frame) / strip.blend_out)
    return 1.0


def _fcurve_of(strip: Any, name: str, frame: float) -> float:
    """A setting of the strip that has keys of its own."""
    curve = next((one for one in strip.fcurves if one.data_path.endswith(name)), None)
    return float(curve.evaluate(frame) if curve is not None and not curve.is_empty else getattr(strip, name))


def _blend(how: str, below: float, value: float, influence: float, default: float) -> float:
    if how == "ADD":
        return below + influence * value
    if how == "SUBTRACT":
        return below - influence * value
    if how == "MULTIPLY":
        return influence * below * value + (1.0 - influence) * below
    if how == "COMBINE":
        return below + influence * (value - default)
    return (1.0 - influence) * below + influence * value
