""".spz: read from bytes laid out as the format's description has them, written for gsply to read."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import gsply
import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.portable import zstd
from legs4d.portable.splats import SplatFileError, Splats
from legs4d.portable.spz import read_spz
from legs4d.portable.spz_writer import spz_bytes

MAGIC = 0x5053474E
COEFFICIENTS = {0: 0, 1: 3, 2: 8, 3: 15, 4: 24}


def layout(version: int, count: int, degree: int) -> list[NDArray[np.uint8]]:
    """Random bytes of each kind of number, as long as the format wants them."""
    rng = np.random.default_rng(version * 10 + degree)
    widths = [6 if version == 1 else 9, 1, 3, 3, 3 if version < 3 else 4, 3 * COEFFICIENTS[degree]]
    parts = [rng.integers(0, 256, (count, width), np.uint8) for width in widths]
    if version == 1:
        parts[0] = rng.normal(size=(count, 3)).astype("<f2").view(np.uint8)
    return parts


def packed(
    version: int, parts: list[NDArray[np.uint8]], degree: int, bits: int = 12, flags: int = 0, extra: bytes = b""
) -> bytes:
    """A file of these bytes; `extra` are extension records."""
    start = (MAGIC, version, len(parts[0]), degree, bits, flags | (2 if extra else 0))
    if version < 4:
        return gzip.compress(struct.pack("<IIIBBBB", *start, 0) + b"".join(p.tobytes() for p in parts) + extra, mtime=0)
    streams = [part.tobytes() for part in parts if part.size]
    small = [zstandard.compress(stream) for stream in streams]
    header = struct.pack("<IIIBBBBI12x", *start, len(streams), 32 + len(extra)) + extra
    return (
        header
        + b"".join(struct.pack("<QQ", len(a), len(b)) for a, b in zip(small, streams, strict=True))
        + b"".join(small)
    )


def bits_of(data: NDArray[np.uint8], row: int, column: int) -> int:
    return int.from_bytes(data[row, 3 * column : 3 * column + 3].tobytes(), "little", signed=True)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_and_degree(tmp_path: Path, version: int, degree: int) -> None:
    positions, opacities, colors, scales, rotations, rest = parts = layout(version, 300, degree)
    (tmp_path / "x.spz").write_bytes(packed(version, parts, degree, bits=11))
    found = read_spz(tmp_path / "x.spz")
    assert (len(found), found.dropped, found.up, found.antialiased) == (300, 0, (0, 1, 0), False)
    if version == 1:
        np.testing.assert_array_equal(found.means, positions.view("<f2"))
    else:
        expected = [[bits_of(positions, row, axis) / 2048 for axis in range(3)] for row in range(300)]
        np.testing.assert_array_equal(found.means, np.array(expected, np.float32))
    np.testing.assert_allclose(found.opacities, opacities[:, 0] / 255, atol=1e-7)
    np.testing.assert_allclose(found.colors, (colors / 255 - 0.5) / 0.15, atol=1e-6)
    np.testing.assert_allclose(found.scales, np.exp(scales / 16 - 10), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.quats, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found.quats, rotations_by_hand(rotations), atol=1e-5)
    if degree:
        assert found.sh_rest is not None
        np.testing.assert_allclose(found.sh_rest.reshape(300, -1), rest / 128 - 1, atol=1e-7)
    else:
        assert found.sh_rest is None


def rotations_by_hand(data: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[N, 4] wxyz, a Gaussian at a time."""
    found = []
    for row in data:
        if len(row) == 3:
            xyz = row / 127.5 - 1
            xyzw = np.append(xyz, np.sqrt(max(0, 1 - xyz @ xyz)))
        else:
            word = int.from_bytes(row.tobytes(), "little")
            others = [component for component in range(4) if component != word >> 30]
            xyzw = np.zeros(4)
            for place, component in enumerate(reversed(others)):
                part = (word >> 10 * place) & 1023
                xyzw[component] = (-1 if part & 512 else 1) * (part & 511) / 511 * np.sqrt(0.5)
            xyzw[word >> 30] = np.sqrt(max(0.0, float(1 - xyzw @ xyzw)))
        found.append(xyzw[[3, 0, 1, 2]] / np.linalg.norm(xyzw))
    return np.array(found)


def test_the_fourth_degree_is_left_out_and_said(tmp_path: Path) -> None:
    parts = layout(3, 20, 4)
    (tmp_path / "x.spz").write_bytes(packed(3, parts, 4, flags=1))
    found = read_spz(tmp_path / "x.spz")
    assert found.sh_rest is not None and found.sh_rest.shape == (20, 15, 3)
    np.testing.assert_allclose(found.sh_rest.reshape(20, -1), parts[5][:, :45] / 128 - 1, atol=1e-7)
    assert found.antialiased and "degree 4" in found.notes[0]


def test_halves_that_are_no_number_are_left_out(tmp_path: Path) -> None:
    parts = layout(1, 5, 0)
    parts[0].view("<f2")[2, 1] = np.nan
    (tmp_path / "x.spz").write_bytes(packed(1, parts, 0))
    assert read_spz(tmp_path / "x.spz").dropped == 1


def record(number: int) -> bytes:
    """An unknown extension, then the one that names the axes."""
    return struct.pack("<II5s", 0x12340001, 5, b"other") + struct.pack("<III", 0xADBE0003, 4, number)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize(
    ("number", "up", "is_mirrored"),
    [
        (0, (0, 1, 0), False),  # nothing said
        (4, (0, 1, 0), False),  # right, up, back
        (6, (0, -1, 0), False),  # right, down, front: as .ply
        (8, (0, 1, 0), True),  # right, up, front: Unity
        (7, (0, 1, 0), False),  # left, up, front: glTF
        (12, (0, 0, 1), False),  # right, front, up: Blender
        (11, (0, 0, 1), True),  # left, front, up
        (99, (0, 1, 0), False),  # not known
    ],
)
def test_axes_are_those_that_the_file_names(
    tmp_path: Path, version: int, number: int, up: tuple, is_mirrored: bool
) -> None:
    parts = layout(version, 50, 3)
    (tmp_path / "plain.spz").write_bytes(packed(version, parts, 3))
    (tmp_path / "said.spz").write_bytes(packed(version, parts, 3, extra=record(number)))
    plain, said = read_spz(tmp_path / "plain.spz"), read_spz(tmp_path / "said.spz")
    assert said.up == up
    if not is_mirrored:
        np.testing.assert_array_equal(said.means, plain.means)
        np.testing.assert_array_equal(said.quats, plain.quats)
        return
    assert plain.sh_rest is not None and said.sh_rest is not None
    mirror = np.diag([-1.0, 1, 1])
    np.testing.assert_array_equal(said.means, plain.means @ mirror.astype(np.float32))
    turns = [Rotation.from_quat(s.quats, scalar_first=True).as_matrix() for s in (plain, said)]
    shapes = [
        turn @ (s.scales[:, :, None] ** 2 * turn.transpose(0, 2, 1))
        for turn, s in zip(turns, (plain, said), strict=True)
    ]
    np.testing.assert_allclose(shapes[1], mirror @ shapes[0] @ mirror, atol=1e-4 * shapes[0].max())
    # x, xy, xz, xyz, x(4z²-x²-y²), x(x²-3y²) change their signs.
    signs = np.ones(15)
    signs[[2, 3, 6, 9, 12, 14]] = -1
    np.testing.assert_allclose(said.sh_rest, plain.sh_rest * signs[:, None], atol=1e-7)


def test_many_gaussians_are_unpacked_in_parts(tmp_path: Path) -> None:
    for version in (3, 4):
        parts = layout(version, 70_001, 1)
        (tmp_path / "x.spz").write_bytes(packed(version, parts, 1))
        found, other = read_spz(tmp_path / "x.spz"), gsply.read_spz(tmp_path / "x.spz")
        np.testing.assert_array_equal(found.means, other.means)
        np.testing.assert_allclose(np.log(found.scales), other.scales, atol=1e-6)
        np.testing.assert_allclose(found.colors, other.sh0, atol=1e-5)
        assert found.sh_rest is not None
        np.testing.assert_allclose(found.sh_rest, other.shN, atol=1e-6)
        np.testing.assert_allclose(found.opacities, 1 / (1 + np.exp(-other.opacities.ravel())), atol=2e-6)


# -- bad files ---------------------------------------------------------------------------------------------------------


def good(version: int) -> bytes:
    return packed(version, layout(version, 2000, 1), 1)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_half_a_file(tmp_path: Path, version: int) -> None:
    content = good(version)
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "x.spz").write_bytes(content[: int(share * len(content))])
        with pytest.raises(SplatFileError, match="cut short"):
            read_spz(tmp_path / "x.spz")


def changed(version: int, place: int, value: int) -> bytes:
    """A header with another byte."""
    content = bytearray(good(version) if version == 4 else gzip.decompress(good(version)))
    content[place] = value
    return bytes(content) if version == 4 else gzip.compress(bytes(content), mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ply\n" + bytes(99), "no .spz file but a .ply file"),
        (gzip.compress(b"something else entirely", mtime=0), "no .spz file but other gzip data"),
        (changed(3, 4, 4), "of .spz version 4; 1 to 4"),
        (changed(4, 4, 5), "of .spz version 5"),
        (packed(3, layout(3, 0, 0), 0), "holds no Gaussians"),
        (packed(4, layout(4, 0, 0), 0), "holds no Gaussians"),
        (changed(3, 12, 5), "spherical harmonics of degree 5; 0 to 4"),
        (changed(3, 13, 40), "40 fraction bits"),
        (changed(3, 11, 200), "cut short"),  # 3.3 billion Gaussians
        (changed(4, 11, 200), "cut short"),
        (changed(4, 12, 2), "do not fit"),
        (changed(4, 19, 255), "table of streams lies at byte"),
        (changed(4, 40, 3), "do not fit"),
        (changed(4, 38, 255), "cut short"),
    ],
)
def test_a_bad_file_gives_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.spz").write_bytes(content)
    with pytest.raises(SplatFileError, match=said) as caught:
        read_spz(tmp_path / "x.spz")
    assert "\n" not in str(caught.value)


def test_damaged_streams(tmp_path: Path) -> None:
    for version in (3, 4):
        content = bytearray(good(version))
        if version == 3:
            content[len(content) // 2] ^= 1  # one bit: only the checksum tells
        else:
            content[32 + 6 * 16] ^= 1  # the first frame's first byte
        (tmp_path / "x.spz").write_bytes(content)
        with pytest.raises(SplatFileError, match="damaged"):
            read_spz(tmp_path / "x.spz")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the Gaussians of a header is never unpacked; a frame with another length is refused."""
    parts = layout(3, 100, 0)
    whole = gzip.decompress(packed(3, parts, 0)) + bytes(50_000_000)
    (tmp_path / "x.spz").write_bytes(gzip.compress(whole))
    assert len(read_spz(tmp_path / "x.spz")) == 100
    for held, said in [(bytes(50_000_000), "holds more bytes"), (bytes(50), "holds 50 bytes"), (b"", "holds 0 bytes")]:
        with pytest.raises(SplatFileError, match=f"{said} where its table says 900"):
            list(zstd.unpack_into(zstandard.compress(held), np.empty(900, np.uint8), "x.spz"))


def test_a_python_without_zstd_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(name)

    (tmp_path / "x.spz").write_bytes(good(4))
    monkeypatch.setattr(zstd, "import_module", nothing)
    with pytest.raises(SplatFileError, match="cannot read; import it through the backend"):
        read_spz(tmp_path / "x.spz")
    with pytest.raises(SplatFileError, match=r"write \.spz version 3"):
        spz_bytes(crowd(), version=4)


# -- writing -----------------------------------------------------------------------------------------------------------


def crowd(count: int = 400, coefficients: int = 15, up: tuple[float, float, float] = (0, 1, 0)) -> Splats:
    rng = np.random.default_rng(7)
    quats = rng.normal(size=(count, 4))
    rest = rng.uniform(-0.9, 0.9, (count, coefficients, 3)).astype(np.float32)
    return Splats(
        means=rng.uniform(-5, 5, (count, 3)).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        scales=np.exp(rng.uniform(-6, 1, (count, 3))).astype(np.float32),
        opacities=rng.random(count).astype(np.float32),
        colors=rng.uniform(-2, 2, (count, 3)).astype(np.float32),
        sh_rest=rest if coefficients else None,
        up=up,
    )


@pytest.mark.parametrize("coefficients", [0, 3, 8, 15])
@pytest.mark.parametrize("version", [2, 3, 4])
def test_gsply_reads_what_is_written(tmp_path: Path, version: Any, coefficients: int) -> None:
    truth = crowd(coefficients=coefficients)
    (tmp_path / "x.spz").write_bytes(spz_bytes(truth, version=version))
    found = gsply.read_spz(tmp_path / "x.spz")
    np.testing.assert_allclose(found.means, truth.means, atol=0.51 / (1 << 20))
    np.testing.assert_allclose(1 / (1 + np.exp(-found.opacities.ravel())), truth.opacities, atol=0.51 / 255)
    np.testing.assert_allclose(found.sh0, truth.colors, atol=0.51 / (0.15 * 255))
    np.testing.assert_allclose(found.scales, np.log(truth.scales), atol=0.51 / 16)
    angles = 2 * np.degrees(np.arccos(np.abs(np.einsum("ij,ij->i", found.quats, truth.quats)).clip(0, 1)))
    assert angles.max() < (12 if version == 2 else 0.3)
    if truth.sh_rest is not None:
        np.testing.assert_allclose(found.shN, truth.sh_rest, atol=0.51 / 128)


def test_what_is_up_is_up_in_the_file(tmp_path: Path) -> None:
    lean = crowd(up=(0.6, 0, 0.8))
    (tmp_path / "x.spz").write_bytes(spz_bytes(lean))
    found = read_spz(tmp_path / "x.spz")
    np.testing.assert_allclose(found.means[:, 1], lean.means @ np.array(lean.up, np.float32), atol=1e-5)
    as_trained = crowd(up=(0, -1, 0))
    (tmp_path / "y.spz").write_bytes(spz_bytes(as_trained))
    found = read_spz(tmp_path / "y.spz")
    np.testing.assert_allclose(found.means, as_trained.means * [1, -1, -1], atol=1e-5)
    assert found.sh_rest is not None and as_trained.sh_rest is not None
    # Of degree 1, (-y, z, -x), the first two change their signs.
    np.testing.assert_allclose(
        found.sh_rest[:, :3], as_trained.sh_rest[:, :3] * np.array([-1, -1, 1])[:, None], atol=0.01
    )


def test_positions_that_do_not_fit_are_refused_and_not_wrapped(tmp_path: Path) -> None:
    far = crowd(4)
    for distance in (2047.99, -2047.99, 300.0):
        far.means[0] = distance, 0, 0
        (tmp_path / "x.spz").write_bytes(spz_bytes(far))
        np.testing.assert_allclose(gsply.read_spz(tmp_path / "x.spz").means, far.means, atol=0.51 / 4096)
    for distance in (2048.0, -2048.5, 1e8, np.nan):
        far.means[0] = 0, distance, 0
        with pytest.raises(SplatFileError, match=r"scene units from the origin along an axis, \.spz ends at 2048"):
            spz_bytes(far, where="far.spz")


def test_the_same_gaussians_give_the_same_bytes() -> None:
    for version in (2, 3, 4):
        assert spz_bytes(crowd(), version=version) == spz_bytes(crowd(), version=version)
    assert spz_bytes(replace(crowd(), antialiased=True)) != spz_bytes(crowd())
