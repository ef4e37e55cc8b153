"""Where encoders' weights come from: a file that somebody names, or the hub when asked for. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Protocol

import platformdirs

from legs4d.context import EncoderFiles
from legs4d.errors import EncoderError
from legs4d.gaussians.formats.tensors import DAMAGE

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, SAMPLE_BYTES = 64, 1 << 16
"""Places of a file that its hash is made of, and bytes at each: all of 1.7 GB would take seconds at every start."""


@dataclass(frozen=True)
class Published:
    """Weights that somebody publishes.

    Attributes:
        title: what they are of.
        repository, file: on the Hugging Face hub.
        variable: of the environment, naming a file to use instead.
    """

    title: str
    repository: str
    file: str
    variable: str


def weights_folder() -> Path:
    """Where weights are looked for and downloaded to: your own data folder."""
    return Path(platformdirs.user_data_dir("legs4d", appauthor=False)) / "weights"


def find_weights(published: Published, files: EncoderFiles) -> Path:
    """The file of weights to use.

    Raises:
        EncoderError: the file named is not there, or none is and downloading was not asked for or failed.
    """
    named = files.weights or (Path(os.environ[published.variable]) if os.environ.get(published.variable) else None)
    if named is not None:
        if not named.is_file():
            where = "--weights" if files.weights else published.variable
            raise EncoderError(f"there is no file {named}", where=where, fix=_how_to_get(published))
        return named
    there = weights_folder() / published.file
    if there.is_file():
        return there
    if not files.download:
        raise EncoderError(
            f"the weights of {published.title} are not there", where=str(there), fix=_how_to_get(published)
        )
    return _download(published, there)


def _how_to_get(published: Published) -> str:
    return (
        f"download {published.file} from the repository {published.repository} of the Hugging Face hub and put it "
        f"there, or name it by --weights or {published.variable}, or give --download to have that done"
    )


def _download(published: Published, there: Path) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        fix = "install it with `pip install legs4d[openclip]`"
        raise EncoderError("downloading needs the package huggingface_hub", where="--download", fix=fix) from error
    try:
        hf_hub_download(published.repository, published.file, local_dir=there.parent)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(
            f"{published.file} could not be downloaded ({reason})",
            where=published.repository,
            fix="check the network, accept the repository's terms on the hub if it has some and log in with "
            "`hf auth login`, or download the file yourself and name it by --weights",
        ) from error
    return there


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from .safetensors or a PyTorch checkpoint; mapped from disk where the format allows.

    A checkpoint's `model`, `state_dict` or `module` entry is taken for it, where it has one.

    Raises:
        EncoderError: it is cut short, no such file, or holds more than tensors: nothing in it is executed.
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    for entry in ("model", "state_dict", "module"):
        if isinstance(content, dict) and isinstance(content.get(entry), dict):
            content = content[entry]
    import torch

    tensors = (
        {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not tensors:
        raise EncoderError("holds no weights by name", where=str(path), fix="give the encoder's own checkpoint")
    return tensors


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_checkpoint(path: Path) -> object:
    import torch

    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):  # the format before PyTorch 1.6 cannot be mapped
                raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if "Weights only load failed" not in str(error):
            raise _damaged(path, error) from error
        raise EncoderError(
            "holds Python objects or code beside the weights, and was not opened: loading it would run that code",
            where=str(path),
            fix="get the weights as .safetensors, or as a checkpoint of tensors alone",
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> EncoderError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EncoderError(
        f"cannot be read as weights; it may be cut short ({reason})", where=str(path), fix="download or copy it again"
    )


class Shaped(Protocol):
    """A tensor of any library."""

    @property
    def shape(self) -> Sequence[int]: ...


def check_shapes(path: Path, found: Mapping[str, Shaped], expected: Mapping[str, tuple[int, ...]], title: str) -> None:
    """Raise EncoderError unless the weights are those that `expected` describes, no more and no fewer."""
    for name, shape in expected.items():
        if name not in found:
            what = f"has no {name!r}, which {title} has"
        elif tuple(found[name].shape) != shape:
            what = f"its {name!r} is {tuple(found[name].shape)}, that of {title} {shape}"
        else:
            continue
        raise _other_architecture(path, what, title)
    strange = sorted(set(found) - set(expected))
    if strange:
        raise _other_architecture(path, f"has {strange[0]!r}, which {title} has not", title)


def _other_architecture(path: Path, what: str, title: str) -> EncoderError:
    return EncoderError(f"{what}: these are another model's weights", where=str(path), fix=f"give those of {title}")


def weights_id(path: Path) -> str:
    """Hash of a file's size and of what stands at places spread over it."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
