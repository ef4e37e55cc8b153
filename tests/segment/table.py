"""A scene whose things are known: two blocks on one another and a ball, on a floor; ray-traced masks, and a run.

y points down, the floor is y = 0. Surfaces are covered by small, nearly opaque Gaussians. Masks are traced here, and
owe nothing to the rasteriser.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.store.run import Run
from legs4d.scene.camera import Cameras

FLOOR, LOWER, UPPER, BALL = 0, 1, 2, 3
BLOCKS = {
    LOWER: (np.array([-0.9, -0.5, -0.4]), np.array([-0.1, 0.0, 0.4])),
    UPPER: (np.array([-0.75, -0.9, -0.25]), np.array([-0.25, -0.5, 0.25])),
}
CENTER, RADIUS = np.array([0.6, -0.4, 0.1]), 0.4
STEP, SIGMA = 0.05, 0.02
COLORS = {FLOOR: (0.5, 0.5, 0.5), LOWER: (0.8, 0.2, 0.2), UPPER: (0.2, 0.7, 0.2), BALL: (0.2, 0.3, 0.9)}
WIDTH, HEIGHT, FOCAL = 160, 120, 140.0
NEAR = 0.1


def cameras(count: int = 8, first: int = 0, turn: float = 0.0) -> Cameras:
    """A ring of cameras that look in from above, numbered from `first`."""
    poses = []
    for i in range(count):
        angle = 2 * np.pi * i / count + turn
        place = np.array([2.6 * np.sin(angle), -1.5, -2.6 * np.cos(angle)])
        forward = np.array([0.0, -0.3, 0.0]) - place
        forward /= np.linalg.norm(forward)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        poses.append(np.block([[rotation, -(rotation @ place)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]]))
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]], np.float32)
    ids = tuple(range(first, first + count))
    return Cameras(np.array(poses, np.float32), np.repeat(intrinsics[None], count, 0), WIDTH, HEIGHT, ids)


def things() -> tuple[Gaussians, NDArray[np.int64]]:
    """The Gaussians, and which thing each is of."""
    places, owners = [], []
    side = np.arange(-1.8, 1.8, 0.08)
    floor = np.stack(np.meshgrid(side, [0.0], side), -1).reshape(-1, 3)
    under = (floor[:, 0] > -0.9) & (floor[:, 0] < -0.1) & (np.abs(floor[:, 2]) < 0.4)
    places.append(floor[~under])
    owners.append(FLOOR)
    for thing, (low, high) in BLOCKS.items():
        axes = [np.arange(a + STEP / 2, b, STEP) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        places.append(grid[((grid - low < STEP) | (high - grid < STEP)).any(1)])
        owners.append(thing)
    count = 1500
    i = np.arange(count) + 0.5
    y, angle = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - y**2)
    places.append(CENTER + (RADIUS - 1.6 * SIGMA) * np.stack([r * np.cos(angle), y, r * np.sin(angle)], -1))
    owners.append(BALL)
    owner = np.concatenate([np.full(len(p), o) for p, o in zip(places, owners, strict=True)])
    means = np.concatenate(places).astype(np.float32)
    n = len(means)
    scales = np.where(owner == FLOOR, 0.04, SIGMA)[:, None] * np.ones((1, 3))
    scales[owner == FLOOR, 1] = 0.01
    return Gaussians(
        means,
        np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1)),
        scales.astype(np.float32),
        np.full(n, 0.95, np.float32),
        dc_from_rgb(np.array([COLORS[int(o)] for o in owner], np.float32)),
        owner != FLOOR,
    ), owner


def ids(views: Cameras, center: NDArray[np.float64] = CENTER) -> NDArray[np.uint8]:
    """[C, H, W] the thing that each pixel shows through its centre; 0 where that is the floor, or nothing.

    Args:
        center: of the ball.
    """
    x, y = np.meshgrid(np.arange(views.width) + 0.5, np.arange(views.height) + 0.5)
    found = []
    for pose, intrinsics, origin in zip(views.world_to_camera, views.intrinsics, views.centers, strict=True):
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics.astype(float)).T @ pose[:3, :3]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = {FLOOR: np.where(rays[..., 1] > 0, -origin[1] / rays[..., 1], 1e9)}
            for owner, (low, high) in BLOCKS.items():
                a, b = (low - origin) / rays, (high - origin) / rays
                enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
                distance[owner] = np.where((enter < leave) & (enter > 0), enter, np.inf)
        a, half = (rays**2).sum(-1), rays @ (origin - center)
        root = half**2 - a * (((origin - center) ** 2).sum() - RADIUS**2)
        distance[BALL] = np.where(root > 0, (-half - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        owners = np.array(list(distance))
        found.append(owners[np.argmin(np.stack(list(distance.values())), 0)])
    return np.array(found, np.uint8)


def write_table(folder: Path, count: int = 8) -> Run:
    """The scene as a run of one frame, without footage: cameras 0 to 7 are the training ones, 8 and 9 test ones."""
    gaussians, _ = things()
    run = Run.create(folder)
    nothing = gaussians.take(np.zeros(0, np.int64))
    run.set_info(fps=1.0, frame_numbers=[0], near=NEAR, center=[0.0, -0.3, 0.0], radius=2.6, down=[0.0, 1.0, 0.0])
    run.set_info(kind="imported")
    with run.lock():
        run.begin_stage("first_frame", "table")
        run.write_geometry(gaussians, nothing, 1)
        zeros = np.zeros((count, 3), np.float32)
        run.write_cameras(cameras(count), cameras(2, count, 0.35), zeros, zeros)
        run.finish_stage("first_frame")
        run.begin_stage("tracking", "table")
        run.frame_done("tracking", 0, 0.0)
        run.finish_stage("tracking")
    return run


def overlapping(labels: NDArray[np.uint8], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """What SAM would say of each picture: the blocks, both together, the ball, in an order of the picture's own."""
    found = []
    for one in labels:
        masks = [one == LOWER, one == UPPER, one == BALL, (one == LOWER) | (one == UPPER)]
        found.append(np.stack([masks[i] for i in rng.permutation(len(masks))]))
    return found
