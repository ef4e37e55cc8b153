"""Videos hold the frames that were written, and appear when they are complete."""

from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from PIL import Image

from legs4d.effects.video import grid, write_video
from legs4d.errors import Legs4dError


def plain(value: float, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.float32)


def read_mp4(path: Path) -> tuple[dict, np.ndarray]:
    frames = imageio_ffmpeg.read_frames(str(path))
    meta = next(frames)
    width, height = meta["size"]
    return meta, np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in frames])


def test_an_mp4_has_its_frames_size_and_rate(tmp_path: Path):
    values = [0.1, 0.5, 0.9, 0.3]
    with write_video(tmp_path / "out" / "x.mp4", fps=12.5) as write:
        for value in values:
            write(plain(value))
    meta, frames = read_mp4(tmp_path / "out" / "x.mp4")
    assert meta["codec"] == "h264" and meta["fps"] == 12.5 and frames.shape == (4, 48, 64, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)) / 255, values, atol=0.02)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x.mp4"]


def test_a_mov_is_prores_with_ten_bits(tmp_path: Path):
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], (32, 1, 3))
    with write_video(tmp_path / "x.mov", fps=24) as write:
        write(ramp)
        write(ramp)
    with av.open(tmp_path / "x.mov") as movie:
        stream = movie.streams.video[0]
        assert stream.codec_context.name == "prores" and stream.average_rate == 24
        assert stream.codec_context.pix_fmt == "yuv422p10le"
        frames = [frame.to_ndarray(format="rgb48le") for frame in movie.decode(stream)]
    assert len(frames) == 2
    np.testing.assert_allclose(frames[0][16, :, 1] / 65535, ramp[16, :, 1], atol=0.01)


def test_colours_survive_h264(tmp_path: Path):
    colors = np.array([[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.9], [0.9, 0.8, 0.1]], np.float32)
    picture = np.repeat(np.repeat(colors[None], 32, axis=0), 32, axis=1)
    with write_video(tmp_path / "x.mp4", fps=10) as write:
        write(picture)
    with av.open(tmp_path / "x.mp4") as movie:  # which heeds the colour space that the file names
        frame = next(movie.decode(video=0))
        assert frame.colorspace == Colorspace.ITU709
        (shown,) = frame.to_ndarray(format="rgb24")[None] / 255
    for i, color in enumerate(colors):
        np.testing.assert_allclose(shown[16, 32 * i + 16], color, atol=0.03)


def test_grey_frames(tmp_path: Path):
    ramp = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    for name, deep in (("plain", False), ("deep", True)):
        with write_video(tmp_path / name, 10, deep=deep) as write:
            write(ramp)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "plain/000000.png")), np.rint(ramp * 255))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep/000000.png")), np.rint(ramp * 65535))
    with write_video(tmp_path / "x.mp4", 10) as write:
        write(ramp)
    np.testing.assert_allclose(read_mp4(tmp_path / "x.mp4")[1][0, ..., 1] / 255, ramp, atol=0.03)


def test_odd_sizes_are_made_even(tmp_path: Path):
    with write_video(tmp_path / "odd.mp4", 10) as write:
        write(plain(0.5, 45, 67))
    assert read_mp4(tmp_path / "odd.mp4")[0]["size"] == (68, 46)


def test_a_folder_gets_numbered_pictures_exactly(tmp_path: Path):
    with write_video(tmp_path / "frames", 10) as write:
        write(plain(0.0))
        write(np.linspace(-0.5, 1.5, 6 * 8 * 3, dtype=np.float32).reshape(6, 8, 3))
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == ["000000.png", "000001.png"]
    expected = np.rint(np.clip(np.linspace(-0.5, 1.5, 6 * 8 * 3), 0, 1) * 255).reshape(6, 8, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frames/000001.png")), expected)


def test_nothing_is_left_when_writing_breaks_off(tmp_path: Path):
    old = tmp_path / "x.mp4"
    old.write_bytes(b"the last one")
    with pytest.raises(KeyboardInterrupt), write_video(old, 10) as write:
        write(plain(0.5))
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"] and old.read_bytes() == b"the last one"


def test_what_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(Legs4dError, match=r"\.gif is no kind of video"), write_video(tmp_path / "x.gif", 10):
        pass
    with pytest.raises(Legs4dError, match="no frames"), write_video(tmp_path / "x.mp4", 10):
        pass
    (tmp_path / "file").write_text("")
    for target in ("file/x.mp4", "file/frames"):
        with pytest.raises(Legs4dError, match="cannot be written"), write_video(tmp_path / target, 10) as write:
            write(plain(0.5))


def test_views_tile_in_reading_order():
    views = np.stack([plain(value, 2, 3) for value in (0.1, 0.2, 0.3)])
    picture = grid(views)
    assert picture.shape == (4, 6, 3)
    np.testing.assert_allclose(picture[::2, ::3, 0], [[0.1, 0.2], [0.3, 0.0]])
    assert grid(views[:1]).shape == (2, 3, 3)
