"""BlazePose full (Google 2020): mask and 33 landmarks of the person in a box, in the picture and in metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from legs4d.errors import Legs4dError
from legs4d.priors.graphs.opened import open_network
from legs4d.priors.picture_crops import as_tensor, crop, put_back, squares
from legs4d.priors.protocols import People

SIDE = 256
"""Pixels of the network's input."""
AROUND = 1.25
"""The square that is looked at, in longer sides of the box."""
LANDMARKS = (
    *("nose", "left eye inner", "left eye", "left eye outer", "right eye inner", "right eye", "right eye outer"),
    *("left ear", "right ear", "mouth left", "mouth right", "left shoulder", "right shoulder", "left elbow"),
    *("right elbow", "left wrist", "right wrist", "left pinky", "right pinky", "left index", "right index"),
    *("left thumb", "right thumb", "left hip", "right hip", "left knee", "right knee", "left ankle"),
    *("right ankle", "left heel", "right heel", "left foot index", "right foot index"),
)
_POINTS = 39
"""Of the outputs; the last six serve to follow a person in a video."""


class BlazePose:
    """See `protocols.PeoplePrior`. It has to be told where people are.

    Args:
        path: of the converted weights.
        device: where to compute.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._network = open_network(path, device, "BlazePose", 1, 5)
        self._device = device

    def people(self, picture: NDArray[np.float32], boxes: NDArray[np.float32] | None = None) -> People:
        """The person in each of the boxes [N, 4].

        Raises:
            Legs4dError: there are no boxes.
        """
        if boxes is None or boxes.ndim != 2 or boxes.shape[1] != 4:
            fix = "give the boxes [N, 4] of a prior that finds people, such as movenet"
            raise Legs4dError("BlazePose has to be told where people are", where="people", fix=fix)
        height, width = picture.shape[:2]
        values = as_tensor(picture, self._device)
        points, visible, world, scores, masks = [], [], [], [], []
        for square in squares(boxes, AROUND):
            seen = crop(values, square, SIDE, SIDE).permute(0, 2, 3, 1)
            landmarks, score, mask, _, metres = self._network(seen)
            told = landmarks.reshape(_POINTS, 5)[: len(LANDMARKS)].cpu().numpy()
            scale = (square[2:] - square[:2]) / SIDE
            points.append(told[:, :2] * scale + square[:2])
            visible.append(expit(told[:, 3:].min(axis=1)))  # seen, and inside the crop
            world.append(metres.reshape(_POINTS, 3)[: len(LANDMARKS)].cpu().numpy())
            scores.append(float(score))
            masks.append(put_back(mask[0, :, :, 0].sigmoid(), square, height, width))
        count = len(LANDMARKS)
        return People(
            boxes.astype(np.float32),
            np.array(scores, np.float32),
            np.array(points, np.float32).reshape(-1, count, 2),
            np.array(visible, np.float32).reshape(-1, count),
            LANDMARKS,
            np.array(world, np.float32).reshape(-1, count, 3),
            np.array(masks, np.float32).reshape(-1, height, width),
        )
