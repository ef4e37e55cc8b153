"""3D Gaussians as binary glTF 2.0 (.glb) with the extension KHR_gaussian_splatting.

Points that a viewer without the extension shows as coloured dots. Attributes are as trained (scales linear, opacities
0..1, colours as SH coefficients); the node's rotation stands the capture upright, as glTF's +Y is up.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.files import write_file
from legs4d.gaussians.gaussians import Gaussians

EXTENSION = "KHR_gaussian_splatting"
_FLOAT, _BYTE, _POINTS, _ARRAY_BUFFER = 5126, 5121, 0, 34962
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def write_glb(
    path: Path, gaussians: Gaussians, turn: NDArray[np.float64], highlight: NDArray[np.floating] | None = None
) -> None:
    """Write one frame.

    Args:
        path: the file, replaced if it exists.
        gaussians: N numpy Gaussians, at least one.
        turn: [4] wxyz, the rotation that stands them upright (`upright.upright_turn`).
        highlight: [N] 0..1, written as the attribute `_HIGHLIGHT`.

    Raises:
        RunError: the file cannot be written.
    """
    diffuse = np.concatenate([np.clip(gaussians.rgb, 0, 1), gaussians.opacities[:, None]], axis=1)
    attributes: dict[str, NDArray[Any]] = {
        "POSITION": gaussians.means,
        "COLOR_0": np.rint(diffuse * 255).astype(np.uint8),
        f"{EXTENSION}:ROTATION": gaussians.quats[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": gaussians.scales,
        f"{EXTENSION}:OPACITY": gaussians.opacities[:, None],
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": gaussians.colors,
    }
    if highlight is not None:
        attributes["_HIGHLIGHT"] = np.asarray(highlight)[:, None]
    blobs = [np.ascontiguousarray(v if v.dtype == np.uint8 else v.astype("<f4")) for v in attributes.values()]
    body = b"".join(blob.tobytes() for blob in blobs)
    text = json.dumps(_document(dict(zip(attributes, blobs, strict=True)), len(body), turn)).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<III", 0x46546C67, 2, 12 + 8 + len(text) + 8 + len(body))
    json_head, body_head = struct.pack("<II", len(text), 0x4E4F534A), struct.pack("<II", len(body), 0x004E4942)
    write_file(path, header, json_head, text, body_head, body)


def _document(attributes: dict[str, NDArray[Any]], size: int, turn: NDArray[np.float64]) -> dict[str, Any]:
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
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }
    return {
        "asset": {"version": "2.0", "generator": "legs4d"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "rotation": [float(turn[i]) for i in (1, 2, 3, 0)]}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": size}],
    }
