"""A small film by one moving camera, in D-NeRF's layout: a still ball, and two that swing about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RADII = np.array([0.35, 0.22, 0.22])
COLORS = np.array([[0.9, 0.8, 0.2], [0.9, 0.2, 0.2], [0.2, 0.3, 0.9]])
ANGLE, DISTANCE = 0.7, 3.0
"""Field of view in radians, and distance of the camera."""
FINER = 3
"""Rays along a side of a pixel."""


def balls(time: float) -> NDArray[np.float64]:
    """[3, 3] centres at a time in 0..1."""
    turn = time * np.pi / 6
    arm = 0.65 * np.array([np.cos(turn), np.sin(turn), 0])
    return np.array([np.zeros(3), arm, -arm])


def camera(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """[4, 4] camera to world, OpenGL, looking at the origin; z is up."""
    back = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(back, right), back, DISTANCE * back], axis=1)
    return pose


def picture(pose: NDArray[np.float64], time: float, size: int) -> NDArray[np.uint8]:
    """[size, size, 4] RGBA."""
    side = size * FINER
    focal = side / 2 / np.tan(ANGLE / 2)
    grid = (np.arange(side) + 0.5 - side / 2) / focal
    x, y = np.meshgrid(grid, -grid)
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1) @ pose[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    nearest = np.full((side, side), np.inf)
    shown = np.zeros((side, side, 4))
    for center, radius, color in zip(balls(time), RADII, COLORS, strict=True):
        away = center - pose[:3, 3]
        along = rays @ away
        inside = radius**2 - (away @ away - along**2)
        depth = along - np.sqrt(np.maximum(inside, 0))
        hit = (inside > 0) & (depth < nearest)
        nearest = np.where(hit, depth, nearest)
        shown[hit] = [*color, 1]
    fine = shown.reshape(size, FINER, size, FINER, 4).mean(axis=(1, 3))
    fine[..., :3] /= np.maximum(fine[..., 3:], 1e-6)
    return (fine * 255).round().astype(np.uint8)


def write_film(folder: Path, *, frames: int = 16, size: int = 40, tests: int = 4) -> Path:
    """The dataset, filmed by a camera that jumps about the scene, and from elsewhere for testing."""
    for split, azimuth, elevation in (("train", 2.4, 0.5), ("test", 1.9, 0.8)):
        times = np.arange(frames) / max(frames - 1, 1)
        if split == "test":
            times = times[:: max(1, frames // tests)][:tests]
        entries = []
        (folder / split).mkdir(parents=True)
        for number, time in enumerate(times):
            pose = camera(0.3 + azimuth * number, elevation * np.sin(1.7 * number))
            name = f"{split}/r_{number:03d}"
            Image.fromarray(picture(pose, float(time), size)).save(folder / f"{name}.png")
            entries.append({"file_path": f"./{name}", "time": float(time), "transform_matrix": pose.tolist()})
        content = {"camera_angle_x": ANGLE, "frames": entries}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder
