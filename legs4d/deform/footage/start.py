"""Where canonical Gaussians begin: given points, what most silhouettes allow, what was measured or matched, or a
volume that cameras look into.

Silhouettes are of a thing that moves, so no point lies in all of them. What lies in four fifths is the thing's body;
limbs grow out of it. Without silhouettes nothing says where things end, and a start from chance alone fades to the
colour of the background before it has found a shape: opacities are then held for a while (`DeformSettings`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.footage.pictures import BLANK, Pictures, all_cameras
from legs4d.errors import DatasetError
from legs4d.portable.up import find_up
from legs4d.progress import go_on
from legs4d.reconstruct.initialise import visual_hull
from legs4d.reconstruct.views import look_up, project
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import InitialPoints, Sequence
from legs4d.scene.stage import NEAR_SHARE, Stage, find_stage

AGREEMENTS = (0.8, 0.65, 0.5)
"""Shares of the views in whose silhouettes a point has to lie: the first that leaves enough of them."""
VIEWS = 60
"""Silhouettes that are looked at, spread over time."""
WIDELY = 0.5
"""Of the most cameras that look at any point of the hull, those that look at each."""
SEEN_BY = 0.3
"""Share of the cameras that look at a point of a volume."""
COLOR_VIEWS = 12
FILMED = 0.95
"""Share of the points within the radius of what is filmed."""
AWAY = 0.5
"""Share of the cameras that may look away from what the others look at."""
IN_VIEW = 0.3
"""Share of the cameras that have the point that their axes meet at in their pictures, at least: those of a hand-held
camera have it nearly always, axes in any directions hardly ever (3 % of the directions, for a lens of 40°)."""
APART = 1e-3
"""Of the distance from the middle: cameras whose places differ by less stand in one."""
ONE_WAY = 0.5
"""Cosine of the angle from the mean axis within which all axes lie, of cameras that look one way."""
NEAREST = 0.8
"""Of the near bound: the near plane, as something may stick out."""
FULL = 0.99
"""Share of a picture that a silhouette takes if it shows no outline."""
ALL_FULL = 0.9
"""Share of the silhouettes without outline, beyond which the others tell no shape."""
FEW, FEWEST = 0.01, 16
"""Of the points that are wanted, and points: fewer given ones are no start, as the single point of a model whose poses
came from elsewhere."""
SHOWN = 0.1
"""Share of given points that a camera has in its picture if its pose is right."""


@dataclass(frozen=True)
class Start:
    """Points to begin with, and the space that they take.

    Attributes:
        points: positions, colours, foreground.
        center: [3] scene units; radius: of nearly all points about it.
        is_volume: whether they are in a volume by chance.
    """

    points: InitialPoints
    center: NDArray[np.float32]
    radius: float
    is_volume: bool


CONVENTIONS = (
    "poses seem to be of another convention: transforms.json wants camera to world, along -z (OpenGL), camera/*.json "
    "world to camera, along +z (OpenCV)"
)
UNLESS = "if they look past each other as they should (a room, a walk past), give points to start from; else "
"""What precedes `CONVENTIONS` where right poses may look so."""
FOCUS = 0.75
"""How much nearer to the far bound than to the near one, in 1/z, LLFF's cameras are taken to look at (its code's)."""


def find_stage_of(
    cameras: Cameras,
    where: str,
    points: NDArray[np.float32] | None = None,
    bounds: tuple[float, float] | None = None,
) -> Stage:
    """The space that cameras look into, which they should look at, not away from.

    Args:
        points: [N, 3] what is known to be there; then cameras may look to all sides, or one way, if they see that.
        bounds: camera z of the nearest and farthest that is there, where they are known; then cameras may look one way.

    Raises:
        DatasetError: their axes are parallel, they look away from what others look at or from the points (poses of
            another convention), or they stand in one place.
    """
    if points is None and bounds is not None:
        stage = _stage_ahead(bounds, cameras) or find_stage_of(cameras, where)
        return replace(stage, near=min(stage.near, NEAREST * bounds[0]))
    if points is not None:
        blind = np.array([_share_in_view(cameras.take([c]), points) < SHOWN for c in range(len(cameras))])
        if blind.mean() > AWAY:
            raise DatasetError(
                f"{int(blind.sum())} of {len(cameras)} cameras do not have the points to start from in their pictures",
                where=where,
                fix=f"if the points are of another frame, take them away; else {CONVENTIONS}",
            )
        try:
            stage = find_stage(cameras)
        except DatasetError:  # they look one way: what they look at is told by the points alone
            return _stage_at(points, cameras)
        return stage if _looked_at(stage, cameras).mean() >= AWAY else _stage_at(points, cameras)
    try:
        stage = find_stage(cameras)
    except DatasetError as error:
        raise DatasetError(error.what, where=where, fix=f"{UNLESS}{CONVENTIONS}") from error
    spread = float(np.linalg.norm(cameras.centers - cameras.centers.mean(axis=0), axis=1).max())
    size = max(float(np.abs(cameras.centers).max()), stage.radius, 1e-12)
    if spread < APART * size:
        raise DatasetError(
            f"all {len(cameras)} cameras stand in one place, which tells nothing of depth",
            where=where,
            fix=f"walk around what you film; if that was done, {CONVENTIONS}",
        )
    away = ~_looked_at(stage, cameras)
    if away.mean() > AWAY:
        raise DatasetError(
            f"{int(away.sum())} of {len(cameras)} cameras look away from the point around which they stand",
            where=where,
            fix=f"{UNLESS}{CONVENTIONS}",
        )
    centre = stage.center[None]
    seen = np.array([_share_in_view(cameras.take([c]), centre) > 0 for c in range(len(cameras))])
    if seen.mean() < IN_VIEW:
        raise DatasetError(
            f"only {int(seen.sum())} of {len(cameras)} cameras have in their pictures what they stand around",
            where=where,
            fix=f"{UNLESS}{CONVENTIONS}",
        )
    return stage


def what_is_wrong_with(sequence: Sequence) -> str | None:
    """Why `find_stage_of` finds no stage of the cameras of footage, as a sentence; None where it finds one."""
    given = sequence.initial_points
    points = None if given is None else given.positions
    try:
        find_stage_of(all_cameras(sequence), str(sequence.root), points, sequence.bounds)
    except DatasetError as error:
        return str(error)
    return None


def _looked_at(stage: Stage, cameras: Cameras) -> NDArray[np.bool_]:
    """[C] whether the stage's middle is before each camera."""
    ahead = np.einsum("ci,ci->c", cameras.world_to_camera[:, 2, :3], stage.center - cameras.centers) > 0
    return np.asarray(ahead)


def _share_in_view(camera: Cameras, points: NDArray[np.float32]) -> float:
    """Share of the points that one camera has before it and in its picture."""
    return float(project(camera, torch.as_tensor(points, dtype=torch.float32), 0.0)[1].float().mean())


def _stage_at(points: NDArray[np.float32], cameras: Cameras) -> Stage:
    """The stage in the middle of points, for cameras whose axes tell none."""
    center = np.median(points, axis=0).astype(np.float32)
    radius = float(np.median(np.linalg.norm(cameras.centers - center, axis=1)))
    down = -find_up(cameras.world_to_camera)
    return Stage(center, radius, down.astype(np.float32), NEAR_SHARE * radius)


def _stage_ahead(bounds: tuple[float, float], cameras: Cameras) -> Stage | None:
    """The stage of cameras that look one way: around what their axes meet at if that lies between the bounds for most
    of them, else in the middle of what they have before them at the depth that LLFF's code looks at (Mildenhall et al.
    2019). None of cameras that look from all around."""
    near, far = bounds
    forward = cameras.world_to_camera[:, 2, :3]
    along = forward @ (forward.mean(axis=0) / max(float(np.linalg.norm(forward.mean(axis=0))), 1e-12))
    if (along < ONE_WAY).any():
        return None
    try:
        around = find_stage(cameras)
        depths = np.einsum("ci,ci->c", forward, around.center - cameras.centers)
        if ((depths > near) & (depths < far)).mean() > AWAY:
            return around
    except DatasetError:  # they are parallel
        pass
    reach = 1 / ((1 - FOCUS) / near + FOCUS / far)
    center = (cameras.centers + reach * forward).mean(axis=0)
    down = -find_up(cameras.world_to_camera)
    return Stage(center.astype(np.float32), reach, down.astype(np.float32), NEAR_SHARE * reach)


def find_start(
    pictures: Pictures,
    given: InitialPoints | None,
    stage: Stage,
    count: int,
    where: str,
    check: Callable[..., object] = go_on,
    *,
    most: int,
    among: NDArray[np.int64] | None = None,
    found: InitialPoints | None = None,
) -> Start:
    """About `count` points, or those that are given; both, where these are too few to tell a shape.

    Args:
        most: there may be: of more that are given `count` are taken.
        found: points that were measured or matched in pictures that show a background, if any.
        among: pictures whose silhouettes count; all by default.
        check: called every few pictures; what it raises ends the work.

    Raises:
        DatasetError: silhouettes have nothing in common or no outline, or a camera stands in what they show.
    """
    device = pictures.images.device
    is_volume = False
    inside = pictures.images[..., 3] if pictures.see_through else pictures.masks
    if given is not None and len(given.positions) < max(FEW * count, FEWEST):
        rest = find_start(pictures, None, stage, count, where, check, most=most, among=among, found=found)
        return _start(_joined(given, rest.points), rest.is_volume)
    if given is not None:
        given = _some_of(given, count, most)
        positions = torch.as_tensor(given.positions, device=device)
        if not pictures.see_through:
            return _start(given, False)
        return _start(_colored(positions, pictures, stage, given), False)
    if inside is not None and pictures.see_through:
        chosen = np.arange(len(pictures)) if among is None else among
        silhouettes = inside[torch.as_tensor(chosen, device=device)]
        _check_outlines(silhouettes, where)
        positions = _hull(silhouettes, pictures.table.cameras.take(chosen), stage, count, check, where)
        _check_outside(positions, pictures, where)
    else:
        if found is not None:
            found = _some_of(found, count, most)
            if inside is None:
                return _start(found, False)
            # What is inside of masks may have moved while it was matched: their hull stands for it.
            hull = _colored(_hull(inside, pictures.table.cameras, stage, count // 2, check, where), pictures, stage)
            return _start(_joined(found, hull), False)
        positions = _volume(pictures.table.cameras, stage, count, device)
        is_volume = True
        if inside is not None:
            positions = torch.cat([_hull(inside, pictures.table.cameras, stage, count // 2, check, where), positions])
    return _start(_colored(positions, pictures, stage), is_volume)


def _some_of(points: InitialPoints, count: int, most: int) -> InitialPoints:
    """Any of them where there are more than there may be: they may lie in the order in which they were found."""
    if len(points.positions) <= most:
        return points
    chosen = np.sort(np.random.default_rng(0).choice(len(points.positions), count, replace=False))
    return InitialPoints(points.positions[chosen], points.colors[chosen], points.is_foreground[chosen])


def _joined(first: InitialPoints, second: InitialPoints) -> InitialPoints:
    parts = zip(vars(first).values(), vars(second).values(), strict=True)
    return InitialPoints(*(np.concatenate(pair) for pair in parts))


def _start(points: InitialPoints, is_volume: bool) -> Start:
    center = np.median(points.positions, axis=0).astype(np.float32)
    away = np.linalg.norm(points.positions - center, axis=1)
    return Start(points, center, float(max(np.quantile(away, FILMED), 1e-6)), is_volume)


def _hull(
    inside: torch.Tensor, cameras: Cameras, stage: Stage, count: int, check: Callable[..., object], where: str
) -> torch.Tensor:
    shown = torch.tensor([float(mask.float().mean()) / 255 > BLANK for mask in inside]).nonzero().flatten().numpy()
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, VIEWS).round().astype(int))]
    masks = inside[torch.as_tensor(chosen, device=inside.device)].to(torch.float32) / 255
    for agreement in AGREEMENTS:
        try:
            hull = visual_hull(masks, cameras.take(chosen), stage, count, agreement, check, WIDELY)
        except DatasetError as error:
            if agreement == AGREEMENTS[-1]:
                fix = "add pictures from other sides; check that masks, or alpha, and poses belong to these pictures"
                raise DatasetError(error.what, where=where, fix=fix) from error
            continue
        if len(hull) >= count // 4 or agreement == AGREEMENTS[-1]:
            return hull
    raise AssertionError("the last agreement returns or raises")


def _volume(cameras: Cameras, stage: Stage, count: int, device: torch.device) -> torch.Tensor:
    """Points by chance where many cameras look, from just before them to well behind the middle."""
    chance = np.random.default_rng(0)
    found: list[NDArray[np.float64]] = []
    reach = 1.5 * stage.radius
    for _ in range(64):
        points = stage.center + reach * chance.uniform(-1, 1, (4 * count, 3))
        seen = np.zeros(len(points))
        for c in range(len(cameras)):
            seen += project(cameras.take([c]), torch.from_numpy(points).float(), stage.near)[1][0].numpy()
        found.append(points[seen >= SEEN_BY * len(cameras)])
        if sum(len(part) for part in found) >= count:
            break
    points = np.concatenate(found)[:count]
    return torch.as_tensor(points, dtype=torch.float32, device=device)


def _colored(
    positions: torch.Tensor, pictures: Pictures, stage: Stage, given: InitialPoints | None = None
) -> InitialPoints:
    """Points in the mean colour of what a few pictures show there, or as they are given."""
    count = len(pictures)
    chosen = np.unique(np.linspace(0, count - 1, COLOR_VIEWS).round().astype(int))
    images = pictures.images[torch.as_tensor(chosen, device=positions.device)].to(torch.float32) / 255
    values, seen = look_up(images, pictures.table.cameras.take(chosen), positions, stage.near)
    weight = (values[..., 3:] * seen[..., None]).sum(dim=0)
    mean = (values[..., :3] * seen[..., None]).sum(dim=0) / weight.clamp(min=1e-6)
    colors = torch.where(weight > 0.5, mean, torch.full_like(mean, 0.5)).clamp(0, 1).cpu().numpy()
    is_foreground = np.full(len(positions), pictures.see_through)
    return InitialPoints(
        positions.cpu().numpy(),
        colors if given is None else given.colors,
        is_foreground if given is None else given.is_foreground,
    )


def _check_outlines(silhouettes: torch.Tensor, where: str) -> None:
    """That silhouettes [F, H, W] end somewhere: within a thing all of them are full, and their hull is any shape."""
    full = sum(bool((mask > 127).float().mean() >= FULL) for mask in silhouettes)
    if full > ALL_FULL * len(silhouettes):
        raise DatasetError(
            f"{full} of {len(silhouettes)} silhouettes fill their whole picture, so none of them says where the thing "
            "ends: the cameras stand inside it, or too near",
            where=where,
            fix="film it whole, from outside; of a room, give pictures without alpha and masks",
        )


def _check_outside(hull: torch.Tensor, pictures: Pictures, where: str) -> None:
    """That no camera stands among the hull's points: nearer to them than they are to each other."""
    points = hull.cpu().numpy()
    size = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    for c, place in enumerate(pictures.table.cameras.centers):
        away = points - place
        # Surrounded: points close by on all sides.
        near = away[np.linalg.norm(away, axis=1) < 0.5 * size]
        if len(near) and ((near > 0).mean(axis=0) > 0.1).all() and ((near < 0).mean(axis=0) > 0.1).all():
            raise DatasetError(
                f"the camera of picture {pictures.called(c)} stands inside what the silhouettes show",
                where=where,
                fix="check its pose, and that poses and pictures are in the same order",
            )
