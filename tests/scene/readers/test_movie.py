"""Videos as cameras, phones and editors write them: each picture is the one that players show, in any order."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.movies.movie import Movie
from tests.scene.readers.movies import HEIGHT, WIDTH, ffmpeg, film, film_at, number_of, shown_forwards

H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "8", "-crf", "10"]
OPEN_GOP = [*H264, "-x264-params", "open-gop=1:scenecut=0:b-pyramid=normal"]
IN_STRIPES = [*H264[:4], "-g", "8", "-x264-params", "intra-refresh=1:bframes=0"]
HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=8:bframes=3:open-gop=1"]
VP9 = ["-c:v", "libvpx-vp9", "-g", "8", "-auto-alt-ref", "1", "-lag-in-frames", "8", "-cpu-used", "8", "-b:v", "1M"]
AV1 = ["-c:v", "libsvtav1", "-preset", "12", "-g", "8", "-svtav1-params", "lp=1"]
MPEG2 = ["-c:v", "mpeg2video", "-g", "8", "-bf", "2", "-q:v", "2"]


def cut(path: Path, *options: object) -> Path:
    """A file cut without encoding it again, the times before `-i` or after it."""
    whole = path.with_name(f"whole{path.suffix}")
    path.rename(whole)
    ffmpeg(*(whole if option == "IN" else option for option in options), "-c", "copy", path)
    return path


WAYS = {
    "h264.mp4": lambda p: film(p, H264),
    "cut at its beginning.mp4": lambda p: cut(film(p, H264), "-ss", "0.4", "-i", "IN"),
    "cut at both ends.MOV": lambda p: cut(film(p, OPEN_GOP), "-ss", "0.4", "-t", "0.3", "-i", "IN"),
    "cut at its end.mkv": lambda p: cut(film(p, H264), "-i", "IN", "-t", "0.5"),
    "transport.ts": lambda p: film(p, H264),
    "open.MTS": lambda p: film(p, [*OPEN_GOP, "-f", "mpegts"]),
    "open, cut.ts": lambda p: cut(film(p, OPEN_GOP), "-ss", "0.4", "-i", "IN"),
    "stripes.ts": lambda p: film(p, IN_STRIPES),
    "hevc.mp4": lambda p: film(p, HEVC),
    "vp9.webm": lambda p: film(p, VP9),
    "av1.mkv": lambda p: film(p, AV1),
    "without times.avi": lambda p: film(p, H264),
    "stills.avi": lambda p: film(p, ["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"]),
    "prores.mov": lambda p: film(p, ["-c:v", "prores_ks"]),
    "ten bits.mp4": lambda p: film(p, [*H264, "-pix_fmt", "yuv420p10le"]),
    "program.mpg": lambda p: film(p, MPEG2),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_picture_is_what_decoding_forwards_shows(tmp_path: Path, name: str) -> None:
    path = WAYS[name](tmp_path / name)
    truth = shown_forwards(path)
    movie = Movie(path)
    assert movie.num_frames == len(truth) >= 8 and movie.fps == pytest.approx(30, rel=0.01)
    frames = list(range(movie.num_frames))
    for frame in [*frames, *random.Random(0).sample(frames, 8), *frames[::-1]]:
        assert number_of(movie.read(frame)) == truth[frame], frame
    assert number_of(Movie(path).read(5)) == truth[5]


def test_a_recording_that_begins_between_key_pictures(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.ts", H264).read_bytes()
    path = tmp_path / "x.ts"
    path.write_bytes(whole[len(whole) // 188 // 4 * 188 :])
    truth, movie = shown_forwards(path), Movie(path)
    assert truth[0] > 0 and movie.num_frames == len(truth)
    assert [number_of(movie.read(frame)) for frame in reversed(range(len(truth)))] == truth[::-1]


def test_seeking_decodes_no_more_than_from_the_key_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".mp4", ".ts", ".mkv"):
        movie = Movie(film(tmp_path / f"x{suffix}", H264, count=60))
        opened: list[int] = []
        monkeypatch.setattr(movie, "_open", partial(opened.append, 1))
        assert [number_of(movie.read(frame)) for frame in (50, 20, 59, 41)] == [50, 20, 59, 41]
        assert not opened, "read from the beginning"


# -- how pictures are shown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [[], ["-display_hflip"], ["-display_vflip"]])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_pictures_are_turned_and_mirrored_as_players_do(tmp_path: Path, angle: int, mirror: list[str]) -> None:
    film(tmp_path / "stored.mp4", H264, count=9)
    path = tmp_path / "x.mp4"
    ffmpeg("-display_rotation", angle, *mirror, "-i", tmp_path / "stored.mp4", "-c", "copy", path)
    movie = Movie(path)
    assert (movie.width, movie.height) == ((HEIGHT, WIDTH) if angle % 180 else (WIDTH, HEIGHT))
    raw = ffmpeg("-i", path, "-vf", "scale=flags=bilinear", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    truth = np.frombuffer(raw, np.uint8).reshape(-1, movie.height, movie.width, 3)
    assert len(truth) == movie.num_frames == 9
    for frame in (8, 3):
        assert np.abs(movie.read(frame).astype(int) - truth[frame]).mean() < 3


def test_pixels_that_are_not_square_can_be_made_so(tmp_path: Path) -> None:
    movie = Movie(film(tmp_path / "x.mp4", [*H264, "-vf", "setsar=4/3"], count=3))
    assert (movie.width, movie.height, movie.shown_width, movie.shown_height) == (WIDTH, HEIGHT, 85, HEIGHT)
    assert movie.read(2).shape == (HEIGHT, WIDTH, 3) and movie.read(2, square=True).shape == (HEIGHT, 85, 3)
    narrow = Movie(film(tmp_path / "y.mp4", [*H264, "-vf", "setsar=1/2"], count=3))
    assert (narrow.shown_width, narrow.shown_height) == (WIDTH, 2 * HEIGHT)


# -- colours -----------------------------------------------------------------------------------------------------------

WEIGHTS = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}
"""Of red and blue in luma (ITU-R BT.709, BT.601, BT.2020)."""
NUMBERS = {"bt709": 1, "smpte170m": 6, "bt2020nc": 9}
"""In ITU-T H.273."""


def to_yuv(rgb: NDArray, matrix: str, full: bool, bits: int) -> list[NDArray]:
    """Planes [H, W] of colours [H, W, 3] in 0..255, by the recommendations' formulas."""
    red, blue = WEIGHTS[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))
    top, one = 2**bits - 1, 2 ** (bits - 8)
    if full:
        planes = [luma * top, *(c * top + 128 * one for c in chroma)]
    else:
        planes = [(16 + 219 * luma) * one, *((128 + 224 * c) * one for c in chroma)]
    return [np.clip(np.rint(plane), 0, top).astype(np.uint16 if bits > 8 else np.uint8) for plane in planes]


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_colours_are_those_that_the_file_tells(tmp_path: Path, matrix: str, full: bool, bits: int) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    colors[0, :8] = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    raw = b"".join(plane.tobytes() for plane in to_yuv(colors.repeat(8, 0).repeat(8, 1), matrix, full, bits))
    layout = "yuv444p10le" if bits == 10 else "yuv444p"
    tags = ["-colorspace", matrix, "-color_range", "pc" if full else "tv"]
    source = ["-f", "rawvideo", "-pix_fmt", layout, "-s", f"{WIDTH}x{HEIGHT}", *tags, "-i", "-"]
    path = tmp_path / "x.mkv"
    ffmpeg(*source, "-c:v", "ffv1", *tags, path, pictures=raw)
    found = Movie(path).read(0)[3::8, 3::8].astype(int)
    assert np.abs(found - colors).max() <= 2 and np.abs(found - colors).mean() < 0.6


def test_where_no_matrix_is_named_its_size_tells_as_players_take_it(tmp_path: Path) -> None:
    colors = np.full((8, 8, 3), (200, 40, 90))
    for (width, height), matrix in (((64, 48), "smpte170m"), ((1280, 720), "bt709")):
        planes = [plane[0, 0] for plane in to_yuv(colors, matrix, False, 8)]
        raw = b"".join(bytes([value]) * (width * height) for value in planes)
        path = tmp_path / f"{matrix}.mkv"
        source = ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{width}x{height}", "-i", "-"]
        ffmpeg(*source, "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", path, pictures=raw)
        assert np.abs(Movie(path).read(0)[9, 9].astype(int) - (200, 40, 90)).max() <= 2, matrix


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        (["-color_trc", "smpte2084"], r"is HDR, PQ .* not read; convert it: ffmpeg"),
        (["-color_trc", "arib-std-b67"], r"is HDR, HLG"),
        (["-colorspace", "ycgco"], r"matrix 8 of ITU-T H\.273"),
    ],
)
def test_colours_that_are_not_read_are_refused(tmp_path: Path, tags: list[str], says: str) -> None:
    setparams = "setparams=" + ":".join(
        f"{name}={value}"
        for name, value in zip(["color_trc" if "trc" in tags[0] else "colorspace"], tags[1:], strict=True)
    )
    film(tmp_path / "x.mp4", [*H264, "-vf", f"format=yuv420p,{setparams}", *tags], count=3)
    with pytest.raises(DatasetError, match=says):
        Movie(tmp_path / "x.mp4")


# -- what is said ------------------------------------------------------------------------------------------------------


def test_a_varying_rate_is_known_and_so_are_pictures_that_are_missing(tmp_path: Path) -> None:
    varying = [0, 0.03, 0.08, 0.18, 0.2, 0.31, 0.33, 0.45, 0.6]
    movie = Movie(film_at(tmp_path / "x.mkv", varying))
    assert not movie.is_steady and movie.fps == pytest.approx(8 / 0.6)
    np.testing.assert_allclose(movie.seconds, varying, atol=0.001)
    assert [number_of(movie.read(frame)) for frame in (8, 0, 4)] == [8, 0, 4]
    gap = Movie(film_at(tmp_path / "y.mp4", [n / 30 for n in range(20) if n not in (7, 8, 15)]))
    assert gap.is_steady and gap.missing == 3 and gap.fps == pytest.approx(30, rel=0.001)
    jitter = np.arange(12) / 30 + np.random.default_rng(0).uniform(-0.01, 0.01, 12).clip(0)
    assert Movie(film_at(tmp_path / "z.mp4", jitter.tolist())).is_steady


def test_interlaced_pictures_are_named(tmp_path: Path) -> None:
    path = film(tmp_path / "x.ts", [*MPEG2, "-flags", "+ildct+ilme", "-vf", "setfield=tff"], count=6)
    assert any("is interlaced" in note for note in Movie(path).notes)
    assert not Movie(film(tmp_path / "y.mp4", H264, count=3)).notes
