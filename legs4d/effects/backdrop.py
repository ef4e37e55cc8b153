"""What pictures of a run show where it has nothing: what its own pictures had there, a colour, or nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run

AUTO = "auto"
_COLORS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "grey": (0.5, 0.5, 0.5)}
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")

Backdrop = NDArray[np.float32] | None
"""[3] RGB in 0..1; None: nothing, so that pictures are transparent there."""


def backdrop_of(run: Run, wanted: str = AUTO, out: Path | None = None) -> Backdrop:
    """What is wanted: a colour by name or as #rrggbb, "transparent", or "auto", as the run was captured.

    Args:
        out: where pictures are written; only a folder of PNGs holds transparent ones.

    Raises:
        Legs4dError: it names no colour, or videos should be transparent.
    """
    if wanted == "transparent":
        if out is not None and out.suffix:
            raise Legs4dError(f"{out.suffix} holds no transparency", where="--background", fix="name a folder for PNGs")
        return None
    if wanted == AUTO:
        return np.array(run.info.get("background", _COLORS["black"]), np.float32)
    if wanted in _COLORS:
        return np.array(_COLORS[wanted], np.float32)
    found = _HEX.fullmatch(wanted)
    if found is None:
        names = ", ".join(_COLORS)
        raise Legs4dError(
            f"{wanted!r} names no colour", where="--background", fix=f"use auto, transparent, {names} or #rrggbb"
        )
    return np.frombuffer(bytes.fromhex(found[1]), np.uint8).astype(np.float32) / np.float32(255)


def before(backdrop: Backdrop, color: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours [..., 3] that were drawn on black, with their alpha [...], before a backdrop: [..., 3]; before none
    [..., 4], not multiplied by alpha, as PNGs are."""
    covered = alpha[..., None]
    if backdrop is None:
        return np.concatenate([np.clip(color / np.maximum(covered, 1e-6), 0, 1), covered], axis=-1)
    return color + (1 - covered) * backdrop
