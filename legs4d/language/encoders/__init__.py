"""Encoders by name. Adding one is one file here and one line in `ENCODERS`."""

from __future__ import annotations

from importlib import import_module

from typing_extensions import TypeIs

from legs4d.errors import EncoderError
from legs4d.gaussians.store import Run
from legs4d.language.encoders.weights import EncoderFiles
from legs4d.language.features import CropEncoder, Encoder
from legs4d.scene.sequence import Sequence

ENCODERS = {
    "captions": "legs4d.language.encoders.captions:CaptionEncoder",
    "viclip": "legs4d.language.encoders.viclip:ViclipEncoder",
    "openclip": "legs4d.language.encoders.openclip:OpenClipEncoder",
}
"""Name → where its class is; imported when asked for, as some encoders import torch."""

AUTO = "auto"
"""`captions` where there are captions; see `choose_encoder`."""

TEXT_FOLDER = "text"
"""In a run: what its encoder needs to embed phrases, where that is more than the package holds."""


def get_encoder(name: str, files: EncoderFiles | None = None) -> Encoder | CropEncoder:
    """The encoder of this name.

    Args:
        name: one of `ENCODERS`; "openclip:ViT-B-16" names a variant of one that has several.
        files: where its weights are. They are not read yet.

    Raises:
        EncoderError: no such encoder, or no such variant of it.
    """
    kind, _, variant = name.partition(":")
    if kind not in ENCODERS:
        raise EncoderError(f"there is no encoder {kind!r}", where="encoder", fix=f"choose one of {', '.join(ENCODERS)}")
    module, attribute = ENCODERS[kind].split(":")
    return getattr(import_module(module), attribute).open(variant, files or EncoderFiles())


def encoder_of(run: Run) -> Encoder | CropEncoder:
    """The encoder that a run was lifted with, for embedding phrases.

    Raises:
        EncoderError: it is unknown here, or lacks its weights.
    """
    return get_encoder(run.info["encoder"], EncoderFiles(text=run.path / TEXT_FOLDER))


def choose_encoder(name: str, sequence: Sequence) -> str:
    """The name itself; for "auto", `captions` if the footage has captions.

    Raises:
        EncoderError: "auto" was asked for and there are none.
    """
    if name != AUTO:
        return name
    if sequence.captions:
        return "captions"
    raise EncoderError(
        "there are no captions, so you have to say where language comes from",
        where=str(sequence.root),
        fix="write captions.json there, or give --encoder viclip, or --encoder openclip:MODEL, with --weights FILE",
    )


def sees(encoder: Encoder | CropEncoder) -> TypeIs[CropEncoder]:
    """Whether it sees pictures, so that `language.extract` has to go before the lift."""
    return hasattr(encoder, "vision")


__all__ = ["AUTO", "ENCODERS", "TEXT_FOLDER", "choose_encoder", "encoder_of", "get_encoder", "sees"]
