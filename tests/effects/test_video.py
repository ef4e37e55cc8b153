"""Videos hold the frames that were written, and appear when they are complete."""

from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation
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


COLORS = np.array(
    [[r, g, b] for r in (0.0, 0.5, 1.0) for g in (0.1, 0.6, 1.0) for b in (0.0, 0.3, 0.9)], np.float32
).reshape(3, 9, 3)


@pytest.mark.parametrize(("name", "off"), [("x.mp4", 2), ("x.mov", 1), ("X.MOV", 1)])
def test_colours_and_what_they_mean_are_in_the_file(tmp_path: Path, name: str, off: int):
    picture = COLORS.repeat(16, axis=0).repeat(16, axis=1)
    with write_video(tmp_path / name, fps=10) as write:
        write(picture)
        write(picture)
    with av.open(tmp_path / name) as movie:
        first = next(movie.decode(video=0))
        assert (first.colorspace, first.color_primaries, first.color_trc) == (Colorspace.ITU709, 1, 1)  # BT.709
        assert first.color_range == ColorRange.MPEG
        assert b"colrncl" in (tmp_path / name).read_bytes(), "containers tell it too"
        exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        shown = first.to_ndarray(format="rgb24", interpolation=exact, dst_color_range=ColorRange.JPEG)
    found = shown[8::16, 8::16].astype(np.float32)
    assert np.abs(found - COLORS * 255).max() <= off + 0.5


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(23.976, "24000/1001"), (29.97, "30000/1001"), (60 / 1.001, "60000/1001"), (12.5, "25/2"), (8, "8")],
)
def test_rates_are_exact(tmp_path: Path, fps: float, rate: str):
    for name in ("x.mp4", "x.mov"):
        with write_video(tmp_path / name, fps) as write:
            for _ in range(5):
                write(plain(0.5))
        with av.open(tmp_path / name) as movie:
            assert movie.streams.video[0].average_rate == Fraction(rate)


def test_pictures_of_several_sizes_are_refused(tmp_path: Path):
    said = "pictures of 64×48 pixels go on with one of 32×48"
    with pytest.raises(Legs4dError, match=said), write_video(tmp_path / "x.mp4", 10) as write:
        write(plain(0.5))
        write(plain(0.5, 48, 32))
    assert not list(tmp_path.iterdir())


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
    for height, width in ((1, 1), (3, 2), (45, 67)):
        for name in ("x.mp4", "x.mov"):
            with write_video(tmp_path / name, 10) as write:
                write(plain(0.5, height, width))
            with av.open(tmp_path / name) as movie:
                (frame,) = movie.decode(video=0)
                assert (frame.width, frame.height) == (width + width % 2, height + height % 2)
                np.testing.assert_allclose(frame.to_ndarray(format="rgb24") / 255, 0.5, atol=0.02)


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


def test_a_name_that_the_disk_refuses_is_told_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    name = f"{'x' * 300}.mp4"
    with pytest.raises(Legs4dError, match="cannot be written"), write_video(tmp_path / name, 10) as write:
        write(plain(0.5))
    assert capfd.readouterr().err == ""


def test_views_tile_in_reading_order():
    views = np.stack([plain(value, 2, 3) for value in (0.1, 0.2, 0.3)])
    picture = grid(views)
    assert picture.shape == (4, 6, 3)
    np.testing.assert_allclose(picture[::2, ::3, 0], [[0.1, 0.2], [0.3, 0.0]])
    assert grid(views[:1]).shape == (2, 3, 3)
