"""Zero123 as it is published (Liu et al. 2023), laid out without its weights: to count, or to time with random ones."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

SIDE = 256
"""Pixels that it sees."""
CONTEXT = 768
"""Width of what its U-Net attends to."""


def unet() -> Any:
    """Stable Diffusion 1.5's, with the reference's latent beside the noisy one: 8 channels."""
    return diffusers.UNet2DConditionModel(
        sample_size=SIDE // 8, in_channels=8, out_channels=4, cross_attention_dim=CONTEXT, attention_head_dim=8
    )


def vae() -> Any:
    """Stable Diffusion's autoencoder."""
    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def clip() -> Any:
    """ViT-L/14, which looks once at each reference."""
    config = transformers.CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        image_size=224,
        projection_dim=CONTEXT,
    )
    return transformers.CLIPVisionModelWithProjection(config)


def parameters(*models: torch.nn.Module) -> int:
    return sum(p.numel() for model in models for p in model.parameters())
