"""Takes one run through every export and every reader at hand, and prints the largest error, Gaussian by Gaussian."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.gaussians.export import FrameFormat, export_files, frame_splats
from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.portable.sh import rotate, sh_basis
from legs4d.portable.splats import Splats
from legs4d.portable.turns import turn_between
from tools.interchange.readers import (
    Floats,
    Found,
    NotHere,
    Reader,
    gltf_validator,
    gsply,
    plyfile,
    program,
    pygltflib,
    splat_transform,
    spz_js,
    this,
    trimesh,
    usd_core,
)

ROOT = Path(__file__).resolve().parents[3]
SMALL = 500
"""Gaussians of the run that is made where none is given."""
DIRECTIONS = 32
UPRIGHT_DEGREES = 0.1
"""What is off by less is up: 8-bit rotations do not move positions, from which it is found."""
NPM = ("@playcanvas/splat-transform", "spz-js", "gltf-validator")


@dataclass(frozen=True)
class Export:
    """A way to write a frame: the command's options, and the file's suffix."""

    label: str
    file_format: FrameFormat
    suffix: str
    options: tuple[tuple[str, Any], ...] = ()


EXPORTS = (
    Export("--format ply", "ply", ".ply"),
    Export("--format ply --sh-degree 3", "ply", ".ply", (("sh_degree", 3),)),
    Export("--format spz", "spz", ".spz"),
    Export("--format spz --spz-version 2", "spz", ".spz", (("spz_version", 2),)),
    Export("--format spz --spz-version 4", "spz", ".spz", (("spz_version", 4),)),
    Export("--format sog", "sog", ".sog"),
    Export("--format gltf", "gltf", ".glb"),
    Export("--format usd --per-frame", "usd", ".usdc", (("per_frame", True),)),
)


@dataclass(frozen=True)
class Errors:
    """The largest errors of any Gaussian; None for what the program does not hand out.

    Attributes:
        count: Gaussians found.
        position: scene units.
        scale: of sizes, as a ratio less 1.
        covariance: relative, of rotation and scale together.
        opacity: 0..1.
        color: of RGB 0..1, seen from nowhere.
        view: of RGB 0..1 over directions.
        up: degrees between what the program has for up and what is up.
        lean: degrees between the run's own up and 3DGS's, which .ply keeps.
    """

    count: int
    position: float
    scale: float | None
    covariance: float | None
    opacity: float | None
    color: float | None
    view: float | None
    up: float
    lean: float


@dataclass(frozen=True)
class Row:
    """A route and what came of it: errors, or why there are none."""

    export: Export
    program: str
    version: str
    errors: Errors | None
    why: str = ""


def compare(truth: Splats, found: Found) -> Errors:
    """Errors of what a program found, after the rotation that fits its positions best: programs have their own axes."""
    means = np.asarray(found.means, np.float64)
    order, turn = _matched(truth, means, found.reordered)
    expected = truth.means[order] @ turn.T
    up = turn @ np.asarray(truth.up)
    angle = float(np.degrees(np.arccos(np.clip(up @ np.asarray(found.up), -1, 1))))
    lean = float(np.degrees(np.arccos(np.clip(-np.asarray(truth.up)[1], -1, 1))))
    scale = covariance = opacity = color = view = None
    if found.scales is not None:
        ratio = np.sort(found.scales, axis=1) / np.sort(truth.scales[order], axis=1)
        scale = float(np.abs(np.log(ratio)).max())
    if found.scales is not None and found.quats is not None:
        right = turn @ _covariances(truth.quats[order], truth.scales[order]) @ turn.T
        off = _covariances(found.quats, found.scales) - right
        covariance = float((np.linalg.norm(off, axis=(1, 2)) / np.linalg.norm(right, axis=(1, 2))).max())
    if found.opacities is not None:
        opacity = float(np.abs(found.opacities - truth.opacities[order]).max())
    if found.colors is not None:
        color = float(SH_C0 * np.abs(found.colors - truth.colors[order]).max())
    if truth.sh_rest is not None and found.rest is not None:
        right_rest = rotate(truth.sh_rest[order], turn)
        towards = Rotation.random(DIRECTIONS, rng=np.random.default_rng(0)).apply([0, 0, 1])
        basis = sh_basis(towards, 3)
        view = max(float(np.abs(_seen(row, found.rest) - _seen(row, right_rest)).max()) for row in basis)
    return Errors(
        len(means), float(np.abs(means - expected).max()), scale, covariance, opacity, color, view, angle, lean
    )


def routes(
    npm: Path | None, open3d: Path | None, blenders: list[Path]
) -> Iterator[tuple[str, Reader, tuple[str, ...]]]:
    """(program, reader, suffixes that it reads), of all that is at hand."""
    yield "legs4d", this, (".ply", ".spz", ".sog", ".glb", ".usdc")
    yield "gsply", gsply, (".ply", ".spz")
    yield "plyfile", plyfile, (".ply",)
    yield "trimesh", trimesh, (".ply", ".glb")
    yield "pygltflib", pygltflib, (".glb",)
    yield "usd-core", usd_core, (".usdc",)
    if open3d is not None:
        yield "Open3D", program(open3d, "open3d"), (".ply", ".spz")
    for python in blenders:
        yield "Blender", program(python, "blender"), (".ply", ".spz", ".glb", ".usdc")
    if npm is not None:
        yield "spz-js, to .ply", spz_js(npm), (".spz",)
        yield "splat-transform, to .ply", splat_transform(npm, ".ply"), (".ply", ".spz", ".sog")
        for to in (".sog", ".spz", ".glb"):
            yield f"splat-transform, to {to}", splat_transform(npm, to), (".ply",)


def matrix(run: Run, frame: int, readers: list[tuple[str, Reader, tuple[str, ...]]], npm: Path | None) -> list[Row]:
    """A row for each export and program that reads its files."""
    truth, rows = frame_splats(run, frame), []
    with tempfile.TemporaryDirectory() as folder:
        for number, export in enumerate(EXPORTS):
            out = Path(folder) / str(number)
            (path,) = export_files(run, out, range(frame, frame + 1), export.file_format, **dict(export.options))
            for name, reader, suffixes in readers:
                if export.suffix not in suffixes:
                    continue
                try:
                    found = reader(path)
                    rows.append(Row(export, name, found.version, compare(truth, found)))
                except NotHere as error:
                    rows.append(Row(export, name, "", None, str(error)))
                except Exception as error:  # whatever another program's reader raises is its answer
                    rows.append(Row(export, name, "", None, f"{type(error).__name__}: {error}"[:160]))
            if export.suffix == ".glb" and npm is not None:
                version, said = gltf_validator(npm, path)
                rows.append(Row(export, "glTF validator", version, None, said))
    return rows


def make_run(folder: Path) -> Run:
    """A run of one frame that leans: Gaussians of all shapes and directions, whose colours depend on the view."""
    rng = np.random.default_rng(4)
    run = Run.create(folder)
    run.set_info(fps=30.0, up=(np.array([0.3, -0.9, 0.2]) / np.linalg.norm([0.3, -0.9, 0.2])).tolist())
    scene = Gaussians(
        means=rng.normal(0, 2, (SMALL, 3)).astype(np.float32),
        quats=Rotation.random(SMALL, rng=rng).as_quat(scalar_first=True).astype(np.float32),
        scales=np.exp(rng.uniform(-6, 0, (SMALL, 3))).astype(np.float32),
        opacities=rng.uniform(0.02, 0.98, SMALL).astype(np.float32),
        colors=rng.uniform(-1.7, 1.7, (SMALL, 3)).astype(np.float32),
        is_foreground=np.ones(SMALL, bool),
        sh_rest=rng.normal(0, 0.15, (SMALL, 15, 3)).astype(np.float32),
    )
    with run.lock():
        run.begin_stage("import", "interchange")
        run.write_geometry(scene, scene.take(np.zeros(SMALL, bool)), 1)
        run.finish_stage("import")
    return run


def table(rows: list[Row]) -> list[str]:
    """The rows as a Markdown table."""
    lines = ["| export | read by | position | scale | covariance | opacity | colour | view dependence | up |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        start = f"| `{row.export.label}` | {row.program} {row.version} |"
        if row.errors is None:
            lines.append(f"{start} {row.why} | | | | | | |")
            continue
        e = row.errors
        numbers = (e.position, e.scale, e.covariance, e.opacity, e.color, e.view)
        cells = " | ".join("–" if value is None else f"{value:.1g}" for value in numbers)
        up = "leans as the run" if abs(e.up - e.lean) < UPRIGHT_DEGREES else f"**{e.up:.0f}° off**"
        lines.append(f"{start} {cells} | {'is up' if e.up < UPRIGHT_DEGREES else up} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="a run; without it a small one with view dependence is made")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--npm", type=Path, help=f"a folder where npm installed {', '.join(NPM)}")
    parser.add_argument("--open3d", type=Path, metavar="PYTHON", help="a Python that has open3d")
    parser.add_argument("--blender", type=Path, metavar="PYTHON", action="append", default=[], help="Pythons with bpy")
    parser.add_argument("--markdown", type=Path, help="put the table into this page, in place of the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.open(options.run) if options.run else make_run(Path(folder) / "run")
        readers = list(routes(options.npm, options.open3d, options.blender))
        rows = matrix(run, options.frame, readers, options.npm)
        count = run.count(options.frame)
    lines = table(rows)
    print("\n".join(lines))
    if options.markdown:
        said = f"{count} Gaussians; Python {platform.python_version()}."
        put_table(options.markdown, [said, "", *lines])
    return 0


BEGIN, END = "<!-- table: scripts/tools/interchange/check.py --markdown -->", "<!-- end of table -->"


def put_table(page: Path, lines: list[str]) -> None:
    """Replace what is between a page's marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")


def _matched(truth: Splats, means: Floats, reordered: bool) -> tuple[NDArray[np.int64], Floats]:
    """Which of the truth's Gaussians each found one is, and the rotation from the truth's axes to the program's."""
    order = np.arange(len(truth))
    if len(means) != len(truth):
        raise ValueError(f"{len(means)} of {len(truth)} Gaussians")
    if reordered:
        # From the run's own axes or upright ones; programs differ by half turns.
        starts = [Rotation.identity(), *(Rotation.from_euler(axis, 180, degrees=True) for axis in "xyz")]
        level = truth.turned(turn_between(truth.up, (0.0, -1.0, 0.0)))
        tries = [cKDTree(start.apply(own.means)).query(means) for own in (truth, level) for start in starts]
        best = min(tries, key=lambda found: float(np.median(found[0])))
        order = best[1]
        if len(set(order.tolist())) != len(truth):
            raise ValueError("its Gaussians cannot be told apart by their positions")
    turn, _ = Rotation.align_vectors(means, truth.means[order])
    return order, turn.as_matrix()


def _covariances(quats: Floats, scales: Floats) -> Floats:
    axes = Rotation.from_quat(quats, scalar_first=True).as_matrix() * np.asarray(scales, np.float64)[:, None, :]
    return axes @ np.swapaxes(axes, 1, 2)


def _seen(basis: Floats, rest: Floats) -> Floats:
    return np.einsum("k,nkc->nc", basis[: rest.shape[1]], rest)


if __name__ == "__main__":
    sys.exit(main())
