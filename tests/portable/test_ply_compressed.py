"""The chunked "compressed" .ply: numbers worked out by hand from the bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from legs4d.portable.ply.file import read_ply
from legs4d.portable.splats import SplatFileError
from tests.portable.compressed import BOUNDS, COLOR_BOUNDS, packed_ply

C0 = 0.28209479177387814


def one(color: int = 0xFF800033, **bounds: float) -> dict:
    """257 Gaussians that are all alike, so that the last lies in a second chunk of its own."""
    low_high = {name: np.array([0.0 if "min" in name else 1.0] * 2, np.float32) for name in BOUNDS}
    low_high["max_x"] = np.array([2047, 4094], np.float32)
    low_high["min_y"] = np.array([-1023, -1023], np.float32)
    low_high["max_y"] = np.array([0, 0], np.float32)
    low_high["min_scale_z"] = low_high["max_scale_z"] = np.log(np.array([0.25, 0.5], np.float32))
    low_high |= {name: np.array([value] * 2, np.float32) for name, value in bounds.items()}
    third = round((0.5 / np.sqrt(2) + 0.5) * 1023)  # 0.5 of the range ±√½
    words = {
        "packed_position": (3 << 21) | (1000 << 11) | 2047,
        "packed_rotation": (2 << 30) | (third << 20) | (third << 10) | (1023 - third),
        "packed_scale": 2047 << 21,
        "packed_color": color,
    }
    return {"bounds": low_high, "packed": {name: np.full(257, word, np.uint32) for name, word in words.items()}}


def test_every_field_is_where_the_format_has_it(tmp_path: Path) -> None:
    (tmp_path / "x.ply").write_bytes(packed_ply(**one()))
    found = read_ply(tmp_path / "x.ply")
    assert len(found) == 257 and found.up == (0, -1, 0)
    np.testing.assert_allclose(found.means[[0, 255, 256]], [[3, -23, 1], [3, -23, 1], [6, -23, 1]], rtol=1e-6)
    np.testing.assert_allclose(found.scales[[0, 256]], [[np.e, 1, 0.25], [np.e, 1, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(found.quats[0], [0.5, 0.5, 0.5, -0.5], atol=1e-3)  # the third of wxyz was largest
    np.testing.assert_allclose(0.5 + C0 * found.colors[0], [1, 128 / 255, 0], atol=1e-6)
    np.testing.assert_allclose(found.opacities, 0.2, atol=1e-6)


def test_colours_lie_between_their_own_bounds_in_newer_files(tmp_path: Path) -> None:
    values = {name: (-1.0 if "min" in name else 3.0) for name in COLOR_BOUNDS}
    (tmp_path / "x.ply").write_bytes(packed_ply(**one(0xFF800033, **values)))
    np.testing.assert_allclose(0.5 + C0 * read_ply(tmp_path / "x.ply").colors[0], [3, 4 * 128 / 255 - 1, -1], atol=1e-5)


@pytest.mark.parametrize(("alpha", "opacity"), [(0, 0.0), (255, 1.0)])
def test_opacities_whose_logit_is_infinite_are_0_and_1(tmp_path: Path, alpha: int, opacity: float) -> None:
    (tmp_path / "x.ply").write_bytes(packed_ply(**one(color=alpha)))
    found = read_ply(tmp_path / "x.ply")
    assert found.dropped == 0 and set(found.opacities.tolist()) == {opacity}


@pytest.mark.parametrize("coefficients", [3, 8, 15])
def test_view_dependence_is_8_bits_from_minus_4_to_4(tmp_path: Path, coefficients: int) -> None:
    rest = np.random.default_rng(4).integers(1, 255, (257, 3 * coefficients), np.uint8)
    rest[0, :3] = 0, 128, 255
    (tmp_path / "x.ply").write_bytes(packed_ply(**one(), rest=rest))
    found = read_ply(tmp_path / "x.ply").sh_rest
    assert found is not None and found.shape == (257, coefficients, 3)
    assert found[0, :3, 0].tolist() == [-4, 0.5 / 32, 4]
    expected = ((rest.astype(float) + 0.5) / 256 - 0.5) * 8
    np.testing.assert_allclose(found[1:, :, 1], expected[1:, coefficients : 2 * coefficients], atol=1e-6)


def test_bounds_that_are_not_finite_lose_their_chunk_only(tmp_path: Path) -> None:
    content = one()
    content["bounds"]["max_scale_x"] = np.array([1, np.inf], np.float32)
    (tmp_path / "x.ply").write_bytes(packed_ply(**content))
    found = read_ply(tmp_path / "x.ply")
    assert (len(found), found.dropped) == (256, 1)


def test_what_does_not_fit_together_gives_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.ply"
    content = one()
    content["bounds"] = {name: values[:1] for name, values in content["bounds"].items()}
    path.write_bytes(packed_ply(**content))
    with pytest.raises(SplatFileError, match="an element chunk of 2 rows"):
        read_ply(path)
    content = one()
    del content["packed"]["packed_scale"]
    path.write_bytes(packed_ply(**content))
    with pytest.raises(SplatFileError, match="need packed_position, packed_rotation, packed_scale"):
        read_ply(path)
    path.write_bytes(packed_ply(**one(), rest=np.zeros((257, 72), np.uint8)))
    with pytest.raises(SplatFileError, match="257 rows of 72 properties; 257 rows of 9, 24 or 45"):
        read_ply(path)
    path.write_bytes(packed_ply(**one(), rest=np.zeros((255, 9), np.uint8)))
    with pytest.raises(SplatFileError, match="255 rows of 9 properties"):
        read_ply(path)
    path.write_bytes(packed_ply(**one())[:-100])
    with pytest.raises(SplatFileError, match="cut short"):
        read_ply(path)


@pytest.mark.parametrize("name", ["min_x", "max_scale_z", "packed_color"])
def test_lists_in_the_place_of_numbers_give_one_sentence(tmp_path: Path, name: str) -> None:
    head, mark, body = packed_ply(**one()).partition(b"end_header\n")
    kind = b"uint" if "packed" in name else b"float"
    head = head.replace(kind + b" " + name.encode(), b"list uchar " + kind + b" " + name.encode())
    (tmp_path / "x.ply").write_bytes(head + mark + bytes(len(body)) * 2)
    with pytest.raises(SplatFileError, match="packed vertices need"):
        read_ply(tmp_path / "x.ply")
