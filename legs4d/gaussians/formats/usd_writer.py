"""3D Gaussians as USD: prims of the type ParticleField3DGaussianSplat, a frame or a whole sequence in one file.

    /Run              turned so that +Y is up; what lies far from the world's origin is put back there
        Static        Gaussians that never change
        Dynamic       those that move, with time samples
        Loose         those without identity, whose number changes from sample to sample
        Objects/…     objects' poses as Xforms

A time code is a frame of the run. An attribute has a sample only where its value changes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.formats.usd import DEGREE, RADIANCE, SPLAT_TYPE, require_usd, words_of
from legs4d.gaussians.objects import Objects
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, sync_folder
from legs4d.portable.splats import Splats
from legs4d.portable.turns import rotation_matrix

SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")
_RATE = 24.0
"""Frames a second where nobody knows: USD's own default."""
_UNSAVED = 256 << 20
"""Bytes of samples that are kept in memory before they are appended to the file."""
_REACH = 3.0
"""Standard deviations within which a Gaussian counts for extents: where the schema's kernel ends."""


@contextmanager
def usd_writer(
    path: Path, *, fps: float, turn: NDArray[np.float64], origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Iterator[UsdWriter]:
    """A writer whose file appears as `path`, complete, when the block ends without an error.

    Args:
        path: the file, replaced if it exists; its suffix (.usd, .usda, .usdc, .usdz) is its kind.
        fps: frames a second; 0 where unknown.
        turn: [4] wxyz, the rotation that stands the Gaussians upright (`turns.upright_turn`).
        origin: what was taken off their positions.

    Raises:
        RunError: the file cannot be written.
        DatasetError: usd-core is not installed.
    """
    pxr = require_usd()
    folder = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    with clear_write_errors(path):
        folder.mkdir(exist_ok=True)
    try:
        # A package holds what its layers point at: one layer, by this name.
        layer = folder / (f"{path.stem}.usdc" if path.suffix == ".usdz" else path.name)
        writer = UsdWriter(pxr, layer, fps, turn, origin)
        yield writer
        writer.close()
        if path.suffix == ".usdz":
            packed = folder / path.name
            if not pxr.UsdUtils.CreateNewUsdzPackage(str(layer), str(packed)):
                raise RunError("cannot be packed", where=str(path), fix="export .usdc instead")
            layer = packed
        with clear_write_errors(path):
            with open(layer, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(layer, path)
            sync_folder(path.parent)
    except pxr.Tf.ErrorException as error:
        reason = words_of(error)
        raise RunError(
            f"cannot be written ({reason})", where=str(path), fix="free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class UsdWriter:
    """See `usd_writer`. Frames are added in ascending order."""

    def __init__(
        self, pxr: Any, layer: Path, fps: float, turn: NDArray[np.float64], origin: tuple[float, float, float]
    ) -> None:
        self._pxr = pxr
        self._stage = pxr.Usd.Stage.CreateNew(str(layer))
        self._sparse = pxr.UsdUtils.SparseValueWriter()
        self._unsaved = 0
        self._codes: list[float] = []
        rate = fps or _RATE
        self._stage.SetTimeCodesPerSecond(rate)
        self._stage.SetFramesPerSecond(rate)
        pxr.UsdGeom.SetStageUpAxis(self._stage, pxr.UsdGeom.Tokens.y)
        pxr.UsdGeom.SetStageMetersPerUnit(self._stage, 1.0)
        root = pxr.UsdGeom.Xform.Define(self._stage, "/Run")
        self._stage.SetDefaultPrim(root.GetPrim())
        if any(origin):
            root.AddTranslateOp().Set(pxr.Gf.Vec3d(*(rotation_matrix(turn) @ np.asarray(origin, np.float64))))
        w, x, y, z = (float(value) for value in turn)
        double = pxr.UsdGeom.XformOp.PrecisionDouble
        root.AddOrientOp(double).Set(pxr.Gf.Quatd(w, pxr.Gf.Vec3d(x, y, z)))

    def add(self, name: str, splats: Splats, frame: int | None = None) -> None:
        """Write Gaussians of one prim.

        Args:
            name: the prim's, below /Run.
            splats: N of them; N may differ from frame to frame.
            frame: their time code; None for what is so at all times.
        """
        vt, names = self._pxr.Vt, self._pxr.Sdf.ValueTypeNames
        prim = self._stage.DefinePrim(f"/Run/{name}", SPLAT_TYPE)
        count = len(splats)
        blocks = splats.colors[:, None]
        if splats.sh_rest is not None:
            blocks = np.concatenate([blocks, splats.sh_rest], axis=1)
        self._uniform(prim, DEGREE, names.Int, int(np.sqrt(blocks.shape[1])) - 1)
        xyzw = splats.quats[:, [1, 2, 3, 0]]
        values = {
            "positions": (names.Point3fArray, vt.Vec3fArray, splats.means),
            "orientations": (names.QuatfArray, vt.QuatfArray, xyzw),
            "scales": (names.Float3Array, vt.Vec3fArray, splats.scales),
            "opacities": (names.FloatArray, vt.FloatArray, splats.opacities),
            RADIANCE: (names.Float3Array, vt.Vec3fArray, blocks.reshape(count * blocks.shape[1], 3)),
            "extent": (names.Float3Array, vt.Vec3fArray, _extent(splats)),
        }
        for attribute, (kind, array, numbers) in values.items():
            self._set(prim, attribute, kind, _array(array, numbers), frame)
            self._unsaved += numbers.nbytes
        self._grow(frame)

    def add_highlight(self, name: str, values: NDArray[np.floating], frame: int | None = None) -> None:
        """Write [N] numbers 0..1 of a prim's Gaussians as `primvars:highlight`; see `add`."""
        kinds = self._pxr.Sdf.ValueTypeNames
        prim = self._stage.GetPrimAtPath(f"/Run/{name}")
        self._set(prim, "primvars:highlight", kinds.FloatArray, _array(self._pxr.Vt.FloatArray, values), frame)
        self._unsaved += values.nbytes
        self._grow(frame)

    def add_objects(self, objects: Objects, frame: int) -> None:
        """Write objects' places in a frame, each as an Xform below /Run/Objects, with its name for people to read."""
        pxr, code = self._pxr, self._pxr.Usd.TimeCode(frame)
        tokens = pxr.UsdGeom.Tokens
        for index, (number, name) in enumerate(zip(objects.ids, objects.names, strict=True)):
            holder = self._holder(number, name)
            place, turn, size = holder.GetOrderedXformOps()
            x, y, z, *quat = (float(value) for value in objects.pose[frame, index])
            shown = tokens.inherited if objects.visible[frame, index] else tokens.invisible
            self._sparse.SetAttribute(place.GetAttr(), pxr.Gf.Vec3d(x, y, z), code)
            self._sparse.SetAttribute(turn.GetAttr(), pxr.Gf.Quatf(*quat), code)
            self._sparse.SetAttribute(size.GetAttr(), pxr.Gf.Vec3f(float(objects.scale[frame, index])), code)
            self._sparse.SetAttribute(holder.GetVisibilityAttr(), shown, code)
        self._grow(frame)

    def _holder(self, number: int, name: str) -> Any:
        """The Xform of an object; its number, as `legs4d info` has it, keeps names apart that USD cannot tell."""
        pxr = self._pxr
        plain = pxr.Tf.MakeValidIdentifier(name) if name.isascii() and name else "object"
        path = f"/Run/Objects/{plain}_{number}"
        holder = pxr.UsdGeom.Xform.Get(self._stage, path)
        if not holder:
            pxr.UsdGeom.Scope.Define(self._stage, "/Run/Objects")
            holder = pxr.UsdGeom.Xform.Define(self._stage, path)
            holder.GetPrim().SetDisplayName(name)
            holder.AddTranslateOp()
            holder.AddOrientOp()
            holder.AddScaleOp()
        return holder

    def close(self) -> None:
        """Write what is not yet in the file."""
        if self._codes:
            self._stage.SetStartTimeCode(min(self._codes))
            self._stage.SetEndTimeCode(max(self._codes))
        self._stage.GetRootLayer().Save()

    def _set(self, prim: Any, name: str, kind: Any, value: Any, frame: int | None) -> None:
        attribute = prim.GetAttribute(name)
        if not attribute:
            attribute = prim.CreateAttribute(name, kind, False)
            if name.startswith("primvars:"):
                self._pxr.UsdGeom.Primvar(attribute).SetInterpolation(self._pxr.UsdGeom.Tokens.vertex)
        if frame is None:
            attribute.Set(value)
        else:
            self._sparse.SetAttribute(attribute, value, self._pxr.Usd.TimeCode(frame))

    def _uniform(self, prim: Any, name: str, kind: Any, value: Any) -> None:
        attribute = prim.GetAttribute(name)
        if attribute and attribute.HasAuthoredValue():
            return
        uniform = self._pxr.Sdf.VariabilityUniform
        (attribute or prim.CreateAttribute(name, kind, False, uniform)).Set(value)

    def _grow(self, frame: int | None) -> None:
        if frame is not None and (not self._codes or self._codes[-1] != frame):
            self._codes.append(float(frame))
        if self._unsaved > _UNSAVED:
            self._stage.GetRootLayer().Save()  # a binary layer is appended to, and lets go of what it has written
            self._unsaved = 0


def _array(kind: Any, numbers: NDArray[Any]) -> Any:
    return kind.FromNumpy(np.ascontiguousarray(numbers, np.float32)) if len(numbers) else kind()


def _extent(splats: Splats) -> NDArray[np.float32]:
    """[2, 3] corners of a box around all, each as a sphere of its longest axis."""
    if not len(splats):
        return np.zeros((2, 3), np.float32)
    reach = _REACH * splats.scales.max(axis=1, keepdims=True)
    return np.stack([(splats.means - reach).min(axis=0), (splats.means + reach).max(axis=0)])
