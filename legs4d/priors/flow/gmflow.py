"""GMFlow (Xu et al. 2022): optical flow as matching over the whole picture, refined once at a quarter of the size.

Section 3 of the paper: features of both pictures (CNN) talk to each other in a transformer of shifted windows, every
pixel is matched to all of the other picture by a softmax over similarities, self-similarity carries flow to where
nothing matches, and learned weights bring it to full size.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from legs4d.priors.flow.looking import looked_at
from legs4d.priors.state_dicts import check_state, read_state

CHANNELS = 128
LAYERS = 6
FINEST = 4
"""Pixels of the picture per feature of the finer of the two scales."""
_STEP = 32
"""Both sides of the pictures become multiples of this: windows have to fit at both scales."""
_SCALES = ((2, None, None), (8, 4, 1))
"""Per scale, coarse first: windows a side; radius in features that is searched; radius that flow is carried in. None is
the whole picture."""
_FIX = "fetch it by `legs4d priors get gmflow`"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LARGEST_SIDE = 960
"""Pixels: matching over the whole picture takes memory with the fourth power of the side; wider pictures are halved."""


def _size_for(height: int, width: int) -> tuple[int, int]:
    shrink = max(1.0, max(height, width) / LARGEST_SIDE)
    rows, columns = (max(_STEP, round(side / shrink / _STEP) * _STEP) for side in (height, width))
    return rows, columns


class GMFlow:
    """See `protocols.FlowPrior`.

    Args:
        path: of the converted weights, or of a checkpoint of the paper's (two scales).
        device: where to compute.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        state = read_state(path, _FIX)
        check_state(state, _shapes(), "GMFlow", str(path), _FIX)
        self._state = {name: value.to(device, torch.float32) for name, value in state.items()}
        self._device = device
        self._mean, self._std = (torch.tensor(v, device=device)[None, :, None, None] for v in (_MEAN, _STD))

    @torch.no_grad()
    def flow(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """[H, W, 2] pixels.

        Raises:
            Legs4dError: the pictures are of two sizes.
        """
        return looked_at(
            first,
            second,
            _size_for,
            lambda pair: self._between((pair - self._mean) / self._std),
            self._device,
            corners=True,
        )

    def _between(self, pair: torch.Tensor) -> torch.Tensor:
        """[1, 2, H, W] flow from the first to the second of [2, 3, H, W]."""
        fine = self._features(pair)
        trident = self._state["backbone.trident_conv.weight"]
        flow: torch.Tensor | None = None
        for scale, (windows, searched, carried) in enumerate(_SCALES):
            features = functional.conv2d(fine, trident, None, 2 if scale == 0 else 1, 1)
            here, there = features[:1], features[1:]
            if flow is not None:
                flow = 2 * functional.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
                there = _sample(there, _grid(there) + flow)
            position = _positions(here.shape[2] // windows, here.shape[3] // windows, self._device)
            position = position.repeat(1, 1, windows, windows)
            here, there = self._talk(here + position, there + position, windows)
            step = _match_all(here, there) if searched is None else _match_near(here, there, searched)
            flow = step if flow is None else flow + step
            flow = self._carry(here, flow, carried)
        assert flow is not None
        return self._enlarge(here, flow)

    def _features(self, pictures: torch.Tensor) -> torch.Tensor:
        """[2, 128, H/4, W/4]."""
        state = self._state
        values = torch.relu(_norm(functional.conv2d(pictures, state["backbone.conv1.weight"], None, 2, 3)))
        for layer, stride in ((1, 1), (2, 2), (3, 1)):
            for block in (0, 1):
                name = f"backbone.layer{layer}.{block}"
                by = stride if block == 0 else 1
                made = torch.relu(_norm(functional.conv2d(values, state[f"{name}.conv1.weight"], None, by, 1)))
                made = torch.relu(_norm(functional.conv2d(made, state[f"{name}.conv2.weight"], None, 1, 1)))
                if f"{name}.downsample.0.weight" in state:
                    kernel, bias = (state[f"{name}.downsample.0.{part}"] for part in ("weight", "bias"))
                    values = _norm(functional.conv2d(values, kernel, bias, by))
                values = torch.relu(values + made)
        return functional.conv2d(values, state["backbone.conv2.weight"], state["backbone.conv2.bias"])

    def _talk(self, here: torch.Tensor, there: torch.Tensor, windows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Both pictures' features after the transformer; every second layer moves its windows by half of one."""
        both = torch.cat([here, there]).permute(0, 2, 3, 1)
        for layer in range(LAYERS):
            moved = layer % 2 == 1
            name = f"transformer.layers.{layer}"
            other = both.flip(0)
            both = both + self._attend(f"{name}.self_attn", both, both, windows, moved)
            both = both + self._attend(f"{name}.cross_attn_ffn", both, other, windows, moved)
        found = both.permute(0, 3, 1, 2)
        return found[:1], found[1:]

    def _attend(self, name: str, values: torch.Tensor, asked: torch.Tensor, windows: int, moved: bool) -> torch.Tensor:
        """[B, H, W, C]: what `values` learns from `asked` in the same window."""
        state = self._state
        query = functional.linear(values, state[f"{name}.q_proj.weight"])
        key, value = (functional.linear(asked, state[f"{name}.{part}_proj.weight"]) for part in ("k", "v"))
        told = _windowed(query, key, value, windows, moved)
        told = functional.linear(told, state[f"{name}.merge.weight"])
        told = functional.layer_norm(told, (CHANNELS,), state[f"{name}.norm1.weight"], state[f"{name}.norm1.bias"])
        if f"{name}.mlp.0.weight" in state:
            told = functional.linear(torch.cat([values, told], dim=-1), state[f"{name}.mlp.0.weight"])
            told = functional.linear(functional.gelu(told), state[f"{name}.mlp.2.weight"])
            told = functional.layer_norm(told, (CHANNELS,), state[f"{name}.norm2.weight"], state[f"{name}.norm2.bias"])
        return told

    def _carry(self, features: torch.Tensor, flow: torch.Tensor, radius: int | None) -> torch.Tensor:
        """Flow averaged over pixels that look alike.

        Over the whole picture the keys are projections of the queries, as it was trained; near by, of the features.
        """
        height, width = features.shape[2:]
        tokens = features.flatten(2).transpose(1, 2)
        query = functional.linear(tokens, *self._projection("q"))
        key = functional.linear(query if radius is None else tokens, *self._projection("k"))
        if radius is None:
            told = functional.scaled_dot_product_attention(query, key, flow.flatten(2).transpose(1, 2))
            return told.transpose(1, 2).reshape(1, 2, height, width)
        size, count = 2 * radius + 1, (2 * radius + 1) ** 2
        keys = key.transpose(1, 2).reshape(1, CHANNELS, height, width)
        near = functional.unfold(keys, size, padding=radius).reshape(CHANNELS, count, height * width)
        flows = functional.unfold(flow, size, padding=radius).reshape(2, count, height * width)
        alike = torch.einsum("pc,ckp->kp", query[0], near) / math.sqrt(CHANNELS)
        return (flows * alike.softmax(dim=0)).sum(dim=1).reshape(1, 2, height, width)

    def _projection(self, which: str) -> tuple[torch.Tensor, torch.Tensor]:
        name = f"feature_flow_attn.{which}_proj"
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]

    def _enlarge(self, features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        """Each pixel's flow is a weighted mean of the nine around it at a quarter of the size."""
        state, (height, width) = self._state, flow.shape[2:]
        values = torch.cat([flow, features], dim=1)
        values = torch.relu(functional.conv2d(values, state["upsampler.0.weight"], state["upsampler.0.bias"], 1, 1))
        weights = functional.conv2d(values, state["upsampler.2.weight"], state["upsampler.2.bias"])
        weights = weights.reshape(1, 9, FINEST, FINEST, height, width).softmax(dim=1)
        around = functional.unfold(FINEST * flow, 3, padding=1).reshape(2, 9, height, width)
        made = torch.einsum("kijhw,ckhw->chiwj", weights[0], around)
        return made.reshape(1, 2, FINEST * height, FINEST * width)


def _norm(values: torch.Tensor) -> torch.Tensor:
    return functional.instance_norm(values)


def _grid(like: torch.Tensor) -> torch.Tensor:
    """[1, 2, H, W] x and y of each feature."""
    height, width = like.shape[2:]
    rows, columns = (torch.arange(side, dtype=like.dtype, device=like.device) for side in (height, width))
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


def _sample(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Values [1, C, H, W] at places [1, 2, h, w], 0 outside."""
    height, width = values.shape[2:]
    scale = torch.tensor([2 / (width - 1), 2 / (height - 1)], dtype=values.dtype, device=values.device)
    grid = places.permute(0, 2, 3, 1) * scale - 1
    return functional.grid_sample(values, grid, padding_mode="zeros", align_corners=True)


def _positions(height: int, width: int, device: torch.device) -> torch.Tensor:
    """[1, 128, height, width]: sines and cosines of y, then of x, each over one turn of a window."""
    half = CHANNELS // 2
    periods = 10000 ** (2 * (torch.arange(half, device=device) // 2) / half)

    def told(side: int) -> torch.Tensor:
        angles = torch.arange(1, side + 1, device=device) / (side + 1e-6) * 2 * math.pi
        angles = angles[:, None] / periods
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1).T  # [64, side]

    rows, columns = told(height)[:, :, None], told(width)[:, None]
    return torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])[None]


def _windowed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, windows: int, moved: bool) -> torch.Tensor:
    """Attention [B, H, W, C] among the features of one window, of which there are `windows` a side."""
    batch, height, width, _ = query.shape
    rows, columns = height // windows, width // windows
    move = (rows // 2, columns // 2)

    def split(values: torch.Tensor) -> torch.Tensor:
        if moved:
            values = values.roll((-move[0], -move[1]), (1, 2))
        values = values.reshape(batch, windows, rows, windows, columns, -1).transpose(2, 3)
        return values.reshape(batch, windows * windows, rows * columns, -1)

    mask = _parts(windows, rows, columns, move, query.device) if moved else None
    told = functional.scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=mask)
    told = told.reshape(batch, windows, windows, rows, columns, -1).transpose(2, 3).reshape(batch, height, width, -1)
    return told.roll(move, (1, 2)) if moved else told


def _parts(windows: int, rows: int, columns: int, move: tuple[int, int], device: torch.device) -> torch.Tensor:
    """[windows², L, L] to add to similarities: moved windows hold pieces of opposite borders, which stay apart."""

    def piece(side: int, by: int) -> torch.Tensor:
        place = torch.arange(windows * side, device=device)
        return (place >= (windows - 1) * side).long() + (place >= windows * side - by).long()

    pieces = 3 * piece(rows, move[0])[:, None] + piece(columns, move[1])[None]
    pieces = pieces.reshape(windows, rows, windows, columns).transpose(1, 2).reshape(windows * windows, -1)
    return torch.where(pieces[:, None] == pieces[:, :, None], 0.0, -100.0)


def _match_all(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """[1, 2, H, W] from each feature to the mean place of those of the other picture that are like it."""
    grid = _grid(here)
    query, key, places = (values.flatten(2).transpose(1, 2) for values in (here, there, grid))
    found = functional.scaled_dot_product_attention(query, key, places)
    return found.transpose(1, 2).reshape_as(grid) - grid


def _match_near(here: torch.Tensor, there: torch.Tensor, radius: int) -> torch.Tensor:
    """The same among features at most `radius` away in x and y."""
    height, width = here.shape[2:]
    size = 2 * radius + 1
    near = functional.unfold(there, size, padding=radius).reshape(CHANNELS, size * size, height, width)
    alike = torch.einsum("chw,ckhw->khw", here[0], near) / math.sqrt(CHANNELS)
    inside = functional.unfold(torch.ones_like(there[:, :1]), size, padding=radius).reshape(-1, height, width) > 0
    shares = alike.masked_fill(~inside, -1e9).softmax(dim=0)
    steps = torch.arange(-radius, radius + 1, dtype=here.dtype, device=here.device)
    y, x = (axis.reshape(-1) for axis in torch.meshgrid(steps, steps, indexing="ij"))
    return torch.einsum("khw,kc->chw", shares, torch.stack([x, y], dim=1))[None]


def _shapes() -> dict[str, tuple[int, ...]]:
    """Every weight of the network."""
    found: dict[str, tuple[int, ...]] = {"backbone.conv1.weight": (64, 3, 7, 7)}
    before = 64
    for layer, width in ((1, 64), (2, 96), (3, 128)):
        for block in (0, 1):
            name = f"backbone.layer{layer}.{block}"
            found[f"{name}.conv1.weight"] = (width, before if block == 0 else width, 3, 3)
            found[f"{name}.conv2.weight"] = (width, width, 3, 3)
            if block == 0 and before != width:
                found |= {f"{name}.downsample.0.weight": (width, before, 1, 1), f"{name}.downsample.0.bias": (width,)}
        before = width
    square = (CHANNELS, CHANNELS)
    found |= {"backbone.conv2.weight": (*square, 1, 1), "backbone.conv2.bias": (CHANNELS,)}
    found["backbone.trident_conv.weight"] = (*square, 3, 3)
    for layer in range(LAYERS):
        for part in ("self_attn", "cross_attn_ffn"):
            name = f"transformer.layers.{layer}.{part}"
            found |= {f"{name}.{which}.weight": square for which in ("q_proj", "k_proj", "v_proj", "merge")}
            found |= {f"{name}.norm1.{which}": (CHANNELS,) for which in ("weight", "bias")}
            if part == "cross_attn_ffn":
                found[f"{name}.mlp.0.weight"] = (8 * CHANNELS, 2 * CHANNELS)
                found[f"{name}.mlp.2.weight"] = (CHANNELS, 8 * CHANNELS)
                found |= {f"{name}.norm2.{which}": (CHANNELS,) for which in ("weight", "bias")}
    for which in ("q", "k"):
        found |= {f"feature_flow_attn.{which}_proj.weight": square, f"feature_flow_attn.{which}_proj.bias": (CHANNELS,)}
    found |= {"upsampler.0.weight": (256, 2 + CHANNELS, 3, 3), "upsampler.0.bias": (256,)}
    return found | {"upsampler.2.weight": (9 * FINEST**2, 256, 1, 1), "upsampler.2.bias": (9 * FINEST**2,)}
