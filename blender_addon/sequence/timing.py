"""Which moment of the capture a scene frame shows: one by one from the start frame, or as an animator's F-curve says.

The F-curve is that of the parent empty's custom property `names.TIME`: scene frame in, capture time (in capture frames,
0 the first, fractions between two) out. A flat stretch is bullet time, a slope below 1 slow motion, a falling one runs
backwards. Without it, or when it is muted, capture frame 0 is at the start frame and time runs one to one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import bpy
import numpy as np

from .. import names
from ..layers import curves
from .properties import properties_of

SAME_MOMENT = 1e-3
"""Capture times nearer than this, in frames, are one: F-curves are single precision."""


def curve_of(empty: bpy.types.Object) -> bpy.types.FCurve | None:
    """The F-curve that says the time; None where time runs one to one."""
    curve = curves.find(empty, names.TIME_PATH)
    return None if curve is None or curve.mute or curve.is_empty else curve


def capture_time(empty: bpy.types.Object, scene_frame: float) -> float:
    """The capture time that a scene frame (whole or not) shows, 0 to the number of capture frames less one."""
    curve, its = curve_of(empty), properties_of(empty)
    time = scene_frame - its.start_frame if curve is None else curve.evaluate(scene_frame)
    return float(min(max(time, 0.0), max(its.num_frames - 1, 0)))


def shown_frames(empty: bpy.types.Object, scene_frame: float) -> tuple[int, float]:
    """The capture frame that shows at a scene frame, and how far, 0 to 1, the points are on their way to the next.

    The way is 0 for sequences that hold each frame.
    """
    time = capture_time(empty, scene_frame)
    if not properties_of(empty).interpolate:
        return int(time + SAME_MOMENT), 0.0
    frame = round(time)
    if abs(time - frame) > SAME_MOMENT:
        frame = int(time)
        return frame, time - frame
    return frame, 0.0


def rate(empty: bpy.types.Object, scene_frame: float) -> float:
    """Capture frames that pass in a scene frame: 1 without an F-curve, 0 while time stands still."""
    curve = curve_of(empty)
    if curve is None:
        return 1.0
    return float(curve.evaluate(scene_frame + 0.5) - curve.evaluate(scene_frame - 0.5))


def moments(empty: bpy.types.Object) -> tuple[int, np.ndarray]:
    """The first scene frame of the sequence, and the capture time of that and each following scene frame to its end."""
    curve, its = curve_of(empty), properties_of(empty)
    if curve is None:
        return int(its.start_frame), np.arange(max(its.num_frames, 1), dtype=float)
    first, last = (round(frame) for frame in curve.range().to_tuple())
    times = np.array([curve.evaluate(frame) for frame in range(first, last + 1)])
    return first, times.clip(0.0, max(its.num_frames - 1, 0))


def scene_frame(empty: bpy.types.Object, capture_frame: float) -> int:
    """The first scene frame that shows a capture frame; the nearest to it where none does exactly."""
    if curve_of(empty) is None:
        return int(properties_of(empty).start_frame + round(capture_frame))
    first, times = moments(empty)
    return first + int(np.argmin(np.abs(times - capture_frame)))


def spans(empty: bpy.types.Object, start: int, end: int) -> list[tuple[int, int]]:
    """The (first, last) scene frames of each stretch that shows capture frames `start` to `end`, both included."""
    first, times = moments(empty)
    inside = (times >= start - SAME_MOMENT) & (times < end + 1 - SAME_MOMENT)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False]))))
    return [(first + int(a), first + int(b) - 1) for a, b in edges.reshape(-1, 2)]


def signature(empty: bpy.types.Object) -> str:
    """Another text whenever another moment may show at some scene frame."""
    curve = curve_of(empty)
    if curve is None:
        return f"from {properties_of(empty).start_frame}"
    handles = [(*key.handle_left[:], *key.co[:], *key.handle_right[:]) for key in curve.keyframe_points]
    kinds = "".join(key.interpolation for key in curve.keyframe_points)
    return hashlib.blake2b(np.array(handles, np.float32).tobytes() + kinds.encode(), digest_size=8).hexdigest()


def write(empty: bpy.types.Object, frames: Sequence[float], times: Sequence[float]) -> bpy.types.FCurve:
    """Give the sequence a time curve with these keys (scene frames ascending), in the place of any it has."""
    if empty.get(names.TIME) is None:
        empty[names.TIME] = 0.0
        empty.id_properties_ui(names.TIME).update(
            min=0.0,
            max=float(max(properties_of(empty).num_frames - 1, 0)),
            description="Capture frame that shows, by scene frame: edit it in the Graph Editor",
        )
    return curves.write(empty, names.TIME_PATH, frames, times, "LINEAR", "4-LEGS time")


def remove(empty: bpy.types.Object) -> None:
    """Let time run one to one again."""
    curves.remove(empty, names.TIME_PATH)
    empty.pop(names.TIME, None)
