"""The `captions` encoder: what each object does, told in words, as in 4D LangSplat (Li et al. 2025, section 3.3).

A sentence is embedded twice: as it is, and with "something" for the things that it names. Captions of one scene name
the same few things over and over, under names that a prompt need not use (a ball, a basketball), so that the nearest
caption is often the one that gives its thing the same place in the sentence, whatever happens to it. "Someone carries
the ball" is nearer to "a basketball being caught in the hands" than to "a basketball held in a man's hands"; without
names it is the other way round. What happens at all, however, is told by the names, so these keep the greater share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.context import EncoderFiles
from legs4d.errors import DatasetError, EncoderError
from legs4d.language import minilm
from legs4d.language.calibration import CAPTIONS
from legs4d.language.embedding.features import FeatureMap
from legs4d.language.wording import without_names
from legs4d.scene.sequence import Caption, Sequence

NAMELESS_SHARE = 0.5
"""Weight in the cosine of the sentences without names, to 1 of those with them. With 0, 0.3, 0.4, 0.5, 0.7 and 1,
`scripts/training/calibration/calibrate_captions.py` finds
tIoU + where - missed to be 1.56, 1.58, 1.59, 1.58, 1.56 and 1.51."""


class CaptionEncoder:
    """Rows are sentence embeddings of the captions in force at a frame; pixels point at their object's.

    A pixel whose object has no caption at that frame says nothing; where several captions of one object overlap in
    time, its pixels say their mean.
    """

    name = "captions"
    dim = 2 * minilm.DIM
    version = 2
    calibration = CAPTIONS

    @classmethod
    def open(cls, variant: str, files: EncoderFiles) -> CaptionEncoder:
        """As `get_encoder` calls it. Raises EncoderError when a variant or weights are given: there are none."""
        if variant or files.weights or files.download:
            raise EncoderError(
                "has no variants and takes no weights: they come with the package",
                where=f"encoder {cls.name}",
                fix="leave out --weights and --download",
            )
        return cls()

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, 768] float32 unit vectors: the sentence as it is, and what it says without names, if anything."""
        nameless = [without_names(phrase) for phrase in phrases]
        said = np.array([bool(text) for text in nameless], np.float32)[:, None]
        parts = minilm.embed(phrases), np.sqrt(NAMELESS_SHARE) * said * minilm.embed(nameless)
        return (np.concatenate(parts, axis=1) / np.sqrt(1 + NAMELESS_SHARE * said)).astype(np.float32)

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
