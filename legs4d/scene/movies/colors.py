"""A decoded picture as players show it: its colours by what the file says of them, turned as the file asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError

BT709, UNSPECIFIED, BT601 = 1, 2, 6
MATRICES = {0: "RGB", 1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
"""Matrices that swscale converts, by their number in ITU-T H.273."""
HDR = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
"""Transfer functions of HDR, likewise: their colours are not those of pictures encoded as sRGB."""
BT2020_PRIMARIES = 9
HD_WIDTH, HD_HEIGHT = 1280, 576
"""From this width on, or above this height, players take BT.709 where a file names no matrix, and below BT.601."""
LIMITED, FULL = 1, 2
TO_SDR = "ffmpeg -i IN -vf zscale=t=linear:npl=100,tonemap=hable,zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p OUT"


@dataclass(frozen=True)
class Turn:
    """How a picture is turned and mirrored: first rows for columns, then either order reversed."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        """[H, W, …], or [W, H, …] when transposed."""
        turned = picture.swapaxes(0, 1) if self.transpose else picture
        turned = turned[::-1] if self.flip_rows else turned
        return np.ascontiguousarray(turned[:, ::-1] if self.flip_columns else turned)


def turn_of(frame: Any, where: str) -> Turn:
    """The display matrix of a decoded frame: what phones write who film upright, and cameras that hang.

    Raises:
        DatasetError: it turns by something else than quarters.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Turn()
    a, b, _, c, d, *_ = (np.frombuffer(bytes(data), np.int32, 9) / 65536).round(3).tolist()
    # A point (x, y) of the stored picture is shown at (a·x + c·y, b·x + d·y), up to a shift.
    if a and d and not (b or c):
        return Turn(False, d < 0, a < 0)
    if b and c and not (a or d):
        return Turn(True, b < 0, c < 0)
    angle = frame.rotation
    raise DatasetError(
        f"is to be shown turned by {angle}°, which is no quarter", where=where, fix="encode it again, as it is shown"
    )


def matrix_of(frame: Any) -> int:
    """The matrix of a decoded frame's colours, by its number in ITU-T H.273; where none is named, as players guess."""
    named = int(frame.colorspace)
    if named != UNSPECIFIED:
        return named
    return BT709 if frame.width >= HD_WIDTH or frame.height > HD_HEIGHT else BT601


def check_colors(frame: Any, where: str) -> None:
    """Raise DatasetError when a decoded frame's colours cannot be taken for those of a picture."""
    if (transfer := int(frame.color_trc)) in HDR:
        raise DatasetError(f"is HDR, {HDR[transfer]}, which is not read", where=where, fix=f"convert it: {TO_SDR}")
    if (matrix := matrix_of(frame)) not in MATRICES:
        raise DatasetError(
            f"has colours by matrix {matrix} of ITU-T H.273, which is not read",
            where=where,
            fix="encode it again, in BT.709",
        )


def to_rgb(frame: Any, width: int, height: int) -> NDArray[np.uint8]:
    """[height, width, 3] full-range RGB of a decoded frame, not turned.

    Args:
        width, height: another size than stored where pixels are not square.
    """
    from av.video.reformatter import Interpolation

    # As exact as eight bits allow: without these flags, whole pictures are off by one or two, to one side.
    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    matrix = matrix_of(frame)
    colors = {} if matrix == 0 or is_rgb(frame) else {"src_colorspace": matrix, "dst_colorspace": matrix}
    full = (
        int(frame.color_range) == FULL or frame.format.name.startswith(("yuvj", "gray", "ya", "mono")) or is_rgb(frame)
    )
    shown = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        interpolation=Interpolation.BILINEAR | exact,
        src_color_range=FULL if full else LIMITED,
        dst_color_range=FULL,
        **colors,
    )
    return np.asarray(shown.to_ndarray())


def is_rgb(frame: Any) -> bool:
    """Whether a frame's channels are red, green and blue, or a palette of them."""
    return bool(frame.format.is_rgb or frame.format.has_palette)
