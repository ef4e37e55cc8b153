"""HexPlane fields against what the original functions of 4DGen gave, and a 4DGaussians output folder as a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData

from legs4d.errors import DatasetError
from legs4d.gaussians.hexplane import HEADS, read_hexplane
from legs4d.gaussians.import_splats import import_splats
from tests.gaussians.written import values, write

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/4dgen.npz"


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs shared/reference/4dgen.npz beside the checkout")
@pytest.mark.parametrize("kind", ["mul", "cat"])
def test_it_gives_the_numbers_of_the_original(kind: str) -> None:
    with np.load(REFERENCE, allow_pickle=False) as file:
        stored = {name: torch.as_tensor(file[name]) for name in file.files if file[name].dtype.kind == "f"}
    prefix = f"{kind}_w_"
    field = read_hexplane({n.removeprefix(prefix): v for n, v in stored.items() if n.startswith(prefix)}, "reference")
    assert field.combine == {"mul": "product", "cat": "concatenate"}[kind] and field.time_resolution == 5
    features = field.features(stored["in_xyz"], stored["in_time"])
    torch.testing.assert_close(features, stored[f"{kind}_feature"], atol=2e-6, rtol=1e-5)
    hidden = field.hidden(features)
    torch.testing.assert_close(hidden, stored[f"{kind}_hidden"], atol=2e-6, rtol=1e-5)
    for name in ("position", "scales", "rotations", "opacity", "color"):
        expected = stored[f"{kind}_head_{HEADS[name].removesuffix('_deform')}"]
        torch.testing.assert_close(field.head(name, hidden), expected, atol=2e-6, rtol=1e-5)


# -- a folder of 4DGaussians -------------------------------------------------------------------------------------------


def network(seed: int = 0, width: int = 8, channels: int = 2) -> dict[str, torch.Tensor]:
    """A small checkpoint with 4DGaussians' names."""
    chance = torch.Generator().manual_seed(seed)

    def of(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=chance)

    state = {"deformation_net.grid.aabb": torch.tensor([[3.0] * 3, [-3.0] * 3]), "time_poc": of(4)}
    size = (4, 5, 6, 3)
    for level, more in enumerate((1, 2)):
        for plane, (first, second) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
            rows, columns = (size[axis] * (more if axis < 3 else 1) for axis in (second, first))
            state[f"deformation_net.grid.grids.{level}.{plane}"] = 1 + of(1, channels, rows, columns)
    layers = {"feature_out.0": (width, 2 * channels)}
    for head, out in {"pos": 3, "scales": 3, "rotations": 4, "opacity": 1, "shs": 48}.items():
        layers |= {f"{head}_deform.1": (width, width), f"{head}_deform.3": (out, width)}
    for name, shape in layers.items():
        state |= {f"deformation_net.{name}.weight": of(*shape), f"deformation_net.{name}.bias": of(shape[0])}
    return state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model/point_cloud/iteration_20000"
    write(place / "point_cloud.ply", values(25, rest=45))
    torch.save(network(), place / "deformation.pth")
    return tmp_path / "model"


def test_a_folder_of_4dgaussians_becomes_a_run(folder: Path, tmp_path: Path) -> None:
    run = import_splats([folder], tmp_path / "run", frames=5)
    assert (run.num_frames, run.num_dynamic, run.has_loose) == (5, 25, False)
    assert run.changing == ("scales",)  # opacity and colour do not, as 4DGaussians has it by default
    vertex = PlyData.read(folder / "point_cloud/iteration_20000/point_cloud.ply")["vertex"]
    raw = {
        n: torch.as_tensor(np.stack([vertex[f"{n}{i}"] for i in range(k)], 1)) for n, k in (("scale_", 3), ("rot_", 4))
    }
    points = torch.as_tensor(np.stack([vertex[axis] for axis in "xyz"], 1))
    field = read_hexplane(network(), "test")
    for frame in (0, 2, 4):
        hidden = field.hidden(field.features(points, torch.full((25, 1), frame / 4)))
        found = run.frame(frame)
        np.testing.assert_allclose(found.means, points + field.head("position", hidden), atol=1e-5)
        scales = torch.exp(raw["scale_"] + field.head("scales", hidden))
        np.testing.assert_allclose(found.scales, scales, rtol=1e-5)
        quats = torch.nn.functional.normalize(raw["rot_"] + field.head("rotations", hidden), dim=1)
        np.testing.assert_allclose(found.quats, quats, atol=1e-5)
    assert found.sh_rest is not None and found.sh_rest.shape == (25, 15, 3)


def test_what_else_its_training_deformed_can_be_said(folder: Path, tmp_path: Path) -> None:
    run = import_splats([folder], tmp_path / "run", frames=3, heads=("position", "opacity", "sh"))
    assert run.changing == ("opacities", "sh_rest")
    first, last = run.dynamic(0), run.dynamic(2)
    assert np.abs(first.colors - last.colors).max() > 0.01
    with pytest.raises(DatasetError, match=r"'colour'.*position, scales, rotations, opacity, sh"):
        import_splats([folder], tmp_path / "other", heads=("colour",))


def test_without_a_number_of_frames_time_is_cut_as_finely_as_its_planes_can_tell(folder: Path, tmp_path: Path) -> None:
    run = import_splats([folder], tmp_path / "run")
    assert run.num_frames == 6  # twice the three entries of its planes
    assert any("--frames" in note for note in run.info["report"]["notes"])


def test_a_checkpoint_with_code_in_it_is_not_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"a": Path("/etc")}, folder / "point_cloud/iteration_20000/deformation.pth")
    with pytest.raises(DatasetError, match="more than tensors"):
        import_splats([folder], tmp_path / "run")
    torch.save({"a": torch.zeros(1)}, folder / "point_cloud/iteration_20000/deformation.pth")
    with pytest.raises(DatasetError, match="holds no HexPlane field"):
        import_splats([folder], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_frames_of_what_does_not_deform_cannot_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="its frames are its files"):
        import_splats([write(tmp_path / "a.ply", values())], tmp_path / "run", frames=9)
