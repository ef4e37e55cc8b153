"""From the numbers that files hold to those of `Splats`, block by block, and what of them can be used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .splats import FloatArray, SplatFileError, Splats

SH_C0 = 0.28209479177387814
"""Value of the zeroth real spherical harmonic: colour = 0.5 + SH_C0 · dc."""

Triple = tuple[float, float, float]

SMALLEST_SCALE = 1e-12
"""Scene units; scales of 0 become this, so that their logarithm is finite."""

SMALLEST_OPACITY = 1e-6
"""Written opacities are kept this far from 0 and 1, where the logit is infinite."""

FAR = 1e4
"""Scene units. Beyond it float32 has steps of a thousandth and more: positions are then counted from an origin."""

FAR_SPREAD = 10.0
"""How many times farther from zero than wide a cloud must be for that: it then lies in somebody's map grid."""


def empty(count: int, coefficients: int) -> Splats:
    """`count` Gaussians to be filled in, with K = `coefficients`."""
    return Splats(
        means=np.empty((count, 3), np.float32),
        quats=np.empty((count, 4), np.float32),
        scales=np.empty((count, 3), np.float32),
        opacities=np.empty(count, np.float32),
        colors=np.empty((count, 3), np.float32),
        sh_rest=np.empty((count, coefficients, 3), np.float32) if coefficients else None,
    )


def make_valid(splats: Splats, rows: slice) -> NDArray[np.bool_]:
    """Norm the quaternions of these rows and bound their scales, in place; returns which are finite and usable.

    Opacities are not finite only where they are no number: an infinite logit is 0 or 1.
    """
    quats, scales = splats.quats[rows], splats.scales[rows]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # In float64, where the squares of very long and very short quaternions are numbers too.
        lengths = np.sqrt(np.einsum("ij,ij->i", quats, quats, dtype=np.float64))
        np.divide(quats, lengths[:, None], out=quats, casting="same_kind")
        np.maximum(scales, np.float32(SMALLEST_SCALE), out=scales)  # keeps what is no number
        # A sum is finite only if all of its terms are, and terms that are come nowhere near the end of float32.
        total = np.einsum("ij->i", quats) + splats.opacities[rows]
        for values in (splats.means[rows], scales, splats.colors[rows]):
            total += np.einsum("ij->i", values)
        if splats.sh_rest is not None:
            rest = splats.sh_rest[rows]
            total += rest.reshape(len(rest), -1) @ np.ones(3 * rest.shape[1], np.float32)
    return np.isfinite(total)


def finish(splats: Splats, usable: NDArray[np.bool_], where: str, **said: Any) -> Splats:
    """`splats` with these fields, without what is not usable and without view dependence that is zero everywhere.

    Raises:
        SplatFileError: none is left.
    """
    kept = int(np.count_nonzero(usable))
    if kept == 0:
        raise SplatFileError(
            f"all of its {len(usable)} Gaussians have numbers that are not finite, or rotations of zero",
            where=where,
            fix="export it again from the program that made it",
        )
    splats = replace(splats, **said)
    rest = splats.sh_rest
    with np.errstate(invalid="ignore"):
        if rest is not None and not (rest[:1024].any() or rest.any()):
            splats = replace(splats, sh_rest=None)  # padded for readers that want all 62 properties
    if kept == len(usable):
        return splats
    return replace(splats.take(usable), dropped=len(usable) - kept)


def find_origin(means: NDArray[np.floating]) -> Triple:
    """Where positions [N, 3] should be counted from: zero, or for a cloud far from it whole units near its middle."""
    with np.errstate(invalid="ignore"):  # what is no number warns when it is converted
        sample = np.asarray(means[:: max(1, len(means) // 10_000)], np.float64)
    sample = sample[np.isfinite(sample).all(axis=1)]
    if not len(sample):
        return (0.0, 0.0, 0.0)
    middle = np.median(sample, axis=0)
    spread = float(np.median(np.abs(sample - middle), axis=0).max())
    distance = float(np.abs(middle).max())
    if distance < FAR or distance < FAR_SPREAD * spread:
        return (0.0, 0.0, 0.0)
    x, y, z = np.round(middle)
    return (float(x), float(y), float(z))


def from_origin(splats: Splats, means: NDArray[np.floating], origin: Triple | None) -> Splats:
    """`splats` with positions counted from `origin`, None: from what `find_origin` says; taken off in float64.

    Args:
        splats: with the `origin` that its positions are counted from by now; `means` are overwritten.
        means: [N, 3] the same positions, in float64 where the file has them so.
    """
    base = np.array(splats.origin)
    wanted = np.array(find_origin(means) if origin is None else origin, np.float64)
    if (wanted != base).any():
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, len(means), 1 << 16):
                part = slice(first, first + (1 << 16))
                splats.means[part] = means[part].astype(np.float64) + base - wanted
    x, y, z = wanted.tolist()
    return replace(splats, origin=(x, y, z))


def logit(opacities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of 0..1, kept finite: what 3DGS's files hold."""
    bounded = np.clip(np.asarray(opacities, np.float64), SMALLEST_OPACITY, 1 - SMALLEST_OPACITY)
    return np.log(bounded / (1 - bounded))


def sigmoid(values: FloatArray) -> FloatArray:
    """Opacities 0..1 of logits; an infinite one is 0 or 1."""
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-values))
