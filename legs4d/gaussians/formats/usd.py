"""3D Gaussians in USD (.usd, .usda, .usdc, .usdz): prims of the type ParticleField3DGaussianSplat, read.

A stage holds any number of them, and whole sequences: what has time samples is read at each. `usd_writer` writes them.
Needs the package usd-core (the extra `usd`); the schema came with OpenUSD 26.03, but prims are known by the names of
their type and attributes, which an older one reads as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.placing import joined, placed, usable
from legs4d.gaussians.formats.usd_check import check_crates
from legs4d.portable.sh import COEFFICIENTS
from legs4d.portable.splats import FloatArray, Splats

SPLAT_TYPE = "ParticleField3DGaussianSplat"
RADIANCE = "radiance:sphericalHarmonicsCoefficients"
DEGREE = "radiance:sphericalHarmonicsDegree"
DEGREE_UNSAID = 3
"""The schema's own, where a prim does not say."""
_UPS = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
_DAMAGED = "export it again from the program that made it"


def require_usd() -> Any:
    """The module `pxr`. Raises DatasetError when usd-core is not installed."""
    try:
        import pxr
        from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdUtils, UsdVol, Vt  # noqa: F401 - they are attributes of pxr then
    except ImportError as error:
        fix = "install the extra: pip install 'legs4d[usd]'"
        raise DatasetError("needs the package usd-core", where="USD", fix=fix) from error
    return pxr


class UsdSplats:
    """An opened stage with splats.

    Attributes:
        times: time codes of its frames, ascending; one where nothing changes.
        fps: time codes a second.
        up: [3] the stage's up axis.

    Raises:
        DatasetError: it cannot be read, has no splats, or holds on to files outside its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pxr = pxr = require_usd()
        if not path.is_file():
            raise DatasetError("there is no such file", where=str(path), fix="name a .usd, .usda, .usdc or .usdz")
        check_crates(path)
        # Beside USD's own: text that is none, and values of types that Python does not know.
        self._refusals = (pxr.Tf.ErrorException, UnicodeDecodeError, TypeError, ValueError)
        try:
            self._open()
        except self._refusals as error:
            raise self._unreadable(error) from error

    def _open(self) -> None:
        pxr, path = self._pxr, self.path
        self._stage = pxr.Usd.Stage.Open(str(path))
        folder = path.parent.resolve()
        for layer in self._stage.GetUsedLayers():
            real = layer.realPath.partition("[")[0]  # of a layer in a package: the package
            if real and not Path(real).resolve().is_relative_to(folder):
                raise DatasetError(
                    f"points outside its folder ({real})", where=str(path), fix="put its layers beside it"
                )
        axis = str(pxr.UsdGeom.GetStageUpAxis(self._stage))
        if axis not in _UPS:
            raise DatasetError(f"has the up axis {axis!r}, which is none", where=str(path), fix="set it to Y or Z")
        self.up = _UPS[axis]
        self.fps = float(self._stage.GetTimeCodesPerSecond())
        self._prims = [prim for prim in self._stage.Traverse() if prim.GetTypeName() == SPLAT_TYPE]
        if not self._prims:
            raise DatasetError(f"has no prim of the type {SPLAT_TYPE}", where=str(path), fix="name a file of splats")
        self.times = self._times()

    def read(self, frame: int = 0) -> Splats:
        """All splats that are visible in a frame (an index into `times`), in the stage's axes and units.

        Raises:
            DatasetError: the frame has no Gaussians, or cannot be read.
        """
        pxr = self._pxr
        time = pxr.Usd.TimeCode(self.times[frame]) if self.times else pxr.Usd.TimeCode.Default()
        places = pxr.UsdGeom.XformCache(time)
        parts = []
        try:
            for prim in self._prims:
                shown = pxr.UsdGeom.Imageable(prim)
                hidden = shown.ComputeVisibility(time) == pxr.UsdGeom.Tokens.invisible
                if hidden or shown.ComputePurpose() in (pxr.UsdGeom.Tokens.guide, pxr.UsdGeom.Tokens.proxy):
                    continue
                # USD's matrices act on rows.
                matrix = np.array(places.GetLocalToWorldTransform(prim), np.float64).T
                parts.append(placed(self._splats(prim, time), matrix))
        except self._refusals as error:
            raise self._unreadable(error) from error
        parts = [part for part in parts if len(part)]
        if not parts:
            where = str(self.path) if len(self.times) < 2 else f"{self.path}, time {self.times[frame]:g}"
            raise DatasetError("has no Gaussians", where=where, fix="choose another file or frame")
        return usable(joined(parts), str(self.path))

    def _times(self) -> tuple[float, ...]:
        found: set[float] = set()
        for prim in self._prims:
            for attribute in prim.GetAttributes():
                found.update(attribute.GetTimeSamples())
            above = prim
            while above and not above.IsPseudoRoot():
                if above.IsA(self._pxr.UsdGeom.Xformable):
                    found.update(self._pxr.UsdGeom.Xformable(above).GetTimeSamples())
                    found.update(self._pxr.UsdGeom.Imageable(above).GetVisibilityAttr().GetTimeSamples())
                above = above.GetParent()
        return tuple(sorted(found))

    def _splats(self, prim: Any, time: Any) -> Splats:
        means = self._values(prim, "positions", 3, time)
        if means is None:
            return _nothing(self.up)
        count = len(means)
        quats = self._values(prim, "orientations", 4, time, count)
        scales = self._values(prim, "scales", 3, time, count)
        opacities = self._values(prim, "opacities", 1, time, count)
        colors, rest = self._radiance(prim, time, count)
        # Quaternions lie in memory as xyzw; what is missing has the schema's defaults.
        identity = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
        highlight = self._values(prim, "primvars:highlight", 1, time, count)
        return Splats(
            means=means,
            quats=identity if quats is None else quats[:, [3, 0, 1, 2]],
            scales=np.ones((count, 3), np.float32) if scales is None else np.abs(scales),
            opacities=np.ones(count, np.float32) if opacities is None else opacities[:, 0],
            colors=colors,
            sh_rest=rest,
            extra={} if highlight is None else {"highlight": highlight[:, 0]},
            up=self.up,
        )

    def _radiance(self, prim: Any, time: Any, count: int) -> tuple[FloatArray, FloatArray | None]:
        said = prim.GetAttribute(DEGREE).Get() if prim.HasAttribute(DEGREE) else None
        degree = DEGREE_UNSAID if said is None else int(said)
        if not 0 <= degree <= 16:
            raise DatasetError(f"says that its colours are of degree {degree}", where=str(self.path), fix=_DAMAGED)
        width = (degree + 1) ** 2
        values = self._values(prim, RADIANCE, 3, time, count * width)
        if values is None:
            return np.zeros((count, 3), np.float32), None
        values = values.reshape(count, width, 3)
        kept = COEFFICIENTS[min(degree, 3)]
        return values[:, 0].copy(), values[:, 1 : 1 + kept].copy() if kept else None

    def _values(self, prim: Any, name: str, width: int, time: Any, count: int | None = None) -> FloatArray | None:
        """[N, width]: the float attribute, else the half one; None where it is missing or, as the schema has it, too
        short to be used."""
        for full in (name, f"{name}h"):
            value = prim.GetAttribute(full).Get(time) if prim.HasAttribute(full) else None
            if value is None:
                continue
            array = np.asarray(value, np.float32)
            array = array.reshape(len(array), -1)
            if array.shape[1] != width:
                what = f"has {array.shape[1]} numbers in {full}, expected {width}"
                raise DatasetError(what, where=f"{self.path}, {prim.GetPath()}", fix=_DAMAGED)
            if count is None or len(array) >= count:
                return array[:count]
        return None

    def _unreadable(self, error: Exception) -> DatasetError:
        reason = words_of(error)
        return DatasetError(f"cannot be read ({reason})", where=str(self.path), fix=_DAMAGED)


def words_of(error: Exception) -> str:
    """The end of what USD says, in one line."""
    try:
        return " ".join(str(error).split())[-200:]
    except UnicodeDecodeError:  # it may quote what is damaged
        return "it has bytes that are no text"


def read_usd(path: Path, frame: int = 0) -> Splats:
    """One frame of a file's splats; see `UsdSplats`."""
    return UsdSplats(path).read(frame)


def _nothing(up: tuple[float, float, float]) -> Splats:
    def empty(*shape: int) -> NDArray[np.float32]:
        return np.empty(shape, np.float32)

    return Splats(empty(0, 3), empty(0, 4), empty(0, 3), empty(0), empty(0, 3), up=up)
