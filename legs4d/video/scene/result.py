"""The scene as a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.objects import Objects, write_objects
from legs4d.gaussians.store.run import Run
from legs4d.scene.track import Track
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing
from legs4d.video.scene.compose import Course, Moving, course_of
from legs4d.video.scene.distance import Distances
from legs4d.video.scene.filming import Filming
from legs4d.video.scene.plate import Plate

NEAR_SHARE = 0.05
"""Of the nearest object's distance: the near plane."""


@dataclass(frozen=True)
class Scene:
    """Everything that becomes a run: objects that were made, in the order of `things`, and the background."""

    clip: Clip
    things: list[Thing]
    moving: list[Moving]
    distances: list[Distances]
    filming: Filming
    plate: Plate


def write_scene(run: Run, scene: Scene, stage: str, check: Callable[[int, int], object]) -> list[Course]:
    """Write all frames, the cameras, what was seen, and the objects; the caller holds the run's lock.

    Returns:
        Each object's rigid part.
    """
    clip, filming = scene.clip, scene.filming
    count = clip.num_frames
    parts = list(zip(scene.moving, scene.distances, strict=True))

    def objects_at(frame: int) -> Gaussians:
        return concatenate(*(moving.in_world(frame, filming, distances) for moving, distances in parts))

    plate = scene.plate.gaussians
    ids = np.concatenate([np.full(len(m.seen), row) for row, m in enumerate(scene.moving)] or [np.zeros(0)])
    seen = np.concatenate([m.seen for m in scene.moving] or [np.zeros(0, np.float32)])
    nothing = plate.take(slice(0, 0))
    first = objects_at(0) if parts else nothing
    if count == 1:
        run.write_geometry(concatenate(plate, first), nothing, 1)
    else:
        born, died = _alive(scene)
        changing = ("scales",) if parts else ()
        run.write_geometry(plate, first, count, born=born, died=died, changing=changing)
        for frame in range(count):
            check(frame, count)
            now = objects_at(frame) if parts else nothing
            run.write_frame(frame, now.means, now.quats, now.colors, **{n: getattr(now, n) for n in changing})
    run.frames_done(stage, dict.fromkeys(range(count), 0.0))
    background = np.full(len(plate), -1)
    if count == 1:
        run.write_marks("seen", np.concatenate([scene.plate.seen, seen]), seen[:0])
        run.write_marks("object", np.concatenate([background, ids]), ids[:0])
    else:
        run.write_marks("seen", scene.plate.seen, seen)
        run.write_marks("object", background, ids)
    _write_cameras(run, filming, count)
    courses = []
    for moving, distances in parts:
        states = [moving.in_world(frame, filming, distances).means.astype(np.float64) for frame in range(count)]
        courses.append(course_of(states, moving.opacities, moving.canonical))
    if parts:
        write_objects(run, _objects(scene, courses))
    check(count, count)
    return courses


def _alive(scene: Scene) -> tuple[Any, Any]:
    """First and last frame of each moving Gaussian: before an object comes, and after it has left, it is not there.

    Where it is hidden in between it goes on as before and after; `visible` says that nobody saw it.
    """
    born, died = [], []
    for moving in scene.moving:
        frames = np.flatnonzero(moving.there)
        born.append(np.full(len(moving.seen), frames[0], np.int32))
        died.append(np.full(len(moving.seen), frames[-1], np.int32))
    if not born:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    return np.concatenate(born), np.concatenate(died)


def _objects(scene: Scene, courses: list[Course]) -> Objects:
    return Objects(
        tuple(thing.name for thing in scene.things),
        np.stack([course.pose for course in courses], axis=1).astype(np.float32),
        np.stack([course.scale for course in courses], axis=1).astype(np.float32),
        np.stack([moving.there for moving in scene.moving], axis=1),
        tuple(thing.id for thing in scene.things),
    )


def _write_cameras(run: Run, filming: Filming, count: int) -> None:
    cameras = filming.cameras()
    nothing = np.zeros((1, 3), np.float32)
    if filming.moves:
        track = Track(cameras, np.arange(count, dtype=np.int32), np.arange(count, dtype=np.float64))
        run.write_cameras(track, None, nothing, nothing)
    else:
        run.write_cameras(cameras.take([0]), None, nothing, nothing)


def space_of(scene: Scene) -> dict[str, Any]:
    """`info` of the filmed space: what lies where, JSON."""
    filming = scene.filming
    middles = [
        moving.in_world(frame, filming, distances).means.mean(axis=0)
        for moving, distances in zip(scene.moving, scene.distances, strict=True)
        for frame in np.flatnonzero(moving.there).tolist()
    ]
    eye = np.mean([filming.center(frame) for frame in range(len(filming.world_to_camera))], axis=0)
    center = np.mean(middles, axis=0) if middles else np.median(scene.plate.gaussians.means, axis=0)
    radius = float(np.linalg.norm(center - eye))
    nearest = min((float(np.linalg.norm(m - eye)) for m in middles), default=radius)
    down = -filming.up
    return {
        "near": NEAR_SHARE * nearest,
        "center": [float(x) for x in center],
        "radius": radius,
        "down": [float(x) for x in down],
        "up": [float(x) for x in filming.up],
        "floor": -float(filming.floor.height),
    }
