"""Pictures of what stages made: sheets of PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.images import as_bytes
from legs4d.video.objects.canonical import Canonical
from legs4d.video.scene.filming import Filming

SIDE = 160
ANGLES = (0.0, 30.0, 60.0, 90.0, 180.0)
"""Degrees around the object, of the sheet of the objects."""
COLUMNS = 6
Picture = NDArray[np.float32]


def save(picture: Picture, path: Path) -> None:
    """Write [H, W, 3] 0..1 by Pillow; by rename."""
    hidden = path.with_name(f".tmp-{path.name}")
    Image.fromarray(as_bytes(picture)).save(hidden)
    hidden.replace(path)


def sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Pictures in rows; smaller ones stand at the upper left of their place."""
    height = max((p.shape[0] for row in rows for p in row), default=1)
    width = max((p.shape[1] for row in rows for p in row), default=1)
    columns = max((len(row) for row in rows), default=1)
    page = np.ones((height * max(len(rows), 1), width * columns, 3), np.float32)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            page[y * height : y * height + picture.shape[0], x * width : x * width + picture.shape[1]] = picture
    return page


def around(
    gaussians: Gaussians, up: NDArray[np.float64], center: NDArray[np.float64], angles: Sequence[float]
) -> list[Picture]:
    """The object from its own camera's side, and turned about what is up; the camera looks along `center`."""
    points = gaussians.means.astype(np.float64)
    reach = float(np.quantile(np.linalg.norm(points, axis=1), 0.99)) + 1e-9
    ahead = center / np.linalg.norm(center)
    poses = []
    for angle in angles:
        turned = _turn(up, np.radians(angle)) @ ahead
        right = np.cross(turned, up)
        right = right / max(float(np.linalg.norm(right)), 1e-9)
        axes = np.stack([right, np.cross(turned, right), turned])
        pose = np.eye(4)
        pose[:3, :3] = axes
        pose[:3, 3] = [0, 0, 6 * reach]
        poses.append(pose)
    focal = 0.42 * SIDE * 6
    matrix = np.array([[focal, 0, SIDE / 2], [0, focal, SIDE / 2], [0, 0, 1]])
    count = len(poses)
    cameras = Cameras(
        np.array(poses, np.float32), np.tile(matrix, (count, 1, 1)).astype(np.float32), SIDE, SIDE, (0,) * count
    )
    with torch.no_grad():
        drawn = render(gaussians.torch(), cameras, background=torch.ones(3), near=reach)
    return [picture for picture in drawn.color.clamp(0, 1).numpy()]


def _turn(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def objects_sheet(objects: Sequence[Canonical], filming: Filming) -> Picture:
    """A row an object: from its camera, and from around."""
    rows = []
    for canonical in objects:
        turn = filming.turn(canonical.frame)
        middle = np.array([[canonical.crop.left, canonical.crop.top]]) + canonical.crop.scale * canonical.crop.side / 2
        ray = filming.ray(canonical.frame, middle)[0]
        rows.append(around(canonical.blown.gaussians, turn @ filming.up, ray, ANGLES))
    return sheet(rows)


def chosen_frames(count: int, most: int = COLUMNS) -> list[int]:
    """Frames spread over a video."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
