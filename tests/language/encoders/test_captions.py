"""The captions encoder: pixels say what their object does at that frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from legs4d.errors import DatasetError, EncoderError
from legs4d.language import minilm
from legs4d.language.encoders import get_encoder
from legs4d.scene.sequence import Caption

CAPTIONS = {
    0: [Caption(0, 9, "an empty room")],
    1: [Caption(0, 4, "a man sitting"), Caption(5, 9, "a man walking")],
    2: [Caption(0, 9, "a lamp"), Caption(3, 6, "a lamp flickering")],
}


class _Sequence:
    """Two cameras of 1 × 4 pixels, four objects; only what the encoder asks for."""

    root = Path("somewhere")
    captions = CAPTIONS
    pixels = np.array([[[0, 1, 1, 2]], [[3, 2, 1, 0]]], np.uint8)

    def objects(self, split, frame, cameras=None):
        assert split == "train"
        return self.pixels


def sequence(**changes: Any) -> Any:
    made = _Sequence()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def said(frame: int) -> list[list[dict[str, float]]]:
    """Per camera and pixel, caption → weight."""
    texts = {get_encoder("captions").encode_text([text])[0].tobytes(): text for text in TEXTS}
    found = get_encoder("captions").feature_map(sequence(), frame)
    names = [texts[row.tobytes()] for row in found.rows]
    return [
        [
            {names[i]: w for i, w in zip(index, weight, strict=True) if w > 0}
            for index, weight in zip(found.index[c, 0], found.weight[c, 0], strict=True)
        ]
        for c in range(2)
    ]


TEXTS = [caption.text for said in CAPTIONS.values() for caption in said]
ROOM, SITS, WALKS, LAMP, FLICKERS = ({text: 1.0} for text in TEXTS)


def test_captions_hold_from_their_first_to_their_last_frame():
    assert said(4)[0][:3] == [ROOM, SITS, SITS]
    assert said(5)[0][:3] == [ROOM, WALKS, WALKS]


def test_an_object_without_caption_says_nothing():
    assert said(0)[1] == [{}, LAMP, SITS, ROOM]


def test_overlapping_captions_of_one_object_are_mixed_equally():
    assert said(3)[0][3] == {"a lamp": 0.5, "a lamp flickering": 0.5}
    assert said(7)[0][3] == LAMP


def test_cosines_mix_those_with_and_without_names_two_to_one():
    texts = ["a man is holding the ball", "someone carries the ball"]
    nameless = ["something is holding something", "someone carries something"]
    one, other = get_encoder("captions").encode_text(texts)
    (a, b), (c, d) = minilm.embed(texts), minilm.embed(nameless)
    assert one @ other == pytest.approx((2 * a @ b + c @ d) / 3, abs=1e-6)


def test_a_mere_name_is_compared_by_name():
    ball, basketball = get_encoder("captions").encode_text(["the ball", "a basketball"])
    a, b = minilm.embed(["the ball", "a basketball"])
    assert ball @ basketball == pytest.approx(a @ b, abs=1e-6)


def test_rows_are_unit_and_only_those_in_force():
    found = get_encoder("captions").feature_map(sequence(), 0)
    assert found.rows.shape == (3, 768) and found.index.shape == (2, 1, 4, 1) and found.index.dtype == np.int32
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1, atol=1e-6)
    assert set(np.unique(found.index)) == {-1, 0, 1, 2}


@pytest.mark.parametrize("missing", ["captions", "objects"])
def test_a_dataset_without_what_it_needs_is_named(missing):
    without = {"captions": None} if missing == "captions" else {"objects": lambda split, frame: None}
    with pytest.raises(DatasetError, match=r"somewhere: .*(captions|masks).*; write "):
        get_encoder("captions").feature_map(sequence(**without), 0)


def test_unknown_encoder_names_those_that_exist():
    with pytest.raises(EncoderError, match=r"no encoder 'clip'; choose one of captions"):
        get_encoder("clip")
