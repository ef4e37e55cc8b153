"""From light to crops as the pyramid cuts them: coarse pixels, noise, blur, blocks, resized as in `language.crops`."""

from __future__ import annotations

import torch
from torch import Tensor

from legs4d.language.embedding.pyramid import LARGEST, LEVELS, SMALLEST
from training.synthetic.constants import constant
from training.synthetic.dice import Dice

SIDE = 64
"""Of a crop as the encoder sees it."""
FINEST = 112
"""Pixels along the side of the largest crops that are drawn; larger ones look the same at `SIDE`."""
HEIGHTS = (120, 144, 160, 180, 240, 270, 360)
"""Pixels of pictures that crops are cut from."""
BLOCK = 8


def shares(dice: Dice, count: int) -> Tensor:
    """[B] share of a picture's height that a crop is high: one of the pyramid's levels."""
    levels = torch.linspace(SMALLEST, LARGEST, LEVELS, device=dice.device)
    return levels[dice.integers(count, high=LEVELS)]


def pixels(dice: Dice, share: Tensor) -> Tensor:
    """[B] int64 pixels along a crop's side."""
    heights = constant(HEIGHTS, device=dice.device)[dice.integers(len(share), high=len(HEIGHTS))]
    return (heights * share).long().clamp(max=FINEST)


def develop(dice: Dice, light: Tensor, size: Tensor, window: Tensor) -> Tensor:
    """What a camera makes of light, resized as the pyramid does it: [B, T, 3, 64, 64] uint8.

    Args:
        light: [B, T, 3, S, S], in the precision to work with.
        size: [B] int64, the camera's pixels along a crop.
        window: [B, 4] least and greatest u and v of the picture, as `render.Scene` has them.
    """
    clips, frames, _, side, _ = light.shape
    exposure = dice.log_uniform(clips, 1, 1, 1, 1, low=0.75, high=1.4)
    white = 1 + 0.06 * dice.normal(clips, 1, 3, 1, 1)
    flicker = 1 + 0.012 * dice.normal(clips, frames, 1, 1, 1) * dice.chance(clips, 1, 1, 1, 1, share=0.4)
    gamma = 2.2 * dice.uniform(clips, 1, 1, 1, 1, low=0.9, high=1.2)
    image = (light * (exposure * white * flicker).to(light.dtype)).clamp(0, 1) ** (1 / gamma).to(light.dtype)
    poor = dice.chance(clips, share=0.45)  # taken with a poor camera, the others with a good one
    blur = dice.uniform(clips) ** 2 * torch.where(poor, 1.1, 0.5)  # of the lens, in pixels of the camera
    image = _contrast(dice, _along_both(shrinking(size, side, blur), image))
    image = _compressed(dice, image + _noise(dice, image, poor), poor)
    image = image.masked_fill(_outside(window, size), 0.0).clamp(0, 1)
    image = _along_both(resizing(size), (image * 255).round() / 255)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _outside(window: Tensor, size: Tensor) -> Tensor:
    """[B, 1, 1, FINEST, FINEST] bool: the crop's pixels that are not the picture's."""
    place = (torch.arange(FINEST, device=size.device) + 0.5) * 2 / size[:, None] - 1
    low_u, high_u, low_v, high_v = window[:, :, None].unbind(1)
    across, down = (place < low_u) | (place > high_u), (place < low_v) | (place > high_v)
    return (down[:, :, None] | across[:, None, :])[:, None, None]


def _contrast(dice: Dice, image: Tensor) -> Tensor:
    clips = len(image)
    gain = dice.uniform(clips, 1, 1, 1, 1, low=0.82, high=1.1).to(image.dtype)
    lift = dice.uniform(clips, 1, 1, 1, 1, low=-0.03, high=0.12).to(image.dtype)
    color = dice.uniform(clips, 1, 1, 1, 1, low=0.75, high=1.15).to(image.dtype)
    gray = image.mean(2, keepdim=True)
    return ((gray + color * (image - gray)) * gain + lift).clamp(0, 1)


def _noise(dice: Dice, image: Tensor, poor: Tensor) -> Tensor:
    strength = dice.uniform(len(image)) ** 2 * torch.where(poor, 0.05, 0.015)
    return dice.normal(*image.shape).to(image.dtype) * strength.view(-1, 1, 1, 1, 1).to(image.dtype)


def _along_both(matrix: Tensor, image: Tensor) -> Tensor:
    """[B, m, n] applied to both sides of [B, T, 3, n, n]."""
    matrix = matrix[:, None, None].to(image.dtype)
    return matrix @ image @ matrix.transpose(-1, -2)


def shrinking(size: Tensor, side: int, blur: Tensor) -> Tensor:
    """[B, FINEST, side]: `size` [B] means over `side` samples, each a pixel blurred by `blur` pixels; 0 after them."""
    pixel = torch.arange(FINEST, device=size.device)
    sample = (torch.arange(side, device=size.device) + 0.5) / side * size[:, None, None]
    away = (pixel[None, :, None] + 0.5 - sample).abs()
    step = (size / side)[:, None, None]  # a sample's own width, in pixels
    box = ((0.5 + step / 2 - away) / step).clamp(0, 1)
    width = (blur[:, None, None] ** 2 + 0.3**2).sqrt()
    soft = torch.exp(-0.5 * (away / width) ** 2)
    weight = torch.where((blur > 0.35)[:, None, None], soft, box)
    weight = weight * (pixel[None, :, None] < size[:, None, None])
    return weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)


def resizing(size: Tensor) -> Tensor:
    """[B, SIDE, FINEST]: torch's bilinear interpolation from `size` pixels, antialiased where these are more."""
    scale = (size / SIDE)[:, None, None]
    center = (torch.arange(SIDE, device=size.device)[None, :, None] + 0.5) * scale
    pixel = torch.arange(FINEST, device=size.device)[None, None, :] + 0.5
    weight = (1 - (pixel - center).abs() / scale.clamp(min=1)).clamp(min=0)
    last = size[:, None, None]
    weight = weight * (pixel < last)
    return weight / weight.sum(-1, keepdim=True)


def _compressed(dice: Dice, image: Tensor, poor: Tensor) -> Tensor:
    """Most clips in blocks of 8 pixels whose fine waves are rounded away, as JPEG and video codecs do."""
    clips = len(image)
    step = dice.uniform(clips) ** 2 * torch.where(poor, 0.15, 0.03) * dice.chance(clips, share=0.7)
    whole = torch.block_diag(*[_cosines(image.device)] * (FINEST // BLOCK)).to(image.dtype)
    waves = whole @ image @ whole.T
    order = torch.arange(FINEST, device=image.device) % BLOCK
    coarse = 0.15 + (order[:, None] + order[None, :]) / BLOCK
    step = (step[:, None, None] * coarse).clamp(min=1e-3)[:, None, None].to(image.dtype)
    return whole.T @ ((waves / step).round() * step) @ whole


def _cosines(device: torch.device) -> Tensor:
    """[8, 8] the orthonormal discrete cosine transform."""
    index = torch.arange(BLOCK, device=device, dtype=torch.float32)
    waves = torch.cos(torch.pi / BLOCK * (index[None] + 0.5) * index[:, None]) * (2 / BLOCK) ** 0.5
    waves[0] /= 2**0.5
    return waves
