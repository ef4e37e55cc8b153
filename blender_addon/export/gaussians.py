"""A sequence's Gaussians at the current frame, as files hold them: with their highlight beside or in their colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from mathutils import Vector

from .. import names
from ..declare import triple
from ..layers import presets
from ..portable import look
from ..portable.look import NUMPY
from ..portable.splats import Splats
from ..portable.values import SH_C0
from ..selection import grades, mask
from ..sequence import attributes
from ..sequence.highlighter import strongest_and_tint
from ..sequence.sequence import Sequence

Array = np.ndarray[Any, np.dtype[Any]]

SLOPE_STEP = 0.02
"""Of encoded colours: how far beside a colour it is seen what a grade does to differences."""


def read(shown: Sequence, scene_frame: float, *, baked: bool, looks: Sequence | None = None) -> Splats:
    """All clouds as they stand, in the capture's axes, with what is up in Blender as `up`; no deleted or hidden point.

    Args:
        scene_frame: as F-curves count.
        baked: whether colours and opacities are those that the layers give, for viewers that know no highlight. Grades
            are in the colours either way.
        looks: the sequence as Blender evaluated it at this frame; without it what it is is told ahead.
    """
    looks = looks or shown
    wanted = (names.POSITION, names.SCALE, names.ROTATION, names.RADIANCE, names.HIGHLIGHT)
    parts = [[attributes.read(cloud, name) for cloud in shown.clouds] for name in wanted]
    positions, scales, rotations, radiance, highlight = (np.concatenate(part) for part in parts)
    dc, opacities, rest = radiance[:, :3], radiance[:, 3], _rest(shown)
    dc, rest = _graded(shown, looks, scene_frame, dc, rest)
    extra = {names.HIGHLIGHT: highlight}
    if shown.its.has_seen:
        extra[names.SEEN] = np.concatenate([attributes.read(cloud, names.SEEN) for cloud in shown.clouds])
    if baked:
        dc, opacities, changed = _as_shown(shown, looks, scene_frame, dc, opacities)
        if rest is not None:
            rest[changed] = 0.0  # a layer's colour is the same from everywhere
    keep = mask.kept_of(shown.clouds)
    return Splats(
        means=positions[keep],
        quats=rotations[keep],
        scales=scales[keep],
        opacities=opacities[keep],
        colors=dc[keep],
        sh_rest=None if rest is None else rest[keep],
        extra={name: values[keep] for name, values in extra.items()},
        up=_up(looks),
    )


def _graded(
    shown: Sequence, looks: Sequence, scene_frame: float, dc: Array, rest: Array | None
) -> tuple[Array, Array | None]:
    """Coefficients and view dependence under the sequence's grades; the latter as far as it is linear."""
    found = grades.at(looks, scene_frame)
    if not found:
        return dc, rest

    def encoded(offset: float) -> Array:
        """[N, 3] sRGB-encoded graded colours, of captured ones that are brighter by so much."""
        light = NUMPY.linear(np.clip(0.5 + SH_C0 * dc + np.float32(offset), 0, 1))
        parts, start = [], 0
        for cloud in shown.clouds:
            part = light[start : start + len(cloud.points)]
            parts.append(grades.colored(looks, cloud, scene_frame, part, grades=found))
            start += len(part)
        return NUMPY.encoded(np.concatenate(parts))

    if rest is not None:
        slope = (encoded(SLOPE_STEP) - encoded(-SLOPE_STEP)) / (2 * SLOPE_STEP)
        rest = (rest * slope[:, None, :]).astype(np.float32)
    return ((encoded(0.0) - 0.5) / SH_C0).astype(np.float32), rest


def _rest(shown: Sequence) -> Array | None:
    """[N, K, 3] view dependence; None where there is none."""
    count = shown.its.num_sh
    if not count:
        return None
    points = sum(len(cloud.points) for cloud in shown.clouds)
    found, start = np.zeros((points, count, 3), np.float32), 0
    for cloud in shown.clouds:
        rows = found[start : start + len(cloud.points)]
        for index in range(count):
            if (name := names.sh_attribute(index)) in cloud.attributes:
                rows[:, index] = attributes.read(cloud, name)
        start += len(rows)
    return found


def _up(shown: Sequence) -> tuple[float, float, float]:
    """Blender's Z axis, in the axes of a sequence."""
    return triple((shown.to_world.to_3x3().inverted_safe() @ Vector((0, 0, 1))).normalized().to_tuple())


def _as_shown(
    shown: Sequence, looks: Sequence, scene_frame: float, dc: Array, opacities: Array
) -> tuple[Array, Array, Array]:
    """Coefficients and opacities under the layers, and [N] whose colour they change."""
    amounts = presets.amounts(looks.empty, scene_frame)
    parts = [strongest_and_tint(looks, cloud, scene_frame) for cloud in shown.clouds]
    strongest, tint = (np.concatenate(part) for part in zip(*parts, strict=True))
    changed = look.changed(strongest, amounts)
    captured = NUMPY.linear(np.clip(0.5 + SH_C0 * dc[changed], 0, 1))
    lit = look.colored(NUMPY, captured, strongest[changed], tint[changed], amounts)
    baked = dc.copy()
    baked[changed] = (NUMPY.encoded(lit) - 0.5) / SH_C0
    return baked, look.opacity(NUMPY, opacities, strongest, amounts), changed
