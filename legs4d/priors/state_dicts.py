"""Weights by name out of files, checked one by one against what a network has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from legs4d.errors import Legs4dError, reason_of
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors

if TYPE_CHECKING:
    import torch


def read_state(path: Path, fix: str) -> dict[str, torch.Tensor]:
    """Tensors by name, from .safetensors or a file of torch.save, whose "state_dict" or "model" is taken for it.

    Args:
        fix: what to do where it cannot be read.

    Raises:
        Legs4dError: it is missing, damaged, or holds more than tensors: nothing in it is executed.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = load_tensors(path)
    except FileNotFoundError as error:
        raise Legs4dError("there is no such file", where=str(path), fix=fix) from error
    except (OSError, SafetensorError, UnreadableTensorsError) as error:
        raise Legs4dError(f"cannot be read as weights ({reason_of(error)})", where=str(path), fix=fix) from error
    for entry in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(entry), dict):
            state = state[entry]
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise Legs4dError("holds no weights by name", where=str(path), fix=fix)
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def check_state(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], title: str, where: str, fix: str
) -> None:
    """Raise Legs4dError unless the weights are those that `expected` describes, no more and no fewer."""
    for name, shape in expected.items():
        if name not in state:
            what = f"has no {name!r}, which {title} has"
        elif tuple(state[name].shape) != shape:
            what = f"its {name!r} is {tuple(state[name].shape)}, that of {title} {shape}"
        else:
            continue
        raise Legs4dError(f"{what}: these are another network's weights", where=where, fix=fix)
    strange = sorted(set(state) - set(expected))
    if strange:
        what = f"has {strange[0]!r}, which {title} has not: these are another network's weights"
        raise Legs4dError(what, where=where, fix=fix)
