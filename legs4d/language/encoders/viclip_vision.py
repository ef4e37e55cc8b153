"""The half of ViCLIP that sees: a ViT over the patches of all frames of a clip at once (Wang et al. 2023, InternVid).

Nearly all the time of an extraction is spent here, so the layers are arranged for matrix units: patches are embedded by
a matrix product, queries, keys and values by one, attention is PyTorch's fused one, and on CUDA a layer's elementwise
work is compiled into few passes over memory. One compiled layer serves all layers, as they differ only in weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from legs4d.raster.kernels import has_triton

CUDA_BATCH = 64
"""Clips at a time: the widest intermediate is then 1 GB, and each product fills an H100 many times over."""
CPU_BATCH = 4

ATTENTION = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""PyTorch's kernels, best first: at 64 clips on an H100 cuDNN's takes 2.9 ms a layer, flash 4.0 ms."""

_LAYER = (
    *("ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias"),
    *("attn.out_proj.weight", "attn.out_proj.bias", "ln_2.weight", "ln_2.bias"),
    *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
)
"""Weights of a layer, in the order of `_transformer_layer`'s arguments."""


class ViclipVision:
    """A `ClipModel`.

    Args:
        weights: by their published names, without "vision_encoder."; any float type.
        heads: of attention.
        device: half precision on CUDA, float32 elsewhere.
        batch: clips at a time.
        compiled: whether layers are; by default on CUDA, where Triton is there.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        heads: int,
        device: torch.device,
        batch: int | None = None,
        *,
        compiled: bool | None = None,
    ) -> None:
        on_gpu = device.type == "cuda"
        self.dtype = torch.float16 if on_gpu else torch.float32
        self.batch = batch or (CUDA_BATCH if on_gpu else CPU_BATCH)
        # Copied, so that a checkpoint mapped from disk can be let go.
        held = {name: value.to(device, self.dtype, copy=True) for name, value in weights.items()}
        conv = held["conv1.weight"]
        self._patch = conv.shape[-1]
        self._patch_weight = conv.flatten(1)  # [width, 3 · patch²]
        space, time = held["positional_embedding"], held["temporal_positional_embedding"]
        self._class_token = held["class_embedding"] + space[0]
        # Of every patch of every frame, in the order in which the published model has them: patch, then frame.
        self._positions = (space[1:, None] + time).flatten(0, 1)
        self._norm_before = held["ln_pre.weight"], held["ln_pre.bias"]
        self._norm_after = held["ln_post.weight"], held["ln_post.bias"]
        self._projection = held["proj"]
        count = 1 + max(int(name.split(".")[2]) for name in held if name.startswith("transformer."))
        self._layers = [[held[f"transformer.resblocks.{i}.{name}"] for name in _LAYER] for i in range(count)]
        self._heads = heads
        self._compiled = on_gpu and has_triton() if compiled is None else compiled
        self._layer = torch.compile(_transformer_layer, dynamic=False) if self._compiled else _transformer_layer

    @torch.inference_mode()
    def embed_clips(self, clips: Tensor) -> Tensor:
        """[n, 8, 3, S, S] → [n, dim] float32 unit vectors; see `ClipModel`."""
        count = len(clips)
        if self._compiled and count < self.batch:  # compiled for one shape; another would be compiled for seconds
            clips = torch.cat([clips, clips[:1].expand(self.batch - count, *clips.shape[1:])])
        return F.normalize(self.features(clips)[:count].float(), dim=-1)

    @torch.inference_mode()
    def features(self, clips: Tensor) -> Tensor:
        """[n, 8, 3, S, S] → [n, dim], before normalisation."""
        tokens = self._embed_patches(clips.to(self.dtype)) + self._positions
        tokens = torch.cat([self._class_token.expand(len(clips), 1, -1), tokens], dim=1)
        tokens = F.layer_norm(tokens, tokens.shape[-1:], *self._norm_before)
        with sdpa_kernel(ATTENTION, set_priority=True):
            for layer in self._layers:
                tokens = self._layer(tokens, self._heads, *layer)
        first = F.layer_norm(tokens[:, 0], tokens.shape[-1:], *self._norm_after)
        return first @ self._projection

    def _embed_patches(self, clips: Tensor) -> Tensor:
        """[n, T, 3, S, S] → [n, patches · T, width]."""
        count, frames, channels, height, width = clips.shape
        p = self._patch
        grid = clips.reshape(count, frames, channels, height // p, p, width // p, p)
        patches = grid.permute(0, 3, 5, 1, 2, 4, 6).reshape(count, -1, channels * p * p)
        return patches @ self._patch_weight.T


def _transformer_layer(
    x: Tensor,
    heads: int,
    norm1_weight: Tensor,
    norm1_bias: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    norm2_weight: Tensor,
    norm2_bias: Tensor,
    up_weight: Tensor,
    up_bias: Tensor,
    down_weight: Tensor,
    down_bias: Tensor,
) -> Tensor:
    """CLIP's residual attention block (Radford et al. 2021): [n, tokens, width] → the same."""
    count, tokens, width = x.shape
    qkv = F.linear(F.layer_norm(x, (width,), norm1_weight, norm1_bias), qkv_weight, qkv_bias)
    q, k, v = qkv.view(count, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, tokens, width)
    x = x + F.linear(attended, out_weight, out_bias)
    inner = F.linear(F.layer_norm(x, (width,), norm2_weight, norm2_bias), up_weight, up_bias)
    return x + F.linear(inner * torch.sigmoid(1.702 * inner), down_weight, down_bias)
