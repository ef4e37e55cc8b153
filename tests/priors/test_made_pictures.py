"""Models that make pictures: tiny random twins of SDXL and Wan, saved as they are published, run end to end."""

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

from legs4d.errors import Legs4dError
from legs4d.priors.cache import is_there
from legs4d.priors.picture.sdxl import Sdxl
from legs4d.priors.registry import find_prior
from legs4d.priors.video.wan import WanBetween, WanVideo

CPU = torch.device("cpu")
transformers: Any = import_module("transformers")
diffusers: Any = import_module("diffusers")
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]


@pytest.fixture
def picture() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)


def clip_words() -> Any:
    """A tokenizer of letters, as CLIP's is made of byte pairs."""
    symbols = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={symbol: number for number, symbol in enumerate(symbols)}, merges=[], model_max_length=77
    )


def sdxl_twin(folder: Path) -> Path:
    torch.manual_seed(0)
    words = clip_words()

    def text(kind: Any) -> Any:
        config = transformers.CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
        return kind(config)

    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=64,  # 6 numbers of 8, and the words' 16
        cross_attention_dim=32,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    diffusers.StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=text(transformers.CLIPTextModel),
        text_encoder_2=text(transformers.CLIPTextModelWithProjection),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(),
    ).save_pretrained(folder)
    return folder


@pytest.mark.long
def test_a_picture_from_words(tmp_path: Path) -> None:
    made = Sdxl(sdxl_twin(tmp_path / "sdxl"), CPU, steps=2, side=32)
    assert is_there(find_prior("sdxl"), tmp_path)
    ball = made.picture("a red ball", seed=1)
    assert ball.shape == (32, 32, 3) and ball.dtype == np.float32 and ball.min() >= 0 and ball.max() <= 1
    np.testing.assert_array_equal(made.picture("a red ball", seed=1), ball)
    # words and seed reach the picture
    assert (
        np.abs(made.picture("a box", seed=1) - ball).max() > 0
        and np.abs(made.picture("a red ball", 2) - ball).max() > 0
    )
    (tmp_path / "sdxl/unet/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(Legs4dError, match=r"unet: there are no .safetensors; put the files of stabilityai"):
        Sdxl(tmp_path / "sdxl", CPU)


def wan_twin(folder: Path) -> Path:
    """As Wan 2.2's 5B is published: a pipeline of words, whose weights take a first picture in its latent's place."""
    torch.manual_seed(0)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    words = transformers.T5TokenizerFast(vocab=pieces, extra_ids=0)
    text = transformers.UMT5EncoderModel(
        transformers.UMT5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    vae = diffusers.AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=6,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 6,
        latents_std=[1.0] * 6,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=6,
        out_channels=6,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
    )
    diffusers.WanPipeline(
        tokenizer=words,
        text_encoder=text,
        vae=vae,
        transformer=transformer,
        scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        expand_timesteps=True,
    ).save_pretrained(folder)
    return folder


@pytest.mark.long
def test_a_picture_that_moves_as_words_say(tmp_path: Path, picture: NDArray[np.float32]) -> None:
    pytest.importorskip("accelerate", reason="the extra priors is of an older version: make setup")
    made = WanVideo(wan_twin(tmp_path / "wan"), CPU, steps=2)
    assert is_there(find_prior("wan"), tmp_path)
    found = made.video(picture, "it jumps", 6, seed=1)
    assert found.shape == (5, 32, 64, 3) and found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(made.video(picture, "it jumps", 6, seed=1), found)
    # picture and seed reach the video
    assert np.abs(made.video(1 - picture, "it jumps", 6, seed=1) - found).max() > 0
    assert np.abs(made.video(picture, "it jumps", 6, seed=2) - found).max() > 0
    index = tmp_path / "wan/model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "LTXPipeline"}))
    with pytest.raises(Legs4dError, match="is a LTXPipeline, no WanPipeline; put the files of Wan-AI"):
        WanVideo(tmp_path / "wan", CPU)


def wan_between_twin(folder: Path) -> Path:
    """As Wan 2.1's model of first and last frames is published: both are seen by CLIP too."""
    torch.manual_seed(0)
    made = diffusers.WanPipeline.from_pretrained(wan_twin(folder))
    shutil.rmtree(folder)
    vae = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=6, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 6, latents_std=[1.0] * 6
    )
    seen = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=6 + 4 + 6,
        out_channels=6,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        image_dim=16,
        added_kv_proj_dim=24,
        pos_embed_seq_len=2 * 5,
    )
    diffusers.WanImageToVideoPipeline(
        tokenizer=made.tokenizer,
        text_encoder=made.text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=made.scheduler,
        image_encoder=transformers.CLIPVisionModel(seen),
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    ).save_pretrained(folder)
    return folder


@pytest.mark.long
def test_what_happens_between_two_pictures(tmp_path: Path, picture: NDArray[np.float32]) -> None:
    pytest.importorskip("accelerate", reason="the extra priors is of an older version: make setup")
    made = WanBetween(wan_between_twin(tmp_path / "wan-between"), CPU, steps=2)
    assert is_there(find_prior("wan-between"), tmp_path)
    found = made.video_between(picture, 1 - picture, "it jumps", 6, seed=1)
    assert found.shape == (5, 32, 64, 3) and found.min() >= 0 and found.max() <= 1
    # both pictures reach the video
    assert np.abs(made.video_between(picture, picture, "it jumps", 6, seed=1) - found).max() > 0
    assert np.abs(made.video_between(1 - picture, 1 - picture, "it jumps", 6, seed=1) - found).max() > 0
