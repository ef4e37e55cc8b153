"""Models that their users bring: tiny random twins of the same classes are read, run, and refused when not whole."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from legs4d.errors import Legs4dError
from legs4d.priors.cache import is_there, open_prior
from legs4d.priors.depth.depth_anything import DepthAnything
from legs4d.priors.flow.raft import Raft
from legs4d.priors.guidance.zero123 import Zero123
from legs4d.priors.registry import find_prior
from legs4d.priors.video.svd import StableVideo
from legs4d.priors.video.wan import frames_it_makes
from tests.priors.depth_twin import depth_twin

CPU = torch.device("cpu")
transformers: Any = import_module("transformers")
diffusers: Any = import_module("diffusers")


@pytest.fixture
def pictures() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((3, 40, 60, 3)).astype(np.float32)


def test_disparity(tmp_path: Path, pictures: NDArray[np.float32]) -> None:
    folder = depth_twin(tmp_path / "depth-anything")
    assert is_there(find_prior("depth-anything"), tmp_path)
    found = DepthAnything(folder, CPU, shorter_side=28).disparity(pictures)
    assert found.shape == (3, 40, 60) and found.min() >= 0 and np.isfinite(found).all()
    # a network sees the picture: another one, another answer; the same one, the same
    again = open_prior("depth-anything", CPU, tmp_path)
    again._side = 28
    np.testing.assert_array_equal(again.disparity(pictures[:1]), found[:1])


def test_a_disc_is_blown_up_to_half_a_ball() -> None:
    y, x = np.mgrid[:50, :60] + 0.5
    around = 400 - (x - 30) ** 2 - (y - 25) ** 2
    mask = (around > 0).astype(np.float32)
    mask[0, 0] = 1  # a second thing, of a pixel
    inflation = open_prior("inflation", CPU)
    (found,) = inflation.disparity(np.zeros((1, 50, 60, 3), np.float32), mask[None])
    assert found[25, 30] == pytest.approx(20, rel=0.02) and 0 < found[0, 0] < 1 and not found[mask == 0].any()
    assert np.abs(found - np.sqrt(np.maximum(around, 0)))[around > 40].max() < 0.6
    large = np.kron(mask, np.ones((9, 9), np.float32))  # solved for coarser, which nobody should see
    (found,) = inflation.disparity(np.zeros((1, *large.shape, 3), np.float32), large[None])
    assert found[225, 270] == pytest.approx(180, rel=0.02) and not found[large == 0].any()
    with pytest.raises(Legs4dError, match=r"inflation: blows up silhouettes, and there are no masks; give masks"):
        inflation.disparity(np.zeros((1, 50, 60, 3), np.float32))


def test_what_is_not_whole_is_told_with_what_to_put_where(tmp_path: Path) -> None:
    def message(folder: Path) -> str:
        with pytest.raises(Legs4dError) as error:
            DepthAnything(folder, CPU)
        return str(error.value)

    put = f"put the files of depth-anything/Depth-Anything-V2-Small-hf into {tmp_path}"
    assert message(tmp_path / "none") == f"{tmp_path}/none: there is no config.json; {put}/none."
    folder = depth_twin(tmp_path / "x")
    weights = folder / "model.safetensors"
    state = load_file(weights)
    name = sorted(state)[0]
    save_file({key: value for key, value in state.items() if key != name}, weights, {"format": "pt"})
    assert f"lacks {name!r}: these are another model's weights" in message(folder)
    save_file({**state, "stranger": torch.zeros(1)}, weights, {"format": "pt"})
    assert "has 'stranger'" in message(folder)
    save_file({**state, name: torch.zeros(3)}, weights, {"format": "pt"})
    assert str(folder) in message(folder)
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "cannot be read as a DepthAnythingForDepthEstimation" in message(folder)
    weights.rename(folder / "pytorch_model.bin")
    assert "there are no .safetensors" in message(folder)


@pytest.mark.long
def test_raft(tmp_path: Path, pictures: NDArray[np.float32]) -> None:
    raft_large = import_module("torchvision.models.optical_flow").raft_large
    torch.manual_seed(0)
    state = raft_large(weights=None).state_dict()
    torch.save(state, tmp_path / "raft.pth")
    found = Raft(tmp_path, CPU).flow(pictures[0], pictures[1])
    assert found.shape == (40, 60, 2) and np.isfinite(found).all()
    name = next(iter(state))
    torch.save({key: value for key, value in state.items() if key != name}, tmp_path / "raft.pth")
    with pytest.raises(Legs4dError, match=f"has no '{name}', which RAFT has.*put torchvision's raft_large"):
        Raft(tmp_path / "raft.pth", CPU)
    with pytest.raises(Legs4dError, match="there are 0 files of weights"):
        Raft(Path(__file__).parent, CPU)


def small_unet(channels: int) -> Any:
    """Of a latent diffusion: it takes so many channels, and gives four."""
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=12,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )


def small_clip(side: int) -> Any:
    """For square pictures of that side, seen in four pieces."""
    clip: Any = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=side,
        patch_size=side // 2,
        projection_dim=12,
    )
    return transformers.CLIPVisionModelWithProjection(clip)


def zero123_twin(folder: Path, halved: int = 1) -> Path:
    """A small random one, whose latents have a picture's side halved so often (the published one's: 3 times)."""
    torch.manual_seed(0)
    small_unet(8).save_pretrained(folder / "unet")  # the reference's latent beside the noisy one
    diffusers.AutoencoderKL(
        block_out_channels=(8,) * (halved + 1),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * (halved + 1),
        up_block_types=("UpDecoderBlock2D",) * (halved + 1),
    ).save_pretrained(folder / "vae")
    small_clip(32).save_pretrained(folder / "image_encoder")
    (folder / "clip_camera_projection").mkdir()
    layer = {"proj.weight": torch.randn(12, 16) * 0.1, "proj.bias": torch.zeros(12)}
    save_file(layer, folder / "clip_camera_projection/model.safetensors")
    return folder


def test_score_distillation_moves_a_rendering(tmp_path: Path, pictures: NDArray[np.float32]) -> None:
    zero = Zero123(zero123_twin(tmp_path / "zero123"), CPU, side=32)
    reference = zero.reference(pictures[0, :, :40])
    assert reference[0].shape == (1, 12) and reference[1].shape == (1, 4, 16, 16)
    rendering = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)).requires_grad_()
    poses = torch.stack([zero.pose(0, 30, 0), zero.pose(-10, 180, 0)])
    np.testing.assert_allclose(poses[0].numpy(), [0, 0.5, np.sqrt(0.75), np.pi / 2], atol=1e-6)

    def loss(step: int) -> torch.Tensor:
        return zero.loss(rendering, poses, reference, step, generator=torch.Generator().manual_seed(2))

    loss(600).backward()
    assert rendering.grad is not None and torch.isfinite(rendering.grad).all() and rendering.grad.abs().max() > 0
    # its weight is 1 − ᾱ: hardly any noise, hardly any say
    assert loss(0) < loss(600) / 100
    with pytest.raises(Legs4dError, match="there is no step 1000"):
        loss(1000)
    (tmp_path / "zero123/clip_camera_projection/model.safetensors").unlink()
    with pytest.raises(Legs4dError, match=r"clip_camera_projection: there are 0 .safetensors; put the files of"):
        Zero123(tmp_path / "zero123", CPU)


def test_an_object_from_elsewhere(tmp_path: Path, pictures: NDArray[np.float32]) -> None:
    zero123_twin(tmp_path / "zero123")
    assert is_there(find_prior("zero123-views"), tmp_path)  # one folder for both roles
    zero = Zero123(tmp_path / "zero123", CPU, side=32, steps=2)
    picture = np.ascontiguousarray(pictures[0, :, :40])
    cameras = np.array([[0, 0, 0], [0, 0, 0], [20, 90, 0]], np.float32)
    found = zero.views(picture, cameras, seed=1)
    assert found.shape == (3, 32, 32, 3) and found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(zero.views(picture, cameras, seed=1), found)

    def others(
        picture: NDArray[np.float32] = picture, cameras: NDArray[np.float32] = cameras[:1], seed: int = 1
    ) -> float:
        return float(np.abs(zero.views(picture, cameras, seed)[0] - found[0]).max())

    assert others() == 0 and others(cameras=cameras[2:]) > 0 and others(picture=1 - picture) > 0 and others(seed=2) > 0
    assert zero.views(picture, cameras[:0], seed=1).shape == (0, 32, 32, 3)
    with pytest.raises(
        Legs4dError, match=r"zero123-views are not there; put unet/, vae/.* of a Stable-Zero123 .* into"
    ):
        open_prior("zero123-views", CPU, tmp_path / "none")


def test_a_u_net_of_another_model_is_no_zero123s(tmp_path: Path) -> None:
    folder = zero123_twin(tmp_path / "zero123")
    shutil.rmtree(folder / "unet")
    small_unet(4).save_pretrained(folder / "unet")  # as Stable Diffusion's, which is told of no reference
    what = "unet: takes 4 channels, gives 4 and attends to 12 numbers, where a Zero123's takes 8, gives 4"
    with pytest.raises(Legs4dError, match=f"{what}.*: it is another model's; put the files of a Zero123"):
        Zero123(folder, CPU)


def test_a_pipeline_of_another_kind_or_with_parts_missing(tmp_path: Path) -> None:
    with pytest.raises(Legs4dError, match=r"there is no model_index.json; put the files of stabilityai"):
        open_sdxl(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(Legs4dError, match="is a FluxPipeline, no StableDiffusionXLPipeline"):
        open_sdxl(tmp_path)
    index = {"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(Legs4dError, match="there is no unet/"):
        open_sdxl(tmp_path)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/config.json").write_text("{}")
    with pytest.raises(Legs4dError, match=r"there are no .safetensors"):
        open_sdxl(tmp_path)


def open_sdxl(folder: Path) -> Any:
    from legs4d.priors.picture.sdxl import Sdxl

    return Sdxl(folder, CPU)


def svd_twin(folder: Path) -> Path:
    torch.manual_seed(0)
    unet = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=8,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=12,
        num_attention_heads=2,
        projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32,
        num_frames=3,
    )
    # It halves thrice as the published one does: with one halving, attention over 512 pixels took hours.
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4
    )
    diffusers.StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=small_clip(224),  # the pipeline always brings pictures to that
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(),
        feature_extractor=transformers.CLIPImageProcessor(crop_size=224, size=224),
    ).save_pretrained(folder)
    return folder


def test_a_picture_that_moves(tmp_path: Path, pictures: NDArray[np.float32]) -> None:
    video = StableVideo(svd_twin(tmp_path / "svd"), CPU, steps=1)
    found = video.video(pictures[0], "", 8, seed=1)
    assert found.shape == (3, 64, 64, 3) and found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(video.video(pictures[0], "", 8, seed=1), found)


def test_numbers_of_frames_that_wan_makes() -> None:
    assert [frames_it_makes(wanted) for wanted in (1, 5, 6, 8, 16, 81)] == [5, 5, 5, 9, 17, 81]
