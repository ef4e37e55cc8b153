"""Models that their users bring: a local folder as it is published, checked to be whole, and nothing asked of a hub.

Only .safetensors are read: the other kind of file could hold code.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legs4d.errors import Legs4dError

if TYPE_CHECKING:
    import torch

_INDEX = "model_index.json"
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
"""What transformers and diffusers raise over a folder that is not what it should be."""


def library(name: str, role: str) -> Any:
    """A library that runs published models. Raises Legs4dError where it is not installed."""
    try:
        found = import_module(name)
    except ImportError as error:
        fix = "install it with `pip install 'legs4d[priors]'`"
        raise Legs4dError(f"the package {name} is needed", where=role, fix=fix) from error
    if name in ("transformers", "diffusers"):  # what is wrong is said by errors; bars would stand in ours
        talk: Any = import_module(f"{name}.utils.logging")
        talk.set_verbosity_error()
        talk.disable_progress_bar()
    return found


def precision(device: torch.device, *, wide: bool = False) -> torch.dtype:
    """Half on CUDA, where these models were made for it; single on a CPU, which has no fast half.

    Args:
        wide: whether the model was trained with bfloat16, whose range is that of single: its numbers may be too large
            for float16.
    """
    import torch

    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if wide else torch.float16


def open_model(
    library_name: str,
    kind: str,
    folder: Path,
    device: torch.device,
    repository: str,
    *,
    role: str,
    wide: bool = False,
    dtype: torch.dtype | None = None,
) -> Any:
    """A model of transformers or diffusers out of a folder, in evaluation mode on the device.

    Args:
        library_name, kind: package and class.
        folder: with config.json and its .safetensors.
        repository: where it is published, for the error.
        role: for the error.
        wide: see `precision`.
        dtype: another than that.

    Raises:
        Legs4dError: the library is missing, the folder lacks a file, is damaged, or is another model's.
    """
    made_by = getattr(library(library_name, role), kind)
    fix = f"put the files of {repository} into {folder}"
    if not (folder / "config.json").is_file():
        raise Legs4dError("there is no config.json", where=str(folder), fix=fix)
    if not any(folder.glob("*.safetensors")):
        raise Legs4dError("there are no .safetensors", where=str(folder), fix=fix)
    from safetensors import SafetensorError

    told: dict[str, Any] = {"output_loading_info": True, "local_files_only": True, "use_safetensors": True}
    told["dtype"] = dtype or precision(device, wide=wide)
    try:
        model, info = made_by.from_pretrained(folder, **told)
    except (*_UNREADABLE, SafetensorError) as error:
        raise Legs4dError(f"cannot be read as a {kind} ({_reason(error)})", where=str(folder), fix=fix) from error
    for words, key in (
        ("lacks", "missing_keys"),
        ("has", "unexpected_keys"),
        ("has another shape of", "mismatched_keys"),
    ):
        wrong = sorted(str(one if isinstance(one, str) else one[0]) for one in info.get(key) or ())
        if wrong:
            what = f"{words} {wrong[0]!r}: these are another model's weights than its config.json tells"
            raise Legs4dError(what, where=str(folder), fix=fix)
    return model.to(device).eval()


def open_tokenizer(folder: Path, repository: str, *, role: str) -> Any:
    """What turns words into numbers for a model of transformers, out of its folder.

    Raises:
        Legs4dError: its files are not there, or damaged.
    """
    kinds = library("transformers", role)
    fix = f"put the files of {repository} into {folder}"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise Legs4dError("there is no tokenizer.json and no vocab.json", where=str(folder), fix=fix)
    try:
        return kinds.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except _UNREADABLE as error:
        what = f"its tokenizer cannot be read ({_reason(error)})"
        raise Legs4dError(what, where=str(folder), fix=fix) from error


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def open_pipeline(
    kind: str,
    folder: Path,
    device: torch.device,
    repository: str,
    *,
    role: str,
    wide: bool = False,
    single: tuple[str, ...] = (),
    saved_as: str = "",
) -> Any:
    """A pipeline of diffusers out of a folder: all parts that its model_index.json names, each checked.

    Args:
        wide: see `precision`.
        single: parts that are kept in single precision everywhere.
        saved_as: the class that its model_index.json names, where that is another one of the same parts.

    Raises:
        Legs4dError: see `open_model`; the folder is another pipeline's.
    """
    import torch

    made_by = getattr(library("diffusers", role), kind)
    fix = f"put the files of {repository} into {folder}"
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Legs4dError(f"there is no {_INDEX}", where=str(folder), fix=fix) from error
    except (OSError, ValueError) as error:
        raise Legs4dError("cannot be read", where=str(folder / _INDEX), fix=fix) from error
    if index.get("_class_name") not in (kind, saved_as or kind):
        raise Legs4dError(
            f"is a {index.get('_class_name')}, no {saved_as or kind}", where=str(folder / _INDEX), fix=fix
        )
    parts = {}
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or value[0] is None:
            continue
        if not (folder / name).is_dir():
            raise Legs4dError(f"there is no {name}/", where=str(folder), fix=fix)
        if value[0] in ("diffusers", "transformers") and (folder / name / "config.json").is_file():
            parts[name] = open_model(
                value[0],
                value[1],
                folder / name,
                device,
                f"{repository}, {name}/",
                role=role,
                wide=wide,
                dtype=torch.float32 if name in single else None,
            )
    try:
        dtype = precision(device, wide=wide)
        pipeline = made_by.from_pretrained(folder, local_files_only=True, dtype=dtype, **parts)
    except _UNREADABLE as error:
        raise Legs4dError(f"cannot be read as a {kind} ({_reason(error)})", where=str(folder), fix=fix) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
