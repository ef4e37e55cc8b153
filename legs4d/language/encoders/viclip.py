"""The `viclip` encoder, the paper's: ViCLIP-L/14 sees 8 frames at once (Wang et al. 2023, InternVid)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError
from legs4d.language.calibration import CLIP
from legs4d.language.embedding.pyramid import WINDOW
from legs4d.language.encoders.clip_text import ClipText, block_shapes, norm_shapes, text_shapes
from legs4d.language.encoders.weights import (
    Published,
    check_shapes,
    find_weights,
    read_weights,
    weights_id,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from legs4d.language.encoders.clip_tokens import ClipTokens
    from legs4d.language.encoders.viclip_vision import ViclipVision

PUBLISHED = Published("ViCLIP-L/14", "OpenGVLab/ViCLIP", "ViClip-InternVid-10M-FLT.pth", "LEGS4D_VICLIP_WEIGHTS")
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training pictures (Radford et al. 2021)."""

TEXT_FILE = "text.safetensors"
WORDS = "token_embedding.weight"


@dataclass(frozen=True)
class ViclipSize:
    """Of a ViCLIP; the defaults are those of the published L/14."""

    input_size: int = 224
    patch: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    dim: int = 768
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    context: int = 32
    vocabulary: int = 49_408

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight, by its published name."""
        patches = (self.input_size // self.patch) ** 2
        vision = {
            "class_embedding": (self.width,),
            "positional_embedding": (patches + 1, self.width),
            "temporal_positional_embedding": (1, WINDOW, self.width),
            "proj": (self.width, self.dim),
            "conv1.weight": (self.width, 3, 1, self.patch, self.patch),
            **norm_shapes("ln_pre", self.width),
            **norm_shapes("ln_post", self.width),
            **block_shapes(self.layers, self.width),
        }
        text = text_shapes(self.vocabulary, self.context, self.text_width, self.text_layers, self.dim)
        return {
            **{f"vision_encoder.{name}": shape for name, shape in vision.items()},
            **{f"text_encoder.{name}": shape for name, shape in text.items()},
            "temp": (),
        }


class ViclipEncoder:
    """A `CropEncoder` that sees clips at once.

    Args:
        files: where its weights are.
        size: of the model.
    """

    name = "viclip"
    version = 1
    calibration = CLIP
    mean, std = CLIP_MEAN, CLIP_STD

    def __init__(self, files: EncoderFiles, size: ViclipSize | None = None) -> None:
        self.files, self._size = files, size or ViclipSize()
        self.dim, self.input_size = self._size.dim, self._size.input_size

    @classmethod
    def open(cls, variant: str, files: EncoderFiles) -> ViclipEncoder:
        """As `get_encoder` calls it. Raises EncoderError when a variant is asked for."""
        if variant:
            raise EncoderError(f"has no variant {variant!r}", where=f"encoder {cls.name}", fix=f"write {cls.name!r}")
        return cls(files)

    @cached_property
    def weights_id(self) -> str:
        """See `CropEncoder`. Raises EncoderError when there are none."""
        return weights_id(self._path)

    def vision(self, device: torch.device) -> ViclipVision:
        """See `CropEncoder`.

        Raises:
            EncoderError: there are no weights, or they are damaged or another model's.
        """
        from legs4d.language.encoders.viclip_vision import ViclipVision

        return ViclipVision(_half(self._weights(), "vision_encoder."), self._size.heads, device)

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, 768] float32 unit vectors.

        Raises:
            PromptError: a phrase is longer than 30 word pieces.
            EncoderError: as `vision`, where no saved text half was given.
        """
        if not phrases:
            return np.zeros((0, self.dim), np.float32)
        # Products of a few rows are slower on several threads, and many times slower when another program runs.
        with ThreadpoolController().limit(limits=1, user_api="blas"):
            features = self._text.features(self._tokens(phrases))
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def save_text(self, folder: Path) -> None:
        """Write the text half (420 MB) and the vocabulary; see `CropEncoder`."""
        from safetensors.torch import save_file

        from legs4d.language.encoders.clip_tokens import MERGES_FILE, merges_file

        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(merges_file(), folder / MERGES_FILE)
        # Half precision only for the 49,408 words: converting the rest would take a query a second.
        text = {
            name: (value.half() if name == WORDS else value.float()).contiguous()
            for name, value in _half(self._weights(), "text_encoder.").items()
        }
        unfinished = folder / f".tmp-{TEXT_FILE}"
        save_file(text, unfinished)
        unfinished.replace(folder / TEXT_FILE)

    @cached_property
    def _path(self) -> Path:
        return find_weights(PUBLISHED, self.files)

    def _weights(self) -> dict[str, Tensor]:
        weights = read_weights(self._path)
        check_shapes(self._path, weights, self._size.shapes(), PUBLISHED.title)
        return weights

    @cached_property
    def _text(self) -> ClipText:
        saved = self.files.text
        if saved is not None and (saved / TEXT_FILE).exists():
            written = (saved / TEXT_FILE).stat().st_mtime_ns
            return ClipText(_read_text(saved / TEXT_FILE, written), self._size.text_heads)
        weights = {name: value.float().numpy() for name, value in _half(self._weights(), "text_encoder.").items()}
        return ClipText(weights, self._size.text_heads)

    @cached_property
    def _tokens(self) -> ClipTokens:
        from legs4d.language.encoders.clip_tokens import MERGES_FILE, clip_tokens, merges_file

        saved = self.files.text / MERGES_FILE if self.files.text is not None else None
        return clip_tokens(saved if saved is not None and saved.exists() else merges_file(), self._size.context)


def _half(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


@lru_cache(maxsize=2)
def _read_text(path: Path, written: int) -> dict[str, NDArray[Any]]:
    """The text half, as it was `written` at that time."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise EncoderError(
            f"cannot be read ({error})", where=str(path), fix="run `legs4d extract` again, which writes it"
        ) from error
