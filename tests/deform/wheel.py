"""A run of three spokes that turn by a quarter a frame on one node: what lies between two frames is known exactly, and
straight on between them is not it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.nodes import Nodes, write_nodes
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras

FRAMES, SIZE, NEAR, FPS = 3, 32, 0.1, 10.0
SPOKES = np.array([[0.8, 0, 0], [0, 0.5, 0.2], [-0.4, -0.6, 0]])
COLORS = np.array([[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.2, 0.3, 0.9]], np.float32)


def about_z(degrees: float) -> NDArray[np.float64]:
    """[4] wxyz."""
    half = np.radians(degrees) / 2
    return np.array([np.cos(half), 0, 0, np.sin(half)])


def wheel(moment: float) -> Gaussians:
    """The spokes at a moment, in frames."""
    turn = np.radians(90 * moment)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    count = len(SPOKES)
    return Gaussians(
        (SPOKES @ matrix.T).astype(np.float32),
        np.tile(about_z(90 * moment), (count, 1)).astype(np.float32),
        np.tile(np.array([0.2, 0.08, 0.08], np.float32), (count, 1)),
        np.full(count, 0.98, np.float32),
        dc_from_rgb(COLORS),
        np.ones(count, bool),
    )


def write_wheel(folder: Path) -> Run:
    """The run, without cameras."""
    run = Run.create(folder)
    run.begin_stage("deform", "by hand")
    still = wheel(0).take(slice(0, 0))
    run.write_geometry(still, wheel(0), FRAMES)
    for frame in range(FRAMES):
        shown = wheel(frame)
        run.write_frame(frame, shown.means, shown.quats, shown.colors)
    pose = np.array([[[0, 0, 0, *about_z(90 * frame)]] for frame in range(FRAMES)], np.float32)
    count = len(SPOKES)
    ones = np.ones((count, 1), np.float32)
    write_nodes(run, Nodes(np.zeros((1, 3), np.float32), pose, np.zeros((count, 1), np.int32), ones))
    run.set_info(near=NEAR, fps=FPS, frame_numbers=list(range(FRAMES)), center=[0.0, 0.0, 0.0], radius=3.0)
    run.finish_stage("deform")
    return run


def viewed_from(degrees: float) -> Cameras:
    """A camera 3 away that looks at the hub, turned about y."""
    angle = np.radians(degrees)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    pose[2, 3] = 3
    k = np.array([[40, 0, SIZE / 2], [0, 40, SIZE / 2], [0, 0, 1]], np.float32)
    return Cameras(pose[None], k[None], SIZE, SIZE, (0,))


def photo(moment: float, camera: Cameras) -> NDArray[np.float32]:
    """[SIZE, SIZE, 3] on black."""
    with torch.no_grad():
        return render(wheel(moment).torch("cpu"), camera, near=NEAR).color[0].clamp(0, 1).numpy()
