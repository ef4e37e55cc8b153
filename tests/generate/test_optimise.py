"""4DGen's optimisation: its losses and step sizes are the original's, and a small one runs end to end."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d.commands import Object
from legs4d.context import Context
from legs4d.deform.footage.pictures import Pictures
from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.generate import work
from legs4d.generate.fitting import pictures_of
from legs4d.generate.lenses import SYNCDREAMER, UP
from legs4d.generate.optimise.distil import SCALE, WEIGHT, Distillation
from legs4d.generate.optimise.losses import chamfer, decayed, picture_loss, total
from legs4d.generate.optimise.road import DECAY, QUICK, RATES, How, Optimise, still
from legs4d.priors.guidance.zero123 import Zero123
from legs4d.progress import StageReporter
from legs4d.reconstruct.fitting.losses import ssim
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage
from tests.generate.test_object import block, shown
from tests.priors.test_made_pictures import sdxl_twin
from tests.priors.test_published import zero123_twin

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/4dgen.npz"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="needs shared/reference/4dgen.npz")
SIDE = 32


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name.startswith(("img_", "lr_", "sds_"))}


@needs_reference
def test_the_loss_of_pictures_is_that_of_the_original(reference: dict[str, np.ndarray]) -> None:
    a, b = (torch.as_tensor(reference[f"img_{name}"]).permute(0, 2, 3, 1).contiguous() for name in "ab")
    absolute = (a - b).abs().mean()
    assert float(absolute) == pytest.approx(float(reference["img_l1"]), rel=1e-5)
    similar = ssim(a, b).mean()
    assert float(similar) == pytest.approx(float(reference["img_ssim"]), rel=1e-4)
    for name, m in (("reference", 10.0), ("pseudo", 1.0)):
        told = total(absolute, similar, torch.tensor(0.3123), torch.tensor(m))
        assert float(told) == pytest.approx(float(reference[f"img_total_{name}_with_lpips_0.3123"]), rel=1e-4)
    plain = picture_loss(a, b, torch.ones(2), None)
    assert float(plain) == pytest.approx(10 * float(absolute) + 2 * (1 - float(similar)), rel=1e-4)


@needs_reference
def test_step_sizes_are_those_of_the_original(reference: dict[str, np.ndarray]) -> None:
    for row, step in enumerate(reference["lr_iterations"].tolist()):
        means, bend = (decayed(*RATES[name], step, DECAY) for name in ("means", "bend"))
        assert means == pytest.approx(reference["lr_xyz"][row], rel=1e-5)
        assert bend == pytest.approx(reference["lr_deformation"][row], rel=1e-5)
        assert 10 * bend == pytest.approx(reference["lr_grid"][row], rel=1e-5)


@needs_reference
def test_a_step_of_score_distillation_is_that_of_the_original(reference: dict[str, np.ndarray]) -> None:
    """With its stand-in networks; the helper's own code decides on noise, guidance, weight and pose."""
    given = {name: torch.as_tensor(value) for name, value in reference.items() if name.startswith("sds_")}

    class Unet:
        def __call__(self, x: torch.Tensor, step: torch.Tensor, context: torch.Tensor) -> Any:
            mixed = torch.einsum("bihw,io->bohw", x, given["sds_unet_matrix_8to4"])
            asked = 0.01 * context.sum(dim=(1, 2))[:, None, None, None]
            return SimpleNamespace(sample=mixed + asked + 1e-4 * step[:, None, None, None])

    class Vae:
        dtype = torch.float32
        config = SimpleNamespace(scaling_factor=1.0)

        def encode(self, shown: torch.Tensor) -> Any:
            pooled = torch.nn.functional.avg_pool2d(shown, 8)[:, [0, 1, 2, 0]]
            return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: pooled))

    prior: Any = Zero123.__new__(Zero123)
    prior._unet, prior._vae, prior._side, prior._device, prior._stable = Unet(), Vae(), 256, torch.device("cpu"), True
    prior._weight, prior._bias = given["sds_projection_12to8"].T, torch.zeros(8)
    prior._kept = given["sds_alphas_cumprod"]
    pose = prior.pose(12, 75, 0.0)
    np.testing.assert_allclose(pose, given["sds_camera_embedding_polar-12_azimuth75"].flatten(), atol=1e-6)
    image = given["sds_image"].clone().requires_grad_()
    known = given["sds_clip_embedding"][0], given["sds_image_latent"][None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *_, **__: given["sds_noise"])
        loss = prior.loss(image, pose[None], known, int(given["sds_t"]), scale=SCALE)
    loss.backward()
    assert image.grad is not None
    # Its trainer takes half of what its guidance gives.
    np.testing.assert_allclose(float(loss.detach()), 0.5 * float(given["sds_loss"]), rtol=1e-5)
    largest = float(given["sds_grad_image"].abs().max())
    np.testing.assert_allclose(WEIGHT * image.grad, 0.5 * given["sds_grad_image"], atol=1e-5 * largest)


def views() -> tuple[Pictures, np.ndarray]:
    """A block at two moments, the second a little higher; the reference first."""
    rig = Cameras.together([SYNCDREAMER.cameras(0, 0, SIDE), SYNCDREAMER.pseudo(SIDE)])
    found = []
    for frame in range(2):
        thing = block()
        rgba = shown(thing.replace(means=thing.means + np.array([0, 0.1 * frame, 0], np.float32)), rig)
        alpha = rgba[..., 3:].astype(np.float32) / 255
        found.append(np.concatenate([(rgba[..., :3] * alpha).astype(np.uint8), rgba[..., 3:]], axis=-1))
    cameras = Cameras.together([rig, rig])
    frames = np.repeat(np.arange(2), 17)
    return pictures_of(np.concatenate(found), cameras, frames, 2, torch.device("cpu")), np.arange(34) % 17 == 0


STAGE = Stage(np.zeros(3, np.float32), SYNCDREAMER.distance, -UP.astype(np.float32), SYNCDREAMER.near)


def small(**how: Any) -> How:
    return How(**{**vars(QUICK), "points": 300, "most": 400, **how})


def test_a_block_that_rises_is_learned_in_three_stages() -> None:
    pictures, is_reference = views()
    reporter = StageReporter("optimising")
    how = small(static=40, coarse=16, fine=8, chamfer=1e-3, pictures_per_step=2)
    fit = Optimise(pictures, is_reference, STAGE, SYNCDREAMER, how, None, None, reporter)
    before = fit.errors().mean()
    assert float(still(fit.deformation)) == 0  # type: ignore[arg-type]
    while fit.done < 40:
        fit.advance()
    assert float(still(fit.deformation)) == 0  # type: ignore[arg-type]
    state = fit.state()
    while fit.done < fit.total:
        fit.advance()
    assert fit.errors().mean() < 0.85 * before
    again = Optimise(pictures, is_reference, STAGE, SYNCDREAMER, how, None, None, reporter)
    again.load(state)
    while again.done < again.total:
        again.advance()
    torch.testing.assert_close(again.canonical.used("means"), fit.canonical.used("means"))


@pytest.mark.gpu
def test_what_is_captured_of_the_static_stage_is_not_replayed_in_those_that_bend() -> None:
    """Else planes stay as they began, and every moment is the first."""
    on_cpu, is_reference = views()
    cameras = on_cpu.table.cameras
    pictures = pictures_of(on_cpu.images.numpy(), cameras, on_cpu.frames, 2, torch.device("cuda"))
    how = small(static=40, coarse=60, fine=20, pictures_per_step=2)
    fit = Optimise(pictures, is_reference, STAGE, SYNCDREAMER, how, None, None, StageReporter("optimising"))
    while fit.done < fit.total:
        fit.advance()
    assert float(still(fit.deformation)) > 0  # type: ignore[arg-type]
    apart = fit.gaussians_at(1.0).means.mean(dim=0) - fit.gaussians_at(0.0).means.mean(dim=0)
    assert 0.05 < float(apart[1]) < 0.15


def test_a_stage_that_bends_captures_its_steps_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, is_reference = views()
    how = small(static=3, coarse=2, fine=1)
    fit = Optimise(pictures, is_reference, STAGE, SYNCDREAMER, how, None, None, StageReporter("optimising"))
    forgotten: list[int] = []
    monkeypatch.setattr(fit._replay, "forget", lambda: forgotten.append(fit.done))
    while fit.done < fit.total:
        fit.advance()
    assert forgotten == [3]


def test_how_much_lpips_counts() -> None:
    drawn, truth = torch.rand(2, 24, 24, 4), torch.rand(2, 24, 24, 4)

    def one(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(first))

    counts = torch.tensor([1.0, 10.0])
    of = {times: float(picture_loss(drawn, truth, counts, one, times)) for times in (0.0, 0.5, 1.0)}  # type: ignore[arg-type]
    assert of[0.0] == pytest.approx(float(picture_loss(drawn, truth, counts, None)), rel=1e-6)
    # 20 m + 2 each, m 1 and 10
    assert of[1.0] - of[0.0] == pytest.approx((22 + 202) / 2, rel=1e-4)
    assert of[0.5] - of[0.0] == pytest.approx((22 + 202) / 4, rel=1e-4)


def test_a_block_is_learned_in_the_axes_and_units_of_its_own_cameras() -> None:
    """Ten times as large and elsewhere, every step is the same."""
    pictures, is_reference = views()
    how = small(static=12, coarse=6, fine=2)
    away = np.array([30.0, -4.0, 7.0], np.float32)
    rig = pictures.table.cameras
    poses = rig.world_to_camera.copy()
    poses[:, :3, 3] = 10 * poses[:, :3, 3] - poses[:, :3, :3] @ away
    moved = Cameras(poses, rig.intrinsics, rig.width, rig.height, rig.ids)
    elsewhere = pictures_of(pictures.images.numpy(), moved, pictures.frames, 2, torch.device("cpu"))
    found = []
    for of, stage, lens, unit in (
        (pictures, Stage(np.zeros(3, np.float32), 2.5, STAGE.down, STAGE.near), SYNCDREAMER, 1.0),
        (elsewhere, Stage(away, 25.0, STAGE.down, 10 * STAGE.near), None, 10.0),
    ):
        fit = Optimise(of, is_reference, stage, lens, how, None, None, StageReporter("optimising"))
        while fit.done < fit.total:
            fit.advance()
        middle = 0 if lens is not None else away
        found.append((fit.gaussians_at(1.0).numpy().means.mean(axis=0) - middle) / unit)
    np.testing.assert_allclose(found[1], found[0], atol=5e-3)


def test_clouds_that_are_one_have_no_chamfer_distance() -> None:
    points = torch.rand(50, 3)
    assert float(chamfer(points, points.flip(0))) < 1e-6
    assert float(chamfer(points, points + torch.tensor([10.0, 0, 0]))) > 100


def test_distilled_steps_pull_at_the_shape() -> None:
    """With a helper that wants everything black."""
    pictures, is_reference = views()

    class Black:
        def reference(self, picture: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            assert picture.shape == (SIDE, SIDE, 3)
            return torch.zeros(1), torch.zeros(1)

        def pose(self, elevation: float, azimuth: float, distance: float) -> torch.Tensor:
            assert -30 <= elevation <= 29 and -180 <= azimuth < 180
            return torch.zeros(4)

        def loss(self, shown: torch.Tensor, poses: torch.Tensor, known: Any, step: int, **how: Any) -> torch.Tensor:
            assert shown.shape == (1, 3, 32, 32) and 200 <= step <= 600 and how["scale"] == 2
            return shown.square().sum()

    frames = pictures.images[:2].numpy()
    guidance = Distillation(Black(), frames, torch.device("cpu"), side=32)  # type: ignore[arg-type]
    how = small(static=1, coarse=1, fine=20, distil=1.0)
    fit = Optimise(pictures, is_reference, STAGE, SYNCDREAMER, how, None, guidance, StageReporter("optimising"))
    before = float(fit.canonical.used("colors").mean())
    while fit.done < fit.total:
        fit.advance()
    assert float(fit.canonical.used("colors").mean()) < before - 0.02


def test_the_command_distils_where_a_zero123_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small random one, found among the helpers as a user's would be: the run is another one than without it."""
    size, priors = 48, tmp_path / "priors"
    monkeypatch.setenv("LEGS4D_PRIORS", str(priors))
    sizes = replace(work.Sizes.of(torch.device("cpu")), optimise=small(static=3, coarse=2, fine=3, distil=1.0))
    for folder, camera in (("pose0", SYNCDREAMER.cameras(0, 0, size)), ("sync", SYNCDREAMER.pseudo(size))):
        (tmp_path / f"thing_{folder}").mkdir()
        for number, picture in enumerate(shown(block(), camera)):
            name = "0.png" if folder == "pose0" else f"0_0_{number}_rgba.png"
            Image.fromarray(picture).save(tmp_path / f"thing_{folder}" / name)

    def made(out: str) -> tuple[list[str], Gaussians]:
        asked = Object(source=str(tmp_path / "thing_pose0"), out=str(tmp_path / out), method="optimise")
        told = work.object_run(asked, Context("cpu"), sizes=sizes)
        return told["warnings"], Run.open(tmp_path / out).frame(0)

    warnings, plain = made("plain")
    assert any("Nothing is distilled" in warning for warning in warnings)
    zero123_twin(priors / "zero123", halved=3)
    warnings, distilled = made("distilled")
    assert not any("Nothing is distilled" in warning for warning in warnings)
    assert np.isfinite(distilled.means).all() and np.isfinite(distilled.colors).all()
    assert len(distilled) != len(plain) or np.abs(distilled.colors - plain.colors).max() > 1e-3


def test_a_zero123_with_another_models_u_net_is_told_before_anything_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views of the first frame alone are followed for minutes before anything is distilled."""
    size = 48
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "priors"))
    zero123_twin(tmp_path / "priors/zero123", halved=3)
    shutil.rmtree(tmp_path / "priors/zero123/unet")
    shutil.move(sdxl_twin(tmp_path / "sdxl") / "unet", tmp_path / "priors/zero123/unet")
    for folder, camera in (("pose0", SYNCDREAMER.cameras([0, 0], 0, size)), ("sync", SYNCDREAMER.pseudo(size))):
        (tmp_path / f"thing_{folder}").mkdir()
        for number, picture in enumerate(shown(block(), camera)):
            name = f"{number}.png" if folder == "pose0" else f"0_0_{number}_rgba.png"
            Image.fromarray(picture).save(tmp_path / f"thing_{folder}" / name)
    stages: list[str] = []
    asked = Object(source=str(tmp_path / "thing_pose0"), out=str(tmp_path / "run"), method="optimise")
    with pytest.raises(Legs4dError, match=r"takes 4 channels, .* it is another model's; put the files of a Zero123"):
        work.object_run(asked, Context("cpu", progress=lambda progress: stages.append(progress.stage)))
    assert stages and not {"fitting_the_views", "following"} & {*stages}
