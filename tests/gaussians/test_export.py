"""A run with everything that may change, as files and read back: by frame, and as one file."""

from __future__ import annotations

import json
from pathlib import Path

import gsply
import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdVol

from legs4d.context import Context
from legs4d.errors import RunError
from legs4d.gaussians.export import check_export, export_files, what_is_left_out
from legs4d.gaussians.formats.gltf import read_gltf
from legs4d.gaussians.formats.sog import read_sog
from legs4d.gaussians.formats.usd import UsdSplats
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.objects import Objects, write_objects
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, Stopped
from tests.gaussians.crowd import crowd

UP = np.array([0.2, -0.3, 0.9]) / np.linalg.norm([0.2, -0.3, 0.9])
"""Somewhere between z and -y."""
ORIGIN = (400_000.0, 5_000_000.0, 100.0)


def gaussians(count: int, degree: int, seed: int) -> Gaussians:
    made = crowd(count, degree, seed)
    fields = (made.means, made.quats, made.scales, made.opacities, made.colors)
    return Gaussians(*fields, np.ones(count, bool), made.sh_rest)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three frames: 12 static, 8 that move, and 0, 3, 5 without identity."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "run")
    run.set_info(up=UP.tolist(), origin=list(ORIGIN), fps=25.0)
    moving = [gaussians(8, 1, 10 + frame) for frame in range(3)]
    with run.lock():
        run.begin_stage("import", "made")
        run.write_geometry(gaussians(12, 3, 1), moving[0], 3, changing=("scales", "opacities", "sh_rest"), max_loose=5)
        for frame, now in enumerate(moving):
            changing = {"scales": now.scales, "opacities": now.opacities, "sh_rest": now.sh_rest}
            run.write_frame(frame, now.means, now.quats, now.colors, **changing)
            run.write_loose(frame, gaussians((0, 3, 5)[frame], 0, 20))
            run.frame_done("import", frame, 0.0)
        pose = np.tile(np.array([1, 2, 3, 1, 0, 0, 0], np.float32), (3, 1, 1))
        write_objects(run, Objects(("box",), pose, np.full((3, 1), 2, np.float32), np.array([[1], [0], [1]], bool)))
        run.finish_stage("import")
    return Run.open(run.path)


def test_a_frame_stands_upright_whatever_its_format(run: Run, tmp_path: Path) -> None:
    truth = run.frame(2)
    (spz,) = export_files(run, tmp_path, range(2, 3), "spz")
    (glb,) = export_files(run, tmp_path, range(2, 3), "gltf")
    (sog,) = export_files(run, tmp_path, range(2, 3), "sog")
    (usd,) = export_files(run, tmp_path, range(2, 3), "usd", per_frame=True)
    height = truth.means @ UP
    np.testing.assert_allclose(gsply.read_spz(spz).means[:, 1], height, atol=1e-4)
    np.testing.assert_allclose(-read_sog(sog).means[:, 1], height, atol=2e-3)
    for read in (read_gltf(glb), UsdSplats(usd).read()):
        up = read.means[:, 1].astype(np.float64) + read.origin[1]
        np.testing.assert_allclose(up - np.dot(ORIGIN, UP), height, atol=1e-4)
        assert read.sh_rest is not None and read.sh_rest.shape == (25, 15, 3)


def test_all_frames_as_one_file(run: Run, tmp_path: Path) -> None:
    highlight = [np.linspace(0, 1, run.count(frame)) + frame for frame in range(3)]
    told: list[Progress] = []
    (path,) = export_files(
        run, tmp_path, range(3), "usd", Context(progress=told.append), highlight=lambda frame: highlight[frame]
    )
    assert path.name == "sequence.usdc" and [told[-1].done, told[-1].total] == [3, 3]
    stage = Usd.Stage.Open(str(path))
    static, moving, loose = (
        UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath(f"/Run/{name}"))
        for name in ("Static", "Dynamic", "Loose")
    )
    for frame in range(3):
        now = run.dynamic(frame)
        assert np.array_equal(np.array(moving.GetPositionsAttr().Get(frame)), now.means)
        assert np.array_equal(np.array(moving.GetScalesAttr().Get(frame)), now.scales)
        assert np.array_equal(np.array(moving.GetOpacitiesAttr().Get(frame)), now.opacities)
        values = np.array(moving.GetRadianceSphericalHarmonicsCoefficientsAttr().Get(frame)).reshape(8, 4, 3)
        assert now.sh_rest is not None
        assert np.array_equal(values[:, 1:], now.sh_rest) and np.array_equal(values[:, 0], now.colors)
        assert len(loose.GetPositionsAttr().Get(frame)) == (0, 3, 5)[frame]
        parts = [np.array(p.GetPrim().GetAttribute("primvars:highlight").Get(frame)) for p in (static, moving, loose)]
        np.testing.assert_allclose(np.concatenate(parts), highlight[frame], atol=1e-6)
    assert static.GetPositionsAttr().GetTimeSamples() == []
    box = stage.GetPrimAtPath("/Run/Objects/box_0")
    assert [UsdGeom.Imageable(box).ComputeVisibility(t) for t in range(3)] == ["inherited", "invisible", "inherited"]
    assert UsdGeom.Xform(box).GetOrderedXformOps()[2].Get(0) == (2, 2, 2)
    assert UsdSplats(path).times == (0, 1, 2)


def test_what_a_format_cannot_hold_is_said(run: Run, tmp_path: Path) -> None:
    assert what_is_left_out(run, range(3), "gltf") == []
    assert what_is_left_out(run, range(3), "spz") == [
        "spz has no place for the origin: its positions are counted from (400000, 5e+06, 100)"
    ]
    for wrong, said in (
        ({"file_format": "sog", "prompt": True}, "--prompt: sog has no place for a highlight"),
        ({"file_format": "ply", "spz_version": 2}, "--spz-version: ply does not know this option"),
        ({"file_format": "usdz", "per_frame": True}, "--per-frame: usdz does not know this option"),
        ({"file_format": "npz", "sh_degree": 3}, "--sh-degree: npz does not know this option"),
        ({"file_format": "json", "without": True}, "--without: json does not know this option"),
    ):
        none = {"prompt": False, "sh_degree": None, "spz_version": None, "per_frame": False}
        asked = {**none, "selection": False, "without": False, **wrong}
        with pytest.raises(RunError, match=said):
            check_export(**asked)  # type: ignore[arg-type]


def test_frames_without_gaussians_have_no_files(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    with run.lock():
        run.begin_stage("import", "made")
        run.write_geometry(gaussians(0, 0, 1), gaussians(0, 0, 1), 2, max_loose=3)
        run.write_loose(0, gaussians(3, 0, 1))
        run.write_loose(1, gaussians(0, 0, 1))
        run.finish_stage("import")
    assert [path.name for path in export_files(run, tmp_path / "out", range(2), "gltf")] == ["frame_000000.glb"]
    assert what_is_left_out(run, range(2), "gltf") == ["1 of 2 frames have no Gaussians, and no files: 1"]


class StopAfter:
    """Told to stop when asked for the last time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_what_is_stopped_goes_on(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        export_files(run, tmp_path, range(3), "sog", Context(stop=StopAfter(2)))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert 0 < len(before) < 3
    assert len(export_files(run, tmp_path, range(3), "sog", keep=True)) == 3
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}.items()
    with pytest.raises(Stopped):
        export_files(run, tmp_path / "usd", range(3), "usd", Context(stop=StopAfter(2)))
    assert not list((tmp_path / "usd").iterdir())


def test_degrees_of_view_dependence(run: Run, tmp_path: Path) -> None:
    def header(degree: int | None) -> list[str]:
        (path,) = export_files(run, tmp_path, range(2, 3), "ply", sh_degree=degree)
        return [line for line in path.read_bytes().split(b"end_header")[0].decode().splitlines() if "property" in line]

    assert [len(header(degree)) for degree in (None, 0, 3)] == [62, 17, 62]
    (path,) = export_files(run, tmp_path, range(2, 3), "gltf", sh_degree=1)
    rest = read_gltf(path).sh_rest
    assert rest is not None and rest.shape[1] == 3


def test_poses_of_objects_as_json(run: Run, tmp_path: Path) -> None:
    (path,) = export_files(run, tmp_path, range(1, 3), "json")
    told = json.loads(path.read_text())
    assert (path.name, told["frames"], told["fps"]) == ("objects.json", [1, 2], 25.0)
    np.testing.assert_allclose(told["up"], UP, atol=1e-6)
    assert told["origin"] == list(ORIGIN)
    (box,) = told["objects"]
    assert (box["id"], box["name"], box["visible"], box["scale"]) == (0, "box", [False, True], [2, 2])
    assert box["translation"] == [[1, 2, 3]] * 2 and box["rotation"] == [[1, 0, 0, 0]] * 2
    without = Run.create(tmp_path / "without")
    with pytest.raises(RunError, match="has no objects whose poses could be written; train it with object masks"):
        export_files(without, tmp_path / "out", range(0), "json")
    assert not (tmp_path / "out").exists()
