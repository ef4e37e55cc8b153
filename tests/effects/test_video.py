"""Videos hold the frames that were written, and appear when they are complete."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
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
