"""Which moment of the capture a scene frame shows: one by one from the start frame, or as an animator's F-curve says.

The F-curve is that of the parent empty's custom property `names.TIME`: scene frame in, capture time (in capture frames,
0 the first, fractions between two) out. A flat stretch is bullet time, a slope below 1 slow motion, a falling one runs
backwards. Without it, or when it is muted, capture frame 0 is at the start frame and time runs one to one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import bpy
import numpy as np

from .. import declare, names
from ..layers import curves, nla
from .properties import properties_of

_learned: dict[int, tuple[int, np.ndarray]] = {}
"""By session id of the parent empty, the first scene frame and capture times that `learn` saw."""

SAME_MOMENT = 1e-3
"""Capture times nearer than this, in frames, are one: F-curves are single precision."""


def curve_of(empty: bpy.types.Object) -> bpy.types.FCurve | None:
    """The F-curve that says the time and can be edited; None where there is none."""
    curve = curves.find(empty, names.TIME_PATH)
    return None if curve is None or curve.mute or curve.is_empty else curve


def is_timed(empty: bpy.types.Object) -> bool:
    """Whether anything animates the time: an F-curve, the NLA, a driver. Else it runs one to one."""
    return empty.get(names.TIME) is not None and curves.is_animated(empty.original, names.TIME_PATH)


def is_editable(empty: bpy.types.Object) -> bool:
    """Whether effects can change the time: it runs one to one, or as the empty's own F-curve says alone."""
    return not is_timed(empty) or (not is_driven(empty) and nla.span(empty, names.TIME_PATH) is None)


def is_driven(empty: bpy.types.Object) -> bool:
    """Whether only Blender's evaluation knows which moment a scene frame shows."""
    return curves.is_driven(empty.original, names.TIME_PATH)


def clock(scene: bpy.types.Scene, frame: float) -> float:
    """Where F-curves and markers stand at a frame: another number under time stretching (Output > Frame Range)."""
    return frame * scene.render.frame_map_old / scene.render.frame_map_new


def frame_at(scene: bpy.types.Scene, clock: float) -> int:
    """The frame at which F-curves and markers stand there."""
    return round(clock * scene.render.frame_map_new / scene.render.frame_map_old)


def learn(scene: bpy.types.Scene, empty: bpy.types.Object) -> None:
    """Step through the scene's frames to see what a driven time says at each: nothing where it can be told ahead."""
    if not is_timed(empty) or not is_driven(empty):
        return
    now, subframe = scene.frame_current, scene.frame_subframe
    first = math.floor(clock(scene, scene.frame_start))
    count = math.ceil(clock(scene, scene.frame_end)) - first + 1
    times = []
    for place in range(first, first + count):
        whole = place * scene.render.frame_map_new / scene.render.frame_map_old
        scene.frame_set(math.floor(whole), subframe=whole % 1.0)
        times.append(float(empty[names.TIME]))
    scene.frame_set(now, subframe=subframe)
    _learned[empty.session_uid] = (first, np.array(times))


def capture_time(empty: bpy.types.Object, scene_frame: float) -> float:
    """The capture time that a scene frame (whole or not, as F-curves count) shows, 0 to the number of capture frames
    less one. Of an evaluated object the one that it was evaluated at."""
    its = properties_of(empty)
    time = curves.value(empty, names.TIME, scene_frame) if is_timed(empty) else scene_frame - its.start_frame
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
    """Capture frames that pass in a scene frame: 1 without a time curve, 0 while time stands still."""
    if not is_timed(empty):
        return 1.0
    if (evaluate := curves.course(empty.original, names.TIME_PATH)) is None or is_driven(empty):
        first, times = moments(empty)
        at = np.interp((scene_frame - 0.5, scene_frame + 0.5), first + np.arange(len(times)), times)
        return float(at[1] - at[0])
    return float(evaluate(scene_frame + 0.5) - evaluate(scene_frame - 0.5))


def moments(empty: bpy.types.Object) -> tuple[int, np.ndarray]:
    """The first scene frame of the sequence, and the capture time of that and each following scene frame to its end.

    Under a driver, as `learn` saw it last.
    """
    its = properties_of(empty)
    last = max(its.num_frames - 1, 0)
    evaluate = curves.course(empty.original, names.TIME_PATH) if is_timed(empty) else None
    if evaluate is None or is_driven(empty):
        first, times = _learned.get(empty.session_uid, (int(its.start_frame), np.arange(last + 1, dtype=float)))
        return first, times.clip(0.0, last)
    ranges = [nla.span(empty.original, names.TIME_PATH)]
    curve = curve_of(empty.original)
    ranges.append((curve.range()[0], curve.range()[1]) if curve is not None else None)
    known = [span for span in ranges if span is not None]
    first, end = round(min(start for start, _ in known)), round(max(stop for _, stop in known))
    return first, np.array([evaluate(frame) for frame in range(first, end + 1)]).clip(0.0, last)


def scene_frame(empty: bpy.types.Object, capture_frame: float) -> int:
    """The first scene frame that shows a capture frame; the nearest to it where none does exactly."""
    if not is_timed(empty):
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
    if not is_timed(empty):
        return f"from {properties_of(empty).start_frame}"
    curve = curve_of(empty)
    if curve is None or not is_editable(empty):
        first, times = moments(empty)
        return hashlib.blake2b(times.astype(np.float32).tobytes() + str(first).encode(), digest_size=8).hexdigest()
    handles = [(*key.handle_left[:], *key.co[:], *key.handle_right[:]) for key in curve.keyframe_points]
    kinds = "".join(key.interpolation for key in curve.keyframe_points)
    return hashlib.blake2b(np.array(handles, np.float32).tobytes() + kinds.encode(), digest_size=8).hexdigest()


def write(empty: bpy.types.Object, frames: Sequence[float], times: Sequence[float]) -> bpy.types.FCurve:
    """Give the sequence a time curve with these keys (scene frames ascending), in the place of any it has."""
    if empty.get(names.TIME) is None:
        last = float(max(properties_of(empty).num_frames - 1, 0))
        says = "Capture frame that shows, by scene frame: edit it in the Graph Editor"
        declare.custom(empty, names.TIME, 0.0, says, min=0.0, max=last)
    return curves.write(empty, names.TIME_PATH, frames, times, "LINEAR", "4-LEGS time")


def remove(empty: bpy.types.Object) -> None:
    """Let time run one to one again."""
    curves.remove(empty, names.TIME_PATH)
    empty.pop(names.TIME, None)
