"""Encoders by name. Adding one is one file here and one line in `ENCODERS`."""

from __future__ import annotations

from importlib import import_module

from legs4d.errors import EncoderError
from legs4d.language.features import Encoder

ENCODERS = {"captions": "legs4d.language.encoders.captions:CaptionEncoder"}
"""Name → where its class is; imported when asked for, as some encoders import torch."""


def get_encoder(name: str) -> Encoder:
    """The encoder of this name.

    Raises:
        EncoderError: no such encoder.
    """
    if name not in ENCODERS:
        raise EncoderError(f"there is no encoder {name!r}", where="encoder", fix=f"choose one of {', '.join(ENCODERS)}")
    module, attribute = ENCODERS[name].split(":")
    return getattr(import_module(module), attribute)()
