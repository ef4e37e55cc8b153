"""3D Gaussians in glTF 2.0 (.glb, .gltf) by the extension KHR_gaussian_splatting, read; `gltf_writer` writes them.

Beside the ratified extension, what its drafts had is read: attributes with an underscore for the prefix and colours in
COLOR_0 alone, scales as logarithms (a scale below zero can be nothing else), and splats packed as .spz.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.gltf_file import GltfFile
from legs4d.gaussians.formats.placing import joined, placed, usable
from legs4d.gaussians.gaussians import SH_C0, dc_from_rgb
from legs4d.portable.look import NUMPY
from legs4d.portable.splats import FloatArray, SplatFileError, Splats
from legs4d.portable.spz import read_spz

EXTENSION = "KHR_gaussian_splatting"
SRGB, LINEAR = "srgb_rec709_display", "lin_rec709_display"
SPZ = (
    *("KHR_gaussian_splatting_compression_spz_2", "KHR_gaussian_splatting_compression_spz"),
    "KHR_spz_gaussian_splats_compression",
)
"""Drafts (the last one stands alone) that keep splats as an .spz file in a buffer view; its numbers are the mesh's."""
UP = (0.0, 1.0, 0.0)


def read_gltf(path: Path) -> Splats:
    """All splats of a file's scene, placed as its nodes say; other meshes are passed over.

    Attributes that begin with an underscore come along as `extra`, by their names in lower case without it.

    Raises:
        DatasetError: the file is damaged, points outside its folder, has no splats, or has some of a kind or
            compression that is not read.
    """
    file = GltfFile(path)
    try:
        parts = [
            placed(_splats(file, primitive), matrix)
            for mesh, matrix in file.placed_meshes()
            for primitive in mesh.get("primitives", [])
            if {EXTENSION, SPZ[-1]} & set(primitive.get("extensions", {}))
        ]
    except (AttributeError, KeyError, TypeError) as error:  # a list where an object belongs, and the like
        raise file.damaged(f"it has values of other kinds than glTF's ({error})") from error
    if not any(len(part) for part in parts):
        raise DatasetError(
            "has no Gaussians" if parts else f"has no mesh with {EXTENSION}",
            where=str(path),
            fix="name a file of splats; meshes can be filmed and trained on",
        )
    return usable(joined([part for part in parts if len(part)]), str(path))


def _splats(file: GltfFile, primitive: dict[str, Any]) -> Splats:
    extension = primitive["extensions"].get(EXTENSION, {})
    packings = {**primitive["extensions"], **extension.get("extensions", {})}
    for name in SPZ:
        if name in packings:
            return _unpacked(file, packings[name].get("bufferView"))
    kernel, space = extension.get("kernel", "ellipse"), extension.get("colorSpace", SRGB)
    packed = [name for name in extension.get("extensions", {}) if "compression" in name]
    if packed:
        fix = "convert it to .ply or to a .glb without compression"
        raise DatasetError(f"is packed by {packed[0]}, which is not read", where=str(file.path), fix=fix)
    if kernel != "ellipse" or space not in (SRGB, LINEAR):
        what = f"has splats with the kernel {kernel!r} and the colour space {space!r}"
        raise DatasetError(what, where=str(file.path), fix=f"convert them to 'ellipse' and {SRGB!r}")
    if primitive.get("mode", 4) != 0:
        raise file.damaged("its splats are not points")
    attributes = primitive.get("attributes", {})
    values = _Attributes(file, attributes)
    means = values.get("POSITION", 3)
    values.count = len(means)
    quats = values.get("ROTATION", 4)[:, [3, 0, 1, 2]]
    scales = values.get("SCALE", 3)
    if (scales < 0).any():
        with np.errstate(over="ignore", invalid="ignore"):
            scales = np.exp(scales)
    opacities, colors = _looks(values)
    rest = _view_dependence(values)
    if space == LINEAR:
        colors, rest = _encoded(colors, rest)
    extra = {
        name.removeprefix("_").lower(): values.read(name)
        for name in attributes
        if name.startswith("_") and name.removeprefix("_") not in ("ROTATION", "SCALE", "OPACITY")
    }
    flat = {name: array[:, 0] if array.shape[1] == 1 else array for name, array in extra.items()}
    return Splats(means, quats, scales, opacities, colors, rest, flat, up=UP)


def _unpacked(file: GltfFile, view: Any) -> Splats:
    """The splats of an .spz file in a buffer view."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "view.spz"
        path.write_bytes(file.view(view)[0].tobytes())
        try:
            return replace(read_spz(path), up=UP)
        except SplatFileError as error:
            raise DatasetError(f"has packed splats that cannot be read: {error.what}", where=str(file.path)) from error


class _Attributes:
    """A primitive's attributes, by the ratified extension's names or the drafts'."""

    def __init__(self, file: GltfFile, attributes: dict[str, Any]) -> None:
        self.file, self.attributes = file, attributes
        self.count: int | None = None

    def find(self, name: str) -> str | None:
        """The attribute's full name in this file."""
        candidates = (f"{EXTENSION}:{name}", f"_{name}") if name != "POSITION" else (name,)
        return next((found for found in candidates if found in self.attributes), None)

    def get(self, name: str, width: int) -> FloatArray:
        """[N, width] of a required attribute."""
        found = self.find(name)
        if found is None:
            raise DatasetError(f"has splats without {name}", where=str(self.file.path), fix="export it again")
        values = self.read(found)
        if values.shape[1] != width:
            raise self.file.damaged(f"{found} has {values.shape[1]} numbers, expected {width}")
        return values

    def read(self, full: str) -> FloatArray:
        """[N, …] of the attribute with this full name."""
        values = self.file.accessor(self.attributes[full])
        if self.count is not None and len(values) != self.count:
            raise self.file.damaged(f"{full} has {len(values)} values for {self.count} splats")
        return values


def _looks(values: _Attributes) -> tuple[FloatArray, FloatArray]:
    """Opacities [N] and SH DC coefficients [N, 3]."""
    fallback = values.read("COLOR_0") if "COLOR_0" in values.attributes else None
    if values.find("OPACITY"):
        opacities = values.get("OPACITY", 1)[:, 0]
    elif fallback is not None and fallback.shape[1] == 4:
        opacities = fallback[:, 3]
    else:
        raise DatasetError("has splats without OPACITY", where=str(values.file.path), fix="export it again")
    if values.find("SH_DEGREE_0_COEF_0"):
        return opacities, values.get("SH_DEGREE_0_COEF_0", 3)
    if fallback is None:
        raise DatasetError("has splats without colours", where=str(values.file.path), fix="export it again")
    return opacities, dc_from_rgb(fallback[:, :3])


def _view_dependence(values: _Attributes) -> FloatArray | None:
    """[N, K, 3], or None."""
    columns: list[FloatArray] = []
    for degree in (1, 2, 3):
        names = [f"SH_DEGREE_{degree}_COEF_{n}" for n in range(2 * degree + 1)]
        there = [name for name in names if values.find(name)]
        if not there:
            break
        if len(there) < len(names):
            raise values.file.damaged(f"it has {len(there)} of {len(names)} coefficients of degree {degree}")
        columns += [values.get(name, 3) for name in names]
    return np.stack(columns, axis=1) if columns else None


def _encoded(colors: FloatArray, rest: FloatArray | None) -> tuple[FloatArray, FloatArray | None]:
    """Coefficients of linear light as sRGB ones: the base exactly, view dependence by the curve's slope there."""
    light = 0.5 + SH_C0 * colors.astype(np.float64)
    size = np.abs(light)
    low = size <= 0.0031308
    bounded = np.maximum(size, 0.0031308)
    curve = np.sign(light) * NUMPY.encoded(size)
    slope = np.where(low, 12.92, 1.055 / 2.4 * bounded ** (1 / 2.4 - 1))
    encoded = dc_from_rgb(curve.astype(np.float32))
    return encoded, None if rest is None else (rest * slope[:, None, :]).astype(np.float32)
