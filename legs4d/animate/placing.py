"""What the command's options say of places: through which camera, where the object begins, what it touches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from legs4d.animate.cameras import camera_of, find_camera
from legs4d.animate.footage.depths import DepthMaps
from legs4d.animate.footage.video import MotionVideo
from legs4d.animate.tracking.motions import Body, Motion, moved
from legs4d.animate.tracking.pulls import Contact, Plane
from legs4d.animate.tracking.stage import Stage
from legs4d.commands import Animate
from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.scene.camera import Cameras
from legs4d.segment.views import near_of

MOST_WIDTH = 320
"""Pixels of the pictures that are compared; larger ones are made smaller."""


class Placing:
    """The options of one command.

    Args:
        source: the run; gaussians: of the frame that is kept, with the object at rest.
        member: [N] which of them are the object.
        device: on which a camera is looked for.
    """

    def __init__(
        self,
        source: Run,
        asked: Animate,
        gaussians: Gaussians,
        member: np.ndarray[tuple[int], np.dtype[np.bool_]],
        body: Body,
        device: torch.device,
    ) -> None:
        self._source, self._asked, self._device = source, asked, device
        self._gaussians, self._member, self._body = gaussians, member, body

    @property
    def start(self) -> Motion:
        """Where the object is in the first frame."""
        return self._pose(self._asked.start)

    @property
    def end(self) -> Motion | None:
        """Where it is known to be in the last."""
        return None if self._asked.end is None else self._pose(self._asked.end)

    def _pose(self, told: list[float] | None) -> Motion:
        """A motion told as a shift and a turn in degrees about the run's axes, through the object's middle."""
        motion, body = np.eye(4), self._body
        if told is not None:
            values = np.array([*told, 0.0, 0.0, 0.0][:6])
            motion[:3, :3] = Rotation.from_rotvec(np.radians(values[3:])).as_matrix()
            motion[:3, 3] = body.center + values[:3] - motion[:3, :3] @ body.center
        return motion

    def camera(self, video: MotionVideo, step: Callable[[int, int], object]) -> Cameras:
        """The video's, at the size at which it is looked at.

        Args:
            step: told how far it is with looking for it.
        """
        asked = self._asked

        def find() -> Cameras:
            scale = min(1.0, 2 * MOST_WIDTH / video.width)
            size = round(video.width * scale), round(video.height * scale)
            picture, near = video.read(0, *size), near_of(self._source)
            shown = self._gaussians
            if asked.start is not None:  # else a camera would be found that explains where the object is not any more
                thing = moved(shown.take(self._member), self.start)
                shown = concatenate(shown.take(~self._member), thing)
            return find_camera(self._source, asked.frame, shown, picture, near, self._device, step)

        camera = self._named(find)
        video.check_shape(camera.width, camera.height)
        return camera.scaled(min(1.0, MOST_WIDTH / camera.width, video.width / camera.width))

    def camera_without_video(self, most_side: int) -> Cameras:
        """The one that is named, its longer side at most so many pixels."""

        def find() -> Cameras:
            fix = "name one of the run's cameras, or a file"
            raise Legs4dError("there is no video yet to find it in", where="--camera found", fix=fix)

        camera = self._named(find)
        return camera.scaled(min(1.0, most_side / max(camera.width, camera.height)))

    def _named(self, find: Callable[[], Cameras]) -> Cameras:
        asked = self._asked
        if (asked.camera is None) == (asked.camera_file is None):
            raise Legs4dError(
                "is not said once",
                where="--camera",
                fix="say through which camera the video is seen: a number, a file, found",
            )
        return camera_of(self._source, asked.camera, asked.camera_file, asked.frame, find)

    def depth(self, video: MotionVideo, camera: Cameras) -> DepthMaps | None:
        """Depth maps of the video, where they are asked for."""
        asked = self._asked
        if asked.depth is not None and asked.make_depth:
            raise Legs4dError("depth maps are given too", where="--make-depth", fix="leave out one of the two")
        if asked.depth is None and not asked.make_depth:
            return None
        return DepthMaps(None if asked.depth is None else Path(asked.depth), video, camera)

    def contact(self, stage: Stage) -> Contact | None:
        """What the object touches all the time."""
        told = self._asked.contact
        if told is None:
            return None
        solid = stage.thing.means[stage.thing.opacities > 0.3]
        points = solid if len(solid) else stage.thing.means
        if told == "below":
            return Contact.below(stage.camera, stage.body, points, self._source.up)
        normal, height = np.array(told[:3], np.float64), float(told[3])
        size = float(np.linalg.norm(normal))
        if size < 1e-9:
            raise Legs4dError("has no direction", where="--contact", fix="give NX,NY,NZ,HEIGHT, or below")
        normal, height = normal / size, height / size
        if normal @ stage.body.center < height:  # the plane is the same, told from its other side
            normal, height = -normal, -height
        return Contact(stage.camera, stage.body, points, Plane(normal, height))
