"""3D Gaussians as binary glTF 2.0 (.glb) with the extension KHR_gaussian_splatting.

Points that a viewer without the extension shows as coloured dots (COLOR_0, linear as glTF has it). Attributes are as
trained (scales linear, opacities 0..1, colours as SH coefficients); the node stands the capture upright, as glTF's +Y
is up, and puts it where it was taken off.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.formats.gltf import EXTENSION, SRGB
from legs4d.gaussians.gaussians import SH_C0
from legs4d.gaussians.store.files import write_file
from legs4d.portable.look import NUMPY
from legs4d.portable.splats import Splats
from legs4d.portable.turns import rotation_matrix, upright_turn

_FLOAT, _BYTE, _POINTS, _ARRAY_BUFFER = 5126, 5121, 0, 34962
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def write_glb(path: Path, splats: Splats) -> None:
    """Write one frame.

    Args:
        path: the file, replaced if it exists.
        splats: N Gaussians, at least one; their `up` is stood upright, `extra` is written as `_NAME`, in capitals.

    Raises:
        RunError: the file cannot be written.
    """
    rgb = NUMPY.linear(np.clip(0.5 + SH_C0 * splats.colors, 0, 1))
    diffuse = np.concatenate([rgb, splats.opacities[:, None]], axis=1)
    attributes: dict[str, NDArray[Any]] = {
        "POSITION": splats.means,
        "COLOR_0": np.rint(diffuse * 255).astype(np.uint8),
        f"{EXTENSION}:ROTATION": splats.quats[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": splats.scales,
        f"{EXTENSION}:OPACITY": splats.opacities[:, None],
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": splats.colors,
    }
    if splats.sh_rest is not None:
        names = [f"{EXTENSION}:SH_DEGREE_{d}_COEF_{n}" for d in (1, 2, 3) for n in range(2 * d + 1)]
        attributes |= dict(zip(names, np.moveaxis(splats.sh_rest, 1, 0), strict=False))
    for name, values in splats.extra.items():
        attributes[f"_{name.upper()}"] = values.reshape(len(splats), -1)
    blobs = [np.ascontiguousarray(v if v.dtype == np.uint8 else v.astype("<f4")) for v in attributes.values()]
    body = b"".join(blob.tobytes() for blob in blobs)
    turn = upright_turn(np.negative(splats.up))
    node: dict[str, Any] = {"mesh": 0, "rotation": [float(turn[i]) for i in (1, 2, 3, 0)]}
    if any(splats.origin):
        node["translation"] = (rotation_matrix(turn) @ np.asarray(splats.origin, np.float64)).tolist()
    text = json.dumps(_document(dict(zip(attributes, blobs, strict=True)), len(body), node)).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<III", 0x46546C67, 2, 12 + 8 + len(text) + 8 + len(body))
    json_head, body_head = struct.pack("<II", len(text), 0x4E4F534A), struct.pack("<II", len(body), 0x004E4942)
    write_file(path, header, json_head, text, body_head, body)


def _document(attributes: dict[str, NDArray[Any]], size: int, node: dict[str, Any]) -> dict[str, Any]:
    """The JSON part; attribute i is accessor i and buffer view i."""
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    start = 0
    for name, values in attributes.items():
        views.append({"buffer": 0, "byteOffset": start, "byteLength": values.nbytes, "target": _ARRAY_BUFFER})
        start += values.nbytes
        accessor: dict[str, Any] = {
            "bufferView": len(accessors),
            "componentType": _BYTE if values.dtype == np.uint8 else _FLOAT,
            "count": len(values),
            "type": _TYPES[values.shape[1]],
        }
        if values.dtype == np.uint8:
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
    primitive = {
        "attributes": {name: i for i, name in enumerate(attributes)},
        "mode": _POINTS,
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": SRGB}},
    }
    return {
        "asset": {"version": "2.0", "generator": "legs4d"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": size}],
    }
