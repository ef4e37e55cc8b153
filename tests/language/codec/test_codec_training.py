"""The codec that settings ask for; training the paper's autoencoder, and what its checkpoints may not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.config import AutoencoderSettings, CodecSettings
from legs4d.errors import EncoderError
from legs4d.language.codec.autoencoder import AutoencoderCodec
from legs4d.language.codec.linear import LinearCodec, codec_from_arrays
from legs4d.language.codec.training import make_codec, train_autoencoder
from legs4d.progress import Stopped

RNG = np.random.default_rng(8)
PUBLISHED = Path(__file__).resolve().parents[4] / "shared/reference/legacy_4legs/ae/best_ckpt.pth"


def unit_rows(count: int, dim: int) -> np.ndarray:
    rows = RNG.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_linear_codec_has_the_dimension_that_is_asked_for():
    rows = unit_rows(300, 40)
    codec = make_codec(CodecSettings(dim=7), [rows[:100], rows[100:]])
    assert isinstance(codec, LinearCodec) and codec.code_dim == 7


def test_a_trained_autoencoder_gives_directions_back_through_fewer_numbers():
    rows = unit_rows(20, 24)
    settings = AutoencoderSettings(hidden=(48,), min_steps=100, epochs=1, rate=1e-2, batch=20)
    codec = train_autoencoder(rows, 12, settings)
    assert (codec.feature_dim, codec.code_dim) == (24, 12)
    assert (codec.decode(codec.encode(rows)) * rows).sum(axis=1).mean() > 0.9


def test_training_again_gives_the_same_bits():
    rows, settings = unit_rows(20, 24), AutoencoderSettings(hidden=(8,), min_steps=5, epochs=1)
    first, again = (train_autoencoder(rows, 12, settings) for _ in range(2))
    np.testing.assert_array_equal(first.encode(rows), again.encode(rows))


def test_a_single_row_can_be_trained_on():
    codec = train_autoencoder(unit_rows(1, 6), 2, AutoencoderSettings(hidden=(4,), min_steps=3, epochs=1))
    assert np.isfinite(codec.decode(codec.encode(unit_rows(3, 6)))).all()


def test_training_can_be_stopped():
    def stop(step: int, total: int) -> None:
        if step == 3:
            raise Stopped("codec")

    settings = CodecSettings(name="autoencoder", dim=4)
    with pytest.raises(Stopped):
        make_codec(settings, [unit_rows(9, 8)], check=stop)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the reference files are not beside this checkout")
def test_a_published_checkpoint_is_read_in_place_of_training():
    rows = unit_rows(5, 768)
    codec = make_codec(CodecSettings(name="autoencoder", weights=str(PUBLISHED)), [rows])
    assert isinstance(codec, AutoencoderCodec) and codec.code_dim == 128
    again = codec_from_arrays(*codec.to_arrays())
    np.testing.assert_array_equal(again.encode(rows), codec.encode(rows))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the reference files are not beside this checkout")
@pytest.mark.parametrize(
    ("width", "dim", "words"),
    [
        (384, None, r"features of 768 numbers, here they have 384"),
        (768, 64, r"codes of 128 numbers, here they have 64"),
    ],
)
def test_a_checkpoint_of_other_widths_is_refused(width: int, dim: int | None, words: str):
    settings = CodecSettings(name="autoencoder", weights=str(PUBLISHED), dim=dim)
    with pytest.raises(EncoderError, match=words):
        make_codec(settings, [unit_rows(5, width)])


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_foreign_truncated_and_poisoned_checkpoints_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(3)}, "foreign.pth")
    bent = {f"{half}.0.weight": torch.zeros(3, 3) for half in ("encoder", "decoder")}
    torch.save(bent | {f"{half}.0.bias": torch.zeros(2) for half in ("encoder", "decoder")}, "bent.pth")
    torch.save({"a": torch.zeros(1000)}, "whole.pth")
    Path("truncated.pth").write_bytes(Path("whole.pth").read_bytes()[:500])
    torch.save({"encoder.0.weight": Evil()}, "evil.pth")
    for name in ("foreign", "bent", "truncated", "evil", "missing"):
        with pytest.raises(EncoderError, match=rf"{name}\.pth"):
            make_codec(CodecSettings(name="autoencoder", weights=f"{name}.pth"), [unit_rows(5, 3)])
    assert not Path("executed").exists()


def test_the_linear_codec_takes_no_checkpoint():
    with pytest.raises(EncoderError, match="--codec autoencoder"):
        make_codec(CodecSettings(weights="some.pth"), [unit_rows(5, 3)])
