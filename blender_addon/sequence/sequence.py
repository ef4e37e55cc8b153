"""A sequence: the parent empty that turns a capture upright, and its clouds of points."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Matrix, Quaternion

from .. import names
from ..cache.blocks import MOST_SH
from ..cache.frames import STEPS, Description, RunCache
from ..declare import Collection, triple
from ..portable.turns import turn_between
from ..selection import mask
from . import attributes, timing
from .properties import LayerProperties, SequenceProperties, cloud_of, properties_of

BLENDERS_UP = (0.0, 0.0, 1.0)

NATIVE: Final = "GAUSSIAN_SPLAT"
"""Type of point clouds that Blender itself renders as splats, from 5.3 on; 5.2 has no types."""

FLUENT_POINTS = 75_000
"""Viewports of larger sequences show this many points, the most important ones, until their user asks for more."""

FILLED = "legs4d:filled"
"""Custom property of a cloud: the run id whose constants it has."""


CONSTANT_ROLES = ("STATIC", "DYNAMIC")
"""Clouds that have anything that no frame changes."""
_STORED = {names.POSITION: "means", names.ROTATION: "quats", names.SCALE: "scales"}
_SH = {names.sh_attribute(index): f"sh_{index}" for index in range(MOST_SH)}

_KEPT = (
    *("run_id", "run", "revision", "num_frames", "num_static", "num_dynamic", "num_loose", "fps", "pixel_angle"),
    "has_seen",
)
"""What a sequence's properties and its description call alike."""

being_filled: set[int] = set()
"""Session ids of parents whose constants are being set in pieces: they show nothing until all are there."""


class Sequence:
    """A sequence in the file. It holds no data but the empty, so make one wherever it is needed.

    Args:
        empty: its parent object. ValueError if that is not a sequence's.
    """

    def __init__(self, empty: bpy.types.Object) -> None:
        if not properties_of(empty).is_sequence:
            raise ValueError(f"'{empty.name}' is not the parent of a 4-LEGS sequence")
        self.empty = empty

    @classmethod
    def create(cls, description: Description, collection: bpy.types.Collection, start_frame: int = 1) -> Sequence:
        """A new sequence: its points are at the origin, without extent, until `fill` and the first frame.

        Args:
            start_frame: scene frame that shows capture frame 0.
        """
        name = description.run.rstrip("/").rpartition("/")[2]
        empty = bpy.data.objects.new(name, None)
        empty.rotation_euler = upright(description.up).to_euler()
        empty.empty_display_size = 0.25
        its = properties_of(empty)
        its.role, its.start_frame, its.identity = "SEQUENCE", start_frame, new_identity()
        for field in _KEPT:
            setattr(its, field, getattr(description, field))
        its.num_sh, its.changing, its.up = description.sh, " ".join(description.changing), description.up
        its.detail = min(1.0, FLUENT_POINTS / max(description.num_points, 1))
        collection.objects.link(empty)
        counts = {"STATIC": description.num_static, "DYNAMIC": description.num_dynamic, "LOOSE": description.num_loose}
        for role, points in counts.items():
            if points:  # as many loose ones as a frame has, when it is shown
                rows = 0 if role == "LOOSE" else points
                _add_cloud(empty, collection, role, f"{name} {names.ROLES[role]}", rows)
        return cls(empty)

    @property
    def its(self) -> SequenceProperties:
        """What the file keeps of it."""
        return properties_of(self.empty)

    @property
    def description(self) -> Description:
        """What it was imported as, from the file alone."""
        its = self.its
        same: dict[str, Any] = {name: getattr(its, name) for name in _KEPT}
        return Description(**same, up=triple(its.up), sh=its.num_sh, changing=tuple(its.changing.split()))

    @property
    def static_object(self) -> bpy.types.Object | None:
        """The points that do not move; None if there are none."""
        return self.its.child("STATIC")

    @property
    def dynamic_object(self) -> bpy.types.Object | None:
        """The points that move; None if there are none."""
        return self.its.child("DYNAMIC")

    @property
    def loose_object(self) -> bpy.types.Object | None:
        """The points that only the current frame has; None if there are none."""
        return self.its.child("LOOSE")

    @property
    def objects(self) -> list[bpy.types.Object]:
        """Those of them that are there."""
        return self.its.cloud_objects

    @property
    def clouds(self) -> list[bpy.types.PointCloud]:
        """The point data of all."""
        return [cloud_of(child) for child in self.objects]

    @property
    def layers(self) -> Collection[LayerProperties]:
        """Its prompt layers."""
        return self.its.layers

    @property
    def to_world(self) -> Matrix:
        """From the capture's axes to the world: its clouds', as Apply leaves a part of it in them."""
        empty = self.empty
        child = next(iter(properties_of(empty.original).cloud_objects), None)
        if child is None or not empty.is_evaluated:
            return (child or empty).matrix_world
        return (
            empty.matrix_world @ child.matrix_parent_inverse @ child.matrix_basis
        )  # what is evaluated has no children

    @property
    def locked(self) -> str:
        """Why it cannot be edited here, as a sentence; empty if it can."""
        library: Any = self.empty.library or (
            self.empty.override_library.reference.library
            if self.empty.override_library is not None and self.empty.override_library.reference is not None
            else None
        )
        if library is None and self.empty.override_library is None:
            return ""
        whence = bpy.path.basename(library.filepath) if library is not None else "another file"
        return f"'{self.empty.name}' is linked from {whence} and plays as it is there; edit it there, or make it local"

    @property
    def deleted(self) -> str:
        """What its user deleted of it, as a sentence; empty if all is there."""
        its = self.its
        gone = [
            label
            for label, count, child in (
                ("static", its.num_static, self.static_object),
                ("moving", its.num_dynamic, self.dynamic_object),
                ("loose", its.num_loose, self.loose_object),
            )
            if count and child is None
        ]
        if not gone:
            return ""
        return (
            f"The {' and '.join(gone)} points of '{self.empty.name}' were deleted; undo that, or import the run again"
        )

    def fill(self, cache: RunCache) -> bool:
        """Set what no frame changes from the cache; nothing where it was done before. Whether all is set now."""
        if not cache.has_constants() or self.empty.session_uid in being_filled:
            return False
        for role in CONSTANT_ROLES:
            if self._lacks_constants(cache, role):
                for attribute in constants(cache.description, role):
                    self.fill_part(cache, role, attribute)
                self.mark_filled(cache, role)
        return True

    def fill_part(self, cache: RunCache, role: str, attribute: str) -> None:
        """Set one of a cloud's `constants` from the cache; nothing if the cloud was deleted."""
        child = self._cloud(role)
        if child is None:
            return
        arrays = cache.static() if role == "STATIC" else cache.dynamic()
        if attribute == names.RANK:
            values = cache.ranks(role)
        elif attribute == names.RADIANCE:
            values = mask.dimmed(cloud_of(child), np.column_stack((arrays["colors"], arrays["opacities"])))
        elif attribute == names.SEEN:
            values = arrays["seen"] * np.float32(1 / 255)
        elif attribute in _SH:
            values = arrays[_SH[attribute]] * STEPS[_SH[attribute]]
        else:
            values = arrays[_STORED[attribute]]
        _write(cloud_of(child), attribute, values)

    def mark_filled(self, cache: RunCache, role: str) -> None:
        """Note that a cloud has all its constants."""
        child = self._cloud(role)
        if child is not None:
            child.data[FILLED] = cache.description.run_id
            child.data.update_tag()

    def _lacks_constants(self, cache: RunCache, role: str) -> bool:
        child = self._cloud(role)
        if child is None:
            return False
        return child.data.get(FILLED) != cache.description.run_id or names.RANK not in cloud_of(child).attributes

    def _cloud(self, role: str) -> bpy.types.Object | None:
        return self.static_object if role == "STATIC" else self.dynamic_object

    def capture_frame(self, scene_frame: float) -> int:
        """The capture frame shown at a scene frame: before the first the first, after the last the last."""
        return timing.shown_frames(self.empty, scene_frame)[0]

    def scene_frame(self, capture_frame: int) -> int:
        """The first scene frame that shows a capture frame."""
        return timing.scene_frame(self.empty, capture_frame)

    def shows(self, capture_frame: int, scene_frame: float) -> bool:
        """Whether what a scene frame shows comes from this capture frame, alone, together with others, or as nodes bend
        what is near them in it."""
        frame, share = timing.shown_frames(self.empty, scene_frame)
        reach = int(self.its.averaging)
        return frame - reach <= capture_frame <= frame + reach + bool(share) or capture_frame == self.its.bound_at


def lock(child: Any) -> None:
    """Let nobody move a cloud on its own: its sequence would be torn."""
    child.lock_location = child.lock_rotation = child.lock_scale = (True, True, True)


def new_identity() -> str:
    """What tells a sequence from its copies."""
    return secrets.token_hex(8)


def upright(up: tuple[float, float, float]) -> Quaternion:
    """The shortest turn that takes what is up in a capture to Blender's +Z."""
    return Quaternion(turn_between(up, BLENDERS_UP).tolist())


def is_native(cloud: bpy.types.PointCloud) -> bool:
    """Whether Blender itself renders the cloud as splats."""
    return getattr(cloud, "type", "") == NATIVE


def constants(description: Description, role: str) -> tuple[str, ...]:
    """Attributes of a cloud that no frame changes."""
    changing = description.changing
    found = [names.RANK, *([names.SEEN] if description.has_seen else [])]
    if role == "STATIC":
        found = [names.POSITION, names.ROTATION, names.SCALE, names.RADIANCE, *found]
    elif "scales" not in changing:
        found = [names.SCALE, *found]
    if role == "STATIC" or "sh_rest" not in changing:
        found += [names.sh_attribute(index) for index in range(description.sh)]
    return tuple(found)


def find(scene: bpy.types.Scene) -> list[Sequence]:
    """The sequences of a scene, also those in collections that it has as instances."""
    found, instanced = [], set()
    for item in scene.objects:
        if item.type != "EMPTY":
            continue
        if properties_of(item).is_sequence:
            found.append(Sequence(item))
        if item.instance_type == "COLLECTION" and item.instance_collection is not None:
            instanced |= _inside(item.instance_collection)
    return found + [Sequence(item) for item in instanced if item not in [one.empty for one in found]]


def _inside(collection: bpy.types.Collection) -> set[bpy.types.Object]:
    """The parents of sequences that an instance of a collection shows, however deep."""
    found = set()
    for item in collection.all_objects:
        if item.type == "EMPTY":
            if properties_of(item).is_sequence:
                found.add(item)
            if item.instance_type == "COLLECTION" and item.instance_collection not in (None, collection):
                found |= _inside(item.instance_collection)
    return found


def home(empty: bpy.types.Object) -> bpy.types.Scene | None:
    """The scene whose moment a sequence shows: its points are there once, however many scenes have it.

    It is the window's, where that has the sequence.
    """
    scenes = [scene for scene in bpy.data.scenes if any(one.empty == empty for one in find(scene))]
    current = bpy.context.scene
    return current if current in scenes else next(iter(scenes), None)


def everywhere() -> Iterator[tuple[bpy.types.Scene, Sequence]]:
    """Every sequence of the file, once, with a scene that has it: the window's, where that has it."""
    known: set[int] = set()
    current = bpy.context.scene
    for scene in sorted(bpy.data.scenes, key=lambda scene: scene != current):
        for sequence in find(scene):
            if sequence.empty.session_uid not in known:
                known.add(sequence.empty.session_uid)
                yield scene, sequence


def with_uid(session_uid: int) -> Sequence | None:
    """The sequence whose parent has this session id, for code that outlives an undo; None if it is gone."""
    return next((shown for _, shown in everywhere() if shown.empty.session_uid == session_uid), None)


def playhead(run_id: str) -> int:
    """The capture frame of a run that is looked at: in the window's scene, else in any that has the run, else 0."""
    found = [(scene, shown) for scene, shown in everywhere() if shown.its.run_id == run_id]
    return found[0][1].capture_frame(found[0][0].frame_current_final) if found else 0


def active(context: bpy.types.Context) -> Sequence | None:
    """The sequence that panels and operators mean: the active object's, else the scene's only one."""
    item = context.active_object
    while item is not None:
        if properties_of(item).is_sequence:
            return Sequence(item)
        item = item.parent
    found = find(context.scene)
    return found[0] if len(found) == 1 else None


def meant(context: bpy.types.Context) -> Sequence:
    """`active`, for operators whose `poll` has seen that there is one."""
    found = active(context)
    assert found is not None
    return found


def _add_cloud(empty: bpy.types.Object, collection: bpy.types.Collection, role: str, name: str, points: int) -> None:
    cloud = bpy.data.pointclouds.new(name)
    cloud.resize(points)
    kinds: Any = cloud.bl_rna.properties.get("type")
    if kinds is not None and NATIVE in kinds.enum_items:
        cloud.type = NATIVE
    its = properties_of(empty)
    for attribute, data_type in {
        **names.CLOUD_ATTRIBUTES,
        **names.optional_attributes(its.num_sh, its.has_seen),
    }.items():
        attributes.ensure(cloud, attribute, data_type)
    if role in CONSTANT_ROLES:
        attributes.write(cloud, names.IDENTITY, "INT", np.arange(points, dtype=np.int32))
    child = bpy.data.objects.new(name, cloud)
    child.parent = empty
    properties_of(child).role, properties_of(child).identity = role, its.identity
    lock(child)
    collection.objects.link(child)


def _write(cloud: bpy.types.PointCloud, name: str, values: np.ndarray) -> None:
    data_type = names.CLOUD_ATTRIBUTES.get(name) or names.optional_attributes(MOST_SH, True)[name]
    attributes.write(cloud, name, data_type, np.ascontiguousarray(values, np.float32))
