"""Many small pictures on one page, with names at rows and columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.effects.video import cannot_write
from legs4d.scene.images import as_bytes

GAP, MARGIN = 4, 10
LABEL_WIDTH, LABEL_HEIGHT = 120, 26
PAPER, INK = (24, 24, 26), (235, 235, 235)
FONT_SIZE = 15


def error_picture(first: NDArray[np.floating], second: NDArray[np.floating], full: float = 0.25) -> NDArray[np.float32]:
    """Mean absolute difference of two pictures [..., 3] as heat: black none, through red and yellow, white `full`."""
    amount = np.abs(first - second).mean(axis=-1, keepdims=True) / full
    return np.clip(3 * amount - np.arange(3), 0, 1).astype(np.float32)


def contact_sheet(
    path: str | Path, rows: dict[str, list[NDArray[np.floating]]], columns: list[str], title: str = ""
) -> None:
    """Write a page of pictures as a PNG.

    Args:
        rows: label → one picture [H, W, 3] per column, RGB clamped to 0..1, all of one size.
        columns: their labels.

    Raises:
        Legs4dError: the page cannot be written.
        ValueError: a row has another number of pictures than there are columns, or sizes differ.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = _size(rows, columns)
    top = MARGIN + LABEL_HEIGHT * (2 if title else 1)
    left = MARGIN + LABEL_WIDTH
    page = Image.new(
        "RGB",
        (left + len(columns) * (width + GAP) - GAP + MARGIN, top + len(rows) * (height + GAP) - GAP + MARGIN),
        PAPER,
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_SIZE)
    if title:
        draw.text((MARGIN, MARGIN), title, INK, font)
    for x, name in enumerate(columns):
        center = left + x * (width + GAP) + width / 2
        draw.text((center, top - LABEL_HEIGHT / 2), name, INK, font, anchor="mm")
    for y, (name, pictures) in enumerate(rows.items()):
        draw.text((MARGIN, top + y * (height + GAP) + height / 2), name, INK, font, anchor="lm")
        for x, picture in enumerate(pictures):
            page.paste(Image.fromarray(as_bytes(picture)), (left + x * (width + GAP), top + y * (height + GAP)))
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        page.save(target)
    except OSError as error:
        raise cannot_write(target, error) from error


def _size(rows: dict[str, list[NDArray[np.floating]]], columns: list[str]) -> tuple[int, int]:
    """(height, width) of all pictures."""
    for name, pictures in rows.items():
        if len(pictures) != len(columns):
            raise ValueError(f"{name}: {len(pictures)} pictures for {len(columns)} columns")
    sizes = {picture.shape for pictures in rows.values() for picture in pictures}
    if len(sizes) != 1:
        raise ValueError(f"pictures of one size are needed, not {sorted(sizes)}")
    height, width, _ = next(iter(sizes))
    return height, width
