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
    return filmed(pose, time, size)[0]


def filmed(pose: NDArray[np.float64], time: float, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """([size, size, 4] RGBA, [size, size] which ball is in the middle of each pixel, from 1; 0 for none)."""
    return traced(pose, time, size)[:2]


def traced(
    pose: NDArray[np.float64], time: float, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """As `filmed`, and the camera z [size, size] of what is in the middle of each pixel; 0 for nothing."""
    side = size * FINER
    focal = side / 2 / np.tan(ANGLE / 2)
    grid = (np.arange(side) + 0.5 - side / 2) / focal
    x, y = np.meshgrid(grid, -grid)
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1) @ pose[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    nearest = np.full((side, side), np.inf)
    shown = np.zeros((side, side, 4))
    ids = np.zeros((side, side), np.uint8)
    for number, (center, radius, color) in enumerate(zip(balls(time), RADII, COLORS, strict=True), 1):
        away = center - pose[:3, 3]
        along = rays @ away
        inside = radius**2 - (away @ away - along**2)
        depth = along - np.sqrt(np.maximum(inside, 0))
        hit = (inside > 0) & (depth < nearest)
        nearest = np.where(hit, depth, nearest)
        shown[hit], ids[hit] = [*color, 1], number
    fine = shown.reshape(size, FINER, size, FINER, 4).mean(axis=(1, 3))
    fine[..., :3] /= np.maximum(fine[..., 3:], 1e-6)
    middle = slice(FINER // 2, None, FINER)
    ahead = np.where(np.isfinite(nearest), nearest, 0) * (rays @ -pose[:3, 2])
    return (fine * 255).round().astype(np.uint8), ids[middle, middle], ahead[middle, middle].astype(np.float32)


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


def write_still(folder: Path, *, frames: int = 12, size: int = 40) -> Path:
    """The first moment from as many sides, as a static capture."""
    write_film(folder, frames=frames, size=size)
    for split in ("train", "test"):
        path = folder / f"transforms_{split}.json"
        content = json.loads(path.read_text())
        for frame in content["frames"]:
            del frame["time"]
            shown = picture(np.array(frame["transform_matrix"]), 0.0, size)
            Image.fromarray(shown).save(folder / f"{frame['file_path']}.png")
        path.write_text(json.dumps(content))
    return folder


CAPTIONS = {
    "1": [{"start": 0, "end": 15, "caption": "a yellow ball resting in the middle"}],
    "2": [
        {"start": 0, "end": 5, "caption": "a red ball waiting"},
        {"start": 6, "end": 11, "caption": "a red ball flying through the air"},
        {"start": 12, "end": 15, "caption": "a red ball waiting"},
    ],
    "3": [{"start": 0, "end": 15, "caption": "a blue ball swinging"}],
}
"""What each ball does; of 16 frames."""
FLYING = "a red ball flying through the air", 2, 6, 11
"""A prompt, the ball that it is about, and from when to when it holds."""


def write_captioned(folder: Path, *, size: int = 40) -> Path:
    """The same film as this project's captures have it: PanopticSports' layout, of one camera that moves and one for
    testing that stands still, with objects' ids, captions, and alpha in place of masks."""
    frames = 16
    focal = size / 2 / np.tan(ANGLE / 2)
    k = [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]
    for split, number in (("train", 0), ("test", 1)):
        table: dict[str, list] = {"k": [], "w2c": [], "fn": [], "cam_id": []}
        for frame in range(frames):
            at = (0.3 + 2.4 * frame, 0.5 * np.sin(1.7 * frame)) if split == "train" else (1.1, 0.4)
            shown, ids = filmed(camera(*at), frame / (frames - 1), size)
            name = f"{number}/{frame:06d}.png"
            for kind, values in (("ims", shown), ("objects", ids)):
                (folder / kind / str(number)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(folder / kind / name)
            pose = np.linalg.inv(camera(*at) @ np.diag([1.0, -1, -1, 1]))
            for key, value in (("k", k), ("w2c", pose.tolist()), ("fn", name), ("cam_id", number)):
                table[key].append([value])
        (folder / f"{split}_meta.json").write_text(json.dumps({"w": size, "h": size, **table}))
    (folder / "captions.json").write_text(json.dumps({"objects": CAPTIONS}))
    return folder


def write_truth(folder: Path, dataset: Path) -> Path:
    """Where and when `FLYING` holds, as the benchmark has it, for both cameras."""
    prompt, ball, first, last = FLYING
    for number in (0, 1):
        place = folder / prompt.replace(" ", "_") / f"cam{number}"
        place.mkdir(parents=True)
        for frame in range(first, last + 1):
            ids = np.asarray(Image.open(dataset / f"objects/{number}/{frame:06d}.png"))
            Image.fromarray(ids == ball).save(place / f"{frame:06d}.png")
    return folder
