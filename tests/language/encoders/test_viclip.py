"""ViCLIP: the published model's names, shapes and numbers, its tokens, and weights that are no weights of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError, PromptError
from legs4d.language.encoders import get_encoder
from legs4d.language.encoders.clip_text import ClipText
from legs4d.language.encoders.clip_tokens import clip_tokens, merges_file
from legs4d.language.encoders.viclip import PUBLISHED, ViclipEncoder, ViclipSize
from legs4d.language.encoders.viclip_vision import ViclipVision
from legs4d.language.encoders.weights import read_weights, weights_id

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference"
SMALL = ViclipSize(
    input_size=56, patch=14, width=64, layers=2, heads=2, dim=32, text_width=64, text_layers=2, text_heads=2
)
"""As `viclip_small.npz`, but with CLIP's whole vocabulary, so that phrases can be asked."""
CPU = torch.device("cpu")

needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="the reference is not beside this checkout")


def reference(prefix: str) -> dict[str, torch.Tensor]:
    with np.load(REFERENCE / "viclip_small.npz") as file:
        return {name.removeprefix(prefix): torch.from_numpy(file[name]) for name in file if name.startswith(prefix)}


def small_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in SMALL.shapes().items()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As published: a dict whose entry `model` holds the weights."""
    path = tmp_path_factory.mktemp("weights") / PUBLISHED.file
    torch.save({"model": small_weights(), "epoch": 3}, path)
    return path


def encoder(path: Path, **more: Any) -> ViclipEncoder:
    return ViclipEncoder(EncoderFiles(weights=path), SMALL, **more)


# -- the published model --------------------------------------------------------------------------------------------


@needs_reference
def test_every_key_and_shape_of_the_published_checkpoint():
    published = json.loads((REFERENCE / "viclip_l14_state_dict.json").read_text())
    assert ViclipSize().shapes() == {name: tuple(shape) for name, shape in published.items()}


@needs_reference
def test_numbers_of_the_half_that_sees():
    seen = ViclipVision(reference("vision."), heads=2, device=CPU)
    clip, expected = reference("clip")[""], reference("video_features")[""]
    torch.testing.assert_close(seen.features(clip), expected, atol=2e-6, rtol=1e-5)
    unit = seen.embed_clips(clip)
    torch.testing.assert_close(unit, expected / expected.norm(dim=1, keepdim=True), atol=2e-6, rtol=1e-5)


@needs_reference
def test_numbers_of_the_half_that_reads():
    weights = {name: value.numpy() for name, value in reference("text.").items()}
    found = ClipText(weights, heads=2).features(reference("tokens")[""].numpy())
    np.testing.assert_allclose(found, reference("text_features")[""].numpy(), atol=2e-6, rtol=1e-5)


# -- tokens -----------------------------------------------------------------------------------------------------------

PHRASES = [
    "a basketball flying in the air",
    "Don't   I'll\twe're\n",
    "naïve café “quoted” it’s ﬁne",
    "мяч летит",
    "球在空中飞",
    "🏀 flying 👨‍👩‍👧 🔥",
    "3.14 2024 a_b-c &amp;lt;tag",
    "İstanbul",
    "",
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_tokens_are_those_of_open_clip(phrase: str):
    from open_clip.tokenizer import SimpleTokenizer

    expected = SimpleTokenizer(context_length=32)([phrase]).numpy()
    np.testing.assert_array_equal(clip_tokens(merges_file(), 32)([phrase]), expected)


def test_a_phrase_longer_than_the_model_reads_is_refused_and_the_longest_is_not():
    tokens = clip_tokens(merges_file(), 32)
    assert (tokens(["word " * 30]) > 0).all()
    with pytest.raises(PromptError, match=r"has 31 word pieces, the encoder reads 30; shorten it"):
        tokens(["word " * 31])


# -- phrases ----------------------------------------------------------------------------------------------------------


def test_phrases_in_any_script_are_unit_vectors_and_differ(checkpoint: Path):
    said = encoder(checkpoint).encode_text([p for p in PHRASES if p])
    np.testing.assert_allclose(np.linalg.norm(said, axis=1), 1, atol=1e-6)
    assert (np.unique(said.round(4), axis=0).shape) == said.shape


def test_a_phrase_is_the_same_whatever_stands_beside_it(checkpoint: Path):
    together = encoder(checkpoint).encode_text(["a ball", "a much longer phrase about a ball that flies"])
    np.testing.assert_allclose(encoder(checkpoint).encode_text(["a ball"]), together[:1], atol=1e-6)


def test_a_saved_text_half_answers_without_the_weights(checkpoint: Path, tmp_path: Path):
    encoder(checkpoint).save_text(tmp_path)
    alone = ViclipEncoder(EncoderFiles(text=tmp_path), SMALL)
    np.testing.assert_allclose(alone.encode_text(["a ball"]), encoder(checkpoint).encode_text(["a ball"]), atol=2e-3)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_safetensors_say_the_same(checkpoint: Path, tmp_path: Path):
    save_file(small_weights(), tmp_path / "viclip.safetensors")
    np.testing.assert_array_equal(
        encoder(tmp_path / "viclip.safetensors").encode_text(["a ball"]), encoder(checkpoint).encode_text(["a ball"])
    )


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv(PUBLISHED.variable, raising=False)
    says = rf"{PUBLISHED.file}: the weights of ViCLIP-L/14 are not there; download .* OpenGVLab/ViCLIP .*--weights.*\.$"
    with pytest.raises(EncoderError, match=says):
        get_encoder("viclip").encode_text(["a ball"])


def test_the_environment_names_weights_too(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, tmp_path: Path):
    monkeypatch.setenv(PUBLISHED.variable, str(checkpoint))
    assert ViclipEncoder(EncoderFiles(), SMALL).weights_id == weights_id(checkpoint)
    monkeypatch.setenv(PUBLISHED.variable, str(tmp_path / "gone.pth"))
    with pytest.raises(EncoderError, match=r"LEGS4D_VICLIP_WEIGHTS: there is no file .*gone.pth"):
        _ = ViclipEncoder(EncoderFiles(), SMALL).weights_id


def test_weights_of_another_architecture(checkpoint: Path, tmp_path: Path):
    with pytest.raises(
        EncoderError, match=r"class_embedding' is \(64,\), that of ViCLIP-L/14 \(1024,\).*another model"
    ):
        ViclipEncoder(EncoderFiles(weights=checkpoint)).vision(CPU)
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(EncoderError, match=r"has no 'vision_encoder.class_embedding'.*another model"):
        encoder(tmp_path / "other.pth").vision(CPU)
    deeper = {**small_weights(), "vision_encoder.transformer.resblocks.2.ln_1.weight": torch.zeros(64)}
    torch.save(deeper, tmp_path / "deeper.pth")
    with pytest.raises(EncoderError, match=r"resblocks.2.* which ViCLIP-L/14 has not"):
        encoder(tmp_path / "deeper.pth").vision(CPU)


@pytest.mark.parametrize("kept", [0, 1000, -1000])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file(checkpoint: Path, tmp_path: Path, kept: int, suffix: str):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".safetensors":
        save_file(small_weights(), whole)
    else:
        whole = checkpoint
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(EncoderError, match=r"cannot be read as weights; it may be cut short"):
        encoder(cut).vision(CPU)


class _Payload:
    """What an attacker would put into a checkpoint: unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path: Path, zipped: bool):
    bad, proof = tmp_path / "bad.pth", tmp_path / "was-run"
    torch.save({"model": small_weights(), "args": _Payload(proof)}, bad, _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(bad) == zipped
    with pytest.raises(EncoderError, match=r"holds Python objects or code .* was not opened"):
        read_weights(bad)
    assert not proof.exists()


def test_a_file_that_holds_no_weights(tmp_path: Path):
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(EncoderError, match="holds no weights by name"):
        read_weights(tmp_path / "list.pth")


def test_other_weights_have_another_id(checkpoint: Path, tmp_path: Path):
    torch.save({"model": small_weights(seed=1), "epoch": 3}, tmp_path / "other.pth")
    assert weights_id(tmp_path / "other.pth") != weights_id(checkpoint)


def test_variants_that_do_not_exist():
    with pytest.raises(EncoderError, match=r"encoder viclip: has no variant 'B'"):
        get_encoder("viclip:B")
    with pytest.raises(EncoderError, match=r"encoder captions: has no variants and takes no weights"):
        get_encoder("captions", EncoderFiles(download=True))
