"""Tiny random models of SAM 2 and SAM 3, in folders as the real ones are published."""

from __future__ import annotations

import json
import string
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

transformers: Any = import_module("transformers")
SIDE = 56
WIDTH = 128
"""Wider than the memory, 64, as the published ones are."""


def sam2_twin(folder: Path) -> Path:
    """The published files are those of the video model, of which the other takes what it needs."""
    torch.manual_seed(0)
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[64, 64],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 8, 4],
        global_attention_blocks=[4],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=WIDTH,
    )
    config = transformers.Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": 64},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        image_size=64,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=16,
    )
    transformers.Sam2VideoModel(config).save_pretrained(folder)
    return folder


def sam3_twin(folder: Path) -> Path:
    """Detector and tracker in one file, named as facebook/sam3 has them, with a tokenizer that knows a to s."""
    torch.manual_seed(0)
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 14,
            "window_size": 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": 28,
        },
        "fpn_hidden_size": WIDTH,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    small = {"hidden_size": WIDTH, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 16,
        "projection_dim": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": 38,
        "eos_token_id": 39,
        "pad_token_id": 39,
    }
    detector = transformers.Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 5},
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 2},
    )
    tracker = transformers.Sam3TrackerVideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE},
        mask_decoder_config={"hidden_size": WIDTH, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        image_size=SIDE,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=16,
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=16,
    )
    config = transformers.Sam3VideoConfig(
        detector_config=detector.to_dict(),
        tracker_config=tracker.to_dict(),
        low_res_mask_size=16,
        hotstart_delay=0,
        new_det_thresh=0.0,
        score_threshold_detection=0.0,
    )
    model = transformers.Sam3VideoModel(config)
    config.architectures = ["Sam3VideoModel"]
    config.save_pretrained(folder)
    # what save_pretrained writes is named otherwise than what is published
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    state["tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias"] += 10  # a thing is always there
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    letters = string.ascii_lowercase[:19]
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    vocabulary |= {f"{letter}</w>": i + len(letters) for i, letter in enumerate(letters)}
    vocabulary |= {"<|startoftext|>": 38, "<|endoftext|>": 39}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder
