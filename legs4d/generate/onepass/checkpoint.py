"""Weights of the networks out of the files that their users bring, each told apart from the others.

L4GM's file says in its metadata that its licence is Apache-2.0, and its model card that it is CC BY-NC-SA 4.0. Nothing
here fetches it; `LICENCE` is said where it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from legs4d.errors import Legs4dError, reason_of
from legs4d.generate.onepass.network import INTERP, LGM, RECON, TINY4D, OnePass, Variant
from legs4d.priors.state_dicts import check_state, read_state

DEFAULT = Path(__file__).with_name("tiny4d.safetensors")
"""What is taken where nobody names weights: trained by `scripts/training/tiny4d`, see MODEL_CARD.md."""
BEFORE_ITS_FIX = "5a7ab312"
"""How the sha256 of LGM's `model_fp16.safetensors` begins, whose rotations are wrong; `model_fixrot` came after it."""
LICENCE = (
    "the file's metadata calls L4GM's weights Apache-2.0, their model card CC BY-NC-SA 4.0: these contradict each "
    "other, so that it is for you to find out what you may do with them"
)
FIX = f"give recon.safetensors (and interp.safetensors) of L4GM, or weights of tiny4d; {LICENCE}"
_SHORT = "give recon.safetensors, and after it interp.safetensors, as L4GM publishes them"


@dataclass(frozen=True)
class Networks:
    """What makes Gaussians, ready to be used.

    Attributes:
        recon: of given pictures.
        interp: of moments between them; None where there is none. `tiny4d` is both.
        sha256: of the files, in their order.
    """

    recon: OnePass
    interp: OnePass | None
    sha256: tuple[str, ...]

    @property
    def variant(self) -> Variant:
        return self.recon.variant


def open_networks(files: Sequence[Path], device: torch.device) -> Networks:
    """The networks of one or two files, in evaluation mode; in half precision on CUDA.

    Raises:
        Legs4dError: a file is missing, cut off, no .safetensors, or of another network.
    """
    files = find_files(files)
    hashes = tuple(map(sha256_of, files))
    networks = [open_network(path, device, digest) for path, digest in zip(files, hashes, strict=True)]
    first = networks[0]
    if first.variant is TINY4D:
        if len(files) > 1:
            fix = "leave the second file out: one set of weights does both"
            raise Legs4dError("tiny4d has one file of weights", where=str(files[1]), fix=fix)
        return Networks(first, first, hashes)
    if len(files) == 1:
        return Networks(first, None, hashes)
    if networks[1].variant is TINY4D or hashes[0] == hashes[1]:
        what = "is tiny4d's" if networks[1].variant is TINY4D else "is the same file as the first"
        raise Legs4dError(f"{what}, and no network for interpolation", where=str(files[1]), fix=_SHORT)
    if "interp" in files[0].name and "recon" in files[1].name:
        raise Legs4dError("the network for interpolation stands first", where="--weights", fix=_SHORT)
    networks[1].variant = INTERP
    return Networks(first, networks[1], hashes)


def find_files(named: Sequence[Path]) -> list[Path]:
    """The files that were named, else the package's own.

    Raises:
        Legs4dError: one is not there, or there are too many.
    """
    if not named and not DEFAULT.exists():
        raise Legs4dError("the weights of tiny4d are missing from this package", where="--weights", fix=FIX)
    files = list(named) or [DEFAULT]
    if len(files) > 2:
        raise Legs4dError(f"there are {len(files)} files of weights", where="--weights", fix=_SHORT)
    for path in files:
        if not path.is_file():
            raise Legs4dError("there is no such file", where=str(path), fix=FIX)
    return files


def open_network(path: Path, device: torch.device, sha256: str) -> OnePass:
    """L4GM's network or `tiny4d`, whichever the file holds; both of L4GM's have the same names and shapes."""
    state = _read(path)
    variant = variant_of(state, path, sha256)
    with torch.device("meta"):
        network = OnePass(variant)
    network.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    network = network.to(device).eval().requires_grad_(False)
    return network.halve() if device.type == "cuda" else network


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix != ".safetensors":
        what = "is no .safetensors, and files of pickled weights could run code"
        raise Legs4dError(what, where=str(path), fix=_SHORT)
    try:
        with safe_open(path, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        what = f"is cut off or no .safetensors ({reason_of(error)})"
        raise Legs4dError(what, where=str(path), fix="fetch it again, whole") from error
    return read_state(path, FIX)


@cache
def shapes_of(variant: Variant) -> dict[str, tuple[int, ...]]:
    """Every weight of a network with its shape."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in OnePass(variant).state_dict().items()}


def variant_of(state: dict[str, torch.Tensor], path: Path, sha256: str) -> Variant:
    """Whose weights these are. Raises Legs4dError where they are not of L4GM and not of tiny4d, all of them."""
    first = state.get("unet.conv_in.weight")
    if first is not None and tuple(first.shape) == shapes_of(TINY4D)["unet.conv_in.weight"]:
        check_state(state, shapes_of(TINY4D), "tiny4d", str(path), "train it again, or take another file")
        return TINY4D
    expected, lgm = shapes_of(RECON), shapes_of(LGM)
    if state.keys() == lgm.keys():
        old = ", and one from before its rotations were put right" if sha256.startswith(BEFORE_ITS_FIX) else ""
        what = f"is the checkpoint of LGM, which knows no time{old}, and not L4GM's"
        raise Legs4dError(what, where=str(path), fix=_SHORT)
    known = [name for name in state if name in expected]
    if known and len(known) == len(state) < len(expected):
        what = f"is a part of a checkpoint: {len(state)} of L4GM's {len(expected)} weights"
        raise Legs4dError(what, where=str(path), fix="give the whole file, as L4GM publishes it")
    check_state(state, expected, "L4GM", str(path), _SHORT)
    return RECON


def sha256_of(path: Path) -> str:
    """Of a file that is there."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(networks: Networks) -> dict[str, Any]:
    """What a run keeps of the networks that made it, as JSON."""
    return {"network": networks.variant.name, "weights": list(networks.sha256)}
