"""Any model of open_clip, from a file of weights: a window says the mean of its frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError, PromptError
from legs4d.language.encoders import get_encoder
from legs4d.language.encoders.openclip import VARIABLE, OpenClipEncoder

open_clip = pytest.importorskip("open_clip")

MODEL = "legs4d-test"
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _model(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("configs") / f"{MODEL}.json"
    path.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference(_model: None) -> torch.nn.Module:
    torch.manual_seed(0)
    return open_clip.create_model(MODEL).eval()


@pytest.fixture(scope="module")
def weights(reference: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save({"state_dict": {f"module.{n}": v for n, v in reference.state_dict().items()}, "epoch": 1}, path)
    return path


def encoder(weights: Path) -> OpenClipEncoder:
    return OpenClipEncoder(MODEL, "", EncoderFiles(weights=weights))


def test_size_and_width_are_the_models(weights: Path):
    assert (encoder(weights).dim, encoder(weights).input_size, encoder(weights).name) == (24, 32, f"openclip:{MODEL}")


def test_frames_and_phrases_are_embedded_as_open_clip_does(weights: Path, reference: torch.nn.Module):
    frames = torch.rand(5, 3, 32, 32)
    phrases = ["a ball", "мяч 🏀"]
    with torch.inference_mode():
        seen = reference.encode_image(frames, normalize=True)  # type: ignore[operator]
        read = reference.encode_text(open_clip.get_tokenizer(MODEL)(phrases), normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(encoder(weights).vision(CPU).embed_frames(frames), seen)
    np.testing.assert_allclose(encoder(weights).encode_text(phrases), read.numpy(), atol=1e-6)


def test_a_window_says_the_mean_of_its_frames(weights: Path):
    frames = torch.nn.functional.normalize(torch.rand(2, 8, 24), dim=-1)
    mean = frames.mean(dim=1)
    expected = mean / mean.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(encoder(weights).vision(CPU).embed_windows(frames), expected)


def test_a_saved_text_half_answers_without_the_weights(weights: Path, tmp_path: Path):
    encoder(weights).save_text(tmp_path)
    alone = OpenClipEncoder(MODEL, "", EncoderFiles(text=tmp_path))
    np.testing.assert_array_equal(alone.encode_text(["a ball"]), encoder(weights).encode_text(["a ball"]))


def test_a_prompt_longer_than_the_model_reads(weights: Path):
    with pytest.raises(PromptError, match=r"has 15 word pieces, the encoder reads 14"):
        encoder(weights).encode_text(["ball " * 15])


def test_weights_that_are_not_named_or_not_there():
    with pytest.raises(EncoderError, match=rf"not named; name the file by --weights .*openclip:{MODEL}/TAG"):
        _ = get_encoder(f"openclip:{MODEL}").weights_id  # type: ignore[union-attr]
    with pytest.raises(EncoderError, match=r"--weights: there is no file nowhere.pt"):
        encoder(Path("nowhere.pt")).vision(CPU)
    with pytest.raises(EncoderError, match=r"open_clip knows no weights 'x' of legs4d-test"):
        OpenClipEncoder(MODEL, "x", EncoderFiles(download=True)).vision(CPU)


def test_a_model_that_does_not_exist():
    with pytest.raises(EncoderError, match="open_clip knows no model 'nonsense'"):
        _ = get_encoder("openclip:nonsense").dim


def test_weights_of_another_model(tmp_path: Path, weights: Path):
    torch.save({"visual.proj": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(EncoderError, match=r"another model's weights; give those of legs4d-test"):
        encoder(tmp_path / "other.pt").vision(CPU)
