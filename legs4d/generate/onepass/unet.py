"""The asymmetric U-Net of LGM and L4GM (Tang et al. 2024, section 3.2; Ren et al. 2024, section 3.1), of any size.

Pictures of several views at several times go through it together, in the order batch, time, view. Convolutions see one
picture each; attention mixes the views of one time, then the times of one view. Written from the papers and the
published weights' names and shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS, EPSILON = 32, 1e-5
"""Of GroupNorm."""
HALF_ROOT = 0.5**0.5
"""Every sum of two is scaled by it, which keeps the variance."""
PICTURES = 8
"""Pictures that a convolution sees at a time where no gradients are kept: memory does not grow with the video."""
QUERIES = 8192
"""Tokens that attend at a time then."""


@dataclass(frozen=True)
class Sizes:
    """A U-Net in numbers.

    Attributes:
        channels: of what goes in.
        out: of what comes out.
        down, up: channels of each level; all but the last of each halve or double the picture's side at their end.
        down_attention, up_attention: which of them attend.
        head_width: channels of an attention head; None for 16 heads everywhere.
        down_blocks, up_blocks: residual blocks of a level.
        temporal: whether there is attention over time.
    """

    channels: int
    out: int
    down: tuple[int, ...]
    down_attention: tuple[bool, ...]
    up: tuple[int, ...]
    up_attention: tuple[bool, ...]
    head_width: int | None = None
    down_blocks: int = 2
    up_blocks: int = 3
    temporal: bool = True

    def heads(self, width: int) -> int:
        return 16 if self.head_width is None else width // self.head_width


@dataclass(frozen=True)
class Order:
    """How pictures lie in a batch: of `times` moments with `views` each, view by view, moment by moment."""

    times: int
    views: int


def _in_parts(work: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`work` on all pictures, a few at a time where no gradients are kept."""
    if torch.is_grad_enabled() or len(x) <= PICTURES:
        return work(x)
    return torch.cat([work(part) for part in x.split(PICTURES)])


class ResBlock(nn.Module):
    """[n, before, H, W] → [n, after, H, W]."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, before, EPSILON)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, after, EPSILON)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        return _in_parts(self._one, x)

    def _one(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return (self.shortcut(x) + y) * HALF_ROOT


class Attention(nn.Module):
    """[n, tokens, width] → the same; no code of the position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        q, k, v = self.qkv(x).view(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if torch.is_grad_enabled() or tokens <= QUERIES:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.cat([F.scaled_dot_product_attention(part, k, v) for part in q.split(QUERIES, 2)], 2)
        return self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))


class AttentionBlock(nn.Module):
    """Residual attention over all places of some pictures, [n, C, H, W] → the same.

    Args:
        temporal: over the times of a view; else over the views of a time.
    """

    def __init__(self, width: int, heads: int, *, temporal: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, EPSILON)
        self.attn = Attention(width, heads)
        self.temporal = temporal

    def forward(self, x: Tensor, order: Order) -> Tensor:
        count, width, height, breadth = x.shape
        sets = count // (order.times * order.views)
        # [set, time, view, place, C]
        y = self.norm(x).reshape(sets, order.times, order.views, width, height * breadth).transpose(-1, -2)
        if self.temporal:
            y = y.transpose(1, 2)
        shape = y.shape
        tokens = y.reshape(shape[0] * shape[1], -1, width)
        if torch.is_grad_enabled():
            mixed = self.attn(tokens)
        else:
            mixed = torch.cat([self.attn(part) for part in tokens.split(1)]) if len(tokens) > 1 else self.attn(tokens)
        y = mixed.view(shape)
        if self.temporal:
            y = y.transpose(1, 2)
        return (x + y.transpose(-1, -2).reshape(x.shape)) * HALF_ROOT


class _Level(nn.Module):
    """Residual blocks, each followed by attention where there is any."""

    def __init__(self, widths: list[tuple[int, int]], sizes: Sizes, *, attention: bool, attentions: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(ResBlock(before, after) for before, after in widths)
        width = widths[-1][1]
        kinds = {"attns": False, **({"t_attns": True} if sizes.temporal else {})} if attention else {}
        for name, temporal in kinds.items():
            blocks = (AttentionBlock(width, sizes.heads(width), temporal=temporal) for _ in range(attentions))
            setattr(self, name, nn.ModuleList(blocks))
        self._kinds = tuple(kinds)

    def attend(self, x: Tensor, index: int, order: Order) -> Tensor:
        for name in self._kinds:
            x = getattr(self, name)[index](x, order)
        return x


class _Down(_Level):
    def __init__(self, before: int, after: int, sizes: Sizes, *, attention: bool, last: bool) -> None:
        count = sizes.down_blocks
        widths = [(before if index == 0 else after, after) for index in range(count)]
        super().__init__(widths, sizes, attention=attention, attentions=count)
        self.downsample = None if last else nn.Conv2d(after, after, 3, stride=2, padding=1)

    def forward(self, x: Tensor, order: Order) -> list[Tensor]:
        """What each block gives, then what is handed on where that is smaller."""
        kept = []
        for index, block in enumerate(self.nets):
            x = self.attend(block(x), index, order)
            kept.append(x)
        if self.downsample is not None:
            kept.append(_in_parts(self.downsample, x))
        return kept


class _Up(_Level):
    def __init__(self, widths: list[tuple[int, int]], sizes: Sizes, *, attention: bool, last: bool) -> None:
        super().__init__(widths, sizes, attention=attention, attentions=len(widths))
        width = widths[-1][1]
        self.upsample = None if last else nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, skips: list[Tensor], order: Order) -> Tensor:
        """Takes from the end of `skips`."""
        for index, block in enumerate(self.nets):
            x = self.attend(block(torch.cat([x, skips.pop()], dim=1)), index, order)
        return x if self.upsample is None else _in_parts(self._enlarged, x)

    def _enlarged(self, x: Tensor) -> Tensor:
        assert self.upsample is not None
        return self.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class _Middle(_Level):
    def __init__(self, width: int, sizes: Sizes) -> None:
        super().__init__([(width, width), (width, width)], sizes, attention=True, attentions=1)

    def forward(self, x: Tensor, order: Order) -> Tensor:
        first, second = self.nets
        return second(self.attend(first(x), 0, order))


class UNet(nn.Module):
    """[n, channels, S, S] → [n, out, S', S'], S' = S / 2^(levels down − levels up)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(sizes.channels, sizes.down[0], 3, padding=1)
        width, kept, downs = sizes.down[0], [sizes.down[0]], []
        for index, after in enumerate(sizes.down):
            last = index == len(sizes.down) - 1
            downs.append(_Down(width, after, sizes, attention=sizes.down_attention[index], last=last))
            kept += [after] * (sizes.down_blocks + (not last))
            width = after
        self.down_blocks = nn.ModuleList(downs)
        self.mid_block = _Middle(width, sizes)
        ups = []
        for index, after in enumerate(sizes.up):
            widths = []
            for _ in range(sizes.up_blocks):
                widths.append((width + kept.pop(), after))
                width = after
            last = index == len(sizes.up) - 1
            ups.append(_Up(widths, sizes, attention=sizes.up_attention[index], last=last))
        self.up_blocks = nn.ModuleList(ups)
        self.norm_out = nn.GroupNorm(GROUPS, width, EPSILON)
        self.conv_out = nn.Conv2d(width, sizes.out, 3, padding=1)

    def forward(self, x: Tensor, order: Order) -> Tensor:
        x = _in_parts(self.conv_in, x)
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], order)
        x = self.mid_block(skips[-1], order)
        for up in self.up_blocks:
            x = up(x, skips, order)
        # What splats are read off is made in single precision, also where the rest is in half.
        return _in_parts(self._out, x)

    def _out(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.conv_out(F.silu(self.norm_out(x.float())))
