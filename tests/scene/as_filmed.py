"""Small datasets of every layout, and whether what is read of one is what was filmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Sequence
from tests.scene.readers.layouts import (
    write_colmap,
    write_instant_ngp,
    write_multipleview,
    write_neu3d,
    write_plain_videos,
)
from tests.synthetic import Scene, write_dataset

SCENE = Scene(num_frames=3, width=48, height=32, num_train=3, num_test=1)
WRITERS: dict[str, Callable[[Path, Scene], Path]] = {
    "panoptic": lambda folder, scene: write_dataset(folder, scene, image_suffix=".png"),
    "nerf": write_instant_ngp,
    "neu3d": write_neu3d,
    "videos": write_plain_videos,
    "colmap": write_colmap,
    "multipleview": write_multipleview,
}
CLOSE = {"neu3d": 0.03, "videos": 0.03}
"""Mean error of pictures in videos, 0..1; others are exact."""


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def found_cameras(sequence: Sequence, frame: int) -> tuple[Cameras, NDArray[np.float32]]:
    """Training and test cameras of a frame, and their pictures."""
    train, test = sequence.cameras("train", frame), sequence.cameras("test", frame)
    both = Cameras(
        np.concatenate([train.world_to_camera, test.world_to_camera]),
        np.concatenate([train.intrinsics, test.intrinsics]),
        train.width,
        train.height,
        (*train.ids, *test.ids),
    )
    return both, np.concatenate([sequence.images("train", frame), sequence.images("test", frame)])


def assert_is_the_scene(
    sequence: Sequence, scene: Scene, worst: float = 0.003, *, frames: list[int] | None = None
) -> None:
    """Every picture is what its camera sees: so poses, intrinsics, pictures and frames belong together."""
    frames = list(range(scene.num_frames)) if frames is None else frames
    assert sequence.num_frames == len(frames)
    for frame, filmed in enumerate(frames):
        cameras, pictures = found_cameras(sequence, frame)
        assert np.abs(pictures - scene.photograph(cameras, filmed)[0]).mean() < worst, f"frame {frame}"
