"""SOG files: pixels set by hand and what the format's page says of them; what is written, read by the same rules."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.palette import palette
from legs4d.gaussians.formats.sog import read_sog, write_sog
from tests.gaussians.crowd import crowd

CODES = np.linspace(-4, 1, 256)


def webp(pixels: Any) -> bytes:
    body = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(body, "WEBP", lossless=True, exact=True)
    return body.getvalue()


def handmade(**changes: Any) -> dict[str, Any]:
    """Two Gaussians in images of 2×1 pixels, version 2, degree 1."""
    centroids = np.zeros((1, 64 * 3, 3), np.uint8)
    centroids[0, 3:6] = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]  # the palette's second row
    meta = {
        "version": 2,
        "count": 2,
        "means": {"mins": [-1.0, 0.0, -2.0], "maxs": [1.0, 1.0, 2.0], "files": ["l.webp", "u.webp"]},
        "scales": {"codebook": CODES.tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": CODES.tolist(), "files": ["sh0.webp"]},
        "shN": {"count": 2, "bands": 1, "codebook": CODES.tolist(), "files": ["centroids.webp", "labels.webp"]},
    }
    files: dict[str, Any] = {
        "meta.json": json.dumps({**meta, **changes.pop("meta", {})}).encode(),
        "l.webp": webp([[[0, 0, 255], [255, 255, 255]]]),
        "u.webp": webp([[[0, 128, 127], [255, 255, 255]]]),
        "scales.webp": webp([[[0, 128, 255], [1, 2, 3]]]),
        "quats.webp": webp([[[128, 128, 128, 252], [255, 128, 128, 254]]]),
        "sh0.webp": webp([[[0, 1, 2, 0], [253, 254, 255, 204]]]),
        "centroids.webp": webp(centroids),
        "labels.webp": webp([[[1, 0, 0], [0, 0, 0]]]),
    }
    return {**files, **changes}


def bundle(path: Path, files: dict[str, bytes | None]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def unlog(value: NDArray[np.floating] | float) -> NDArray[np.floating]:
    return np.sign(value) * (np.exp(np.abs(value)) - 1)


def test_a_file_made_by_hand(tmp_path: Path) -> None:
    splats = read_sog(bundle(tmp_path / "x.sog", handmade()))
    means = [[-1, 32768 / 65535, -2 + 4 * (127 * 256 + 255) / 65535], [1, 1, 2]]
    np.testing.assert_allclose(splats.means, unlog(np.array(means)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(splats.scales, np.exp(CODES[[[0, 128, 255], [1, 2, 3]]]), rtol=1e-5)
    np.testing.assert_allclose(splats.opacities, [0, 0.8], atol=1e-6)
    np.testing.assert_allclose(splats.colors, CODES[[[0, 1, 2], [253, 254, 255]]], atol=1e-6)
    small = (128 / 255 * 2 - 1) / np.sqrt(2)
    # 252: w was left out; 254: y was, and the others are w, x, z. 255 is √½.
    expected = [[1, small, small, small], [np.sqrt(0.5), small, np.sqrt(0.5), small]]
    np.testing.assert_allclose(splats.quats, expected, atol=1e-4)
    rest = CODES[[[10, 20, 30], [40, 50, 60], [70, 80, 90]]], CODES[np.zeros((3, 3), int)]
    assert splats.sh_rest is not None
    np.testing.assert_allclose(splats.sh_rest, rest, atol=1e-6)
    assert splats.up == (0, -1, 0)


def test_the_files_beside_a_meta_json_are_the_same(tmp_path: Path) -> None:
    for name, content in handmade().items():
        (tmp_path / name).write_bytes(content)
    whole = read_sog(bundle(tmp_path / "x.sog", handmade()))
    for source in (tmp_path / "meta.json", tmp_path):
        assert np.array_equal(read_sog(source).means, whole.means)


def test_version_1_has_ranges_in_the_place_of_codebooks(tmp_path: Path) -> None:
    meta = {
        "means": {"shape": [2, 3], "mins": [-1, 0, -2], "maxs": [1, 1, 2], "files": ["l.webp", "u.webp"]},
        "scales": {"shape": [2, 3], "mins": [-4, -4, -4], "maxs": [1, 1, 1], "files": ["scales.webp"]},
        "quats": {"shape": [2, 4], "encoding": "quaternion_packed", "files": ["quats.webp"]},
        "sh0": {"shape": [2, 1, 4], "mins": [-4, -4, -4, -3], "maxs": [1, 1, 1, 5], "files": ["sh0.webp"]},
        "shN": {"shape": [2, 3], "mins": -4, "maxs": 1, "files": ["centroids.webp", "labels.webp"]},
    }
    second = read_sog(bundle(tmp_path / "2.sog", handmade()))
    first = read_sog(bundle(tmp_path / "1.sog", {**handmade(), "meta.json": json.dumps(meta).encode()}))
    for name in ("means", "quats", "scales", "colors"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.opacities, 1 / (1 + np.exp([3, -(-3 + 8 * 0.8)])), atol=1e-5)
    assert first.sh_rest is not None and second.sh_rest is not None
    np.testing.assert_allclose(first.sh_rest[0], second.sh_rest[0], atol=1e-6)


def test_what_is_written_is_read_to_the_formats_precision_in_the_same_order(tmp_path: Path) -> None:
    truth = crowd(1000)
    truth.opacities[:10] = 0  # WebP may change the colours of clear pixels, if it is let
    write_sog(tmp_path / "x.sog", truth)
    found = read_sog(tmp_path / "x.sog")
    np.testing.assert_allclose(found.means, truth.means, atol=6 * np.log(6) / 65535)
    np.testing.assert_allclose(np.log(found.scales), np.log(truth.scales), atol=0.03)
    np.testing.assert_allclose(found.opacities, truth.opacities, atol=0.51 / 255)
    np.testing.assert_allclose(found.colors, truth.colors, atol=0.03)
    assert found.sh_rest is not None and truth.sh_rest is not None
    np.testing.assert_allclose(found.sh_rest, truth.sh_rest, atol=0.03)
    turns = (
        Rotation.from_quat(truth.quats, scalar_first=True) * Rotation.from_quat(found.quats, scalar_first=True).inv()
    )
    assert turns.magnitude().max() < 0.02
    write_sog(tmp_path / "again.sog", truth)
    assert (tmp_path / "x.sog").read_bytes() == (tmp_path / "again.sog").read_bytes()


def test_a_palette_of_more_rows_than_it_may_have() -> None:
    rng = np.random.default_rng(0)
    centers = rng.uniform(-1, 1, (8, 6)) * 10
    rows = (centers[rng.integers(0, 8, 500)] + rng.normal(0, 0.01, (500, 6))).astype(np.float32)
    entries, labels = palette(rows, 64)
    assert len(entries) == 64
    assert np.abs(entries[labels] - rows).max() < 15
    assert np.abs(entries[labels] - rows).mean() < 0.5 * np.abs(rows - rows.mean(axis=0)).mean()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (handmade(meta={"count": 0}), "has no Gaussians"),
        (handmade(meta={"count": 10**12}), "more than an image holds"),
        (handmade(meta={"count": 3}), "is 2×1 pixels, for 3 Gaussians"),
        (handmade(meta={"version": 3}), "is of SOG version 3"),
        (handmade(meta={"scales": {"codebook": [], "files": ["scales.webp"]}}), "codebook of shape"),
        (handmade(meta={"means": None}), "lacks what it needs"),
        (handmade(**{"quats.webp": None}), "has no quats.webp"),
        (handmade(**{"quats.webp": b"RIFF"}), "is no image"),
        (handmade(**{"u.webp": webp(np.zeros((2000, 2000, 3)))}), "is 2000×2000 pixels, for 2 Gaussians"),
        (handmade(**{"meta.json": b"{"}), "lacks what it needs"),
        (handmade(**{"meta.json": b" " * 5_000_000}), "is larger than"),
    ],
)
def test_damaged_files_are_told_in_a_sentence(files: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        read_sog(bundle(tmp_path / "x.sog", files))


def test_half_a_file_another_kind_and_a_way_out_are_refused(tmp_path: Path) -> None:
    whole = bundle(tmp_path / "x.sog", handmade()).read_bytes()
    (tmp_path / "half.sog").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "other.sog").write_bytes(b"ply\nformat ascii 1.0\n")
    for name in ("half.sog", "other.sog", "missing.sog"):
        with pytest.raises(DatasetError, match=r"cannot be read|is no readable"):
            read_sog(tmp_path / name)
    (tmp_path / "inner").mkdir()
    meta = json.loads(handmade()["meta.json"])
    meta["means"]["files"] = ["../x.sog", "u.webp"]
    (tmp_path / "inner" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DatasetError, match="outside its folder"):
        read_sog(tmp_path / "inner")


def test_a_zip_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.sog", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in handmade().items():
            archive.writestr(name, content if name != "u.webp" else bytes(50_000_000))
    with pytest.raises(DatasetError, match="larger than"):
        read_sog(tmp_path / "bomb.sog")
    bomb = tmp_path / "bomb.sog"
    # The same, where the archive tells a size that is not so.
    data = bytearray(bomb.read_bytes())
    for at in range(len(data) - 4):
        if data[at : at + 4] == struct.pack("<I", 50_000_000):
            data[at : at + 4] = struct.pack("<I", 100)
    bomb.write_bytes(data)
    with pytest.raises(DatasetError):
        read_sog(bomb)
