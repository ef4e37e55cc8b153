"""An object's shape at its first moment, as Gaussians: what every road gives, and motion is then found for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb

OPACITY = 0.9
THIN = 0.3
"""Thickness of a surface's Gaussians, of their spacing."""
OVERLAP = 0.5
"""Deviation of a Gaussian along the surface, of the spacing: neighbours close up."""
STEEPEST = 5.0
"""Times the spacing that a Gaussian may be long where the surface turns away."""


@dataclass(frozen=True)
class Shape:
    """N Gaussians at the first moment.

    Attributes:
        gaussians: numpy.
        seen: [N] float32 0..1: 0 where no picture shows them, and their look is a guess.
    """

    gaussians: Gaussians
    seen: NDArray[np.float32]


def surface(
    places: NDArray[np.float64],
    along: NDArray[np.float64],
    across: NDArray[np.float64],
    colors: NDArray[np.float32],
) -> Gaussians:
    """Flat Gaussians on a surface.

    Args:
        places: [N, 3] scene units.
        along, across: [N, 3] steps from each to its two neighbours on the surface, scene units.
        colors: [N, 3] RGB 0..1.
    """
    normal = np.cross(along, across)
    size = np.linalg.norm(normal, axis=1, keepdims=True)
    normal /= np.maximum(size, 1e-12)
    # The ellipse that two steps span has their matrix's singular values as axes.
    both = np.stack([along, across], axis=2)
    axes, lengths, _ = np.linalg.svd(both, full_matrices=False)
    spacing = float(np.median(lengths[:, 1]))
    lengths = np.clip(lengths, 0.5 * spacing, STEEPEST * spacing)
    frame = np.stack([axes[:, :, 0], axes[:, :, 1], np.cross(axes[:, :, 0], axes[:, :, 1])], axis=2)
    quats = Rotation.from_matrix(frame).as_quat()[:, [3, 0, 1, 2]]
    scales = np.concatenate([OVERLAP * lengths, np.full((len(places), 1), THIN * spacing)], axis=1)
    return Gaussians(
        means=places.astype(np.float32),
        quats=quats.astype(np.float32),
        scales=scales.astype(np.float32),
        opacities=np.full(len(places), OPACITY, np.float32),
        colors=dc_from_rgb(colors),
        is_foreground=np.ones(len(places), np.bool_),
    )


def solid_colors(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[S, S, 3] RGB 0..1 of a picture [S, S, 4] (colours times alpha), where something is of it; those of faint pixels
    are the nearest solid ones', as what is left of a faint colour is noise."""
    from scipy.ndimage import distance_transform_edt

    alpha = picture[..., 3].astype(np.float32) / 255
    color = picture[..., :3].astype(np.float32) / 255 / np.maximum(alpha, 1e-3)[..., None]
    rows, columns = distance_transform_edt(alpha < 0.9, return_distances=False, return_indices=True)
    near: NDArray[np.float32] = color[rows, columns].clip(0, 1)
    return near
