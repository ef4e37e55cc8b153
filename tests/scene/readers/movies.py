"""Small videos of pictures whose number can be read back, written as cameras and editors write them."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 64, 48
BITS = 6
TICK = Fraction(1, 1000)
"""Seconds: what `film_at` rounds to."""


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """[H, W, 3]: grey, with the number's bits as white blocks in a row on top, the lowest first."""
    shown = np.full((height, width, 3), 60, np.uint8)
    for bit in range(BITS):
        shown[4:20, 2 + 10 * bit : 10 + 10 * bit] = 230 if number >> bit & 1 else 10
    return shown


def number_of(shown: NDArray[np.uint8]) -> int:
    """Which `picture` this is."""
    return sum(1 << bit for bit in range(BITS) if shown[8:16, 4 + 10 * bit : 8 + 10 * bit].mean() > 120)


def ffmpeg(*options: object, pictures: bytes | None = None) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *(str(option) for option in options)]
    return subprocess.run(command, input=pictures, capture_output=True, check=True).stdout


def film(path: Path, options: list[str], *, count: int = 24, fps: float = 30, first: int = 0) -> Path:
    """Encode pictures `first` to `first + count - 1`."""
    raw = b"".join(picture(number).tobytes() for number in range(first, first + count))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", fps, "-i", "-"]
    ffmpeg(*source, *options, path, pictures=raw)
    return path


def film_at(path: Path, seconds: list[float]) -> Path:
    """Pictures 0, 1, … shown at these times, as a camera with a varying frame rate stores them."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "6", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = TICK
        for number, second in enumerate(seconds):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.time_base = TICK
            frame.pts = round(second / TICK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown_forwards(path: Path) -> list[int]:
    """The numbers of the pictures that FFmpeg shows, one after another; without what the file discards."""
    raw = ffmpeg(
        "-noautorotate",
        "-i",
        path,
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    )
    return [number_of(each) for each in np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)]
