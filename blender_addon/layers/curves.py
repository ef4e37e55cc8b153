"""F-curves of a data-block, on custom properties mostly: written at once, found again, evaluated, removed.

What a person pushed down to the NLA or drives is read as well, and never written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import bpy
import numpy as np

from . import nla
from .nla import Evaluate


def _numbers(name: str) -> dict[str, int]:
    """What `foreach_set` calls the values of an enumeration of keys."""
    prop: Any = bpy.types.Keyframe.bl_rna.properties[name]
    return {item.identifier: item.value for item in prop.enum_items}


_INTERPOLATION, _HANDLE = _numbers("interpolation"), _numbers("handle_left_type")


def write(
    owner: bpy.types.ID,
    path: str,
    frames: Sequence[float] | np.ndarray,
    values: Sequence[float] | np.ndarray,
    interpolation: str,
    group: str,
    index: int = 0,
) -> bpy.types.FCurve:
    """Replace the keys of the F-curve at `path`, made if absent.

    Args:
        frames, values: of the keys, frames ascending.
        interpolation: "CONSTANT", "LINEAR" or "BEZIER".
        group: the curves' group in the editors, for a new curve.
        index: of the component, where the property at `path` has several.
    """
    curve = find(owner, path, index)
    if curve is None:
        curve = _action(owner).fcurve_ensure_for_datablock(owner, path, index=index, group_name=group)
    elif curve.group is not None and curve.group.name != group:
        curve.group.name = group  # the prompt was typed anew
    points = curve.keyframe_points
    points.clear()
    points.add(len(frames))
    coordinates = np.empty((len(frames), 2), np.float32)
    coordinates[:, 0], coordinates[:, 1] = frames, values
    points.foreach_set("co", coordinates.reshape(-1))
    points.foreach_set("interpolation", np.full(len(frames), _INTERPOLATION[interpolation], np.int32))
    for side, offset in (("handle_left", -1.0), ("handle_right", 1.0)):
        handles = coordinates + np.array((offset, 0.0), np.float32)
        points.foreach_set(side, handles.reshape(-1))
        points.foreach_set(f"{side}_type", np.full(len(frames), _HANDLE["AUTO_CLAMPED"], np.int32))
    curve.update()
    owner.update_tag()
    return curve


def write_poses(
    owner: bpy.types.ID, frames: np.ndarray, places: np.ndarray, turns: np.ndarray, group: str, kind: str = ""
) -> None:
    """Replace the keys of location and rotation, linear: of the two quaternions of a turn the one near the last key's.

    Args:
        frames: of the keys, ascending.
        places, turns: [n, 3] and [n, 4] wxyz.
        group: as in `write`.
        kind: "delta_" for the delta transforms.
    """
    turns = turns.copy()
    for row in range(1, len(turns)):
        if turns[row] @ turns[row - 1] < 0:
            turns[row] *= -1
    for path, values in ((f"{kind}location", places), (f"{kind}rotation_quaternion", turns)):
        for component in range(values.shape[1]):
            write(owner, path, frames, values[:, component], "LINEAR", group, component)


def find(owner: Any, path: str, index: int = 0) -> bpy.types.FCurve | None:
    """The owner's own F-curve at this path."""
    for bag in nla.channelbags(owner.animation_data):
        if (curve := bag.fcurves.find(path, index=index)) is not None:
            return curve
    return None


def course(owner: bpy.types.ID, path: str, index: int = 0) -> Evaluate | None:
    """What a property is at any scene frame, by the owner's action and its NLA; None where neither acts on it, or where
    it cannot be told ahead (`is_driven`)."""
    own = find(owner, path, index)
    own = None if own is None or own.mute or own.is_empty else own
    if nla.tracks_of(owner):
        try:
            stacked = nla.evaluator(owner, path, index, _default(owner, path), own)
        except nla.UnknownStrip:
            return None
        if stacked is not None:
            return stacked
    return None if own is None else own.evaluate


def is_driven(owner: Any, path: str, index: int = 0) -> bool:
    """Whether only Blender's own evaluation knows the property: it has a driver, or the NLA has unknown strips."""
    data = owner.animation_data
    if data is None:
        return False
    if data.drivers and data.drivers.find(path, index=index) is not None:
        return True
    return bool(data.nla_tracks) and nla.has_unknown(owner)


def is_unforeseen(owner: Any) -> bool:
    """Whether anything of the owner is animated in a way that `course` cannot tell ahead."""
    data = owner.animation_data
    if data is None:
        return False
    return bool(data.drivers) or nla.has_unknown(owner)


def is_animated(owner: bpy.types.ID, path: str, index: int = 0) -> bool:
    """Whether anything gives the property other values at other frames."""
    return course(owner, path, index) is not None or is_driven(owner, path, index)


def animated_paths(owner: Any, beginning: str) -> set[str]:
    """The paths that begin so and are animated in any way."""
    data = owner.animation_data
    if data is None:
        return set()
    strips = [strip for track in nla.tracks_of(owner) for strip in track.strips]
    found = [curve.data_path for bag in nla.channelbags(data) for curve in bag.fcurves if not curve.mute]
    found += [curve.data_path for curve in data.drivers]
    found += [curve.data_path for strip in strips for curve in nla.curves_of(strip)]
    return {path for path in found if path.startswith(beginning)}


def value(owner: bpy.types.Object, name: str, frame: float, index: int | None = None) -> float:
    """A custom property's value at a scene frame: what animates it says, else as it stands.

    Needed before a frame is evaluated, when the property itself still has the last frame's value. Of an evaluated
    object the property is as Blender evaluated it, whatever animates it.

    Args:
        index: of the component, where the property has several.
    """
    return values(owner, name, (frame,), index)[0]


def values(owner: bpy.types.Object, name: str, frames: Iterable[float], index: int | None = None) -> list[float]:
    """`value` at each of these scene frames."""
    path, component = f'["{name}"]', index or 0
    if not owner.is_evaluated and not is_driven(owner, path, component):
        evaluate = course(owner, path, component)
        if evaluate is not None:
            return [float(evaluate(frame)) for frame in frames]
    stands: Any = owner.get(name, 0.0)
    return [float(stands if index is None else stands[index]) for _ in frames]


def values_of(owner: Any, wanted: Sequence[str], frame: float) -> list[float]:
    """`value` of each of these custom properties at a scene frame: of many at once in one pass over the F-curves."""
    data = owner.animation_data
    if owner.is_evaluated or data is None or data.nla_tracks or data.drivers:
        return [value(owner, name, frame) for name in wanted]
    known = {curve.data_path: curve for bag in nla.channelbags(owner.animation_data) for curve in bag.fcurves}
    found = []
    for name in wanted:
        curve = known.get(f'["{name}"]')
        acts = curve is not None and not curve.mute and not curve.is_empty
        found.append(float(curve.evaluate(frame) if curve is not None and acts else owner.get(name, 0.0)))
    return found


def remove(owner: bpy.types.Object, path: str, index: int = 0) -> None:
    """Remove the F-curve at this path, if there is one."""
    for bag in nla.channelbags(owner.animation_data):
        if (curve := bag.fcurves.find(path, index=index)) is not None:
            bag.fcurves.remove(curve)


def move(owner: Any, paths: dict[str, str]) -> None:
    """Give the F-curves and drivers whose paths begin with a key of `paths` its value as their beginning; an empty one
    removes them. Paths name items of collections by their number, which changes when the items are moved."""
    data = owner.animation_data
    holders: list[Any] = [bag.fcurves for bag in nla.channelbags(data)] + ([data.drivers] if data is not None else [])
    for holder in holders:
        for curve in list(holder):
            begin = next((old for old in paths if curve.data_path.startswith(old)), None)
            if begin is None:
                continue
            if paths[begin]:
                curve.data_path = paths[begin] + curve.data_path.removeprefix(begin)
            else:
                holder.remove(curve)


def of(owner: Any) -> list[bpy.types.FCurve]:
    """All F-curves of the owner's action."""
    return [curve for bag in nla.channelbags(owner.animation_data) for curve in bag.fcurves]


def hold(curve: bpy.types.FCurve, stop: float, frames: int) -> None:
    """Let a curve keep its value at a frame for so many frames; what follows comes that much later."""
    keys = curve.keyframe_points
    later = [key for key in keys if key.co.x > stop]
    if not later:
        return
    has_before = len(later) < len(keys)
    value = curve.evaluate(stop)
    for key in later:
        key.co.x += frames
        key.handle_left.x += frames
        key.handle_right.x += frames
    for frame in (stop, stop + frames) if has_before else ():
        keys.insert(frame, value)
    curve.update()


def signature(curve: bpy.types.FCurve | None) -> str:
    """Another text whenever a person changed the keys: their frames, values or interpolation. Empty for no curve."""
    if curve is None:
        return ""
    coordinates = np.empty(2 * len(curve.keyframe_points), np.float32)
    curve.keyframe_points.foreach_get("co", coordinates)
    kinds = "".join(key.interpolation for key in curve.keyframe_points)
    return hashlib.blake2b(coordinates.tobytes() + kinds.encode(), digest_size=8).hexdigest()


def copy(owner: bpy.types.Object, source: str, target: str, group: str) -> None:
    """Give the owner at `target` a copy of its F-curve at `source`, handles included; nothing if there is none."""
    original = find(owner, source)
    if original is None:
        return
    remove(owner, target)
    made = _action(owner).fcurve_ensure_for_datablock(owner, target, group_name=group)
    made.extrapolation = original.extrapolation
    made.keyframe_points.add(len(original.keyframe_points))
    for key, its_copy in zip(original.keyframe_points, made.keyframe_points, strict=True):
        for name in ("handle_left_type", "handle_right_type", "interpolation", "easing", "co"):
            setattr(its_copy, name, getattr(key, name))
        its_copy.handle_left, its_copy.handle_right = key.handle_left, key.handle_right
    made.update()


def _default(owner: Any, path: str) -> float:
    """A custom property's default value, which the NLA starts from; 0 of any other property."""
    name = path[2:-2] if path.startswith('["') else ""
    if not name or owner.get(name) is None:
        return 0.0
    return float(owner.id_properties_ui(name).as_dict().get("default", 0.0))


def _action(owner: Any) -> bpy.types.Action:
    data = owner.animation_data or owner.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(f"{owner.name} 4-LEGS")
    return data.action
