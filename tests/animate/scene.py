"""A coloured box before a patterned wall, as a run with a selection; and videos of it moving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.animate.tracking.stage import Stage
from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.selections import Selection, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.scene.camera import Cameras

NEAR, SIZE = 0.2, (96, 72)
CENTER = np.array([0.1, 0.1, 0.0])
HALF = 0.35


def _splats(means: NDArray[np.float64], rgb: NDArray[np.float64], scale: float) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=means.astype(np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        scales=np.full((count, 3), scale, np.float32),
        opacities=np.full(count, 0.95, np.float32),
        colors=dc_from_rgb(rgb.astype(np.float32)),
        is_foreground=np.zeros(count, bool),
    )


def wall() -> Gaussians:
    """Behind everything, in patches of many colours."""
    x, y = np.meshgrid(np.linspace(-3, 3, 40), np.linspace(-2.4, 2.4, 32))
    rng = np.random.default_rng(1)
    patches = rng.uniform(0.15, 0.85, (8, 10, 3)).repeat(4, 0).repeat(4, 1)
    return _splats(np.stack([x, y, np.full_like(x, 1.5)], -1).reshape(-1, 3), patches.reshape(-1, 3), 0.09)


def box() -> Gaussians:
    """Six sides, each of four colours."""
    at = np.linspace(-HALF, HALF, 9)
    u, v = (grid.ravel() for grid in np.meshgrid(at, at))
    rng, means, rgb = np.random.default_rng(2), [], []
    for axis in range(3):
        for sign in (-HALF, HALF):
            side = np.zeros((len(u), 3))
            side[:, axis], side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = sign, u, v
            quarter = (u > 0).astype(int) * 2 + (v > 0)
            means.append(side + CENTER)
            rgb.append(rng.uniform(0.05, 0.95, (4, 3))[quarter])
    return _splats(np.concatenate(means), np.concatenate(rgb), 0.05)


def camera() -> Cameras:
    """In front of the box, a little above and beside."""
    turn = Rotation.from_euler("yx", [-0.35, -0.25]).as_matrix()
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = turn
    pose[:3, 3] = [0, 0, 3.0]
    lens = np.array([[90.0, 0, SIZE[0] / 2], [0, 90.0, SIZE[1] / 2], [0, 0, 1]], np.float32)
    return Cameras(pose[None], lens[None], *SIZE, (7,))


def write_scene(folder: Path, kind: str = "static") -> Run:
    """A run with the selection "box", seen by one training camera.

    Args:
        kind: "static"; "captured": three frames, through which the box moves and in whose second it is as in the
            others; "generated": two frames of the box alone, before white.
    """
    run = Run.create(folder)
    with run.lock():
        run.begin_stage("import", MadeFrom({}, 1, by="a test"))
        still, thing = wall(), box()
        ways = {"static": [0.0], "captured": [-0.4, 0.0, 0.4], "generated": [0.0, 0.4]}[kind]
        if kind == "generated":
            still = still.take(slice(0))
        parts = {name: np.concatenate([getattr(still, name), getattr(thing, name)]) for name in _FIELDS}
        if kind == "static":
            whole = Gaussians(**parts)
            run.write_geometry(whole, whole.take(slice(0)), 1)
        else:
            run.write_geometry(still, thing, len(ways))
            for frame, way in enumerate(ways):
                run.write_frame(frame, thing.means + np.array([way, 0, 0], np.float32), thing.quats, thing.colors)
        nothing = np.zeros((1, 3), np.float32)
        run.write_cameras(camera(), None, nothing, nothing)
        run.set_info(near=NEAR, center=[0.0, 0.0, 0.0], radius=3.0, fps=10.0, up=[0.0, -1.0, 0.0])
        if kind == "generated":
            run.set_info(kind=kind, background=[1.0, 1.0, 1.0], cameras="virtual")
        weights = np.zeros(len(still) + len(thing), np.float32)
        weights[len(still) :] = 1
        write_selection(run, Selection("box", weights, None, {"steps": []}))
        run.frames_done("import", dict.fromkeys(range(len(ways)), 0.0))
        run.finish_stage("import")
    return Run.open(folder)


_FIELDS = ("means", "quats", "scales", "opacities", "colors", "is_foreground")


def thing() -> NDArray[np.bool_]:
    """Which of the scene's Gaussians are the box."""
    return np.arange(len(wall()) + len(box())) >= len(wall())


def motion_at(share: float) -> NDArray[np.float64]:
    """[4, 4] of the drawn motion: a turn about a leaning axis, and a way to the side and nearer."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(share * np.array([0.1, 0.5, 0.15])).as_matrix()
    motion[:3, 3] = CENTER + share * np.array([0.25, -0.1, -0.2]) - motion[:3, :3] @ CENTER
    return motion


def film(
    folder: Path,
    motions: Sequence[NDArray[np.float64] | Gaussians],
    view: Cameras | None = None,
    *,
    alone: bool = False,
) -> Path:
    """A folder of pictures with the box under each of these motions, or as these Gaussians; `alone`: before white."""
    behind = wall().take(slice(0)) if alone else wall()
    parts = {name: np.concatenate([getattr(behind, name), getattr(box(), name)]) for name in _FIELDS}
    member = np.ones(len(box()), bool) if alone else thing()
    white = torch.ones(3) if alone else None
    stage = Stage(Gaussians(**parts), member, view or camera(), NEAR, torch.device("cpu"), background=white)
    folder.mkdir(parents=True)
    for number, motion in enumerate(motions):
        placed = motion.torch() if isinstance(motion, Gaussians) else motion
        color = stage.predict([placed]).color[0].clamp(0, 1).numpy()
        Image.fromarray(np.rint(color * 255).astype(np.uint8)).save(folder / f"{number:04d}.png")
    return folder


def leaning(share: float) -> Gaussians:
    """The box with its upper side leaning over, its lower one staying."""
    thing = box()
    side, height = thing.means[:, 0] - CENTER[0], CENTER[1] + HALF - thing.means[:, 1]
    turn = 0.9 * share * height / (2 * HALF)
    means = thing.means.copy()
    means[:, 0] = CENTER[0] + np.cos(turn) * side + np.sin(turn) * height
    means[:, 1] = CENTER[1] + HALF + np.sin(turn) * side - np.cos(turn) * height
    return thing.replace(means=means)
