"""A drawn video: a striped ball that rolls past a chequered wall, in DreamScene4D's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT, FRAMES, RADIUS = 96, 64, 5, 9


def wall() -> NDArray[np.uint8]:
    """[H, W, 3] the background, which no two places of look alike."""
    chance = np.random.default_rng(3)
    coarse = chance.integers(60, 200, (8, 12, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def middle(frame: int) -> tuple[float, float]:
    """Of the ball, pixels."""
    return 25.0 + 8 * frame, 40.0


def inside(frame: int) -> NDArray[np.bool_]:
    """[H, W] the ball."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    cx, cy = middle(frame)
    return np.asarray((x - cx) ** 2 + (y - cy) ** 2 < RADIUS**2)


def picture(frame: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    cx, cy = middle(frame)
    stripes = np.where(((x - cx) // 4 + (y - cy) // 4) % 2 == 0, 230, 120)
    ball = np.stack([stripes, stripes * 0.3, stripes * 0.2], axis=-1).astype(np.uint8)
    return np.where(inside(frame)[..., None], ball, wall())


def write(root: Path, *, frames: int = FRAMES, name: str = "ball") -> Path:
    """JPEGImages/NAME (as PNG: nothing is lost) and Annotations/NAME/007."""
    pictures, masks = root / "JPEGImages" / name, root / "Annotations" / name / "007"
    for folder in (pictures, masks):
        folder.mkdir(parents=True)
    for frame in range(frames):
        Image.fromarray(picture(frame)).save(pictures / f"{frame + 3:05d}.png")
        Image.fromarray((inside(frame) * 255).astype(np.uint8)).save(masks / f"{frame + 3:05d}.png")
    return root
