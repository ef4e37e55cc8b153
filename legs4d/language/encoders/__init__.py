"""Encoders by name. Adding one is one file here and one line in `ENCODERS`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Literal, overload

from typing_extensions import TypeIs

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError
from legs4d.gaussians.store.run import Run
from legs4d.language.embedding.features import CropEncoder, Encoder, RunEncoder
from legs4d.language.embedding.grids import grids_folder
from legs4d.scene.sequence import Sequence

ENCODERS = {
    "captions": "legs4d.language.encoders.captions:CaptionEncoder",
    "actions": "legs4d.language.encoders.actions.encoder:ActionEncoder",
    "tiny": "legs4d.language.encoders.tiny.encoder:TinyEncoder",
    "viclip": "legs4d.language.encoders.viclip:ViclipEncoder",
    "openclip": "legs4d.language.encoders.openclip:OpenClipEncoder",
}
"""Name → where its class is; imported when asked for, as some encoders import torch."""

PACKAGED = ("captions", "tiny")
"""Encoders whose weights come with a package."""

AUTO = "auto"
"""`captions` where there are captions, else `actions` where there are object masks, else `tiny`; see
`choose_encoder`."""


@overload
def get_encoder(name: Literal["captions", "actions"], files: EncoderFiles | None = None) -> Encoder: ...


@overload
def get_encoder(name: str, files: EncoderFiles | None = None) -> Encoder | CropEncoder: ...


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
    name = run.info["encoder"]
    return of_run(get_encoder(name, EncoderFiles(text=text_folder(run.path, name))), run)


def of_run(encoder: Encoder | CropEncoder, run: Run) -> Encoder | CropEncoder:
    """The encoder itself, or, of one that reads runs, that of this run."""
    return encoder.of_run(run) if isinstance(encoder, RunEncoder) else encoder


def text_folder(run_folder: Path, encoder: str) -> Path:
    """In a run: what an encoder needs to embed phrases, where that is more than the package holds."""
    return grids_folder(run_folder, encoder) / "text"


def choose_encoder(name: str, sequence: Sequence) -> str:
    """The name itself; for "auto", `captions` if the footage has captions, else `actions` if it has object masks and
    time in which to move, else `tiny`, which needs nothing."""
    if name != AUTO:
        return name
    if sequence.captions:
        return "captions"
    return "actions" if sequence.num_frames > 1 and sequence.objects("train", 0, []) is not None else "tiny"


def sees(encoder: Encoder | CropEncoder) -> TypeIs[CropEncoder]:
    """Whether it sees pictures, so that `language.extract` has to go before the lift."""
    return hasattr(encoder, "vision")
