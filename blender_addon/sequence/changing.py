"""What every frame has anew of points that move, beside place, rotation and colour: scales, opacities, view dependence.

All of it is mixed linearly between two frames.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from .. import names
from ..cache.frames import STEPS, RunCache
from . import attributes

Array = np.ndarray[Any, Any]


class Changing:
    """Of one sequence whose `Description.changing` names anything."""

    def __init__(self, cache: RunCache) -> None:
        self._cache, its = cache, cache.description
        self._has_scales, self._has_opacities = "scales" in its.changing, "opacities" in its.changing
        self._sh = its.sh if "sh_rest" in its.changing else 0
        self._values = np.empty((its.num_dynamic, 3), np.float32)

    def opacities(self, frame: int, share: float, otherwise: Array) -> Array:
        """[M] float32 of those alive, at a moment; `otherwise` where they do not change."""
        if not self._has_opacities:
            return otherwise
        return self._mixed("opacities", frame, share, np.empty(len(otherwise), np.float32))

    def show(self, cloud: bpy.types.PointCloud, frame: int, share: float, *, sh: bool) -> None:
        """Write a moment's scales and, with `sh`, view dependence."""
        if self._has_scales:
            attributes.write(cloud, names.SCALE, "FLOAT_VECTOR", self._mixed("scales", frame, share, self._values))
        for index in range(self._sh if sh else 0):
            values = self._mixed(f"sh_{index}", frame, share, self._values)
            attributes.write(cloud, names.sh_attribute(index), "FLOAT_VECTOR", values)

    def _mixed(self, name: str, frame: int, share: float, out: Array) -> Array:
        step = np.float32(1.0) if name == "scales" else STEPS[name]
        np.multiply(self._cache.frame(frame)[name], step * np.float32(1.0 - share), out=out)
        if share:
            out += self._cache.frame(frame + 1)[name] * (step * np.float32(share))
        return out
