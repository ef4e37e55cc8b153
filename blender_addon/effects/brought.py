"""What a run knows beside its points, as objects to animate with: the cameras that filmed it, and its control nodes."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..cache import storage
from ..layers import curves
from ..sequence import hanging, nodes, timing
from ..sequence.sequence import Sequence
from . import cameras
from .places import Nowhere

Array = np.ndarray[Any, Any]

TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV's camera axes to Blender's."""
SENSOR = 36.0
"""Millimetres: of Blender's default camera."""
NODE_SIZE = 0.02
"""Of an empty, in distances between the farthest nodes."""
OLD = "import the run again, if it was imported before they were kept"


def bring_cameras(scene: bpy.types.Scene, shown: Sequence) -> list[bpy.types.Object]:
    """The cameras that filmed a run, as children of its sequence; those that move keyed at the times of their pictures.

    Raises:
        Nowhere: the run has none.
        CacheError: it is not on this machine.
    """
    told = storage.find(shown.empty).table("cameras")
    made = []
    for split in ("train", "test"):
        if f"{split}_viewmats" not in told:
            continue
        ids = told[f"{split}_ids"]
        moments = told.get(f"{split}_moment")
        for number in dict.fromkeys(ids.tolist()):
            rows = np.flatnonzero(ids == number)
            camera = cameras.new_camera(scene, f"{shown.empty.name} {split} {number}")
            camera[hanging.CAMERA] = number
            poses = np.linalg.inv(told[f"{split}_viewmats"][rows].astype(np.float64)) @ TO_BLENDER
            _set_lens(camera, told[f"{split}_Ks"][rows[0]], told[f"{split}_size"])
            _place(camera, shown, poses, None if moments is None else moments[rows])
            made.append(camera)
    if not made:
        raise Nowhere(f"'{shown.empty.name}' has no cameras; {OLD}")
    return made


def bring_nodes(shown: Sequence, most: int) -> list[bpy.types.Object]:
    """A run's control nodes as empties, children of its sequence, in the place of those of before. Their poses are
    keyed in every frame as delta transforms, so that location and rotation are what is done to them: `sequence.nodes`.

    Args:
        most: of so many, spread over the thing, or of all with 0.

    Raises:
        Nowhere: the run has none.
        CacheError: it is not on this machine.
    """
    told = storage.find(shown.empty).table("nodes")
    if not told:
        raise Nowhere(f"'{shown.empty.name}' has no control nodes: no deformation made it; or {OLD}")
    rest, pose = told["rest"].astype(np.float64), told["pose"].astype(np.float64)
    chosen = _spread(rest, most if 0 < most < len(rest) else len(rest))
    size = NODE_SIZE * float(np.linalg.norm(np.ptp(rest, axis=0)))
    moments = np.arange(len(pose), dtype=np.float64)
    collection = nodes.replace(shown, nodes.of_run(shown))
    made = []
    for number in chosen:
        empty = nodes.add(shown, collection, number, pose[0, number, :3], pose[0, number, 3:], size)
        empty.name = f"{shown.empty.name} node {number}"
        _key(empty, shown, moments, pose[:, number, :3], pose[:, number, 3:], "delta_")
        made.append(empty)
    return made


def _set_lens(camera: bpy.types.Object, intrinsics: Array, size: Array) -> None:
    """Field of view and shift of a pinhole of pixels [3, 3] and (width, height)."""
    lens, (width, height) = cameras.lens_of(camera), (float(side) for side in size)
    lens.type, lens.sensor_fit, lens.sensor_width = "PERSP", "HORIZONTAL", SENSOR
    lens.lens = SENSOR * float(intrinsics[0, 0]) / width
    lens.shift_x = 0.5 - float(intrinsics[0, 2]) / width
    lens.shift_y = (float(intrinsics[1, 2]) - height / 2) / width


def _place(camera: bpy.types.Object, shown: Sequence, poses: Array, moments: Array | None) -> None:
    """Camera to the run's world [n, 4, 4], which is the parent's: as it stands, or keyed at these moments [n]."""
    hanging.hang(shown, camera)
    camera.rotation_mode = "QUATERNION"
    matrices = [Matrix(pose.tolist()) for pose in poses]
    quats = np.array([matrix.to_quaternion()[:] for matrix in matrices])
    camera.location, camera.rotation_quaternion = matrices[0].to_translation(), matrices[0].to_quaternion()
    if moments is not None:
        _key(camera, shown, moments, poses[:, :3, 3], quats)


def _key(item: bpy.types.Object, shown: Sequence, moments: Array, places: Array, quats: Array, kind: str = "") -> None:
    """Key location and rotation, or those that begin with `kind`, where the sequence shows these moments, in frames
    ascending."""
    frames, first = np.unique([_scene_frame(shown, moment) for moment in moments], return_index=True)
    curves.write_poses(item, frames, places[first], quats[first], "4-LEGS", kind)


def _scene_frame(shown: Sequence, moment: float) -> float:
    """The scene frame that shows a moment of the capture, a fraction of one where time runs one to one."""
    if timing.curve_of(shown.empty) is None:
        return float(shown.its.start_frame + moment)
    return float(shown.scene_frame(round(moment)))


def _spread(points: Array, count: int) -> list[int]:
    """Positions of so many points, each as far as can be from those before it."""
    chosen, distance = [0], np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return chosen
