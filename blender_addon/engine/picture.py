"""A render's passes as arrays: of several sequences laid over each other, and as Blender stores them. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
Passes = dict[str, Array]
"""By the protocol's names, rows from the top."""

FAR = 1e10
"""Depth where nothing is."""
MASK = "mask:"
COVER = "cover"
"""Pass of pictures with holes: alpha, and the holes."""


def empty(width: int, height: int, passes: Sequence[str], background: tuple[float, float, float] | None) -> Passes:
    """The picture of nothing.

    Args:
        background: scene linear; None is transparent.
    """
    made = {name: np.zeros((height, width), np.float32) for name in passes if name not in ("combined", "masks")}
    if "depth" in made:
        made["depth"].fill(FAR)
    made["combined"] = np.zeros((height, width, 4), np.float32)
    if background is not None:
        made["combined"][:] = (*background, 1.0)
    return made


def laid_over(one: Passes, other: Passes) -> Passes:
    """Two transparent pictures as one: in each pixel the nearer lies over the farther.

    Both must have alpha and depth. Masks of either keep what the other lets through.
    """
    nearer = one["depth"] <= other["depth"]
    through_one = np.where(nearer, 1.0, 1.0 - covered(other))
    through_other = np.where(nearer, 1.0 - covered(one), 1.0)
    laid: Passes = {}
    if COVER in one or COVER in other:
        one, other = ({COVER: passes["alpha"], **passes} for passes in (one, other))
    for name in {**one, **other}:
        if name == "depth":
            laid[name] = np.minimum(one["depth"], other["depth"])
            continue
        parts = []
        for passes, share in ((one, through_one), (other, through_other)):
            if name in passes:
                parts.append(passes[name] * (share[..., None] if passes[name].ndim == 3 else share))
        laid[name] = np.sum(parts, axis=0, dtype=np.float32)
    return laid


def covered(passes: Passes) -> Array:
    """[H, W] how much of each pixel hides what is behind: alpha, and what is held out."""
    return passes.get(COVER, passes["alpha"])


def held_out(passes: Passes) -> Passes:
    """A transparent picture as a hole: it hides what is behind, and nothing of it shows."""
    hole = {name: np.zeros_like(values) for name, values in passes.items()}
    return {**hole, "depth": passes["depth"], COVER: passes["alpha"]}


def over(passes: Passes, background: tuple[float, float, float]) -> Passes:
    """A transparent picture over a colour, scene linear; holes stay open."""
    combined = passes["combined"]
    seen = (1.0 - covered(passes))[..., None]
    filled = combined[..., :3] + seen * np.asarray(background, np.float32)
    return {**passes, "combined": np.concatenate([filled, combined[..., 3:] + seen], axis=-1)}


def finished(passes: Passes) -> Passes:
    """Without what only laying pictures over each other needs: a hole has no depth."""
    depth = np.where(passes["alpha"] > 0.0, passes["depth"], np.float32(FAR)) if COVER in passes else passes["depth"]
    return {name: values for name, values in {**passes, "depth": depth}.items() if name != COVER}


def set_back(passes: Passes, distance: float) -> Passes:
    """Depths from a camera that is nearer by so much than the pinhole that rendered them."""
    if not distance or "depth" not in passes:
        return passes
    depth = passes["depth"]
    return {**passes, "depth": np.where(depth < FAR / 2, depth - np.float32(distance), depth)}


def renamed(passes: Passes, masks: Mapping[str, str]) -> Passes:
    """Passes by their names in Blender.

    Args:
        masks: layer id → name.
    """
    names = {f"{MASK}{layer_id}": name for layer_id, name in masks.items()} | {"alpha": "Coverage"}
    return {names.get(name, name.capitalize()): values for name, values in passes.items()}


def stored(values: Array) -> Array:
    """[H·W·C] as Blender keeps a pass: rows from below."""
    flipped = np.empty(values.shape, np.float32)  # Blender takes native byte order only, not one that is spelled out
    np.copyto(flipped, values[::-1])
    return flipped.reshape(-1)
