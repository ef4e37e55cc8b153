"""Files for other programs, read back by other people's readers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import gsply
import numpy as np
import plyfile
import pygltflib
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.dynamic3dgs import import_dynamic3dgs
from legs4d.gaussians.export import as_splats, export_frames, export_npz, frame_splats
from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.portable.ply.writer import ply_parts
from legs4d.portable.spz_writer import spz_bytes
from legs4d.portable.turns import upright_turn
from legs4d.scene.readers import open_sequence
from tests.synthetic import Scene, write_dataset, write_run

SCENE = Scene(num_frames=3, width=32, height=32, num_train=3, num_test=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "run", SCENE, language=False)


def test_ply_has_the_standard_names_and_raw_values(run: Run, tmp_path: Path) -> None:
    highlight = np.linspace(0, 1, run.num_gaussians)
    paths = export_frames(run, tmp_path, range(1, 3), highlight=lambda frame: highlight * frame)
    assert [path.name for path in paths] == ["frame_000001.ply", "frame_000002.ply"]
    vertex = plyfile.PlyData.read(paths[1])["vertex"]
    truth = run.frame(2)
    assert [p.name for p in vertex.properties] == [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
        *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "highlight"),
    ]
    assert np.array_equal(np.stack([vertex[n] for n in "xyz"], axis=1), truth.means)
    assert np.array_equal(np.stack([vertex[f"f_dc_{i}"] for i in range(3)], axis=1), truth.colors)
    assert np.allclose(np.exp(np.stack([vertex[f"scale_{i}"] for i in range(3)], axis=1)), truth.scales, rtol=1e-5)
    assert np.allclose(1 / (1 + np.exp(-vertex["opacity"])), truth.opacities, atol=1e-6)
    assert np.array_equal(np.stack([vertex[f"rot_{i}"] for i in range(4)], axis=1), truth.quats)
    assert np.allclose(vertex["highlight"], 2 * highlight)


def test_ply_writes_finite_numbers_for_what_is_invisible(run: Run, tmp_path: Path) -> None:
    splats = frame_splats(run, 0)
    splats.opacities[:2] = 0, 1
    splats.scales[0] = 0
    (tmp_path / "x.ply").write_bytes(b"".join(ply_parts(splats)))
    vertex = plyfile.PlyData.read(tmp_path / "x.ply")["vertex"]
    assert all(np.isfinite(vertex[p.name]).all() for p in vertex.properties)
    assert "highlight" not in vertex.data.dtype.names


def crowd(count: int = 500) -> Gaussians:
    """Gaussians of all shapes, colours and directions."""
    rng = np.random.default_rng(3)
    quats = rng.standard_normal((count, 4))
    return Gaussians(
        means=rng.uniform(-5, 5, (count, 3)).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        scales=np.exp(rng.uniform(-6, 0, (count, 3))).astype(np.float32),
        opacities=rng.random(count).astype(np.float32),
        colors=rng.uniform(-2, 2, (count, 3)).astype(np.float32),
        is_foreground=np.ones(count, bool),
    )


HALF_ABOUT_X = np.diag([1.0, -1.0, -1.0])
"""What stands a capture upright whose +y points down, as those of OpenCV cameras do."""


def test_spz_is_read_by_gsply(tmp_path: Path) -> None:
    truth = crowd()
    (tmp_path / "x.spz").write_bytes(spz_bytes(as_splats(truth)))
    read = gsply.read_spz(tmp_path / "x.spz")
    np.testing.assert_allclose(read.means, truth.means @ HALF_ABOUT_X, atol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.ravel(read.opacities))), truth.opacities, atol=0.5 / 255 + 1e-3)
    np.testing.assert_allclose(read.sh0, truth.colors, atol=0.5 / (0.15 * 255) + 1e-5)
    np.testing.assert_allclose(read.scales, np.log(truth.scales), atol=0.5 / 16 + 1e-5)
    turns = Rotation.from_quat(truth.quats, scalar_first=True).as_matrix()
    found = Rotation.from_quat(read.quats, scalar_first=True).as_matrix()
    np.testing.assert_allclose(found, HALF_ABOUT_X @ turns, atol=0.01)


def attribute(glb: pygltflib.GLTF2, name: str) -> NDArray:
    """An accessor's values, read by what the file says of it."""
    accessor = glb.accessors[getattr(glb.meshes[0].primitives[0].attributes, name)]
    view = glb.bufferViews[accessor.bufferView]
    dtype = {pygltflib.FLOAT: "<f4", pygltflib.UNSIGNED_BYTE: "u1"}[accessor.componentType]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
    blob = glb.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.frombuffer(blob, dtype).reshape(accessor.count, width)


def test_gltf_is_read_by_pygltflib(run: Run, tmp_path: Path) -> None:
    amount = np.linspace(0, 1, run.num_gaussians)
    (path,) = export_frames(run, tmp_path, range(2, 3), "gltf", highlight=lambda frame: amount)
    assert path.name == "frame_000002.glb"
    glb, truth = pygltflib.GLTF2().load(path), run.frame(2)
    assert glb is not None and glb.extensionsUsed == ["KHR_gaussian_splatting"]
    primitive = glb.meshes[0].primitives[0]
    assert primitive.mode == pygltflib.POINTS
    assert primitive.extensions["KHR_gaussian_splatting"] == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    assert np.array_equal(attribute(glb, "POSITION"), truth.means)
    assert np.array_equal(attribute(glb, "KHR_gaussian_splatting:ROTATION"), truth.quats[:, [1, 2, 3, 0]])
    assert np.array_equal(attribute(glb, "KHR_gaussian_splatting:SCALE"), truth.scales)
    assert np.array_equal(attribute(glb, "KHR_gaussian_splatting:OPACITY")[:, 0], truth.opacities)
    assert np.array_equal(attribute(glb, "KHR_gaussian_splatting:SH_DEGREE_0_COEF_0"), truth.colors)
    np.testing.assert_allclose(attribute(glb, "_HIGHLIGHT")[:, 0], amount, atol=1e-6)
    encoded = np.clip(truth.rgb, 0, 1)  # glTF's vertex colours are linear
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(attribute(glb, "COLOR_0")[:, :3] / 255, linear, atol=0.5 / 255 + 1e-6)
    position = glb.accessors[primitive.attributes.POSITION]
    extent = truth.means.min(axis=0), truth.means.max(axis=0)
    np.testing.assert_allclose(np.array([position.min, position.max], float), np.array(extent))
    # The scene's down is +y: in the file it has to be -y.
    assert glb.nodes[0].rotation is not None
    np.testing.assert_allclose(Rotation.from_quat(glb.nodes[0].rotation).as_matrix(), HALF_ABOUT_X, atol=1e-7)


@pytest.mark.parametrize("down", [(0, 1, 0), (0, -1, 0), (0, 0, -1), (1, 0, 0), (0.3, 0.9, -0.2)])
def test_any_capture_is_stood_upright(down: tuple[float, ...]) -> None:
    turn = Rotation.from_quat(upright_turn(np.array(down)), scalar_first=True)
    np.testing.assert_allclose(turn.apply(down), np.linalg.norm(down) * np.array([0.0, -1.0, 0.0]), atol=1e-12)


def test_spz_has_no_highlight(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no place for a highlight"):
        export_frames(run, tmp_path / "x", range(1), "spz", highlight=lambda frame: np.zeros(run.num_gaussians))
    assert not (tmp_path / "x").exists()


def handmade(path: Path, **changes: np.ndarray) -> Path:
    """A params.npz as Dynamic3DGS writes it: 2 frames, 3 Gaussians."""
    rng = np.random.default_rng(0)
    arrays = {
        "means3D": rng.random((2, 3, 3)),
        "rgb_colors": rng.random((2, 3, 3)),
        "unnorm_rotations": np.tile([2.0, 0.0, 0.0, 0.0], (2, 3, 1)),
        "seg_colors": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        "logit_opacities": np.array([[0.0], [np.log(3.0)], [-np.log(3.0)]]),
        "log_scales": np.log([[1.0, 2.0, 3.0]] * 3),
        "cam_m": np.zeros((50, 3)),
        "cam_c": np.zeros((50, 3)),
    }
    np.savez(path, **{**arrays, **changes})  # type: ignore[arg-type]
    return path


def test_a_dynamic3dgs_result_becomes_a_run(tmp_path: Path) -> None:
    source = handmade(tmp_path / "params.npz")
    run = Run.open(import_dynamic3dgs(source, tmp_path / "run", fps=30).path)
    assert (run.num_frames, run.num_static, run.num_dynamic) == (2, 0, 3)
    assert not run.has_cameras
    params, frame = np.load(source), run.frame(1)
    assert np.allclose(frame.means, params["means3D"][1])
    assert np.allclose(0.5 + SH_C0 * frame.colors, params["rgb_colors"][1], atol=1e-6)
    assert frame.quats.tolist() == [[1, 0, 0, 0]] * 3
    assert np.allclose(frame.opacities, [0.5, 0.75, 0.25])
    assert np.allclose(frame.scales, [[1, 2, 3]] * 3)
    assert frame.is_foreground.tolist() == [True, False, True]


def test_out_and_in_again_is_the_same_run(run: Run, tmp_path: Path) -> None:
    again = import_dynamic3dgs(export_npz(run, tmp_path / "out", range(3)), tmp_path / "run")
    for frame in range(3):
        ours, theirs = run.frame(frame), again.frame(frame)
        for field in ("means", "quats", "scales", "opacities", "colors", "is_foreground"):
            assert np.allclose(getattr(ours, field), getattr(theirs, field), atol=1e-6), field


def test_the_exported_npz_has_the_arrays_of_dynamic3dgs(run: Run, tmp_path: Path) -> None:
    params = np.load(export_npz(run, tmp_path, range(1, 3)), allow_pickle=False)
    count = run.num_gaussians
    assert {name: params[name].shape for name in params} == {
        "means3D": (2, count, 3),
        "rgb_colors": (2, count, 3),
        "unnorm_rotations": (2, count, 4),
        "seg_colors": (count, 3),
        "logit_opacities": (count, 1),
        "log_scales": (count, 3),
        "cam_m": (3, 3),
        "cam_c": (3, 3),
    }
    assert set(map(tuple, params["seg_colors"].tolist())) == {(1, 0, 0), (0, 0, 1)}


def test_an_import_with_its_footage_has_cameras(run: Run, tmp_path: Path) -> None:
    params = dict(np.load(export_npz(run, tmp_path, range(3))))
    params["cam_m"] = np.arange(30, dtype=np.float32).reshape(10, 3)  # by camera number, as Dynamic3DGS has it
    np.savez(tmp_path / "numbered.npz", **params)
    sequence = open_sequence(write_dataset(tmp_path / "dataset", SCENE))
    again = import_dynamic3dgs(tmp_path / "numbered.npz", tmp_path / "run", sequence=sequence)
    train = sequence.cameras("train", 0)
    assert again.cameras("train").ids == train.ids and again.cameras("test").ids == sequence.cameras("test", 0).ids
    assert np.array_equal(again.gain()[0], params["cam_m"][list(train.ids)])
    assert again.info["near"] > 0 and again.info["fps"] == sequence.fps
    longer = Scene(num_frames=4, width=32, height=32, num_train=3, num_test=1)
    with pytest.raises(DatasetError, match=r"has 4 frames, .* has 3"):
        other = open_sequence(write_dataset(tmp_path / "longer", longer))
        import_dynamic3dgs(tmp_path / "numbered.npz", tmp_path / "other", sequence=other)
    assert not (tmp_path / "other").exists()


def test_map_coordinates_are_put_back(tmp_path: Path) -> None:
    run, origin = write_run(tmp_path / "run", SCENE, language=False), np.array([512345.0, 130.5, 4812345.0])
    with run.lock():
        run.set_info(origin=origin.tolist())
    with np.load(export_npz(run, tmp_path / "npz", range(1)), allow_pickle=False) as written:
        means = written["means3D"]
    assert means.dtype == np.float64
    np.testing.assert_allclose(means[0] - origin, run.frame(0).means, atol=1e-8)
    (ply,) = export_frames(run, tmp_path / "ply", range(1))
    assert "origin 512345 130.5 4812345" in plyfile.PlyData.read(ply).comments
    (glb,) = export_frames(run, tmp_path / "glb", range(1), "gltf")
    gltf = pygltflib.GLTF2().load(str(glb))
    moved = [node.translation for node in gltf.nodes if node.translation is not None]
    assert np.linalg.norm(moved[0]) == pytest.approx(np.linalg.norm(origin))


def test_what_params_npz_cannot_say_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    ball = SCENE.dynamic(0)
    run.write_geometry(SCENE.static(), ball, 2, born=np.ones(len(ball), np.int32))
    run.write_frame(1, ball.means, ball.quats, ball.colors)
    with pytest.raises(RunError, match="appear or vanish"):
        export_npz(run, tmp_path, range(2))
    assert not (tmp_path / "params.npz").exists()
    assert export_npz(run, tmp_path, range(1, 2)).exists()


def test_bad_params_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.npz"
    with pytest.raises(RunError, match=r"missing\.npz: cannot be read"):
        import_dynamic3dgs(missing, tmp_path / "run")
    with zipfile.ZipFile(tmp_path / "other.npz", "w"):
        pass
    with pytest.raises(RunError, match="means3D"):
        import_dynamic3dgs(tmp_path / "other.npz", tmp_path / "run")
    wrong = handmade(tmp_path / "wrong.npz", rgb_colors=np.zeros((2, 4, 3)))
    with pytest.raises(RunError, match=r"rgb_colors is \(2, 4, 3\), expected \(2, 3, 3\)"):
        import_dynamic3dgs(wrong, tmp_path / "run")
    pickled = handmade(tmp_path / "pickled.npz", log_scales=np.array([{}]))
    with pytest.raises(RunError, match="cannot be read"):
        import_dynamic3dgs(pickled, tmp_path / "run")
    assert not (tmp_path / "run").exists()
