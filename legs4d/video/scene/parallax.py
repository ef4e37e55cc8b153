"""How far away an object is that stands still while the camera moves: rays to its points meet there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.video.scene.filming import Filming

Floats = NDArray[np.float64]
POINTS = 300
"""Of an object."""
SHORTEST = 6
"""Frames in which it has to stand still."""
OFF = 1.5
"""Pixels, of pictures 480 wide, that a point of something at rest is off where its rays meet, in the median at most."""
UNSURE = 0.25
"""Pixels, likewise, by which points are never surer."""
TIMES = 12
"""Of what a point is off, how far rays have to be apart: then its distance is known to a twelfth."""
ALIKE = 0.5
"""Share of the points that have to agree."""
HALVES = 0.08
"""By how much the distances of a window's halves may differ: what moves evenly along the camera's way seems to rest at
a wrong distance, but not for long."""


def parallax_distances(bent: list[Floats], there: NDArray[np.bool_], filming: Filming) -> Floats:
    """[T] by what factor the object's frame has to grow for its points to stand still; NaN where they do not.

    Args:
        bent: T, [N, 3] places of the object's points in the cameras' axes, for a factor of 1.

    Points are looked at over all frames first, then over halves and quarters of them: of what rests now and then, the
    rest is found.
    """
    found = np.full(len(bent), np.nan)
    frames = np.flatnonzero(there)
    if not filming.moves or len(frames) < SHORTEST:
        return found
    rows = np.linspace(0, len(bent[0]) - 1, min(POINTS, len(bent[0]))).astype(int)
    places = np.stack([bent[frame][rows] for frame in frames])  # [F, P, 3]
    for parts in (1, 2, 4):
        length = len(frames) // parts
        if length < SHORTEST:
            break
        for start in range(0, len(frames) - length + 1, max(1, length // 2)):
            window = np.s_[start : start + length]
            if np.isfinite(found[frames[window]]).all():
                continue
            factors = _still(places[window], frames[window], filming)
            if factors is not None:
                known = np.isfinite(found[frames[window]])
                found[frames[window]] = np.where(known, found[frames[window]], factors)
    return found


def _still(places: Floats, frames: NDArray[np.int64], filming: Filming) -> Floats | None:
    """[F] factors by which points [F, P, 3] stand still in these frames; None where they do not."""
    met = _meet(places, frames, filming)
    if met is None:
        return None
    factors, unsure = met
    half = len(frames) // 2
    if half >= SHORTEST:
        for part in (np.s_[:half], np.s_[half:]):
            own = _meet(places[part], frames[part], filming, sure=False)
            if own is None:
                return None
            off = abs(np.log(float(np.median(own[0])) / float(np.median(factors[part]))))
            if off > max(HALVES, own[1]):
                return None
    return factors if unsure < 1 else None


def _meet(
    places: Floats, frames: NDArray[np.int64], filming: Filming, *, sure: bool = True
) -> tuple[Floats, float] | None:
    """([F] factors, relative error of them) where the rays to points meet; None where they do not.

    Args:
        sure: whether rays have to be far enough apart.
    """
    turns = np.stack([filming.turn(int(frame)) for frame in frames])
    centers = np.stack([filming.center(int(frame)) for frame in frames])
    focal = float(filming.intrinsics[frames[0], 0, 0])
    unit = filming.width / 480 / focal
    rays = np.einsum("fji,fpj->fpi", turns, places)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]  # [F, P, 3, 3]
    matrix = across.sum(axis=0)
    aim = np.einsum("fpij,fj->pi", across, centers)
    if np.linalg.cond(matrix).min() > 1e8:
        return None
    meets = np.linalg.solve(matrix + 1e-12 * np.eye(3), aim[..., None])[..., 0]  # [P, 3]
    inside = np.einsum("fij,fpj->fpi", turns, meets[None] - centers[:, None])
    ahead = (inside[..., 2] > 0).all(axis=0)
    seen = inside[..., :2] / np.where(ahead[:, None], inside[..., 2:], 1)
    off = np.median(np.linalg.norm(seen - places[..., :2] / places[..., 2:], axis=-1), axis=0)
    apart = np.arccos(np.clip(np.einsum("fpi,pi->fp", rays, rays.mean(axis=0)), -1, 1)).max(axis=0) * 2
    wrong = np.maximum(off, UNSURE * unit)
    good = ahead & (off < OFF * unit)
    if sure:
        good &= apart > TIMES * wrong
    if good.mean() < ALIKE:
        return None
    factors = np.median(inside[:, good, 2] / places[:, good, 2], axis=1)
    return factors, float(np.median(wrong[good] / np.maximum(apart[good], 1e-9)))
