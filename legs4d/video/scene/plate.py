"""The background: from all frames in which it shows, as a floor and what stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from legs4d.gaussians.gaussians import SH_C0, Gaussians, dc_from_rgb
from legs4d.priors.opencv import opencv
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.images import as_bytes
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing, shown_of
from legs4d.video.objects.surface import tangent_frames
from legs4d.video.scene.filming import Filming

Floats = NDArray[np.float64]
Look = Callable[[Floats, int], NDArray[np.float32]]
"""(places [h, w, 3], frame) → their colours [h, w, 3] there, NaN where it does not show them."""
MOST_FRAMES = 48
"""That are looked at, spread over the video."""
BORDER = 3
"""Pixels around masks that are not background either: shadows of edges, and blur."""
BEHIND = 1.25
"""Of the farthest object's distance: how far what stands behind the floor is at least."""
WAY = 0.02
"""Of that distance: a camera that goes no farther tells nothing of it."""
FACTORS = tuple(float(v) for v in np.exp(np.linspace(np.log(0.5), np.log(2.0), 33)))
"""Times that distance, of which that at which frames agree most counts."""
COMPARED = 10
"""Frames."""
WORST = 0.15
"""Difference of colours (0..1) beyond which frames do not disagree more."""
ROUNDS = 4
"""In which colours are sharpened."""
LEAST_POINTS = 30
"""Of the background, from which they tell how far away it is."""
MOST_TURN = 1.0
"""Tangent beyond which a canvas in a plane would grow without end."""
SPREAD = 0.48
"""Standard deviation of a Gaussian, in pixels of the canvas: neighbours leave no gaps, and blur little."""


@dataclass(frozen=True)
class Plate:
    """The background.

    Attributes:
        gaussians: world; seen: [N] 1 where a frame showed it, 0 where it was filled in.
        picture: [h, w, 3] the canvas, known: [h, w].
        share: of the canvas that was seen.
    """

    gaussians: Gaussians
    seen: NDArray[np.float32]
    picture: NDArray[np.float32]
    known: NDArray[np.bool_]

    @property
    def share(self) -> float:
        return float(self.known.mean())


@dataclass(frozen=True)
class Canvas:
    """A pinhole picture as wide as all frames together, seen from where one frame was taken."""

    matrix: Floats
    width: int
    height: int
    frame: int


def canvas_of(filming: Filming, most: int) -> Canvas:
    """The canvas of a video."""
    count = len(filming.world_to_camera)
    frame = count // 2
    base = filming.turn(frame)
    corners = np.array([[0, 0], [filming.width, 0], [0, filming.height], [filming.width, filming.height]], float)
    found = []
    for other in range(count):
        rays = filming.ray(other, corners) @ filming.turn(other) @ base.T
        ahead = rays[rays[:, 2] > 0.2]
        found.append(np.clip(ahead[:, :2] / ahead[:, 2:], -4, 4))
    spread = np.concatenate(found)
    own = filming.ray(frame, corners)[:, :2]
    low = np.maximum(spread.min(axis=0), own.min(axis=0) - MOST_TURN)
    high = np.minimum(spread.max(axis=0), own.max(axis=0) + MOST_TURN)
    focal = float(filming.intrinsics[frame, 0, 0])
    focal *= min(1.0, most / max(filming.width, filming.height))
    width, height = (max(8, int(np.ceil(v))) for v in focal * (high - low))
    matrix = np.array([[focal, 0, -low[0] * focal], [0, focal, -low[1] * focal], [0, 0, 1.0]])
    return Canvas(matrix, width, height, frame)


def surface_of(canvas: Canvas, filming: Filming, distance: float, *, by_points: bool = False) -> Floats:
    """[h, w, 3] the world's places that the canvas shows: the floor, and an upright plane at `distance` before it.

    Args:
        by_points: points of the background that were found tell how far away what stands is.
    """
    grid = np.stack(np.meshgrid(np.arange(canvas.width) + 0.5, np.arange(canvas.height) + 0.5), axis=-1)
    rays = np.concatenate([grid, np.ones((*grid.shape[:2], 1))], axis=-1) @ np.linalg.inv(canvas.matrix).T
    turn, center = filming.turn(canvas.frame), filming.center(canvas.frame)
    rays = rays @ turn  # to the world's axes
    ahead = turn.T @ [0.0, 0.0, 1.0]
    up = filming.up
    level = ahead - (ahead @ up) * up
    level = level / np.linalg.norm(level) if np.linalg.norm(level) > 0.2 else ahead
    facing = rays @ level
    far = np.where(facing > 0.05 * np.linalg.norm(rays, axis=-1), distance / np.maximum(facing, 1e-9), 8 * distance)
    far = np.minimum(far, 8 * distance)
    floor = filming.floor
    above = floor.height - float(floor.normal @ center)
    if by_points:
        far = np.minimum(far * 2, _depths(canvas, filming))
    falling = rays @ floor.normal
    with np.errstate(divide="ignore"):
        hits = np.where((falling < 0) & (above < 0), above / np.minimum(falling, -1e-9), np.inf)
    return center + rays * np.minimum(far, hits)[..., None]


def _depths(canvas: Canvas, filming: Filming) -> Floats:
    """[h, w] along the rays (z 1 in the canvas), from points that were found: between them 1 / depth goes evenly,
    beyond them it is that of the nearest. What single points say is evened out, as they lie on both sides of edges."""
    turn, center = filming.turn(canvas.frame), filming.center(canvas.frame)
    inside = (filming.points - center) @ turn.T
    inside = inside[inside[:, 2] > 1e-3 * np.median(np.abs(inside[:, 2]))]
    pixel = inside @ canvas.matrix.T
    places = pixel[:, :2] / pixel[:, 2:]
    values = 1 / inside[:, 2]
    _, near = cKDTree(places).query(places, k=min(7, len(places)))
    values = np.median(values[near], axis=1)
    step = 4
    x, y = np.arange(0, canvas.width + step, step) + 0.5, np.arange(0, canvas.height + step, step) + 0.5
    coarse = np.stack(np.meshgrid(x, y), axis=-1)
    linear = LinearNDInterpolator(places, values)(coarse)
    nearest = NearestNDInterpolator(places, values)(coarse)
    known = np.where(np.isfinite(linear), linear, nearest)
    known = gaussian_filter(known, 2.0)
    rows, columns = np.mgrid[0 : canvas.height, 0 : canvas.width] / step
    inverse = map_coordinates(known, np.stack([rows, columns]), order=1, mode="nearest")
    return np.asarray(1 / np.maximum(inverse, 1e-9))


def plate_of(
    clip: Clip, things: list[Thing], filming: Filming, distance: float, most: int, reporter: StageReporter
) -> Plate:
    """Look at the background in all frames, as a median: what passes through a few of them leaves nothing behind."""
    cv2 = opencv("the background")
    canvas = canvas_of(filming, most)
    shrink = max(1, round(filming.intrinsics[canvas.frame, 0, 0] / canvas.matrix[0, 0]))
    # a mean of an even number of pixels stands half a pixel to the right of and below its middle
    aside = np.float32(0.5 if shrink % 2 == 0 else 0.0)
    around = np.ones((3, 3), bool)

    def look(places: Floats, frame: int) -> NDArray[np.float32]:
        hidden = shown_of(things, frame, (clip.height, clip.width))
        hidden = binary_dilation(hidden, around, iterations=BORDER) if hidden.any() else hidden
        inside = (places - filming.center(frame)) @ filming.turn(frame).T
        pixel = inside @ filming.intrinsics[frame].T
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = pixel[..., 0] / pixel[..., 2] - 0.5, pixel[..., 1] / pixel[..., 2] - 0.5
        shown = (inside[..., 2] > 1e-6) & (x >= 0) & (y >= 0) & (x <= clip.width - 1) & (y <= clip.height - 1)
        x, y = (np.where(shown, v, -1).astype(np.float32) for v in (x, y))
        picture = clip.picture(frame)
        if shrink > 1:
            picture = cv2.blur(picture, (shrink, shrink))
        colors = cv2.remap(picture, x + aside, y + aside, cv2.INTER_LINEAR)
        covered = cv2.remap(hidden.astype(np.float32), x, y, cv2.INTER_LINEAR) > 0.01
        return np.where((shown & ~covered)[..., None], colors, np.float32(np.nan))

    places = _agreed(canvas, filming, distance, look)
    chosen = _spread(clip.num_frames, MOST_FRAMES)
    stack = np.empty((len(chosen), canvas.height, canvas.width, 3), np.float32)
    for row, frame in enumerate(chosen):
        reporter.step(row, len(chosen) + 1)
        stack[row] = look(places, frame)
    known = np.asarray(np.isfinite(stack[..., 0]).any(axis=0))
    picture = np.zeros((canvas.height, canvas.width, 3), np.float32)
    if known.any():
        # frames from both sides of the canvas show it with different light: the median of what is there
        picture[known] = np.nanmedian(stack[:, known], axis=0)
    if not known.all():
        picture = _filled(picture, known)
    reporter.step(len(chosen) + 1, len(chosen) + 1)
    gaussians = _sharpened(_gaussians(places, picture), picture, canvas, filming)
    return Plate(gaussians, known.reshape(-1).astype(np.float32), picture, known)


def _spread(count: int, most: int) -> list[int]:
    """At most so many frames, spread evenly."""
    return [int(frame) for frame in np.unique(np.linspace(0, count - 1, min(most, count)).round())]


def _agreed(canvas: Canvas, filming: Filming, distance: float, look: Look) -> Floats:
    """[h, w, 3] the surface on which frames agree most, of those that `surface_of` has; that at `distance` where the
    camera does not go, so that all agree alike."""
    count = len(filming.world_to_camera)
    centers = np.stack([filming.center(frame) for frame in range(count)])
    has_points = len(filming.points) >= LEAST_POINTS
    if np.linalg.norm(centers - centers[canvas.frame], axis=1).max() < WAY * distance:
        return surface_of(canvas, filming, distance, by_points=has_points)
    compared = _spread(count, COMPARED)
    best: tuple[float, Floats] | None = None
    for by_points in (False, True) if has_points else (False,):
        for factor in (1.0,) if by_points else FACTORS:
            places = surface_of(canvas, filming, factor * distance, by_points=by_points)
            seen = np.stack([look(places[::2, ::2], frame) for frame in compared])
            several = np.isfinite(seen[..., 0]).sum(axis=0) > 2
            if not several.any():
                continue
            seen = seen[:, several]
            off = float(np.nanmean(np.minimum(np.abs(seen - np.nanmedian(seen, axis=0)), WORST)))
            if best is None or off < best[0]:
                best = off, places
    return surface_of(canvas, filming, distance, by_points=has_points) if best is None else best[1]


def _filled(picture: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What no frame showed, from around it."""
    cv2 = opencv("the background")
    if not known.any():
        return np.full_like(picture, 0.5)
    eight = as_bytes(picture)
    mended = cv2.inpaint(eight, (~known).astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.float32) / 255
    return np.where(known[..., None], picture, mended).astype(np.float32)


def _gaussians(places: Floats, picture: NDArray[np.float32]) -> Gaussians:
    """One a pixel, flat on the surface."""
    along, down = (_steps(places, axis).reshape(-1, 3) for axis in (1, 0))
    thin = 0.2 * np.minimum(np.linalg.norm(along, axis=1), np.linalg.norm(down, axis=1)).mean()
    quats, scales = tangent_frames(SPREAD * along, SPREAD * down, float(thin))
    flat = places.reshape(-1, 3)
    count = len(flat)
    return Gaussians(
        flat.astype(np.float32),
        quats.astype(np.float32),
        np.maximum(scales, 1e-6).astype(np.float32),
        np.full(count, 0.99, np.float32),
        dc_from_rgb(picture.reshape(-1, 3)),
        np.zeros(count, bool),
    )


def _sharpened(gaussians: Gaussians, picture: NDArray[np.float32], canvas: Canvas, filming: Filming) -> Gaussians:
    """With colours that look like the picture when they are drawn: their mixing is undone (Van Cittert 1931)."""
    matrix = canvas.matrix[None].astype(np.float32)
    pose = filming.world_to_camera[canvas.frame][None].astype(np.float32)
    camera = Cameras(pose, matrix, canvas.width, canvas.height, (0,))
    depth = (gaussians.means - filming.center(canvas.frame)) @ filming.turn(canvas.frame)[2]
    near = 0.5 * float(np.maximum(depth.min(), 1e-6))
    colors = gaussians.colors
    for _ in range(ROUNDS):
        with torch.no_grad():
            drawn = render(gaussians.replace(colors=colors).torch(), camera, near=near).color[0].numpy()
        wanted = 0.5 + SH_C0 * colors + (picture - drawn).reshape(-1, 3)
        colors = dc_from_rgb(np.clip(wanted, 0, 1).astype(np.float32))
    return gaussians.replace(colors=colors)


def _steps(places: Floats, axis: int) -> Floats:
    """[h, w, 3] step to the next pixel, of the two at hand the shorter: at an edge in depth none reaches across."""
    forward = np.diff(places, axis=axis)
    last = np.take(forward, [-1], axis)
    first = np.take(forward, [0], axis)
    ahead, behind = np.concatenate([forward, last], axis), np.concatenate([first, forward], axis)
    shorter = np.linalg.norm(ahead, axis=-1) <= np.linalg.norm(behind, axis=-1)
    return np.where(shorter[..., None], ahead, behind)
