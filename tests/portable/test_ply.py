"""Every valid way to write splats as .ply gives the same Gaussians; what is no valid way gives one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import gsply
import numpy as np
import plyfile
import pytest
from numpy.typing import NDArray

from legs4d.portable.ply.file import half_spacing, read_ply
from legs4d.portable.splats import SplatFileError, Splats

COUNT = 700
C0 = 0.28209479177387814


def names_of(coefficients: int = 15) -> list[str]:
    rest = [f"f_rest_{index}" for index in range(3 * coefficients)]
    head = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    return [*head, *rest, "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def numbers(names: list[str], count: int = COUNT) -> dict[str, NDArray[np.float32]]:
    """Raw values as 3DGS writes them, each row and property another."""
    rng = np.random.default_rng(11)
    return {name: rng.normal(size=count).astype(np.float32) for name in names}


def write(path: Path, columns: dict[str, NDArray], order: str = "<", before: tuple = (), after: tuple = ()) -> Path:
    """By plyfile, each property of its array's type, `before` and `after` other elements."""
    table = np.empty(len(next(iter(columns.values()))), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    elements = [*before, plyfile.PlyElement.describe(table, "vertex"), *after]
    plyfile.PlyData(elements, text=order == "ascii", byte_order="=" if order == "ascii" else order).write(str(path))
    return path


def check(found: Splats, raw: dict[str, NDArray]) -> None:
    """3DGS's rule, written out."""

    def columns(*names: str) -> NDArray[np.float64]:
        return np.stack([raw[name].astype(np.float64) for name in names], axis=1)

    quats = columns("rot_0", "rot_1", "rot_2", "rot_3")
    np.testing.assert_allclose(found.means, columns("x", "y", "z"), rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(found.scales, np.exp(columns("scale_0", "scale_1", "scale_2")), rtol=4e-6)
    np.testing.assert_allclose(found.quats, quats / np.linalg.norm(quats, axis=1, keepdims=True), atol=2e-6)
    np.testing.assert_allclose(found.opacities, 1 / (1 + np.exp(-raw["opacity"].astype(np.float64))), atol=1e-6)
    np.testing.assert_allclose(found.colors, columns("f_dc_0", "f_dc_1", "f_dc_2"), rtol=2e-6)
    coefficients = sum(name.startswith("f_rest") for name in raw) // 3
    if not coefficients:
        assert found.sh_rest is None
        return
    assert found.sh_rest is not None and found.sh_rest.shape == (len(found), coefficients, 3)
    for channel in range(3):  # 3DGS writes all of red, then all of green, then all of blue
        for index in range(coefficients):
            name = f"f_rest_{channel * coefficients + index}"
            np.testing.assert_allclose(found.sh_rest[:, index, channel], raw[name], rtol=2e-6)


@pytest.mark.parametrize("coefficients", [0, 3, 8, 15])
def test_every_degree_is_read_as_gsply_reads_it(tmp_path: Path, coefficients: int) -> None:
    raw = numbers(names_of(coefficients))
    path = write(tmp_path / "x.ply", raw)
    found, other = read_ply(path), gsply.plyread(str(path))
    check(found, raw)
    assert found.dropped == 0 and found.up == (0, -1, 0) and found.origin == (0, 0, 0) and not found.extra
    np.testing.assert_array_equal(found.means, other.means)
    np.testing.assert_allclose(np.log(found.scales), other.scales, atol=1e-6)
    np.testing.assert_array_equal(found.colors, other.sh0)
    if coefficients:
        assert found.sh_rest is not None
        np.testing.assert_array_equal(found.sh_rest, np.asarray(other.shN).reshape(found.sh_rest.shape))


@pytest.mark.parametrize("order", ["<", ">", "ascii"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_encoding(tmp_path: Path, order: str, dtype: str) -> None:
    raw = {name: values.astype(dtype) for name, values in numbers(names_of(3)).items()}
    check(read_ply(write(tmp_path / "x.ply", raw, order)), raw)


def test_integers_of_every_size_are_numbers(tmp_path: Path) -> None:
    types = {"x": "i1", "y": "u1", "z": "i2", "rot_0": "u2", "rot_1": "i4", "rot_2": "u4", "scale_0": "i1"}
    raw: dict[str, NDArray] = dict(numbers(names_of(0)))
    for name, dtype in types.items():
        raw[name] = (np.arange(COUNT) % 5 + 1).astype(dtype)
    for order in ("<", ">", "ascii"):
        check(read_ply(write(tmp_path / "x.ply", raw, order)), raw)


def test_order_further_properties_and_further_elements(tmp_path: Path) -> None:
    names = [*names_of(8), "label", "confidence"]
    np.random.default_rng(2).shuffle(names)
    raw: dict[str, NDArray] = dict(numbers(names))
    raw["label"] = np.arange(COUNT).astype("u2")
    uneven = np.empty(3, [("corners", object), ("weight", "f8")])
    uneven["corners"] = [np.arange(4, dtype="i4"), np.arange(0, dtype="i4"), np.arange(2, dtype="i4")]
    even = np.empty(5, [("vertex_indices", "i4", (3,))])
    even["vertex_indices"] = 7
    before = (
        plyfile.PlyElement.describe(np.array([(1.5, 2)], [("a", "f8"), ("b", "u1")]), "camera"),
        plyfile.PlyElement.describe(uneven, "polygon", len_types={"corners": "u2"}),
        plyfile.PlyElement.describe(even, "face"),
    )
    after = (plyfile.PlyElement.describe(even, "triangle"),)
    for order in ("<", ">", "ascii"):
        found = read_ply(write(tmp_path / f"{order == '<'}.ply", raw, order, before, after))
        check(found, {name: values for name, values in raw.items() if name not in ("label", "confidence")})
        np.testing.assert_array_equal(found.extra["label"], raw["label"])
        assert found.extra["label"].dtype == np.uint16
        np.testing.assert_allclose(found.extra["confidence"], raw["confidence"], rtol=1e-6)
        assert set(found.extra) == {"label", "confidence"}


def test_lists_among_the_numbers_of_a_vertex(tmp_path: Path) -> None:
    raw = numbers(names_of(0), 40)
    for lengths in ([2] * 40, [row % 3 for row in range(40)]):
        for order in ("<", ">", "="):
            kind = {"<": "binary_little_endian", ">": "binary_big_endian", "=": "ascii"}[order]
            head = f"ply\nformat {kind} 1.0\nelement vertex 40\nproperty float x\nproperty list uchar short seen\n"
            head += "".join(f"property float {name}\n" for name in list(raw)[1:]) + "end_header\n"
            body = []
            for row, length in enumerate(lengths):
                values = [raw[name][row] for name in raw]
                if order == "=":
                    numbers_of_row = [values[0], length, *range(length), *values[1:]]
                    body.append((" ".join(repr(float(v)) for v in numbers_of_row) + "\n").encode())
                    body[-1] = body[-1].replace(f" {float(length)}".encode(), f" {length}".encode(), 1)
                else:
                    form = f"{order}fB{length}h{len(values) - 1}f"
                    body.append(struct.pack(form, values[0], length, *range(length), *values[1:]))
            (tmp_path / "x.ply").write_bytes(head.encode() + b"".join(body))
            check(read_ply(tmp_path / "x.ply"), raw)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headers_of_other_systems(tmp_path: Path, end: str) -> None:
    raw = numbers(names_of(0), 30)
    lines = ["ply", "format binary_little_endian 1.0", "comment made by hand", "obj_info num_cols 3", ""]
    lines += ["comment end_header is still to come", "element  vertex\t30 "]
    lines += [f"property {'float32' if index % 2 else 'float'} {name}" for index, name in enumerate(raw)]
    head = end.join([*lines, "end_header"]) + end
    body = np.stack(list(raw.values()), axis=1).astype("<f4")
    body[0, 0] = raw["x"][0] = np.frombuffer(b"\n\r\n\x3f", "<f4")[0]  # rows may begin like the end of a line
    (tmp_path / "x.ply").write_bytes(head.encode() + body.tobytes())
    if end != "\r":  # after a lone CR nobody can tell
        check(read_ply(tmp_path / "x.ply"), raw)
    body[0, 0] = raw["x"][0] = 1
    (tmp_path / "x.ply").write_bytes(head.encode() + body.tobytes())
    check(read_ply(tmp_path / "x.ply"), raw)


def test_a_cloud_of_coloured_points_has_round_gaussians_of_half_the_spacing(tmp_path: Path) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(9.0)] * 3), axis=-1).reshape(-1, 3) * 0.25
    raw: dict[str, NDArray] = {axis: grid[:, place].astype("f4") for place, axis in enumerate("xyz")}
    raw |= {"red": np.full(729, 255, "u1"), "green": np.zeros(729, "u1"), "blue": np.full(729, 51, "u1")}
    found = read_ply(write(tmp_path / "x.ply", raw))
    np.testing.assert_allclose(found.scales, 0.125, rtol=1e-6)
    np.testing.assert_allclose(0.5 + C0 * found.colors, [[1, 0, 0.2]] * 729, atol=1e-6)
    assert np.all(found.opacities == 1) and found.quats.tolist() == [[1, 0, 0, 0]] * 729
    assert found.sh_rest is None and "no scales" in found.notes[0] and not found.extra
    raw["alpha"] = np.arange(729).astype("u1")
    np.testing.assert_allclose(
        read_ply(write(tmp_path / "x.ply", raw)).opacities, (np.arange(729) % 256) / 255, atol=1e-6
    )


def test_colours_of_wider_types(tmp_path: Path) -> None:
    raw: dict[str, NDArray] = {axis: np.arange(4, dtype="f4") for axis in "xyz"}
    wide = raw | {name: np.array([0, 65535, 13107, 0], "u2") for name in ("red", "green", "blue")}
    np.testing.assert_allclose(
        0.5 + C0 * read_ply(write(tmp_path / "x.ply", wide)).colors[:, 0], [0, 1, 0.2, 0], atol=1e-6
    )
    real = raw | {name: np.array([0, 1, 0.2, 0], "f4") for name in ("red", "green", "blue")}
    np.testing.assert_allclose(
        0.5 + C0 * read_ply(write(tmp_path / "x.ply", real)).colors[:, 0], [0, 1, 0.2, 0], atol=1e-6
    )


def test_fewer_scales_are_a_disc_or_a_ball(tmp_path: Path) -> None:
    raw = numbers(names_of(0))
    two = {name: values for name, values in raw.items() if name != "scale_2"}
    found = read_ply(write(tmp_path / "x.ply", two))
    np.testing.assert_allclose(found.scales[:, 1], np.exp(raw["scale_1"]), rtol=1e-5)
    smaller = np.exp(np.minimum(raw["scale_0"], raw["scale_1"]))
    np.testing.assert_allclose(found.scales[:, 2], smaller / 1000, rtol=1e-5)
    one = {name: values for name, values in two.items() if name != "scale_1"}
    np.testing.assert_allclose(
        read_ply(write(tmp_path / "x.ply", one)).scales, np.exp(raw["scale_0"])[:, None].repeat(3, 1), rtol=1e-5
    )


def test_half_spacing_of_one_place_and_of_repeated_points() -> None:
    assert half_spacing(np.zeros((5, 3), np.float32)) == 1
    pairs = np.repeat(np.arange(10, dtype=np.float32), 2)[:, None] * np.array([1, 0, 0], np.float32)
    assert half_spacing(pairs) == 0.5


def test_what_is_not_finite_is_left_out_and_counted(tmp_path: Path) -> None:
    raw = numbers(names_of(3))
    raw["x"][0], raw["scale_1"][1], raw["rot_2"][2], raw["f_rest_4"][3] = np.nan, np.inf, np.nan, np.inf
    raw["opacity"][4] = np.nan
    for part in range(4):
        raw[f"rot_{part}"][5] = 0
    raw["opacity"][6:8] = np.inf, -np.inf  # 1 and 0: what other programs write of those
    raw["scale_0"][8] = -np.inf
    raw["extra"] = np.arange(COUNT, dtype="f4")
    found = read_ply(write(tmp_path / "x.ply", raw))
    assert found.dropped == 6 and len(found) == COUNT - 6
    assert found.extra["extra"].tolist() == list(range(6, COUNT))
    assert found.opacities[:2].tolist() == [1, 0] and found.scales[2, 0] > 0
    assert np.isfinite(found.scales).all()
    for name in raw:
        raw[name][:] = np.nan
    with pytest.raises(SplatFileError, match="all of its 700 Gaussians have numbers that are not finite"):
        read_ply(write(tmp_path / "x.ply", raw))


def test_padding_is_no_view_dependence(tmp_path: Path) -> None:
    raw = {name: np.zeros_like(v) if "rest" in name else v for name, v in numbers(names_of(15)).items()}
    assert read_ply(write(tmp_path / "x.ply", raw)).sh_rest is None
    raw["f_rest_44"][-1] = 0.5
    found = read_ply(write(tmp_path / "x.ply", raw)).sh_rest
    assert found is not None and found[-1, 14, 2] == 0.5


def test_far_away_positions_keep_their_detail(tmp_path: Path) -> None:
    raw: dict[str, NDArray] = dict(numbers(names_of(0)))
    utm = np.array([499_123.0, 4_182_456.0, 312.0])
    near = {axis: raw[axis].astype("f8") for axis in "xyz"}
    for place, axis in enumerate("xyz"):
        raw[axis] = near[axis] + utm[place]
    for order in ("<", "ascii"):
        found = read_ply(write(tmp_path / "x.ply", raw, order))
        back = found.means.astype(np.float64) + np.array(found.origin)
        np.testing.assert_allclose(back, np.stack([raw[axis] for axis in "xyz"], axis=1), rtol=0, atol=1e-6)
        assert np.abs(found.means).max() < 10
    chosen = read_ply(tmp_path / "x.ply", origin=(499_000.0, 4_182_000.0, 0.0))
    assert chosen.origin == (499_000.0, 4_182_000.0, 0.0)
    np.testing.assert_allclose(chosen.means[:, 1], raw["y"] - 4_182_000.0, atol=1e-4)


def test_up_is_what_the_file_says(tmp_path: Path) -> None:
    body = np.zeros((1, 3), "<f4").tobytes()
    for comment, up in [
        ("Vertical Axis: z", (0, 0, 1)),
        ("Vertical Axis: -y", (0, -1, 0)),
        ("up 0 0.6 0.8", (0, 0.6, 0.8)),
        ("up to you", (0, -1, 0)),
        ("up nan 0 1", (0, -1, 0)),
    ]:
        head = f"ply\nformat binary_little_endian 1.0\ncomment {comment}\nelement vertex 1\n"
        head += "property float x\nproperty float y\nproperty float z\nend_header\n"
        (tmp_path / "x.ply").write_bytes(head.encode() + body)
        assert read_ply(tmp_path / "x.ply").up == up, comment


HEAD = b"ply\nformat binary_little_endian 1.0\n"
XYZ = b"property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n", "no .ply file but a PNG picture"),
        (b"\x1f\x8b\x08", "no .ply file but a gzip file"),
        (b"plywood\n", "is no .ply file"),
        (HEAD + b"element vertex 3\n" + XYZ, "cut short within its header"),
        (HEAD + b"element vertex 3\n" + XYZ + b"end_header\n" + bytes(30), r"cut short: it has \d+ bytes of the \d+"),
        (HEAD + b"element vertex 99999999999999\n" + XYZ + b"end_header\n" + bytes(30), "cut short"),
        (HEAD + b"element vertex 0\n" + XYZ + b"end_header\n", "holds no Gaussians"),
        (
            HEAD + b"element face 1\nproperty int a\nend_header\n" + bytes(4),
            r"no element vertex \(its elements: face\)",
        ),
        (HEAD + b"element vertex 1\nproperty float x\nend_header\n" + bytes(4), "no x, y, z"),
        (HEAD + b"element vertex -1\n" + XYZ + b"end_header\n", "line 'element vertex -1'"),
        (HEAD + b"element vertex 1\nproperty quad x\nend_header\n", "line 'property quad x'"),
        (HEAD + b"property float x\nend_header\n", "line 'property float x'"),
        (HEAD + b"element vertex 1\n" + XYZ + XYZ + b"end_header\n" + bytes(24), "two properties of one name"),
        (HEAD + b"element vertex 1\nproperty list float int a\nend_header\n", "no integer type"),
        (b"ply\nformat binary_middle 1.0\nelement vertex 1\n" + XYZ + b"end_header\n", "its format is 'binary_middle'"),
        (b"ply\nformat ascii 1.0\nelement vertex 2\n" + XYZ + b"end_header\n1 2 3\n4 5\n", "cut short"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n" + XYZ + b"end_header\n1 two 3\n", "'two' stands where a number"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n" + XYZ + b"end_header\n1 " + b"2" * 999999 + b" 3\n", "'2222"),
        (
            HEAD + b"element face 1\nproperty list int int a\nelement vertex 1\n" + XYZ + b"end_header\n"
            b"\xff\xff\xff\xff" + bytes(12),
            "list a has a length of -1",
        ),
        (
            HEAD + b"element face 2\nproperty list uint int a\nelement vertex 1\n" + XYZ + b"end_header\n"
            b"\xff\xff\xff\xff\0\0\0\0" + bytes(12),
            "cut short",
        ),
    ],
)
def test_a_bad_file_gives_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.ply"
    path.write_bytes(content)
    with pytest.raises(SplatFileError, match=said) as caught:
        read_ply(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 8, 44, 72])
def test_unknown_numbers_of_coefficients_are_refused(tmp_path: Path, count: int) -> None:
    raw = numbers([*names_of(0), *(f"f_rest_{index}" for index in range(count))], 3)
    with pytest.raises(SplatFileError, match=f"has {count} f_rest properties; 0, 9, 24 or 45"):
        read_ply(write(tmp_path / "x.ply", raw))


def test_nothing_there_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SplatFileError, match="there is no such file"):
        read_ply(tmp_path / "x.ply")
    with pytest.raises(SplatFileError, match="is a folder"):
        read_ply(tmp_path)


def test_rotations_of_any_length_and_alphas_out_of_range(tmp_path: Path) -> None:
    raw = numbers(names_of(0), 4)
    for part in range(4):
        raw[f"rot_{part}"][:] = 3e38, 1e-44, 1, 0
    raw["rot_1"][3] = 1e-30
    found = read_ply(write(tmp_path / "x.ply", raw))
    np.testing.assert_allclose(found.quats, [[0.5] * 4] * 3 + [[0, 1, 0, 0]], atol=1e-6)
    cloud = {axis: np.arange(3, dtype="f4") for axis in "xyz"} | {"alpha": np.array([-1, 0.25, 2], "f4")}
    assert read_ply(write(tmp_path / "y.ply", cloud)).opacities.tolist() == [0, 0.25, 1]


def test_kin_whose_gaussians_are_not_all_in_the_file(tmp_path: Path) -> None:
    anchors = numbers([*names_of(0), "f_anchor_feat_0", "f_offset_0"], 4)
    with pytest.raises(SplatFileError, match="anchors of Scaffold-GS"):
        read_ply(write(tmp_path / "x.ply", anchors))
    moving = numbers([*names_of(0), "trbf_center", "motion_0"], 4)
    found = read_ply(write(tmp_path / "x.ply", moving))
    assert "move, which is left out" in found.notes[0]
    np.testing.assert_array_equal(found.extra["motion_0"], moving["motion_0"])
