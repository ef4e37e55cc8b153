"""How the camera's way is found: given → structure from motion → homographies → still; and why."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from legs4d.commands import Video
from legs4d.context import Context
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing
from legs4d.video.kept import Kept, State
from legs4d.video.scene.filming import HELD_AT, Filming, Floor, default_intrinsics, still
from legs4d.video.scene.given import given_camera
from legs4d.video.scene.sfm import NotFound, find_motion
from legs4d.video.scene.turning import Turning, find_turning

KEPT = "camera"


def camera_of(asked: Video, clip: Clip, things: list[Thing], kept: Kept, context: Context) -> Filming:
    """The camera of every frame, by the route that is asked for, or the best that can be had.

    Raises:
        Legs4dError: a file cannot be used.
        Stopped: the stop signal is set.
    """
    if asked.camera_file is not None:
        return given_camera(Path(asked.camera_file), clip, asked.fov)
    if asked.camera == "still":
        return still(clip.num_frames, clip.width, clip.height, asked.fov, "as was asked for")
    if clip.num_frames == 1:
        return still(1, clip.width, clip.height, asked.fov, "there is one frame")
    state = kept.read(KEPT)
    if state is None:
        found = _found(asked, clip, things, context)
        kept.write(KEPT, _as_state(found))
        return found
    return _from_state(state)


def _found(asked: Video, clip: Clip, things: list[Thing], context: Context) -> Filming:
    matrix = default_intrinsics(clip.width, clip.height, asked.fov)
    reporter = context.reporter("finding_the_camera")
    turning = find_turning(clip, things, matrix, reporter)
    if turning.is_still:
        why = f"the background moves by {turning.moved:.1f} pixels at most"
        return still(clip.num_frames, clip.width, clip.height, asked.fov, why)
    refused = "what is seen agrees with a camera that turns in one place, so that nothing tells of depth"
    if asked.camera == "found" or not turning.only_turns:
        try:
            return find_motion(clip, things, matrix, reporter.check)
        except NotFound as reason:
            refused = f"structure from motion is not used: {reason}"
    if turning.is_known:
        return _turned(clip, turning, matrix, refused)
    lost = np.flatnonzero(turning.matched < 24).tolist()
    some = ", ".join(map(str, lost[:6])) + (" …" if len(lost) > 6 else "")
    why = f"{refused}; and the background of frames {some} cannot be told from others', so it is taken to stand still"
    return still(clip.num_frames, clip.width, clip.height, asked.fov, why)


def _turned(clip: Clip, turning: Turning, matrix: np.ndarray, refused: str) -> Filming:
    """In the axes of the frame that the others are told from, which is taken to be level."""
    base = still(clip.num_frames, clip.width, clip.height, None, "")
    poses = base.world_to_camera.copy()
    poses[:, :3, :3] = turning.rotations
    matrices = np.tile(matrix, (clip.num_frames, 1, 1))
    matrices[:, [0, 1], [0, 1]] *= turning.zooms[:, None]
    off = float(np.median(turning.off))
    why = f"{refused}; its background moves by up to {turning.moved:.0f} pixels, and is known to {off:.1f}"
    up = np.array([0.0, -1.0, 0.0])
    return replace(
        base, world_to_camera=poses, intrinsics=matrices, route="turning", why=why, floor=Floor(up, -HELD_AT, "assumed")
    )


def _as_state(filming: Filming) -> State:
    plain = {f.name: np.asarray(getattr(filming, f.name)) for f in fields(Filming) if f.name != "floor"}
    floor = filming.floor
    return {**plain, "floor": np.array([*floor.normal, floor.height]), "floor_route": np.array(floor.route)}


def _from_state(state: State) -> Filming:
    floor = Floor(state["floor"][:3], float(state["floor"][3]), str(state["floor_route"]))
    return Filming(
        state["world_to_camera"],
        state["intrinsics"],
        int(state["width"]),
        int(state["height"]),
        str(state["route"]),
        str(state["why"]),
        state["up"],
        floor,
        state["points"],
    )
