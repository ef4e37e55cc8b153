"""The nets of the tiny encoder. A frame's crop is seen once; a light second net sees the 8 of a window.

Made for two cores of a laptop: the whole demo has 50,000 crops of frames and 40,000 windows to see, so that a frame
may cost 82 MFLOP and a window 83 (a multiplication and an addition are two). Nearly all is in few, large products.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from legs4d.language.encoders.tiny.sizes import (
    CODE,
    CONTEXT,
    DIM,
    FRAMES,
    PLACES,
    SIDE,
    TEXT_HEADS,
    TEXT_LAYERS,
    TEXT_WIDTH,
    WIDTH,
)

CHANNELS = (32, 64, 128, 192)
"""After each convolution, which halves the picture: 64 px become 4 × 4 places."""
INNER = 192
"""Width of the window's layers."""
COURSE = 320
"""Numbers between a place's 8 codes and its token."""
HEADS = 6
"""Of attention, in the halves that see."""
WINDOW_LAYERS = 5


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation, which `clip_text.ClipText` has."""
    return x * torch.sigmoid(1.702 * x)


def _attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Attention of [n, heads, tokens, width of a head]."""
    if not q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    # CUDA's fused kernels make 64 tokens of 16, and took a third of a training step.
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if causal:
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        logits = logits.masked_fill(later, -torch.inf)
    return logits.softmax(dim=-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Self-attention with the parameter names of CLIP: [n, tokens, width] → the same."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.heads, self.causal = heads, causal
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = _attend(q, k, v, self.causal)
        return self.out_proj(mixed.transpose(1, 2).reshape(count, tokens, width))


class Mlp(nn.Module):
    """Two products, four times as wide between: [n, tokens, width] → the same."""

    def __init__(self, width: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    """CLIP's residual attention block (Radford et al. 2021): [n, tokens, width] → the same."""

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, activation: Callable[[Tensor], Tensor] = F.gelu
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal=causal)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, activation)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TinyFrame(nn.Module):
    """What is remembered of a frame's crop: [n, 3, 64, 64], normalised by `sizes` → [n, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        sides = (3, *CHANNELS)
        kernels = (4, 3, 3, 3)
        convs = [
            nn.Conv2d(before, after, kernel, stride=2, padding=1)
            for before, after, kernel in zip(sides, CHANNELS, kernels, strict=False)
        ]
        self.convs = nn.ModuleList(convs)
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        # What is added in between, where there is room for detail: legs and arms are a few pixels wide.
        details = [nn.Conv2d(count, count, 3, padding=1) for count in CHANNELS[1:-1]]
        self.details = nn.ModuleList(details)
        for detail in details:
            nn.init.zeros_(detail.weight)
        self.position = nn.Parameter(0.02 * torch.randn(PLACES, CHANNELS[-1]))
        self.norm = nn.LayerNorm(CHANNELS[-1])
        self.block = Block(CHANNELS[-1], HEADS)
        self.code = nn.Linear(CHANNELS[-1], CODE)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(f"crops are [n, 3, {SIDE}, {SIDE}], got {tuple(frames.shape)}")
        x = F.relu_(self.convs[0](frames))  # in place: on a CPU fresh memory costs as much as a product
        for conv, detail in zip(self.convs[1:-1], self.details, strict=True):
            x = F.relu_(conv(x))
            x = F.relu(x + detail(x))
        places = self.convs[-1](x).flatten(2).transpose(1, 2)
        places = self.block(self.norm(places) + self.position)
        return self.code(places).flatten(1)


class TinyWindow(nn.Module):
    """What happens in a window: [n, 8, WIDTH], in order of time → [n, DIM] unit vectors.

    What is remembered of a place in all 8 frames goes into one token, so that a layer sees its whole course at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.course = nn.Sequential(nn.Linear(FRAMES * CODE, COURSE), nn.GELU(), nn.Linear(COURSE, INNER))
        self.position = nn.Parameter(0.02 * torch.randn(PLACES, INNER))
        self.blocks = nn.ModuleList(Block(INNER, HEADS) for _ in range(WINDOW_LAYERS))
        self.norm = nn.LayerNorm(INNER)
        self.share = nn.Linear(INNER, HEADS)
        self.value = nn.Linear(INNER, INNER)
        self.project = nn.Linear(INNER, DIM)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[1:] != (FRAMES, WIDTH):
            raise ValueError(f"frames are [n, {FRAMES}, {WIDTH}], got {tuple(frames.shape)}")
        count = len(frames)
        courses = frames.view(count, FRAMES, PLACES, CODE).transpose(1, 2).reshape(count, PLACES, FRAMES * CODE)
        x = self.course(courses) + self.position
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        share = self.share(x).softmax(dim=1)  # [n, places, heads]
        value = self.value(x).view(count, PLACES, HEADS, INNER // HEADS)
        pooled = (share[..., None] * value).sum(dim=1).flatten(1)
        return F.normalize(self.project(pooled), dim=-1)


class Transformer(nn.Module):
    """Causal layers, under CLIP's name."""

    def __init__(self) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            Block(TEXT_WIDTH, TEXT_HEADS, causal=True, activation=quick_gelu) for _ in range(TEXT_LAYERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class TinyText(nn.Module):
    """What a phrase says; the same as `clip_text.ClipText`, whose names its parameters have, for training it.

    [P, L ≤ CONTEXT] ids from `words.Words` → [P, DIM], before normalisation.

    Args:
        vocabulary: ids that there are.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, TEXT_WIDTH)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT, TEXT_WIDTH))
        self.transformer = Transformer()
        self.ln_final = nn.LayerNorm(TEXT_WIDTH)
        self.text_projection = nn.Parameter(TEXT_WIDTH**-0.5 * torch.randn(TEXT_WIDTH, DIM))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens.long()
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        ends = tokens.argmax(dim=1)
        return x[torch.arange(len(x), device=x.device), ends] @ self.text_projection


class TinyModel(nn.Module):
    """All of it, as it is trained and kept.

    The probability that a phrase is true of a window is sigmoid(logit_scale · cosine + logit_bias).
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.frame = TinyFrame()
        self.window = TinyWindow()
        self.text = TinyText(vocabulary)
        self.logit_scale = nn.Parameter(torch.tensor(10.0))
        self.logit_bias = nn.Parameter(torch.tensor(-7.0))

    def see(self, clips: Tensor) -> Tensor:
        """[n, 8, 3, 64, 64], normalised → [n, DIM] unit vectors."""
        count = len(clips)
        return self.window(self.frame(clips.flatten(0, 1)).view(count, FRAMES, WIDTH))

    def read(self, tokens: Tensor) -> Tensor:
        """[P, L] ids → [P, DIM] unit vectors."""
        return F.normalize(self.text(tokens), dim=-1)
