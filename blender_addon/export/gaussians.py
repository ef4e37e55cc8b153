"""A sequence's Gaussians at the current frame, as files hold them: with their highlight beside or in their colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from mathutils import Vector

from .. import names
from ..layers import layers, presets
from ..look.color import DIMMED, GLOW, LUMINANCE, SH_C0, TINT_SHARE
from ..portable.splats import Splats
from ..sequence import attributes
from ..sequence.highlighter import shown_levels
from ..sequence.sequence import Sequence

Array = np.ndarray[Any, np.dtype[np.float32]]


def read(shown: Sequence, scene_frame: float, *, baked: bool) -> Splats:
    """All clouds as they stand, in the capture's axes, with what is up in Blender as `up`.

    Args:
        baked: whether colours and opacities are those that the layers give, for viewers that know no highlight.
    """
    wanted = (names.POSITION, names.SCALE, names.ROTATION, names.RADIANCE, names.HIGHLIGHT)
    parts = [[attributes.read(cloud, name) for cloud in shown.clouds] for name in wanted]
    positions, scales, rotations, radiance, highlight = (np.concatenate(part) for part in parts)
    dc, opacities, rest = radiance[:, :3], radiance[:, 3], _rest(shown)
    extra = {names.HIGHLIGHT: highlight}
    if shown.empty.legs4d.has_seen:
        extra[names.SEEN] = np.concatenate([attributes.read(cloud, names.SEEN) for cloud in shown.clouds])
    if baked:
        dc, opacities, changed = _as_shown(shown, scene_frame, dc, opacities)
        if rest is not None:
            rest[changed] = 0.0  # a layer's colour is the same from everywhere
    return Splats(
        means=positions,
        quats=rotations,
        scales=scales,
        opacities=opacities,
        colors=dc,
        sh_rest=rest,
        extra=extra,
        up=_up(shown),
    )


def _rest(shown: Sequence) -> Array | None:
    """[N, K, 3] view dependence; None where there is none."""
    count = shown.empty.legs4d.num_sh
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
    x, y, z = (shown.empty.matrix_world.to_3x3().inverted_safe() @ Vector((0, 0, 1))).normalized()
    return x, y, z


def _as_shown(shown: Sequence, scene_frame: float, dc: Array, opacities: Array) -> tuple[Array, Array, Array]:
    """Coefficients and opacities under the layers, by the node groups' formulas, and [N] whose colour they change."""
    amounts = presets.amounts(shown.empty, scene_frame)
    strongest, tint = _layers(shown, scene_frame)
    captured = _linear(np.clip(0.5 + SH_C0 * dc, 0, 1))
    brightness = (captured * np.asarray(LUMINANCE, np.float32)).sum(axis=1, keepdims=True)
    lit = captured + strongest * amounts.tint * TINT_SHARE * (tint * (brightness + GLOW) - captured)
    lit += amounts.desaturate * (1 - strongest) * (brightness * DIMMED - lit)
    changed = (strongest[:, 0] * amounts.tint > 0) | ((1 - strongest[:, 0]) * amounts.desaturate > 0)
    baked = dc.copy()
    baked[changed] = (_encoded(lit[changed]) - 0.5) / SH_C0
    return baked, opacities * (1 - amounts.isolate * (1 - strongest[:, 0])), changed


def _layers(shown: Sequence, scene_frame: float) -> tuple[Array, Array]:
    """[N, 1] the strongest layer's weight, and [N, 3] the layers' mean tint."""
    points = sum(len(cloud.points) for cloud in shown.clouds)
    strongest, total = np.zeros((points, 1), np.float32), np.full((points, 1), 1e-4, np.float32)
    tints = np.zeros((points, 3), np.float32)
    for weight in layers.weights(shown, scene_frame):
        attribute = names.layer_attribute(weight.layer_id)
        if weight.weight <= 0.0 or any(attribute not in cloud.attributes for cloud in shown.clouds):
            continue
        relevancy = np.concatenate([attributes.read(cloud, attribute) for cloud in shown.clouds])
        amount = shown_levels(weight)[(relevancy * 255 + 0.5).astype(np.uint8)][:, None]
        np.maximum(strongest, amount, out=strongest)
        total += amount
        tints += amount * np.asarray(layers.find(shown, weight.layer_id).color, np.float32)
    return strongest, tints / total


def _linear(encoded: Array) -> Array:
    curved = ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, curved).astype(np.float32)


def _encoded(values: Array) -> Array:
    curved = 1.055 * np.maximum(values, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(values <= 0.0031308, values * 12.92, curved).astype(np.float32)
