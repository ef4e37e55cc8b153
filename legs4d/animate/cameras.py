"""Through which camera the motion video is seen: one of the run's, one from a file, or one that is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.refine import OutOfSight, RefineSettings, refine
from legs4d.animate.tracking.stage import Stage
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.priors.cache import best_prior, open_prior
from legs4d.priors.protocols import MatchesPrior
from legs4d.progress import go_on
from legs4d.raster import render
from legs4d.reconstruct.vignette import background_of
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import read_camera_path
from legs4d.segment.views import view_of

FOUND = "found"
MOST_VIEWS = 16
"""Of the run's cameras, evenly spread, in whose pictures the video's first frame is looked for."""
FOCALS = np.geomspace(0.5, 3.0, 22)
"""Focal lengths that are tried, of the picture's width: 90° to 19°."""
FITS = 2.0
"""Pixels (of 640) that a point may be off."""
LEAST_POINTS = 12
SOLID = 0.9
"""Share of a pixel that is filled where a point has a depth."""

Picture = NDArray[np.float32]


def camera_of(run: Run, named: str | None, file: str | None, frame: int, find: Callable[[], Cameras]) -> Cameras:
    """A single camera.

    Args:
        named: a number of the run's cameras, or FOUND.
        file: in place of that a camera path's; its first picture counts.
        frame: of the run.
        find: finds it.

    Raises:
        Legs4dError: there is no such camera or file, or it is not found.
    """
    if file is not None:
        like = run.cameras("train") if run.has_cameras else None
        return read_camera_path(Path(file), run.num_frames, like).shots[0].cameras
    return find() if named == FOUND else view_of(run, None if named is None else int(named), frame)


def find_camera(
    run: Run,
    frame: int,
    gaussians: Gaussians,
    picture: Picture,
    near: float,
    device: torch.device,
    check: Callable[[int, int], object] = go_on,
) -> Cameras:
    """The camera that took a picture [H, W, 3] of a run's frame: points found again in renderings, then the picture
    itself (Gauss-Newton on all of it).

    Args:
        check: told how many of the views are looked through, of how many.

    Raises:
        Legs4dError: too little of the scene is found in it.
    """
    if not run.has_cameras:
        raise RunError("has no cameras to look from", where=str(run.path), fix="give --camera a file")
    prior = best_prior("matches")
    if prior is None:
        raise Legs4dError("no helper finds points", where="--camera found", fix="see `legs4d priors`")
    matcher: MatchesPrior = open_prior(prior.name, device)
    known = run.cameras("train", frame)
    views = known.take(np.unique(np.linspace(0, len(known) - 1, min(MOST_VIEWS, len(known))).round().astype(int)))
    height, width = picture.shape[:2]
    points, pixels = [], []
    for at in range(len(views)):
        check(at, len(views))
        view = views.take([at])
        there, seen = _found_in(gaussians, view, picture, near, device, matcher)
        points.append(there)
        pixels.append(seen)
    check(len(views), len(views))
    camera = _solve(np.concatenate(points), np.concatenate(pixels), width, height)
    if camera is None:
        raise Legs4dError(
            "the scene is not found in the video's first frame",
            where="--camera found",
            fix="say by which camera it was made: a number of the run's, or a file",
        )
    return _sharpened(gaussians, picture, camera, near, background_of(run, device), device)


def _found_in(
    gaussians: Gaussians, view: Cameras, picture: Picture, near: float, device: torch.device, matcher: MatchesPrior
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points [K, 3] of the scene, and the pixels [K, 2] of the picture that show them."""
    with torch.no_grad():
        made = render(gaussians.torch(device), view, near=near, depth=True)
    assert made.depth is not None
    color, alpha, depth = (x[0].cpu().numpy() for x in (made.color.clamp(0, 1), made.alpha, made.depth))
    pairs = matcher.matches(color.astype(np.float32), picture)
    cells = np.clip(np.floor(pairs.first).astype(int), 0, [view.width - 1, view.height - 1])
    solid = alpha[cells[:, 1], cells[:, 0]] > SOLID
    cells, first, second = cells[solid], pairs.first[solid], pairs.second[solid]
    far = depth[cells[:, 1], cells[:, 0]] / alpha[cells[:, 1], cells[:, 0]]
    rays = np.concatenate([first, np.ones((len(first), 1))], 1) @ np.linalg.inv(view.intrinsics[0].astype(np.float64)).T
    placed = (rays * far[:, None] - view.world_to_camera[0, :3, 3]) @ view.world_to_camera[0, :3, :3].astype(np.float64)
    return placed, second.astype(np.float64)


def _solve(points: NDArray[np.float64], pixels: NDArray[np.float64], width: int, height: int) -> Cameras | None:
    """The camera under which most points are where they are seen; square pixels, its axis through the middle."""
    from legs4d.priors.opencv import opencv

    cv2 = opencv("finding a camera")
    if len(points) < LEAST_POINTS:
        return None
    tolerance, best = FITS * max(1.0, width / 640), None
    for focal in FOCALS:
        lens = np.array([[focal * width, 0, width / 2], [0, focal * width, height / 2], [0, 0, 1.0]])
        cv2.setRNGSeed(0)
        found, turn, shift, inside = cv2.solvePnPRansac(
            points, pixels, lens, None, iterationsCount=300, reprojectionError=tolerance, flags=cv2.SOLVEPNP_SQPNP
        )
        if not found or inside is None or len(inside) < LEAST_POINTS:
            continue
        inside = inside.ravel()
        turn, shift = cv2.solvePnPRefineLM(points[inside], pixels[inside], lens, None, turn, shift)
        off = np.linalg.norm(cv2.projectPoints(points, turn, shift, lens, None)[0][:, 0] - pixels, axis=1)
        cost = float(np.minimum(off / tolerance, 1).sum())
        if best is None or cost < best[0]:
            best = cost, lens, cv2.Rodrigues(turn)[0], shift.ravel()
    if best is None:
        return None
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = best[2], best[3]
    return Cameras(pose[None], best[1][None].astype(np.float32), width, height, (0,))


def _sharpened(
    gaussians: Gaussians,
    picture: Picture,
    camera: Cameras,
    near: float,
    background: torch.Tensor | None,
    device: torch.device,
) -> Cameras:
    """The camera under which the rendering looks most like the picture: all of the scene moved as one thing."""
    stage = Stage(gaussians, np.ones(len(gaussians), bool), camera, near, device, background=background)
    try:
        with torch.no_grad():
            found = refine(stage, torch.as_tensor(picture, device=device), np.eye(4), RefineSettings())
    except OutOfSight:
        return camera
    pose = camera.world_to_camera[0].astype(np.float64) @ found.motion
    return Cameras(pose[None].astype(np.float32), camera.intrinsics, camera.width, camera.height, camera.ids)
