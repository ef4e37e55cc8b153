"""Reads a splat file with another program, in that program's Python, for check.py beside this.

Needs numpy and the program alone. What is written is as the program has it, made linear: means, quats (wxyz), scales,
opacities, colors (SH DC), rest [N, K, 3]; `up` is the program's; `version` its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SH_C0 = 0.28209479177387814
Found = dict[str, Any]


def open3d(path: Path) -> Found:
    """Open3D's tensor point clouds, which know splats in .ply and .spz."""
    import open3d as o3d

    cloud = o3d.t.io.read_point_cloud(str(path))
    values = {name: cloud.point[name].numpy() for name in cloud.point}
    if "scale" not in values:
        raise ValueError("no splats in it")
    found = {
        "means": values["positions"],
        "quats": values["rot"],
        "scales": values["scale"],  # linear, while opacities stay logits
        "opacities": _sigmoid(values["opacity"].ravel()),
        "colors": values["f_dc"],
        "version": o3d.__version__,
        "up": (0, 1, 0) if path.suffix == ".spz" else (0, -1, 0),
    }
    return found | ({"rest": values["f_rest"]} if "f_rest" in values else {})


def blender(path: Path) -> Found:
    """Blender's importers: native splats from 5.3 on, meshes with raw attributes before."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    importers = {
        ".ply": lambda name: bpy.ops.wm.ply_import(filepath=name),
        ".spz": lambda name: bpy.ops.wm.spz_import(filepath=name),
        ".glb": lambda name: bpy.ops.import_scene.gltf(filepath=name),
        ".usdc": lambda name: bpy.ops.wm.usd_import(filepath=name),
    }
    importers[path.suffix](str(path))
    shown = [found for found in bpy.data.objects if getattr(found.data, "attributes", None)]
    if not shown:
        raise ValueError("imported as something without points")
    (only,) = shown
    values = {a.name: _attribute(a) for a in only.data.attributes if a.domain == "POINT"}
    found = _native(values) if "radiance:base" in values else _raw(values)
    place = np.array(only.matrix_world, np.float64)
    return found | {"version": bpy.app.version_string, "up": (0, 0, 1), "place": place}


def _attribute(attribute: Any) -> np.ndarray:
    width, name = {
        "FLOAT": (1, "value"),
        "FLOAT_VECTOR": (3, "vector"),
        "FLOAT4": (4, "vector"),
        "QUATERNION": (4, "value"),
        "FLOAT_COLOR": (4, "color"),
        "BYTE_COLOR": (4, "color"),
    }.get(attribute.data_type, (0, ""))
    values = np.zeros(len(attribute.data) * width, np.float32)
    if width:
        attribute.data.foreach_get(name, values)
    return values.reshape(len(attribute.data), width)


def _native(values: dict[str, np.ndarray]) -> Found:
    bands = [values[f"radiance:sh_{i}"] for i in range(15) if f"radiance:sh_{i}" in values]
    found = {
        "means": values["position"],
        "quats": values["rotation"],
        "scales": values["scale"],
        "opacities": values["radiance:base"][:, 3],
        "colors": values["radiance:base"][:, :3],
    }
    return found | ({"rest": np.stack(bands, axis=1)} if bands else {})


def _raw(values: dict[str, np.ndarray]) -> Found:
    """A mesh whose attributes are the file's numbers."""
    prefix = "KHR_gaussian_splatting:"
    if f"{prefix}SCALE" in values:
        return {"means": values["position"], "scales": values[f"{prefix}SCALE"]} | {
            "opacities": values[f"{prefix}OPACITY"].ravel(),
            "colors": values[f"{prefix}SH_DEGREE_0_COEF_0"],
        }
    if "f_dc_0" not in values:
        raise ValueError("imported without the splats' numbers")
    column = lambda *names: np.concatenate([values[name] for name in names], axis=1)  # noqa: E731
    count = sum(name.startswith("f_rest_") for name in values) // 3
    rest = column(*[f"f_rest_{i}" for i in range(3 * count)]) if count else None
    found = {
        "means": values["position"],
        "quats": column(*[f"rot_{i}" for i in range(4)]),
        "scales": np.exp(column(*[f"scale_{i}" for i in range(3)])),
        "opacities": _sigmoid(values["opacity"].ravel()),
        "colors": column(*[f"f_dc_{i}" for i in range(3)]),
    }
    return found if rest is None else found | {"rest": rest.reshape(-1, 3, count).transpose(0, 2, 1)}


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


READERS: dict[str, Callable[[Path], Found]] = {"open3d": open3d, "blender": blender}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("source", type=Path, help="the splat file")
    parser.add_argument("target", type=Path, help="the .npz that is written")
    options = parser.parse_args()
    np.savez(options.target, **READERS[options.reader](options.source))
