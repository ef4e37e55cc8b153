""".splat: numbers worked out by hand from the bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from legs4d.portable.splat import read_splat
from legs4d.portable.splats import SplatFileError

C0 = 0.28209479177387814


def row(*, x: float = 1, scale: float = 0.5, quat: tuple[int, ...] = (255, 128, 128, 128)) -> bytes:
    return struct.pack("<6f8B", x, -2, 3.5, scale, 1, 2, 255, 51, 0, 102, *quat)


def test_every_field_is_where_the_format_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.splat"
    path.write_bytes(row() + row(x=4, quat=(192, 64, 192, 64)))
    found = read_splat(path)
    np.testing.assert_array_equal(found.means, [[1, -2, 3.5], [4, -2, 3.5]])
    np.testing.assert_array_equal(found.scales, [[0.5, 1, 2]] * 2)
    np.testing.assert_allclose(0.5 + C0 * found.colors, [[1, 0.2, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(found.opacities, 0.4, atol=1e-6)
    np.testing.assert_allclose(found.quats, np.array([[1, 0, 0, 0], [0.5, -0.5, 0.5, -0.5]]), atol=1e-6)
    assert found.sh_rest is None and found.up == (0, -1, 0) and found.dropped == 0


def test_what_is_no_gaussian_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.splat"
    path.write_bytes(row() * 5 + row(x=np.nan) + row(scale=-1) + row(quat=(128,) * 4) + row(scale=0))
    found = read_splat(path)
    assert (len(found), found.dropped) == (6, 3)
    assert found.scales[-1, 0] > 0


def test_bad_files_give_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.splat"
    for content, said in [
        (b"", "is empty"),
        (row()[:31], "has 31 bytes, which are no whole number"),
        (b"ply\nformat ascii 1.0\n" + bytes(11), "no .splat file but a .ply file"),
        (np.random.default_rng(1).bytes(32 * 500), "no .splat file: 4.. of 500 rows of it are no Gaussians"),
    ]:
        path.write_bytes(content)
        with pytest.raises(SplatFileError, match=said):
            read_splat(path)
