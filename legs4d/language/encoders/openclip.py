"""The `openclip` encoder: any model of open_clip, by its name and a file of weights; a window says its frames' mean.

    --encoder openclip:ViT-B-16 --weights FILE
    --encoder openclip:ViT-B-16/laion2b_s34b_b88k --download

Needs the extra `openclip`. Phrases need torch too, as every model brings a text half of its own.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError, PromptError
from legs4d.language.calibration import CLIP
from legs4d.language.encoders.weights import check_shapes, read_weights, weights_folder, weights_id

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VARIABLE = "LEGS4D_OPENCLIP_WEIGHTS"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
SIGLIP_MEAN = SIGLIP_STD = (0.5, 0.5, 0.5)

TEXT_FILE = "text.safetensors"
CUDA_BATCH, CPU_BATCH = 512, 16
"""Frames at a time."""


class OpenClipEncoder:
    """A `CropEncoder` that sees frames one by one.

    Args:
        model: name in open_clip's list.
        tag: of the published weights to download, or "".
        files: where its weights are.

    Raises:
        EncoderError: open_clip is not installed, or knows no such model.
    """

    version = 1
    calibration = CLIP

    def __init__(self, model: str, tag: str, files: EncoderFiles) -> None:
        self.files = files
        self.name = f"openclip:{model}/{tag}" if tag else f"openclip:{model}"
        self._model, self._tag = model, tag
        siglip = "siglip" in model.lower()
        self.mean, self.std = (SIGLIP_MEAN, SIGLIP_STD) if siglip else (CLIP_MEAN, CLIP_STD)

    @classmethod
    def open(cls, variant: str, files: EncoderFiles) -> OpenClipEncoder:
        """As `get_encoder` calls it, with "MODEL" or "MODEL/TAG"."""
        model, _, tag = variant.partition("/")
        return cls(model, tag, files)

    @property
    def dim(self) -> int:
        return int(self._config["embed_dim"])

    @property
    def input_size(self) -> int:
        """See `CropEncoder`. Raises EncoderError when the model's pictures are not square."""
        size = self._config["vision_cfg"]["image_size"]
        sides = set(size) if isinstance(size, list | tuple) else {size}
        if len(sides) > 1:
            raise EncoderError(f"sees pictures of {size}, not square ones", where=self.name, fix="choose another model")
        return int(sides.pop())

    @cached_property
    def weights_id(self) -> str:
        """See `CropEncoder`. Raises EncoderError when there are none."""
        return weights_id(self._path)

    def vision(self, device: torch.device) -> _Frames:
        """See `CropEncoder`. Raises EncoderError when the weights are missing, damaged or another model's."""
        return _Frames(self._load(self._weights(), device), device)

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, dim] float32 unit vectors.

        Raises:
            PromptError: a phrase is longer than the model reads.
        """
        import torch

        if not phrases:
            return np.zeros((0, self.dim), np.float32)
        for phrase in phrases:
            self._check_length(phrase)
        with torch.inference_mode():
            said = self._text.encode_text(self._tokenizer(phrases), normalize=True)
        return said.float().numpy()

    def save_text(self, folder: Path) -> None:
        """Write the text half; see `CropEncoder`."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        text = {n: value.contiguous().clone() for n, value in self._weights().items() if not n.startswith("visual.")}
        unfinished = folder / f".tmp-{TEXT_FILE}"
        save_file(text, unfinished)
        unfinished.replace(folder / TEXT_FILE)

    @cached_property
    def _config(self) -> dict[str, Any]:
        config = _open_clip().get_model_config(self._model)
        if config is None:
            raise EncoderError(
                f"open_clip knows no model {self._model!r}",
                where=self.name,
                fix="choose one of `python -c 'import open_clip; print(open_clip.list_models())'`",
            )
        return config

    @cached_property
    def _path(self) -> Path:
        named = self.files.weights or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
        if named is not None:
            if named.is_file():
                return named
            where = "--weights" if self.files.weights else VARIABLE
            raise EncoderError(f"there is no file {named}", where=where, fix="name the model's file of weights")
        _ = self._config  # a name that does not exist is the clearer error
        if not (self.files.download and self._tag):
            raise EncoderError(
                f"the weights of {self._model} are not named",
                where=self.name,
                fix=f"name the file by --weights or {VARIABLE}, or give --download and the published weights' tag, as "
                f"open_clip lists them, in --encoder openclip:{self._model}/TAG",
            )
        return self._download()

    def _download(self) -> Path:
        from huggingface_hub.errors import HfHubHTTPError
        from open_clip.pretrained import download_pretrained, get_pretrained_cfg

        known = get_pretrained_cfg(self._model, self._tag)
        if not known:
            raise EncoderError(
                f"open_clip knows no weights {self._tag!r} of {self._model}",
                where=self.name,
                fix="choose one of `python -c 'import open_clip; print(open_clip.list_pretrained())'`",
            )
        try:
            return Path(download_pretrained(known, cache_dir=str(weights_folder())))
        except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
            raise EncoderError(
                f"the weights could not be downloaded ({(str(error).splitlines() or ['?'])[0]})",
                where=self.name,
                fix="check the network, or download them yourself and name the file by --weights",
            ) from error

    def _weights(self) -> dict[str, Tensor]:
        found = {name.removeprefix("module."): value for name, value in read_weights(self._path).items()}
        expected = {name: tuple(value.shape) for name, value in self._empty("meta").state_dict().items()}
        # Buffers that open_clip once saved and now makes itself.
        found = {name: value for name, value in found.items() if name in expected or "position_ids" not in name}
        check_shapes(self._path, found, expected, self._model)
        return found

    def _load(self, weights: dict[str, Tensor], device: torch.device) -> Any:
        """The model on a device; what `weights` lacks is random."""
        model = self._empty(device.type)
        model.load_state_dict(weights, strict=False)
        return model.eval()

    def _empty(self, device: str) -> Any:
        _ = self._config
        return _open_clip().create_model(
            self._model,
            device=device,
            precision="fp16" if device == "cuda" else "fp32",
            load_weights=False,
            pretrained_image=False,
            pretrained_text=False,
        )

    @cached_property
    def _text(self) -> Any:
        import torch

        saved = self.files.text / TEXT_FILE if self.files.text is not None else None
        weights = read_weights(saved) if saved is not None and saved.exists() else self._weights()
        return self._load(weights, torch.device("cpu"))

    @cached_property
    def _tokenizer(self) -> Any:
        return _open_clip().get_tokenizer(self._model)

    def _check_length(self, phrase: str) -> None:
        if not hasattr(self._tokenizer, "encode"):
            return  # tokenizers from elsewhere, which cut what is too long
        pieces, most = len(self._tokenizer.encode(phrase)), self._tokenizer.context_length - 2
        if pieces > most:
            raise PromptError(
                f"{phrase!r} has {pieces} word pieces, the encoder reads {most}", where="prompt", fix="shorten it"
            )


class _Frames:
    """A `FrameModel`."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self.batch = CUDA_BATCH if device.type == "cuda" else CPU_BATCH

    def embed_frames(self, frames: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            return self._model.encode_image(frames, normalize=True)

    def embed_windows(self, frames: Tensor) -> Tensor:
        """The mean of the frames' unit vectors, as a unit vector."""
        mean = frames.float().mean(dim=1)
        return mean / mean.norm(dim=-1, keepdim=True)


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise EncoderError(
            "open_clip is not installed", where="encoder openclip", fix="install it with `pip install legs4d[openclip]`"
        ) from error
    return open_clip
