"""Depth maps of the video's frames: the user's files, or a prior's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.animate.footage.video import MotionVideo
from legs4d.errors import DatasetError, Legs4dError, reason_of
from legs4d.priors.cache import best_prior, how_to_get, open_prior, priors_folder
from legs4d.priors.registry import find_prior
from legs4d.scene.camera import Cameras
from legs4d.scene.footage.names import list_files

FILES = frozenset({".npy", ".png", ".tif", ".tiff"})


class DepthMaps:
    """A depth for every frame.

    Args:
        folder: files in the frames' order, a map each: .npy of float depth [H, W], or a grey picture (8 or 16 bits)
            whose values are disparity (near is bright), as depth models write them; None: a helper makes them.

    Raises:
        DatasetError: there are not as many maps as frames.
        Legs4dError: no helper is there.
    """

    def __init__(self, folder: Path | None, video: MotionVideo, camera: Cameras) -> None:
        self._video, self._camera, self._files = video, camera, list[Path]()
        self._prior = None
        if folder is None:
            prior = best_prior("depth")
            if prior is None or prior.weights is None:  # inflation wants masks, which the video has not
                fix = how_to_get(find_prior("depth-anything"), priors_folder())
                raise Legs4dError("no helper that makes depth maps is there", where="--make-depth", fix=fix)
            self._prior = open_prior(prior.name, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
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
        path = self._files[self._video.first + frame]
        values = self._file(path)
        rows = np.minimum((np.arange(height) + 0.5) * values.shape[0] / height, values.shape[0] - 1).astype(int)
        columns = np.minimum((np.arange(width) + 0.5) * values.shape[1] / width, values.shape[1] - 1).astype(int)
        return values[np.ix_(rows, columns)]

    @staticmethod
    def _file(path: Path) -> NDArray[np.float32]:
        try:
            if path.suffix.casefold() == ".npy":
                depth = np.asarray(np.load(path, allow_pickle=False), np.float32)
                with np.errstate(divide="ignore"):
                    values = np.where(depth > 0, 1 / depth, np.nan).astype(np.float32)
            else:
                values = np.asarray(Image.open(path), np.float32)
        except (OSError, ValueError, TypeError) as error:
            fix = "write it anew: .npy of depths, or a grey picture of disparities"
            raise DatasetError(
                f"cannot be read as a depth map ({reason_of(error)})", where=str(path), fix=fix
            ) from error
        if values.ndim != 2:
            what = f"has shape {values.shape}, a depth map has two sides"
            raise DatasetError(what, where=str(path), fix="write one value a pixel")
        return values
