"""The `tiny` encoder, which ships with the package: 8 frames of 64 × 64 pixels, for two cores of a laptop."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError
from legs4d.gaussians.store.files import clear_write_errors
from legs4d.language.calibration import TINY, TINY_THRESHOLD
from legs4d.language.embedding.features import Calibration
from legs4d.language.encoders.tiny import sizes
from legs4d.language.encoders.tiny.reading import Reader
from legs4d.language.encoders.tiny.text_half import TITLE, TextHalf, read_text_half, write_text_half
from legs4d.language.encoders.weights import check_shapes, read_weights, weights_id

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from legs4d.language.encoders.tiny.model import TinyModel

WEIGHTS = Path(__file__).with_name("tiny.safetensors")
"""In half precision."""
TEXT_FILE = "text.safetensors"

CPU_BATCH, CUDA_BATCH = 32, 4096
"""Crops at a time. On a CPU as many as stay in a core's cache: 128 take a third longer each."""


class TinyEncoder:
    """A `CropEncoder` that sees frames one by one, and a `LimitedReader`.

    Embeddings have one number more than the nets': the constant of `TextHalf.constant`, by which relevancy is the
    probability that the nets were trained to tell.

    Args:
        files: where its weights are, if not in the package.
    """

    name = "tiny"
    version = 2
    dim = sizes.DIM + 1
    input_size = sizes.SIDE
    mean, std = sizes.MEAN, sizes.STD

    def __init__(self, files: EncoderFiles) -> None:
        self.files = files

    @classmethod
    def open(cls, variant: str, files: EncoderFiles) -> TinyEncoder:
        """As `get_encoder` calls it. Raises EncoderError when a variant or a download is asked for: there are none."""
        if variant or files.download:
            raise EncoderError(
                "has no variants and downloads nothing: its weights come with the package",
                where=f"encoder {cls.name}",
                fix=f"write {cls.name!r}, without --download",
            )
        return cls(files)

    @property
    def calibration(self) -> Calibration:
        """See `TextEncoder`."""
        return replace(TINY, temperature=TINY.temperature * self.temperature)

    @property
    def temperature(self) -> float:
        """With which relevancy against the empty phrase is the trained probability; see `TextHalf`."""
        return self._half.temperature

    @cached_property
    def weights_id(self) -> str:
        """See `CropEncoder`. Raises EncoderError when there are none."""
        _ = self._half  # says it when they are not there
        return weights_id(self._path)

    def vision(self, device: torch.device) -> TinyVision:
        """See `CropEncoder`.

        Raises:
            EncoderError: the weights are missing, damaged or another model's.
        """
        from legs4d.language.encoders.tiny.model import TinyModel

        half = self._half
        model = TinyModel(half.words.count)
        weights = read_weights(self._path)
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        check_shapes(self._path, weights, expected, TITLE)
        model.load_state_dict(weights)
        return TinyVision(model, half.constant, device)

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, 257] float32 unit vectors; of an empty phrase the threshold, of length `calibration.TINY_THRESHOLD`.

        Raises:
            PromptError: a phrase has no word that it knows, or too many.
            EncoderError: as `vision`.
        """
        out = np.zeros((len(phrases), self.dim), np.float32)
        said = [i for i, phrase in enumerate(phrases) if phrase.strip()]
        out[:, -1] = TINY_THRESHOLD
        if said:
            tokens = self._half.words.encode([self._reader.read(phrases[i]).text for i in said])
            # Products of a few rows are slower on several threads, and many times slower when another program runs.
            with ThreadpoolController().limit(limits=1, user_api="blas"):
                features = self._half.text.features(tokens)
            out[said, :-1] = features / np.linalg.norm(features, axis=1, keepdims=True)
            out[said, -1] = 0
        return out

    def remarks(self, phrase: str) -> list[str]:
        """See `LimitedReader`."""
        return self._reader.read(phrase).remarks

    def save_text(self, folder: Path) -> None:
        """Write the half that reads, 7 MB, so that a run answers by the weights it was made with; see `CropEncoder`."""
        from safetensors.numpy import load_file

        words = self._half.words  # says it when the file is damaged
        with clear_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_text_half(folder / TEXT_FILE, load_file(self._path), words)

    @property
    def _path(self) -> Path:
        return self.files.weights or WEIGHTS

    @cached_property
    def _half(self) -> TextHalf:
        saved = self.files.text / TEXT_FILE if self.files.text is not None else None
        return read_text_half(saved if saved is not None and saved.exists() else self._path)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._half.words)


class TinyVision:
    """A `FrameModel`.

    Args:
        model: with its weights.
        constant: c of `TextHalf`.
        device: half precision on CUDA, float32 elsewhere.
    """

    def __init__(self, model: TinyModel, constant: float, device: torch.device) -> None:
        import torch

        on_gpu = device.type == "cuda"
        self.batch = CUDA_BATCH if on_gpu else CPU_BATCH
        self._constant = constant
        self._dtype = torch.float16 if on_gpu else torch.float32
        self._frame = model.frame.eval().to(device, self._dtype).to(memory_format=torch.channels_last)
        self._window = model.window.eval().to(device, self._dtype)

    def embed_frames(self, frames: Tensor) -> Tensor:
        """See `FrameModel`."""
        import torch

        with torch.inference_mode():
            return self._frame(frames.to(self._dtype, memory_format=torch.channels_last))

    def embed_windows(self, frames: Tensor) -> Tensor:
        """See `FrameModel`."""
        import torch

        with torch.inference_mode():
            seen = self._window(frames.to(self._dtype)).float()
            return torch.nn.functional.pad(math.sqrt(1 - self._constant**2) * seen, (0, 1), value=self._constant)
