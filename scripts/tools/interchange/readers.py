"""What reads exported splats for check.py beside this: packages of this Python, of other Pythons, and of npm.

Every reader gives `Found`: the numbers as its program has them, and which way that program says is up.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.portable.ply.file import read_ply
from legs4d.portable.splats import Splats
from legs4d.portable.spz import read_spz

Floats = NDArray[np.floating[Any]]
Vector = tuple[float, float, float]
Y_DOWN, Y_UP = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0)
READER_SCRIPT = Path(__file__).with_name("read_elsewhere.py")
MINUTES = 10


@dataclass(frozen=True)
class Found:
    """What a program made of a file; None for what it does not hand out.

    Attributes:
        version: the program's.
        means: [N, 3].
        up: which way is up for the program.
        quats, scales, opacities, colors, rest: [N, 4] wxyz, [N, 3] linear, [N] 0..1, [N, 3] SH DC, [N, K, 3].
        reordered: whether the program may change the order.
    """

    version: str
    means: Floats
    up: Vector
    quats: Floats | None = None
    scales: Floats | None = None
    opacities: Floats | None = None
    colors: Floats | None = None
    rest: Floats | None = None
    reordered: bool = False


Reader = Callable[[Path], Found]


class NotHere(Exception):
    """The program is not on this machine, or does not read this kind of file; the message says which."""


def this(path: Path) -> Found:
    """legs4d's own readers."""
    from legs4d.gaussians.formats.gltf import read_gltf
    from legs4d.gaussians.formats.sog import read_sog
    from legs4d.gaussians.formats.usd import read_usd

    reader = {".ply": read_ply, ".spz": read_spz, ".sog": read_sog, ".glb": read_gltf, ".usdc": read_usd}[path.suffix]
    return _from_splats(reader(path), version("legs4d"))


def gsply(path: Path) -> Found:
    """gsply's readers of .ply and .spz; it hands out logits and logarithms."""
    import gsply as package

    data = package.read_spz(path) if path.suffix == ".spz" else package.plyread(path)
    rest = np.asarray(data.shN) if data.shN is not None and np.size(data.shN) else None
    return Found(
        version("gsply"),
        np.asarray(data.means),
        Y_UP if path.suffix == ".spz" else Y_DOWN,
        np.asarray(data.quats),
        np.exp(data.scales),
        1 / (1 + np.exp(-np.ravel(data.opacities))),
        np.asarray(data.sh0).reshape(-1, 3),
        None if rest is None else rest.reshape(len(rest), -1, 3),
    )


def plyfile(path: Path) -> Found:
    """plyfile, and the meaning that 3DGS gives the properties."""
    from plyfile import PlyData

    vertex = PlyData.read(path)["vertex"]

    def get(*names: str) -> Floats:
        return np.stack([vertex[name] for name in names], axis=1)

    count = sum(p.name.startswith("f_rest_") for p in vertex.properties) // 3
    rest = get(*[f"f_rest_{i}" for i in range(3 * count)]).reshape(-1, 3, count).transpose(0, 2, 1) if count else None
    return Found(
        version("plyfile"),
        get(*"xyz"),
        Y_DOWN,
        get(*[f"rot_{i}" for i in range(4)]),
        np.exp(get(*[f"scale_{i}" for i in range(3)])),
        1 / (1 + np.exp(-vertex["opacity"])),
        get(*[f"f_dc_{i}" for i in range(3)]),
        rest,
    )


def trimesh(path: Path) -> Found:
    """trimesh's point clouds."""
    import trimesh as package

    loaded: Any = package.load(path)
    clouds = list(loaded.geometry.values()) if isinstance(loaded, package.Scene) else [loaded]
    matrix = np.eye(4)
    if isinstance(loaded, package.Scene):
        matrix = loaded.graph.get(loaded.graph.nodes_geometry[0])[0]
    means = np.asarray(clouds[0].vertices) @ matrix[:3, :3].T + matrix[:3, 3]
    return Found(version("trimesh"), means, Y_DOWN if path.suffix == ".ply" else Y_UP)


def pygltflib(path: Path) -> Found:
    """pygltflib, and the meaning that the extension gives the attributes."""
    import pygltflib as package

    file = package.GLTF2().load(path)
    blob = file.binary_blob()
    attributes = vars(file.meshes[0].primitives[0].attributes)

    def get(name: str, width: int) -> Floats:
        accessor = file.accessors[attributes[name]]
        view = file.bufferViews[accessor.bufferView]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        return np.frombuffer(blob, "<f4", accessor.count * width, start).reshape(-1, width)

    prefix = "KHR_gaussian_splatting:"
    names = [f"{prefix}SH_DEGREE_{d}_COEF_{n}" for d in (1, 2, 3) for n in range(2 * d + 1)]
    bands = [get(name, 3) for name in names if name in attributes]
    splats = Splats(
        get("POSITION", 3),
        get(f"{prefix}ROTATION", 4)[:, [3, 0, 1, 2]],
        get(f"{prefix}SCALE", 3),
        get(f"{prefix}OPACITY", 1)[:, 0],
        get(f"{prefix}SH_DEGREE_0_COEF_0", 3),
        np.stack(bands, axis=1) if bands else None,
    )
    x, y, z, w = file.nodes[0].rotation
    return _from_splats(splats.turned(np.array([w, x, y, z])), version("pygltflib"), Y_UP)


def usd_core(path: Path) -> Found:
    """usd-core's schema classes."""
    from pxr import Usd, UsdGeom, UsdVol

    stage = Usd.Stage.Open(str(path))
    (prim,) = [p for p in stage.Traverse() if p.IsA(UsdVol.ParticleField3DGaussianSplat)]
    splat = UsdVol.ParticleField3DGaussianSplat(prim)
    means = np.array(splat.GetPositionsAttr().Get())
    quats = np.array([[q.real, *q.imaginary] for q in splat.GetOrientationsAttr().Get()])
    values = np.array(splat.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()).reshape(len(means), -1, 3)
    splats = Splats(
        means,
        quats,
        np.array(splat.GetScalesAttr().Get()),
        np.array(splat.GetOpacitiesAttr().Get()),
        values[:, 0],
        values[:, 1:] if values.shape[1] > 1 else None,
    )
    turn = UsdGeom.XformCache().GetLocalToWorldTransform(prim).ExtractRotationQuat()
    placed = splats.turned(np.array([turn.real, *turn.imaginary]))
    return _from_splats(placed, version("usd-core"), {"Y": Y_UP, "Z": (0.0, 0.0, 1.0)}[UsdGeom.GetStageUpAxis(stage)])


def program(python: Path, name: str) -> Reader:
    """A reader of read_elsewhere.py in another Python."""

    def read(path: Path) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "found.npz"
            _run([str(python), str(READER_SCRIPT), name, str(path), str(out)])
            with np.load(out, allow_pickle=False) as values:
                found = {key: values[key] for key in values.files}
        x, y, z = (float(value) for value in found.pop("up"))
        place, said = found.pop("place", np.eye(4)), str(found.pop("version"))
        if "quats" in found and "rest" in found and not np.array_equal(place, np.eye(4)):
            from legs4d.gaussians.formats.placing import placed

            names = ("means", "quats", "scales", "opacities", "colors", "rest")
            return _from_splats(placed(Splats(*[found[key] for key in names]), place), said, (x, y, z))
        found["means"] = found["means"] @ place[:3, :3].T + place[:3, 3]
        return Found(said, up=(x, y, z), **found)

    return read


def splat_transform(npm: Path, to: str) -> Reader:
    """PlayCanvas's converter: the file as `to` (".ply", ".sog", ".spz", ".glb"), read back by what other rows prove."""
    tool = npm / "node_modules/@playcanvas/splat-transform"

    def read(path: Path) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / f"converted{to}"
            _run(["node", str(tool / "bin/cli.mjs"), "-q", "-g", "cpu", str(path), str(out)], npm)
            read_back = plyfile if to == ".ply" else this
            found = vars(read_back(out))
        return Found(**{**found, "version": _npm_version(tool), "reordered": to in (".sog", ".spz")})

    return read


def spz_js(npm: Path) -> Reader:
    """spz-js: .spz to .ply."""

    def read(path: Path) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "converted.ply"
            code = (
                "import {readFileSync, writeFileSync} from 'fs'; import {loadSpz, serializePly} from 'spz-js';"
                f"writeFileSync({json.dumps(str(out))}, Buffer.from(serializePly(await loadSpz("
                f"readFileSync({json.dumps(str(path))})))));"
            )
            _run(["node", "--input-type=module", "-e", code], npm)
            return Found(**{**vars(plyfile(out)), "version": _npm_version(npm / "node_modules/spz-js")})

    return read


def gltf_validator(npm: Path, path: Path) -> tuple[str, str]:
    """(version, what Khronos's validator says of a .glb)."""
    code = (
        "import {readFileSync} from 'fs'; import validator from 'gltf-validator';"
        f"const r = await validator.validateBytes(new Uint8Array(readFileSync({json.dumps(str(path))})));"
        "console.log(JSON.stringify(r.issues));"
    )
    issues = json.loads(_run(["node", "--input-type=module", "-e", code], npm))
    told = sorted({f"{m['code']}" for m in issues["messages"]})
    said = f"{issues['numErrors']} errors, {issues['numWarnings']} warnings" + (f" ({', '.join(told)})" if told else "")
    return _npm_version(npm / "node_modules/gltf-validator"), said


def _from_splats(splats: Splats, said: str, up: Vector | None = None) -> Found:
    return Found(
        said,
        splats.means,
        up or splats.up,
        splats.quats,
        splats.scales,
        splats.opacities,
        splats.colors,
        splats.sh_rest,
    )


def _run(command: list[str], folder: Path | None = None) -> str:
    environment = dict(os.environ)
    if folder is not None and (folder / "node_modules/node/bin").is_dir():  # npm's own node, where the machine's is old
        environment["PATH"] = f"{folder / 'node_modules/node/bin'}:{environment['PATH']}"
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60 * MINUTES
        )
    except FileNotFoundError as error:
        raise NotHere(f"{command[0]} is not here") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in lines if re.match(r"\w*(Error|Exception)\b|\[\w+ ERROR\]", line)] or lines[-1:]
        raise NotHere(told[0][:160] if told else f"exit code {done.returncode}")
    return done.stdout


def _npm_version(folder: Path) -> str:
    return str(json.loads((folder / "package.json").read_text())["version"])
