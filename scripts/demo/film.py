"""The demo's film: rendered frames over a strip that shows which prompt holds when."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from legs4d.effects.video import write_video

ENLARGE = 2
ROW, MARGIN, TEXT_SHARE = 26, 12, 0.44
PAPER, INK, GREY = (22, 24, 28), (236, 236, 236), (74, 78, 86)
FPS, ROUNDS = 8, 2
"""Slower than filmed, and twice: two seconds are over before one has looked."""


def write_film(frames: list[Path], intervals: Path, colors: Path, out: Path) -> None:
    """Writes the .mp4.

    Args:
        frames: the pictures, in order.
        intervals: the extension's JSON export over the same frames.
        colors: JSON of the colour of each prompt in the pictures, sRGB in bytes.
    """
    layers = json.loads(intervals.read_text())["layers"]
    shades = {prompt: tuple(color) for prompt, color in json.loads(colors.read_text()).items()}
    pictures = [_page(path, number, len(frames), layers, shades) for number, path in enumerate(frames)]
    with write_video(out, FPS) as write:
        for picture in pictures * ROUNDS:
            write(picture)


def _page(
    path: Path, number: int, count: int, layers: list[dict], shades: dict[str, tuple[int, ...]]
) -> NDArray[np.float64]:
    """[H, W, 3] in 0..1: one frame and its strip."""
    photo = Image.open(path).convert("RGB")
    photo = photo.resize((photo.width * ENLARGE, photo.height * ENLARGE), Image.Resampling.BICUBIC)
    page = Image.new("RGB", (photo.width, photo.height + ROW * len(layers) + MARGIN), PAPER)
    page.paste(photo)
    draw = ImageDraw.Draw(page)
    left, right = int(photo.width * TEXT_SHARE), photo.width - MARGIN
    font = ImageFont.load_default(size=15)
    for row, layer in enumerate(layers):
        color = shades[layer["prompt"]]
        y = photo.height + MARGIN // 2 + ROW * row
        holds = any(span["start"] <= number <= span["end"] for span in layer["intervals"])
        draw.text((MARGIN, y + 3), layer["prompt"], font=font, fill=color if holds else INK)
        draw.rectangle((left, y + 10, right, y + 14), fill=GREY)
        for span in layer["intervals"]:
            draw.rectangle(
                (_at(span["start"], count, left, right), y + 6, _at(span["end"] + 1, count, left, right), y + 18),
                fill=color,
            )
    playhead = _at(number + 0.5, count, left, right)
    draw.line((playhead, photo.height + 4, playhead, page.height - 6), fill=INK, width=2)
    return np.asarray(page, dtype=np.float64) / 255


def _at(frame: float, count: int, left: int, right: int) -> float:
    return left + (right - left) * frame / count
