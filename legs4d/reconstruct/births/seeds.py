"""Where new Gaussians begin: on the surfaces that pictures show and no Gaussian does.

A compact patch of pixels that differ is lifted to the depth of what is there: of a moving thing its own Gaussians, of
the background what lies around the patch. It counts where another camera sees the same there, and lacks it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.reconstruct.births.evidence import FOREGROUND
from legs4d.reconstruct.births.patches import patches, widened
from legs4d.reconstruct.views import look_up, project
from legs4d.scene.camera import Cameras

UNLIKE = 0.1
"""Mean absolute difference over the channels from which a pixel is not explained; noise and outlines lie below."""
ALIKE = 0.12
"""Up to which two cameras' pixels show the same."""
BEHIND = 1.03
"""Times the distance of what hides it: there at least is what is hidden."""
WIDTH = 0.6
"""Standard deviation of a new Gaussian, in pixels of the camera that gave it."""
OPACITY = 0.8
"""Of a new Gaussian: it is part of a surface."""


@dataclass(frozen=True)
class Seeds:
    """B places of a frame where a Gaussian lacks.

    Attributes:
        positions: [B, 3]; widths: [B] scene units; rgb: [B, 3] without the cameras' own colours.
        moving: [B] bool, whether foreground is seen there; label: [B] the id in the object masks, 0 for none.
    """

    positions: NDArray[np.float32]
    widths: NDArray[np.float32]
    rgb: NDArray[np.float32]
    moving: NDArray[np.bool_]
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> Seeds:
        return Seeds(*(getattr(self, name)[index] for name in ("positions", "widths", "rgb", "moving", "label")))


@dataclass(frozen=True)
class Views:
    """What is needed of a frame to find seeds, all [C, H, W].

    Attributes:
        cameras: C views.
        target: [C, H, W, 3] pictures without the cameras' own colours.
        lacking: bool, pixels that are not explained (`lacking`).
        masks: share of foreground; labels: ids of objects, 0 for none.
        depth_moving, depth_still: camera z of what moves and of what does not, nan where there is none.
        hidden: how far what moves hides this pixel in other frames, camera z; 0 where it never does.
    """

    cameras: Cameras
    target: NDArray[np.float32]
    lacking: NDArray[np.bool_]
    masks: NDArray[np.float32]
    labels: NDArray[np.integer]
    depth_moving: NDArray[np.float32]
    depth_still: NDArray[np.float32]
    hidden: NDArray[np.float32]


def lacking(off: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[C, H, W] bool: compact patches of pixels whose difference [C, H, W] is not noise."""
    return patches(off > UNLIKE)


def find_seeds(views: Views, near: float, device: torch.device) -> Seeds:
    """Places in one frame where something is seen that nothing shows; none where nothing lacks. The device compares
    cameras."""
    parts = [_of_view(views, view) for view in range(len(views.cameras)) if views.lacking[view].any()]
    if not parts:
        return nothing()
    found = together(parts)
    found = found.take(_borne_out(found, views, near, device))
    return found.take(thinned(found.positions, found.widths / WIDTH))


def together(parts: list[Seeds]) -> Seeds:
    """Several sets, one after the other."""
    names = ("positions", "widths", "rgb", "moving", "label")
    return Seeds(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def nothing() -> Seeds:
    """No seeds."""
    none = np.zeros((0, 3), np.float32)
    return Seeds(none, none[:, 0], none, np.zeros(0, np.bool_), np.zeros(0, np.int64))


def _of_view(views: Views, view: int) -> Seeds:
    """Every lacking pixel of a view, at the depth of what is there."""
    lack, moving = views.lacking[view], views.masks[view] >= FOREGROUND
    label = np.where(moving, views.labels[view], 0)
    depth = np.full(lack.shape, np.nan, np.float32)
    for value in np.unique(label[lack & moving]):
        part = moving & (label == value)
        known = part & np.isfinite(views.depth_moving[view])
        depth = np.where(part, _nearest(views.depth_moving[view], known), depth)
    still = ~widened(moving)
    known = still & ~widened(lack, 2) & np.isfinite(views.depth_still[view])
    behind = np.maximum(_nearest(views.depth_still[view], known), BEHIND * views.hidden[view])
    depth = np.where(moving, depth, behind)
    row, column = np.nonzero(lack & np.isfinite(depth) & (moving | still))
    z = depth[row, column]
    intrinsics = views.cameras.intrinsics[view].astype(np.float64)
    pixels = np.stack([column + 0.5, row + 0.5, np.ones(len(row))], axis=1)
    rays = pixels @ np.linalg.inv(intrinsics).T
    pose = views.cameras.world_to_camera[view].astype(np.float64)
    positions = (rays * z[:, None] - pose[:3, 3]) @ pose[:3, :3]
    return Seeds(
        positions.astype(np.float32),
        (WIDTH * z / intrinsics[0, 0]).astype(np.float32),
        views.target[view, row, column],
        moving[row, column],
        label[row, column].astype(np.int64),
    )


def _nearest(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[H, W] everywhere the value of the nearest known pixel; nan where none is known."""
    if not known.any():
        return np.full(values.shape, np.nan, np.float32)
    row, column = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return values[row, column]


def _borne_out(seeds: Seeds, views: Views, near: float, device: torch.device) -> NDArray[np.bool_]:
    """[B] bool: two cameras or more see what a seed shows, where they lack it."""
    wide = widened(views.lacking)
    told = np.concatenate([views.target, wide[..., None], views.masks[..., None]], axis=-1).astype(np.float32)
    points = torch.from_numpy(seeds.positions).to(device)
    found = look_up(torch.from_numpy(told).to(device), views.cameras, points, near)
    values, seen = (part.cpu().numpy() for part in found)
    alike = np.abs(values[..., :3] - seeds.rgb).mean(axis=-1) < ALIKE
    same = (values[..., 4] >= FOREGROUND) == seeds.moving
    return (seen & alike & same & (values[..., 3] > 0.5)).sum(axis=0) >= 2


def thinned(positions: NDArray[np.float32], spacing: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of positions [B, 3] of which no two are nearer than the spacing [B] of the earlier one."""
    left, kept = np.ones(len(positions), np.bool_), []
    if not len(positions):
        return np.zeros(0, np.int64)
    tree = cKDTree(positions)
    for one, around in enumerate(tree.query_ball_point(positions, spacing)):
        if left[one]:
            kept.append(one)
            left[around] = False
    return np.array(kept, np.int64)


def covered(positions: torch.Tensor, cameras: Cameras, near: float) -> NDArray[np.bool_]:
    """[C, H, W] bool: pixels near one that a position [B, 3] falls into."""
    marked = np.zeros((len(cameras), cameras.height, cameras.width), np.bool_)
    pixel, seen = (values.cpu().numpy() for values in project(cameras, positions, near))
    for view in range(len(cameras)):
        column, row = pixel[view, seen[view]].T
        marked[view, row, column] = True
    return widened(marked)


def round_gaussians(
    positions: NDArray[np.float32], widths: NDArray[np.floating], rgb: NDArray[np.float32], moving: NDArray[np.bool_]
) -> Gaussians:
    """New Gaussians at positions [B, 3], with standard deviations [B], colours [B, 3] and whether they move [B]."""
    quats = np.zeros((len(positions), 4), np.float32)
    quats[:, 0] = 1
    return Gaussians(
        means=positions,
        quats=quats,
        scales=np.repeat(widths[:, None], 3, axis=1).astype(np.float32),
        opacities=np.full(len(positions), OPACITY, np.float32),
        colors=dc_from_rgb(rgb),
        is_foreground=moving,
    )
