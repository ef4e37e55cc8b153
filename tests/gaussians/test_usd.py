"""USD splats: read back through USD's own schema classes; read from files written as text, with what may be missing."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdVol
from scipy.spatial.transform import Rotation

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.usd import UsdSplats, read_usd
from legs4d.gaussians.formats.usd_writer import usd_writer
from legs4d.gaussians.objects import Objects
from legs4d.portable.turns import upright_turn
from tests.gaussians.crowd import crowd

DOWN = np.array([0.1, 0.2, 0.97])


@pytest.mark.parametrize("suffix", [".usd", ".usda", ".usdc", ".usdz"])
def test_a_frame_is_read_by_the_schemas_own_classes(suffix: str, tmp_path: Path) -> None:
    truth = crowd(40, degree=2)
    with usd_writer(tmp_path / f"x{suffix}", fps=30, turn=upright_turn(DOWN)) as writer:
        writer.add("Static", truth)
        writer.add_highlight("Static", np.linspace(0, 1, 40))
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]
    stage = Usd.Stage.Open(str(tmp_path / f"x{suffix}"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and stage.GetDefaultPrim().GetName() == "Run"
    splat = UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath("/Run/Static"))
    assert splat.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 2
    assert np.array_equal(np.array(splat.GetPositionsAttr().Get()), truth.means)
    assert np.array_equal(np.array(splat.GetScalesAttr().Get()), truth.scales)
    assert np.array_equal(np.array(splat.GetOpacitiesAttr().Get()), truth.opacities)
    quats = [[q.real, *q.imaginary] for q in splat.GetOrientationsAttr().Get()]
    assert np.array_equal(np.array(quats, np.float32), truth.quats)
    values = np.array(splat.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()).reshape(40, 9, 3)
    assert truth.sh_rest is not None
    assert np.array_equal(values[:, 0], truth.colors) and np.array_equal(values[:, 1:], truth.sh_rest)
    low, high = np.array(splat.GetExtentAttr().Get())
    assert (low < truth.means - truth.scales).all() and (high > truth.means + truth.scales).all()
    np.testing.assert_allclose(read_usd(tmp_path / f"x{suffix}").extra["highlight"], np.linspace(0, 1, 40), atol=1e-6)
    # What was down is down.
    place = np.array(UsdGeom.XformCache().GetLocalToWorldTransform(splat.GetPrim())).T
    np.testing.assert_allclose(place[:3, :3] @ DOWN, [0, -float(np.linalg.norm(DOWN)), 0], atol=1e-6)


@pytest.mark.parametrize("suffix", [".usdc", ".usdz"])
def test_a_sequence_in_one_file(suffix: str, tmp_path: Path) -> None:
    frames = [crowd(20, degree=1, seed=seed) for seed in range(3)]
    static, origin = crowd(5, degree=0), (500_000.0, 0.5, -4_000_000.0)
    pose = np.zeros((7, 1, 7), np.float32)
    pose[:, 0, 0], pose[:, 0, 3] = np.arange(7) - 4, 1
    ball = Objects(("ball ⚽",), pose, np.ones((7, 1), np.float32), np.arange(7)[:, None] != 5, (4,))
    with usd_writer(tmp_path / f"x{suffix}", fps=12.5, turn=upright_turn([0, 1, 0]), origin=origin) as writer:
        writer.add("Static", static)
        for frame, moving in enumerate(frames):
            kept = replace(moving, scales=frames[0].scales)
            writer.add("Dynamic", kept, 4 + frame)
            writer.add("Loose", crowd(2 + frame, degree=0, seed=9), 4 + frame)
            writer.add_objects(ball, 4 + frame)
    stage = Usd.Stage.Open(str(tmp_path / f"x{suffix}"))
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode(), stage.GetTimeCodesPerSecond()) == (4, 6, 12.5)
    moving = UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath("/Run/Dynamic"))
    assert moving.GetPositionsAttr().GetTimeSamples() == [4, 5, 6]
    assert moving.GetExtentAttr().GetTimeSamples() == [4, 5, 6]
    assert moving.GetScalesAttr().GetTimeSamples() == [4]  # held from there on
    assert np.array_equal(np.array(moving.GetPositionsAttr().Get(6)), frames[2].means)
    loose = UsdVol.ParticleField3DGaussianSplat(stage.GetPrimAtPath("/Run/Loose"))
    assert [len(loose.GetPositionsAttr().Get(t)) for t in (4, 5, 6)] == [2, 3, 4]
    ball = stage.GetPrimAtPath("/Run/Objects/object_4")
    assert ball.GetDisplayName() == "ball ⚽"
    assert [UsdGeom.Imageable(ball).ComputeVisibility(t) for t in (4, 5, 6)] == ["inherited", "invisible", "inherited"]
    # A capture's y points down: half a turn about x stands it up.
    np.testing.assert_allclose(
        UsdGeom.XformCache(6).GetLocalToWorldTransform(ball).ExtractTranslation(),
        np.add([2, 0, 0], np.multiply(origin, [1, -1, -1])),
    )
    read = UsdSplats(tmp_path / f"x{suffix}")
    assert read.times == (4, 5, 6) and read.fps == 12.5 and read.up == (0, 1, 0)
    last = read.read(2)
    assert len(last) == 5 + 20 + 4
    half_turn = np.array([1.0, -1.0, -1.0])
    expected = np.concatenate([static.means, frames[2].means, crowd(4, degree=0, seed=9).means]) * half_turn
    there = last.means + np.array(last.origin) - np.multiply(origin, half_turn)
    order = [np.abs(there - row).sum(axis=1).argmin() for row in expected]
    assert len(set(order)) == len(expected)
    np.testing.assert_allclose(there[order], expected, atol=1e-5)


TEXT = """#usda 1.0
(
    upAxis = "Z"
    timeCodesPerSecond = 25
)
def Xform "Place"
{
    double3 xformOp:translate = (1, 2, 3)
    float xformOp:rotateZ = 90
    float3 xformOp:scale = (2, 2, 2)
    uniform token[] xformOpOrder = ["xformOp:translate", "xformOp:rotateZ", "xformOp:scale"]
    def ParticleField3DGaussianSplat "One"
    {
        point3f[] positions = [(1, 0, 0), (0, 1, 0)]
        half[] opacitiesh = [0.5, 0.25]
        quatf[] orientations = [(1, 0, 0, 0)]
        float3[] scales = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    }
}
def ParticleField3DGaussianSplat "Hidden"
{
    token visibility = "invisible"
    point3f[] positions = [(1, 0, 0)]
}
"""


def test_text_with_what_the_schema_lets_be_missing(tmp_path: Path) -> None:
    (tmp_path / "x.usda").write_text(TEXT)
    splats = read_usd(tmp_path / "x.usda")
    np.testing.assert_allclose(splats.means, [[1, 4, 3], [-1, 2, 3]], atol=1e-5)
    np.testing.assert_allclose(splats.opacities, [0.5, 0.25])
    np.testing.assert_allclose(splats.scales, [[2, 4, 6], [8, 10, 12]], rtol=1e-5)  # truncated, as too long
    turn = Rotation.from_euler("z", 90, degrees=True)
    found = Rotation.from_quat(splats.quats, scalar_first=True)  # one orientation is too few: none counts
    assert (found * turn.inv()).magnitude().max() < 1e-5
    np.testing.assert_allclose(splats.colors, 0)
    assert splats.sh_rest is None and splats.up == (0, 0, 1)


def test_bad_files_are_told_in_a_sentence(tmp_path: Path) -> None:
    with usd_writer(tmp_path / "x.usdc", fps=0, turn=upright_turn([0, 1, 0])) as writer:
        writer.add("Static", crowd(40))
    whole = (tmp_path / "x.usdc").read_bytes()
    outside = '#usda 1.0\n(subLayers = [@../x.usda@])\ndef ParticleField3DGaussianSplat "A" {}\n'
    (tmp_path / "x.usda").write_text(TEXT)
    (tmp_path / "inner").mkdir()
    for name, content, said in (
        ("half.usdc", whole[: len(whole) // 2], "is damaged"),
        ("text.usda", TEXT.encode().replace(b"One", b"O\xec\xffe"), "cannot be read"),
        ("axis.usda", TEXT.encode().replace(b'"Z"', b'"W"'), "has the up axis 'W'"),
        ("other.usd", b"ply\nformat ascii 1.0\n", "cannot be read"),
        ("empty.usdz", b"", "cannot be read"),
        ("mesh.usda", b'#usda 1.0\ndef Mesh "A" {}\n', "has no prim of the type"),
        ("none.usda", b'#usda 1.0\ndef ParticleField3DGaussianSplat "A" {}\n', "has no Gaussians"),
        ("out.usda", outside.encode(), "points outside its folder"),
        ("away.usda", None, "there is no such file"),
    ):
        if content is not None:
            (tmp_path / "inner" / name).write_bytes(content)
        with pytest.raises(DatasetError, match=said):
            read_usd(tmp_path / "inner" / name)


def test_a_binary_file_that_tells_more_than_it_can_hold_is_not_opened(tmp_path: Path) -> None:
    with usd_writer(tmp_path / "x.usdc", fps=0, turn=upright_turn([0, 1, 0])) as writer:
        writer.add("Static", crowd(40))
    whole = bytearray((tmp_path / "x.usdc").read_bytes())
    (table,) = struct.unpack_from("<q", whole, 16)
    (count,) = struct.unpack_from("<Q", whole, table)
    for index in range(count):
        name, start, _ = struct.unpack_from("<16sqq", whole, table + 8 + 32 * index)
        struct.pack_into("<Q", whole, start, 1 << 40)
        (tmp_path / "big.usdc").write_bytes(whole)
        with pytest.raises(
            DatasetError, match=rf"is damaged \(it tells 1099511627776 {name.rstrip(bytes(1)).decode()}"
        ):
            read_usd(tmp_path / "big.usdc")
        whole = bytearray((tmp_path / "x.usdc").read_bytes())


def test_what_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), usd_writer(tmp_path / "x.usdc", fps=1, turn=upright_turn([0, 1, 0])) as made:
        made.add("Static", crowd(4))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
