"""Structure from motion of a video's background, by pycolmap; accepted only where it is well determined."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing, free_of
from legs4d.video.scene.filming import HELD_AT, Filming, Floor

Floats = NDArray[np.float64]
FOCALS = (0.5, 3.0)
"""Focal length over width of cameras that are believed."""
BASELINE = 0.03
"""Way of the camera over the distance of what it sees, from which depth is told."""
MOST_FRAMES = 150
SEEDS = 3
"""Attempts."""
FIRST_ANGLE = 4.0
"""Degrees between rays of the first two frames."""
AROUND = 4
"""Pixels around masks where no points are taken."""
LEVEL = 0.87
"""Cosine of the angle between up and the normal of a floor."""
ON_FLOOR = 0.02
"""Of the points' distance, how far a point may be off the floor."""
LEAST_FLOOR = 0.08
"""Share of the points that lie on a floor that is believed."""
LOWEST = 0.02
"""Share of the points that may lie below a floor that none of them tell."""
FALLS = 1.1
"""Distance of what the lower quarter of the picture shows over that of what the middle shows, beyond which the ground
would fall away before the camera."""


class NotFound(Exception):
    """Its message says why structure from motion is not believed."""


def find_motion(clip: Clip, things: list[Thing], matrix: Floats, check: Callable[[], object]) -> Filming:
    """The camera of every frame, and points of the background.

    Raises:
        NotFound: pycolmap is not installed, frames are not registered, or the result is degenerate.
    """
    try:
        import pycolmap
    except ImportError:
        raise NotFound("pycolmap is not installed (pip install 'legs4d[readers]')") from None
    if clip.num_frames < 5:
        raise NotFound(f"{clip.num_frames} frames are too few")
    if clip.num_frames > MOST_FRAMES:
        raise NotFound(f"{clip.num_frames} frames are more than are matched with one another ({MOST_FRAMES})")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(clip, things, folder)
        check()
        camera = f"{matrix[0, 0]},{clip.width / 2},{clip.height / 2}"
        reader = pycolmap.ImageReaderOptions(
            mask_path=folder / "masks", camera_model="SIMPLE_PINHOLE", camera_params=camera
        )
        pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value if hasattr(pycolmap.logging, "ERROR") else 2
        database = folder / "points.db"
        pycolmap.extract_features(
            database, folder / "images", camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader,
            device=pycolmap.Device.cpu,
        )  # fmt: skip
        check()
        pycolmap.match_exhaustive(database, device=pycolmap.Device.cpu)
        check()
        model = None
        for seed in range(SEEDS):  # a pair to begin with is drawn by chance, and not every one leads to all frames
            check()
            options = pycolmap.IncrementalPipelineOptions(
                multiple_models=False, min_model_size=3, num_threads=1, random_seed=seed, extract_colors=False
            )
            # a hand that hardly moves: what COLMAP asks of photographs (16 degrees) no pair of a short video has
            options.mapper.init_min_tri_angle = FIRST_ANGLE
            found = pycolmap.incremental_mapping(database, folder / "images", folder / f"model{seed}", options=options)
            largest = max(found.values(), key=lambda one: one.num_reg_images(), default=None)
            if largest is not None and (model is None or largest.num_reg_images() > model.num_reg_images()):
                model = largest
            if model is not None and model.num_reg_images() == clip.num_frames:
                break
        if model is None:
            raise NotFound("no two frames tell where the camera was")
        if model.num_reg_images() < clip.num_frames:
            raise NotFound(f"it places {model.num_reg_images()} of {clip.num_frames} frames")
        return _believed(clip, model)


def _write(clip: Clip, things: list[Thing], folder: Path) -> None:
    """Pictures and masks as COLMAP reads them, by Pillow: OpenCV's PNG writer aborts after pycolmap was imported."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for frame in range(clip.num_frames):
        free = free_of(things, frame, (clip.height, clip.width), AROUND)
        Image.fromarray(clip.pictures[frame]).save(folder / "images" / f"{frame:05d}.png")
        Image.fromarray((free * 255).astype(np.uint8)).save(folder / "masks" / f"{frame:05d}.png.png")


def _believed(clip: Clip, model: object) -> Filming:
    poses, matrices = np.tile(np.eye(4), (clip.num_frames, 1, 1)), np.tile(np.eye(3), (clip.num_frames, 1, 1))
    for image in model.images.values():  # type: ignore[attr-defined]
        if not image.has_pose:
            continue
        frame = int(Path(image.name).stem)
        moved = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        poses[frame, :3] = moved.matrix()
        matrices[frame] = image.camera.calibration_matrix()
    ratio = float(matrices[0, 0, 0] / clip.width)
    if not FOCALS[0] <= ratio <= FOCALS[1]:
        raise NotFound(f"its focal length would be {ratio:.1f} of the width, which is degenerate")
    points = np.array([p.xyz for p in model.points3D.values() if p.error < 2 and p.track.length() >= 3])  # type: ignore[attr-defined]
    if len(points) < 30:
        raise NotFound(f"it has {len(points)} points of the background")
    centers = -np.einsum("tji,tj->ti", poses[:, :3, :3], poses[:, :3, 3])
    depths = np.concatenate([(points - c) @ pose[2, :3] for c, pose in zip(centers, poses, strict=True)])
    depth = float(np.median(depths[depths > 0]))
    way = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max() * 2)
    if way / depth < BASELINE:
        raise NotFound(f"the camera's way is {way / depth:.3f} of the distance, and tells nothing of depth")
    if _falls_away(clip, poses, matrices, points):
        raise NotFound("the ground would fall away before it: what is seen is too flat to tell how it is tilted")
    return _upright(clip, poses, matrices, centers, points, depth)


def _falls_away(clip: Clip, poses: Floats, matrices: Floats, points: Floats) -> bool:
    """Whether what the pictures' lower quarters show is farther away than what is in their middles.

    Of a scene that is nearly a plane, seen by a camera that goes little, two tilts explain the pictures as well.
    """
    middle, low = [], []
    for pose, matrix in zip(poses, matrices, strict=True):
        inside = points @ pose[:3, :3].T + pose[:3, 3]
        inside = inside[inside[:, 2] > 0]
        row = (inside[:, 1] / inside[:, 2] * matrix[1, 1] + matrix[1, 2]) / clip.height
        middle.append(inside[(row > 0.25) & (row < 0.75), 2])
        low.append(inside[(row > 0.75) & (row < 1), 2])
    near, far = np.concatenate(low), np.concatenate(middle)
    return len(near) > 0 and len(far) > 0 and bool(np.median(near) > FALLS * np.median(far))


def _upright(clip: Clip, poses: Floats, matrices: Floats, centers: Floats, points: Floats, depth: float) -> Filming:
    """In the first frame's axes, in a unit of which the floor is `HELD_AT` below the cameras."""
    down = poses[:, 1, :3].mean(axis=0)
    up = -down / np.linalg.norm(down)
    plane = _floor(points, centers, up, depth)
    route = "assumed"
    height = float(np.quantile(points @ up, LOWEST))  # nothing that is seen lies below a floor
    if plane is not None:
        up, height = plane
        route = "found"
    above = float(np.median(centers @ up) - height)
    scale = HELD_AT / above if above > 0 else 4.0 / depth
    first = poses[0].copy()
    turned = np.empty_like(poses)
    for frame, pose in enumerate(poses):
        turned[frame] = pose @ np.linalg.inv(first)
        turned[frame, :3, 3] *= scale
    own_points = scale * (points @ first[:3, :3].T + first[:3, 3])
    own_up = first[:3, :3] @ up
    own_centers = -np.einsum("tji,tj->ti", turned[:, :3, :3], turned[:, :3, 3])
    floor = Floor(own_up, float(np.median(own_centers @ own_up)) - HELD_AT, route)
    why = f"all {clip.num_frames} frames were placed, by {len(points)} points of the background"
    return Filming(turned, matrices, clip.width, clip.height, "found", why, own_up, floor, own_points)


def _floor(points: Floats, centers: Floats, up: Floats, depth: float) -> tuple[Floats, float] | None:
    """(normal, height) of the level plane below the cameras that has the most points; None where there is none."""
    chance = np.random.default_rng(0)
    below = points[points @ up < float((centers @ up).min())]
    best: tuple[int, Floats, float] | None = None
    if len(below) < 10:
        return None
    for _ in range(400):
        three = below[chance.choice(len(below), 3, replace=False)]
        normal = np.cross(three[1] - three[0], three[2] - three[0])
        size = float(np.linalg.norm(normal))
        if size < 1e-12:
            continue
        normal = normal / size * np.sign(normal @ up or 1.0)
        if normal @ up < LEVEL:
            continue
        height = float(normal @ three[0])
        on = int((np.abs(below @ normal - height) < ON_FLOOR * depth).sum())
        if best is None or on > best[0]:
            best = on, normal, height
    if best is None or best[0] < LEAST_FLOOR * len(points) or float(np.median(centers @ best[1])) <= best[2]:
        return None
    return best[1], best[2]
