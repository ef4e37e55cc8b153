"""How thick an object is behind its silhouette, where nothing tells: blown up, as round or as square as its outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter

from legs4d.priors.depth.inflation import Inflation
from legs4d.priors.opencv import opencv

Floats = NDArray[np.float64]
_DISC = 1.08
"""Poisson's height over the radius of the largest disc inside, of a disc of pixels: its rim is rough."""


@dataclass(frozen=True)
class ShapeSettings:
    """How silhouettes are blown up; chosen on the calibration scenes of `scripts/training`, which judge nothing.

    Attributes:
        round_limbs: share of a bar's thickness by which Poisson's is reduced to that of a round bar (1: wholly).
        square: exponent of the profile of things whose outline has corners; 1 is Poisson's own.
        flat: most thickness, as a share of the silhouette's shorter side.
    """

    round_limbs: float = 1.0
    square: float = 0.35
    flat: float = 1.0


def half_thickness(mask: NDArray[np.bool_], settings: ShapeSettings | None = None) -> Floats:
    """[H, W] pixels that the surface stands out to either side of the middle; 0 outside.

    √u of Poisson's equation ∇²u = −4 is a half ball over a disc, but √2 too thick over a bar, whose section should be
    round; what is rounder is the height of the balls that fit into the silhouette, h² = max (R² − d²) over its middles.
    """
    own = settings or ShapeSettings()
    inside = mask.astype(np.float32)
    poisson = Inflation().disparity(np.zeros((1, *mask.shape, 3), np.float32), inside[None])[0].astype(np.float64)
    if not poisson.any():
        return poisson
    reach = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    ridge = mask & (reach >= maximum_filter(reach, size=3)) & (reach > 0.4 * reach.max())
    ratio = float(np.mean(poisson[ridge] / reach[ridge]))
    slim = float(np.clip((ratio - _DISC) / (2**0.5 - _DISC), 0, 1))
    thick = poisson / (1 + own.round_limbs * slim * (2**0.5 - 1))
    squareness = corners(mask)
    if squareness > 0:
        top = float(thick.max())
        power = 1 - squareness * (1 - own.square)
        thick = top * (thick / top) ** power
    return np.where(mask, thick, 0.0)


def corners(mask: NDArray[np.bool_]) -> float:
    """0..1 how much the outline is one of few straight sides (a box from any side), not round and not ragged."""
    cv2 = opencv("outlines of objects")
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0.0
    outline = max(outlines, key=cv2.contourArea)
    area = float(mask.sum())
    hull = cv2.convexHull(outline)
    whole = float(cv2.contourArea(hull)) + cv2.arcLength(hull, True) / 2 + 1  # of pixels, not of their middles
    convex = area / whole
    if area < 60 or convex < 0.92:
        return 0.0
    around = cv2.arcLength(hull, True)
    polygon = cv2.approxPolyDP(hull, 0.035 * around, True)
    if not 4 <= len(polygon) <= 7:
        return 0.0
    # distance of the hull from that polygon, against that of the ellipse of the same moments
    points = hull[:, 0].astype(np.float64)
    dense = _along(points, 200)
    straight = np.mean(
        [abs(cv2.pointPolygonTest(polygon.astype(np.float32), (float(x), float(y)), True)) for x, y in dense]
    )
    rows, columns = np.nonzero(mask)
    place = np.stack([columns, rows], 1).astype(np.float64)
    middle = place.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((place - middle).T))
    axes = 2 * np.sqrt(np.maximum(values, 1e-9))
    turned = (dense - middle) @ vectors
    radius = np.sqrt(np.maximum(((turned / axes) ** 2).sum(axis=1), 1e-9))
    ragged = np.mean(np.abs(radius - 1) * np.linalg.norm(turned, axis=1) / radius)
    return float(np.clip((ragged - straight) / max(0.25 * (ragged + straight), 0.2), 0, 1))


def _along(points: Floats, count: int) -> Floats:
    """[count, 2] evenly spaced along a closed outline."""
    closed = np.concatenate([points, points[:1]])
    steps = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    at = np.concatenate([[0], np.cumsum(steps)])
    where = np.linspace(0, at[-1], count, endpoint=False)
    return np.stack([np.interp(where, at, closed[:, axis]) for axis in (0, 1)], axis=1)
