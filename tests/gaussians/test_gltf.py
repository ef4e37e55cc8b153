"""glTF files made by hand in the many ways that are valid, and in some that are not."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.gltf import EXTENSION, read_gltf
from legs4d.gaussians.formats.gltf_writer import write_glb
from legs4d.portable.splats import Splats
from legs4d.portable.spz_writer import spz_bytes
from legs4d.portable.turns import upright_turn
from tests.gaussians.crowd import crowd

KINDS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
TRUTH = crowd(7, degree=1)


class Builder:
    """A document and its bytes, grown attribute by attribute."""

    def __init__(self) -> None:
        self.body = b""
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.attributes: dict[str, int] = {}
        self.extension: dict[str, Any] = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
        self.nodes: list[dict[str, Any]] = [{"mesh": 0}]
        self.buffer: dict[str, Any] = {}

    def add(self, name: str, values: NDArray[Any], **more: Any) -> Builder:
        rows = values.reshape(len(values), -1)
        kind = rows.dtype.str[1:]
        self.body += b"\0" * (-len(self.body) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.body), "byteLength": rows.nbytes})
        self.body += rows.tobytes()
        accessor = {"bufferView": len(self.views) - 1, "componentType": KINDS[kind], "count": len(rows)}
        self.accessors.append({**accessor, "type": TYPES[rows.shape[1]], **more})
        self.attributes[name] = len(self.accessors) - 1
        return self

    def standard(self, splats: Splats = TRUTH) -> Builder:
        self.add("POSITION", splats.means)
        self.add(f"{EXTENSION}:ROTATION", np.roll(splats.quats, -1, axis=1))
        self.add(f"{EXTENSION}:SCALE", splats.scales)
        self.add(f"{EXTENSION}:OPACITY", splats.opacities)
        self.add(f"{EXTENSION}:SH_DEGREE_0_COEF_0", splats.colors)
        for n in range(0 if splats.sh_rest is None else 3):
            assert splats.sh_rest is not None
            self.add(f"{EXTENSION}:SH_DEGREE_1_COEF_{n}", splats.sh_rest[:, n])
        return self

    def document(self) -> dict[str, Any]:
        primitive = {"attributes": self.attributes, "mode": 0, "extensions": {EXTENSION: self.extension}}
        return {
            "asset": {"version": "2.0"},
            "extensionsUsed": [EXTENSION],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": self.nodes,
            "meshes": [{"primitives": [primitive]}],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.body), **self.buffer}],
        }

    def glb(self, path: Path) -> Path:
        text = json.dumps(self.document()).encode()
        text += b" " * (-len(text) % 4)
        body = self.body + b"\0" * (-len(self.body) % 4)
        head = struct.pack("<5I", 0x46546C67, 2, 28 + len(text) + len(body), len(text), 0x4E4F534A)
        path.write_bytes(head + text + struct.pack("<2I", len(body), 0x004E4942) + body)
        return path

    def gltf(self, path: Path, uri: str) -> Path:
        self.buffer = {"uri": uri}
        path.write_text(json.dumps(self.document()))
        return path


def same(found: Splats, expected: Splats, atol: float = 1e-5) -> None:
    for name in ("means", "quats", "scales", "opacities", "colors", "sh_rest"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, atol=atol, err_msg=name)


def test_a_glb_a_gltf_with_its_buffer_beside_it_and_one_with_it_inside(tmp_path: Path) -> None:
    builder = Builder().standard()
    found = read_gltf(builder.glb(tmp_path / "x.glb"))
    same(found, TRUTH)
    assert found.up == (0, 1, 0)
    (tmp_path / "a buffer.bin").write_bytes(builder.body)
    same(read_gltf(builder.gltf(tmp_path / "x.gltf", "a%20buffer.bin")), TRUTH)
    inside = "data:application/octet-stream;base64," + base64.b64encode(builder.body).decode()
    same(read_gltf(builder.gltf(tmp_path / "y.gltf", inside)), TRUTH)


def test_nodes_place_what_they_hold(tmp_path: Path) -> None:
    builder = Builder().standard()
    turn = Rotation.from_rotvec([0.2, 0.5, -1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = 2 * np.eye(3)
    builder.nodes = [
        {"children": [1], "translation": [1, 2, 3], "rotation": turn.as_quat().tolist()},
        {"children": [2], "matrix": matrix.T.ravel().tolist()},
        {"mesh": 0, "translation": [0, 0, 1]},
        {"mesh": 0},  # in no scene
    ]
    found = read_gltf(builder.glb(tmp_path / "x.glb"))
    np.testing.assert_allclose(
        found.means, np.add(turn.apply(2 * np.add(TRUTH.means, [0, 0, 1])), [1, 2, 3]), atol=1e-5
    )
    np.testing.assert_allclose(found.scales, 2 * TRUTH.scales, rtol=1e-5)
    expected = turn * Rotation.from_quat(TRUTH.quats, scalar_first=True)
    assert (Rotation.from_quat(found.quats, scalar_first=True) * expected.inv()).magnitude().max() < 1e-5
    assert found.sh_rest is not None and TRUTH.sh_rest is not None
    # Degree 1 is (-y, z, -x): its coefficients turn as a vector (-c3, -c1, c2) does.
    as_vectors = [np.stack([-rest[:, 2], -rest[:, 0], rest[:, 1]], -1) for rest in (TRUTH.sh_rest, found.sh_rest)]
    np.testing.assert_allclose(as_vectors[1], as_vectors[0] @ turn.as_matrix().T, atol=1e-5)


def test_whole_numbers_strides_and_sparse_values(tmp_path: Path) -> None:
    builder = Builder()
    builder.add("POSITION", TRUTH.means)
    builder.add(f"{EXTENSION}:ROTATION", np.rint(np.roll(TRUTH.quats, -1, 1) * 32767).astype("<i2"), normalized=True)
    builder.add(f"{EXTENSION}:SCALE", np.array([[1, 2, 3]] * 7, "<u1"))
    builder.add(f"{EXTENSION}:OPACITY", np.rint(TRUTH.opacities * 255).astype("u1"), normalized=True)
    builder.add(f"{EXTENSION}:SH_DEGREE_0_COEF_0", TRUTH.colors)
    # Scales again, padded to 4 bytes a row; positions again, the third and fifth exchanged for others.
    padded = np.concatenate([np.full((7, 3), 2, "u1"), np.zeros((7, 1), "u1")], axis=1)
    builder.add("_PADDED", padded)
    builder.views[-1]["byteStride"] = 4
    builder.accessors[-1]["type"] = "VEC3"
    builder.attributes[f"{EXTENSION}:SCALE"] = builder.attributes.pop("_PADDED")
    builder.add("_AT", np.array([2, 4], "<u2"))
    builder.add("_NEW", np.array([[9, 9, 9], [8, 8, 8]], "<f4"))
    at, new = (builder.accessors[builder.attributes.pop(name)]["bufferView"] for name in ("_AT", "_NEW"))
    sparse = {"count": 2, "indices": {"bufferView": at, "componentType": 5123}, "values": {"bufferView": new}}
    builder.accessors[builder.attributes["POSITION"]]["sparse"] = sparse
    found = read_gltf(builder.glb(tmp_path / "x.glb"))
    expected = TRUTH.means.copy()
    expected[[2, 4]] = [[9, 9, 9], [8, 8, 8]]
    np.testing.assert_allclose(found.means, expected)
    np.testing.assert_allclose(found.scales, np.full((7, 3), 2))
    np.testing.assert_allclose(found.opacities, TRUTH.opacities, atol=0.51 / 255)
    np.testing.assert_allclose(found.quats, TRUTH.quats, atol=1e-4)
    assert found.sh_rest is None


def test_drafts_of_the_extension(tmp_path: Path) -> None:
    builder = Builder()
    builder.add("POSITION", TRUTH.means)
    builder.add("_ROTATION", np.roll(TRUTH.quats, -1, axis=1))
    builder.add("_SCALE", np.log(TRUTH.scales))
    rgba = np.concatenate([np.clip(0.5 + 0.28209479 * TRUTH.colors, 0, 1), TRUTH.opacities[:, None]], axis=1)
    builder.add("COLOR_0", np.rint(rgba * 65535).astype("<u2"), normalized=True)
    builder.add("_HIGHLIGHT", np.linspace(0, 1, 7, dtype=np.float32))
    found = read_gltf(builder.glb(tmp_path / "x.glb"))
    np.testing.assert_allclose(found.scales, TRUTH.scales, rtol=1e-4)
    np.testing.assert_allclose(found.opacities, TRUTH.opacities, atol=1e-4)
    np.testing.assert_allclose(0.5 + 0.28209479 * found.colors, rgba[:, :3], atol=1e-4)
    np.testing.assert_allclose(found.extra["highlight"], np.linspace(0, 1, 7), atol=1e-6)


@pytest.mark.parametrize("nested", [True, False])
def test_splats_packed_as_spz(nested: bool, tmp_path: Path) -> None:
    builder = Builder()
    builder.body = spz_bytes(replace(TRUTH, up=(0.0, 1.0, 0.0)))
    builder.views = [{"buffer": 0, "byteOffset": 0, "byteLength": len(builder.body)}]
    builder.nodes = [{"mesh": 0, "scale": [2, 2, 2]}]
    document = builder.document()
    packed = {"bufferView": 0}
    document["meshes"][0]["primitives"][0]["extensions"] = (
        {EXTENSION: {"extensions": {"KHR_gaussian_splatting_compression_spz_2": packed}}}
        if nested
        else {"KHR_spz_gaussian_splats_compression": packed}
    )
    builder.document = lambda: document  # type: ignore[method-assign]
    found = read_gltf(builder.glb(tmp_path / "x.glb"))
    np.testing.assert_allclose(found.means, 2 * TRUTH.means, atol=1e-4)
    np.testing.assert_allclose(found.scales, 2 * TRUTH.scales, rtol=0.04)
    np.testing.assert_allclose(found.colors, TRUTH.colors, atol=0.02)
    builder.body = b"\0" * len(builder.body)
    with pytest.raises(DatasetError, match="packed splats that cannot be read: is no"):
        read_gltf(builder.glb(tmp_path / "y.glb"))


def test_linear_colours_become_srgb(tmp_path: Path) -> None:
    splats = crowd(7, degree=0)
    splats.colors[:] = (0.2140411 - 0.5) / 0.28209479  # linear light of sRGB 0.5
    builder = Builder().standard(splats)
    builder.extension["colorSpace"] = "lin_rec709_display"
    np.testing.assert_allclose(read_gltf(builder.glb(tmp_path / "x.glb")).colors, 0, atol=1e-4)


def test_what_is_written_is_read_upright_and_where_it_was(tmp_path: Path) -> None:
    down = np.array([0.3, 0.9, -0.2]) / np.linalg.norm([0.3, 0.9, -0.2])
    truth = crowd(50)
    far = replace(truth, origin=(300_000.5, -2.0, 5_000_000.25), up=tuple(-down))
    write_glb(tmp_path / "x.glb", far)
    found = read_gltf(tmp_path / "x.glb")
    turn = Rotation.from_quat(upright_turn(down), scalar_first=True)
    there = found.means.astype(np.float64) + found.origin
    np.testing.assert_allclose(there, turn.apply(truth.means + np.array(far.origin)), atol=2e-5)
    expected = turn * Rotation.from_quat(truth.quats, scalar_first=True)
    assert (Rotation.from_quat(found.quats, scalar_first=True) * expected.inv()).magnitude().max() < 1e-5
    np.testing.assert_allclose(turn.apply(down), [0, -1, 0], atol=1e-12)
    rest = truth.turned(upright_turn(down)).sh_rest
    assert rest is not None and found.sh_rest is not None
    np.testing.assert_allclose(found.sh_rest, rest, atol=1e-5)


def broken(change: str) -> Builder:
    builder = Builder().standard()
    if change == "view":
        builder.views[2]["byteLength"] = 10**9
    elif change == "count":
        builder.accessors[0]["count"] = 10**12
    elif change == "nothing":
        del builder.accessors[0]["bufferView"]
        builder.accessors[0]["count"] = 10**9
    elif change == "fewer":
        builder.accessors[1]["count"] = 6
    elif change == "degree":
        del builder.attributes[f"{EXTENSION}:SH_DEGREE_1_COEF_1"]
    elif change == "loop":
        builder.nodes = [{"children": [0], "mesh": 0}]
    elif change == "kernel":
        builder.extension["kernel"] = "box"
    elif change == "packed":
        builder.views[0]["extensions"] = {"EXT_meshopt_compression": {}}
    elif change == "index":
        builder.attributes["POSITION"] = 99
    elif change == "zero":
        for accessor in builder.accessors:
            accessor["count"] = 0
    elif change == "scale":
        builder.nodes = [{"mesh": 0, "scale": [1, "x", 1]}]
    elif change == "huge":
        builder.nodes = [
            {"children": [1], "scale": [1e200] * 3},
            {"mesh": 0, "rotation": [0, 0, 0, 1e300], "scale": [1e200] * 3},
        ]
    return builder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("view", "buffer view 2 ends at byte"),
        ("count", "accessor 0 reaches beyond"),
        ("nothing", "for which there are no bytes"),
        ("fewer", "has 6 values for 7 splats"),
        ("degree", "2 of 3 coefficients of degree 1"),
        ("loop", "contain each other"),
        ("kernel", "the kernel 'box'"),
        ("packed", "packed by EXT_meshopt_compression"),
        ("index", "there is no 99 in its accessors"),
        ("zero", "has no Gaussians"),
        ("scale", "place cannot be read"),
        ("huge", "place is not finite"),
    ],
)
def test_damaged_files_are_told_in_a_sentence(change: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        read_gltf(broken(change).glb(tmp_path / "x.glb"))


@pytest.mark.parametrize("uri", ["../x.bin", "/etc/hostname", "file:///etc/hostname", "http://a/b", "a\\..\\..\\x.bin"])
def test_a_file_that_points_outside_its_folder_is_refused(uri: str, tmp_path: Path) -> None:
    builder = Builder().standard()
    (tmp_path / "inner").mkdir()
    (tmp_path / "x.bin").write_bytes(builder.body)
    with pytest.raises(DatasetError, match="points outside its folder"):
        read_gltf(builder.gltf(tmp_path / "inner" / "x.gltf", uri))


def test_a_link_out_of_the_folder_is_no_way_out(tmp_path: Path) -> None:
    builder = Builder().standard()
    (tmp_path / "inner").mkdir()
    (tmp_path / "x.bin").write_bytes(builder.body)
    (tmp_path / "inner" / "x.bin").symlink_to(tmp_path / "x.bin")
    with pytest.raises(DatasetError, match="points outside its folder"):
        read_gltf(builder.gltf(tmp_path / "inner" / "x.gltf", "x.bin"))


def test_half_a_file_and_another_kind(tmp_path: Path) -> None:
    whole = Builder().standard().glb(tmp_path / "x.glb").read_bytes()
    bare = Builder().document()
    del bare["meshes"][0]["primitives"][0]["attributes"]
    for name, content, said in (
        ("half.glb", whole[: len(whole) // 2], "cut short"),
        ("few.glb", whole[:10], "it has 10 bytes"),
        ("empty.glb", b"", "is no glTF"),
        ("other.glb", b"ply\nformat ascii 1.0\n", "is no glTF"),
        ("one.gltf", b'{"asset": {"version": "1.0"}}', "is of glTF version '1.0'"),
        ("bare.gltf", json.dumps(bare).encode(), "has splats without POSITION"),
        ("mesh.gltf", b'{"asset": {"version": "2.0"}}', "has no mesh with KHR_gaussian_splatting"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=said):
            read_gltf(tmp_path / name)
