"""Files by their names, and one origin for all of a sequence."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import plyfile
import pytest

from legs4d.portable.files import read_splats
from legs4d.portable.ply.writer import ply_parts
from legs4d.portable.splats import SplatFileError
from legs4d.portable.spz_writer import spz_bytes
from tests.portable.test_spz import crowd


def test_any_known_ending(tmp_path: Path) -> None:
    truth = crowd(40)
    (tmp_path / "a.PLY").write_bytes(b"".join(ply_parts(truth)))
    (tmp_path / "b.Spz").write_bytes(spz_bytes(truth))
    row = struct.pack("<6f8B", 600_000, 2, 3, 1, 1, 1, 9, 9, 9, 9, 255, 128, 128, 128)
    (tmp_path / "c.splat").write_bytes(row)
    np.testing.assert_array_equal(read_splats(tmp_path / "a.PLY").means, truth.means)
    np.testing.assert_allclose(read_splats(tmp_path / "b.Spz").means, truth.means, atol=1e-6)
    far = read_splats(tmp_path / "c.splat")
    assert far.origin == (600_000, 2, 3) and far.means.tolist() == [[0, 0, 0]]
    chosen = read_splats(tmp_path / "c.splat", origin=(599_990.0, 0.0, 0.0))
    assert chosen.means.tolist() == [[10, 2, 3]]
    with pytest.raises(SplatFileError, match=r"ends in \.obj, known are \.ply"):
        read_splats(tmp_path / "d.obj")


def test_a_written_ply_comes_back_as_it_was(tmp_path: Path) -> None:
    truth = replace(
        crowd(60, 8, up=(0.6, 0.0, 0.8)),
        origin=(499_123.25, 4_182_456.5, 300.0),
        extra={"highlight": np.linspace(0, 1, 60).astype(np.float32)},
    )
    path = tmp_path / "x.ply"
    path.write_bytes(b"".join(ply_parts(truth)))
    found = read_splats(path)
    for name in ("means", "colors", "sh_rest"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name))
    np.testing.assert_allclose(found.scales, truth.scales, rtol=1e-5)
    np.testing.assert_allclose(found.quats, truth.quats, atol=1e-6)
    np.testing.assert_allclose(found.opacities, truth.opacities, atol=2e-6)
    assert found.origin == truth.origin and found.up == truth.up
    np.testing.assert_array_equal(found.extra["highlight"], truth.extra["highlight"])
    moved = read_splats(path, origin=(499_123.25, 4_182_000.5, 300.0))
    np.testing.assert_allclose(moved.means[:, 1], truth.means[:, 1] + 456, atol=1e-4)


@pytest.mark.parametrize(("degree", "properties"), [(0, 17), (1, 26), (2, 41), (3, 62)])
def test_as_many_properties_as_a_reader_wants(tmp_path: Path, degree: int, properties: int) -> None:
    truth = crowd(30, 8)
    (tmp_path / "x.ply").write_bytes(b"".join(ply_parts(truth, sh_degree=degree)))
    vertex = plyfile.PlyData.read(tmp_path / "x.ply")["vertex"]
    assert len(vertex.properties) == properties
    count = ((degree + 1) ** 2 - 1) if degree else 0
    assert truth.sh_rest is not None
    for channel in range(3):
        for index in range(count):
            expected = truth.sh_rest[:, index, channel] if index < 8 else np.zeros(30)
            np.testing.assert_array_equal(vertex[f"f_rest_{channel * count + index}"], expected)


def test_an_upright_capture_needs_no_comment() -> None:
    header, _ = ply_parts(crowd(3, 0, up=(0.0, -1.0, 0.0)))
    assert b"comment" not in header
    header, _ = ply_parts(crowd(3, 0, up=(0.0, -1.0, 0.0)), comments=("made by legs4d",))
    assert b"\ncomment made by legs4d\n" in header


@pytest.mark.parametrize(
    ("start", "fix"),
    [(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), (b"<!DOCTYPE html>\n", "download it again")],
)
def test_what_came_in_place_of_a_file_is_told_with_a_cure(start: bytes, fix: str, tmp_path: Path) -> None:
    (tmp_path / "x.ply").write_bytes(start + bytes(200))
    with pytest.raises(SplatFileError, match=fix):
        read_splats(tmp_path / "x.ply")
