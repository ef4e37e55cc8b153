"""Depth maps of the video's frames: the user's files, or a prior's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.footage.video import MotionVideo
from legs4d.errors import DatasetError
from legs4d.priors.depth.maps import FILES, depth_helper, read_map
from legs4d.scene.camera import Cameras
from legs4d.scene.footage.names import list_files


class DepthMaps:
    """A depth for every frame.

    Args:
        folder: files in the frames' order, a map each, as `priors.depth.maps.read_map` has them; None: a helper makes
            them.

    Raises:
        DatasetError: there are not as many maps as frames.
        Legs4dError: no helper is there.
    """

    def __init__(self, folder: Path | None, video: MotionVideo, camera: Cameras) -> None:
        self._video, self._camera, self._files = video, camera, list[Path]()
        self._prior = None
        if folder is None:
            self._prior = depth_helper(torch.device("cuda" if torch.cuda.is_available() else "cpu"), "--make-depth")
            return
        self._files = list_files(folder, FILES)
        needed = video.first + video.num_frames
        if len(self._files) < needed:
            what = f"holds {len(self._files)} depth maps, and the video has {needed} frames"
            raise DatasetError(what, where=str(folder), fix="write a map for every frame, named in their order")

    def read(self, frame: int) -> NDArray[np.float32]:
        """[H, W] 1 / depth but for a scale and a shift; not finite where nothing is known."""
        width, height = self._camera.width, self._camera.height
        if self._prior is not None:
            picture = self._video.read(frame, width, height)
            return np.asarray(self._prior.disparity(picture[None])[0], np.float32)
        return read_map(self._files[self._video.first + frame], width, height)
