"""The `captions` encoder: what each object does, told in words, as in 4D LangSplat (Li et al. 2025, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.language import minilm
from legs4d.language.calibration import MINILM
from legs4d.language.features import FeatureMap
from legs4d.scene.sequence import Caption, Sequence


class CaptionEncoder:
    """Rows are sentence embeddings of the captions in force at a frame; pixels point at their object's.

    A pixel whose object has no caption at that frame says nothing; where several captions of one object overlap in
    time, its pixels say their mean.
    """

    name = "captions"
    dim = minilm.DIM
    calibration = MINILM

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, 384] float32 unit vectors."""
        return minilm.embed(phrases)

    def feature_map(self, sequence: Sequence, frame: int) -> FeatureMap:
        """Features of the training views at `frame`: R = captions in force, K = most captions of one object.

        Raises:
            DatasetError: the dataset has no captions or no object masks.
        """
        captions = _captions_of(sequence)
        objects = sequence.objects("train", frame)
        if objects is None:
            raise DatasetError(
                "there are no object masks, which the encoder `captions` needs",
                where=str(sequence.root),
                fix="write objects/<camera>/<frame>.png, or choose another encoder",
            )
        spoken = captions_at(captions, frame)
        texts = list(dict.fromkeys(text for texts in spoken.values() for text in texts))
        index, weight = _look_up_table(spoken, texts)
        return FeatureMap(self.encode_text(texts), index[objects], weight[objects])

    def sample_rows(self, sequence: Sequence) -> list[NDArray[np.float32]]:
        """All captions of the sequence, each once however long it holds: the shortest event is to be told apart too.

        Raises:
            DatasetError: the dataset has no captions.
        """
        texts = {caption.text for said in _captions_of(sequence).values() for caption in said}
        return [self.encode_text(sorted(texts))]


def _captions_of(sequence: Sequence) -> dict[int, list[Caption]]:
    if not sequence.captions:
        raise DatasetError(
            "there are no captions, which the encoder `captions` needs",
            where=str(sequence.root),
            fix="write captions.json, or choose another encoder",
        )
    return sequence.captions


def captions_at(captions: dict[int, list[Caption]], frame: int) -> dict[int, list[str]]:
    """What is said of each object at `frame`; objects of which nothing is said are left out."""
    spoken = {
        identity: [caption.text for caption in said if caption.start <= frame <= caption.end]
        for identity, said in captions.items()
    }
    return {identity: texts for identity, texts in spoken.items() if texts}


def _look_up_table(spoken: dict[int, list[str]], texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Per object id 0..255: rows of its captions [256, K] (-1 where unused), and their weights [256, K]."""
    most = max((len(said) for said in spoken.values()), default=1)
    index = np.full((256, most), -1, np.int32)
    weight = np.zeros((256, most), np.float32)
    for identity, said in spoken.items():
        index[identity, : len(said)] = [texts.index(text) for text in said]
        weight[identity, : len(said)] = 1 / len(said)
    return index, weight
