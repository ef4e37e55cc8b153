"""A sequence's Gaussians at the current frame, as files hold them: with their highlight beside or in their colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from mathutils import Vector

from .. import attributes, layers, names, presets
from ..highlighter import shown_levels
from ..look.color import DIMMED, GLOW, LUMINANCE, SH_C0, TINT_SHARE
from ..portable.splats import Splats
from ..sequence import Sequence

Array = np.ndarray[Any, np.dtype[np.float32]]


def read(shown: Sequence, scene_frame: float, *, baked: bool) -> Splats:
    """Both clouds as they stand, in the capture's axes, with what is up in Blender as `up`.

    Args:
        baked: whether colours and opacities are those that the layers give, for viewers that know no highlight.
    """
    wanted = (names.POSITION, names.SCALE, names.ROTATION, names.RADIANCE, names.HIGHLIGHT)
    parts = [[attributes.read(cloud, name) for cloud in shown.clouds] for name in wanted]
    positions, scales, rotations, radiance, highlight = (np.concatenate(part) for part in parts)
    dc, opacities = radiance[:, :3], radiance[:, 3]
    if baked:
        dc, opacities = _as_shown(shown, scene_frame, dc, opacities)
    return Splats(
        means=positions,
        quats=rotations,
        scales=scales,
        opacities=opacities,
        colors=dc,
        extra={names.HIGHLIGHT: highlight},
        up=_up(shown),
    )


def _up(shown: Sequence) -> tuple[float, float, float]:
    """Blender's Z axis, in the axes of a sequence."""
    x, y, z = (shown.empty.matrix_world.to_3x3().inverted_safe() @ Vector((0, 0, 1))).normalized()
    return x, y, z


def _as_shown(shown: Sequence, scene_frame: float, dc: Array, opacities: Array) -> tuple[Array, Array]:
    """Coefficients and opacities under the layers, by the node groups' formulas."""
    amounts = presets.amounts(shown.empty, scene_frame)
    strongest, tint = _layers(shown, scene_frame)
    captured = _linear(np.clip(0.5 + SH_C0 * dc, 0, 1))
    brightness = (captured * np.asarray(LUMINANCE, np.float32)).sum(axis=1, keepdims=True)
    lit = captured + strongest * amounts.tint * TINT_SHARE * (tint * (brightness + GLOW) - captured)
    lit += amounts.desaturate * (1 - strongest) * (brightness * DIMMED - lit)
    changed = (strongest[:, 0] * amounts.tint > 0) | ((1 - strongest[:, 0]) * amounts.desaturate > 0)
    baked = dc.copy()
    baked[changed] = (_encoded(lit[changed]) - 0.5) / SH_C0
    return baked, opacities * (1 - amounts.isolate * (1 - strongest[:, 0]))


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
