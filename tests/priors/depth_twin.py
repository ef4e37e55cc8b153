"""A tiny random Depth Anything, in a folder as the real one is published."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

transformers: Any = import_module("transformers")


def depth_twin(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4,
        head_hidden_size=4,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    return folder
