"""Splats brought into the axes of what holds them (nodes of glTF and USD): any affine map, and several parts as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.portable.sh import COEFFICIENTS, rotate
from legs4d.portable.splats import FloatArray, SplatFileError, Splats
from legs4d.portable.turns import multiply, rotation_matrix
from legs4d.portable.values import FAR, finish, make_valid

_UNIFORM = 1e-5
"""Relative difference of a map's stretches under which it keeps shapes."""


def placed(splats: Splats, matrix: NDArray[np.floating]) -> Splats:
    """Under an affine map [4, 4] that acts on columns.

    Shapes follow exactly, whatever the map. Colours follow its rotation (the nearest one, where it is none), a mirror
    included.
    """
    linear, shift = np.asarray(matrix, np.float64)[:3, :3], np.asarray(matrix, np.float64)[:3, 3]
    if np.array_equal(linear, np.eye(3)) and not shift.any():
        return splats
    origin = np.round(shift) if np.abs(shift).max() > FAR else np.zeros(3)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is dropped and counted by `usable`
        return _placed(splats, linear, shift, origin)


def _placed(
    splats: Splats, linear: NDArray[np.float64], shift: NDArray[np.float64], origin: NDArray[np.float64]
) -> Splats:
    left, stretches, right = np.linalg.svd(linear)
    turn = left @ right
    mirrored = np.linalg.det(turn) < 0
    if mirrored:
        turn = -turn
    if stretches[0] - stretches[2] <= _UNIFORM * stretches[0]:
        # a mirror in the centre changes no ellipsoid
        quats = multiply(quaternions(turn[None]), splats.quats.astype(np.float64)).astype(np.float32)
        scales = splats.scales * np.float32(stretches.mean())
    else:
        quats, scales = _sheared(splats, linear)
    rest = splats.sh_rest
    if rest is not None:
        rest = rotate(rest, turn)
        if mirrored:  # Y(-d) = (-1)^l Y(d)
            rest[:, : COEFFICIENTS[1]] *= -1
            rest[:, COEFFICIENTS[2] :] *= -1
    means = (splats.means.astype(np.float64) @ linear.T + (shift - origin)).astype(np.float32)
    x, y, z = (float(value) for value in origin)
    return replace(splats, means=means, quats=quats, scales=scales, sh_rest=rest, origin=(x, y, z))


def joined(parts: list[Splats]) -> Splats:
    """One after the other, from the first one's origin; view dependence is padded, what not all have is left out."""
    first = parts[0]
    if len(parts) == 1:
        return first
    width = max(0 if part.sh_rest is None else part.sh_rest.shape[1] for part in parts)
    shifts = [np.subtract(part.origin, first.origin) for part in parts]
    common = set.intersection(*(set(part.extra) for part in parts))
    return replace(
        first,
        means=np.concatenate([(p.means + s).astype(np.float32) for p, s in zip(parts, shifts, strict=True)]),
        quats=np.concatenate([part.quats for part in parts]),
        scales=np.concatenate([part.scales for part in parts]),
        opacities=np.concatenate([part.opacities for part in parts]),
        colors=np.concatenate([part.colors for part in parts]),
        sh_rest=np.concatenate([_padded(part, width) for part in parts]) if width else None,
        extra={name: np.concatenate([part.extra[name] for part in parts]) for name in sorted(common)},
        dropped=sum(part.dropped for part in parts),
    )


def usable(splats: Splats, where: str) -> Splats:
    """Those whose numbers are all finite, with unit quaternions and values in range; the others are counted.

    Raises:
        DatasetError: none is left.
    """
    own = replace(
        splats, quats=splats.quats.copy(), scales=splats.scales.copy(), opacities=np.clip(splats.opacities, 0, 1)
    )
    try:
        return finish(own, make_valid(own, slice(0, len(own))), where)
    except SplatFileError as error:
        raise DatasetError(error.what, where=error.where, fix=error.fix) from error


def quaternions(matrices: NDArray[np.floating]) -> NDArray[np.float64]:
    """[N, 4] wxyz of rotations [N, 3, 3], w >= 0: the eigenvector of Bar-Itzhack's symmetric matrix."""
    m = np.asarray(matrices, np.float64)
    k = np.empty((len(m), 4, 4))
    trace = np.trace(m, axis1=1, axis2=2)
    k[:, 0, 0] = trace
    k[:, 1:, 1:] = m + np.swapaxes(m, 1, 2) - trace[:, None, None] * np.eye(3)
    k[:, 0, 1:] = k[:, 1:, 0] = np.stack([m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], 1)
    quats = np.linalg.eigh(k)[1][:, :, 3]
    return quats * np.where(quats[:, :1] < 0, -1.0, 1.0)


def unbroken(quats: NDArray[np.floating]) -> NDArray[np.floating]:
    """[T, ..., 4] the same rotations, each as that of its two quaternions that is nearer to the one before.

    Then what is put between them does not leap.
    """
    leaps = (quats[1:] * quats[:-1]).sum(axis=-1) < 0
    found = quats.copy()
    found[1:] *= np.where(np.logical_xor.accumulate(leaps, axis=0), -1, 1)[..., None]
    return found


def _sheared(splats: Splats, linear: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Rotations and scales of the ellipsoids' images: the axes of A R S."""
    roots = linear @ rotation_matrix(splats.quats) * splats.scales[:, None, :].astype(np.float64)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(roots).all(axis=(1, 2)))
    axes, lengths, _ = np.linalg.svd(np.where(finite[:, None, None], roots, 0))
    axes[:, :, 2] *= np.where(np.linalg.det(axes) < 0, -1.0, 1.0)[:, None]
    lengths = np.where(finite[:, None], lengths, np.nan)  # dropped and counted later
    return quaternions(axes).astype(np.float32), lengths.astype(np.float32)


def _padded(part: Splats, width: int) -> FloatArray:
    padded = np.zeros((len(part), width, 3), np.float32)
    if part.sh_rest is not None:
        padded[:, : part.sh_rest.shape[1]] = part.sh_rest
    return padded
