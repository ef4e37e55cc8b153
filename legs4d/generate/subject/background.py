"""An object cut out of its pictures: by their alpha, by a background of one colour, or by a learned helper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label, maximum_filter

from legs4d.errors import DatasetError
from legs4d.priors.cache import is_there, open_prior, priors_folder
from legs4d.priors.registry import find_prior
from legs4d.progress import StageReporter
from legs4d.scene.images import as_bytes, as_unit

Cut = Literal["alpha", "plain", "u2netp"]
OPAQUE = 0.98
"""Alpha from which on a pixel shows the object alone."""
SEEN_THROUGH = 0.005
"""Share of a picture that has to be transparent for its alpha to tell something."""
FRAME = 0.02
"""Of a picture's side: the strip along its edge in which a plain background is looked for."""
ALIKE, SAME = 0.07, 0.02
"""Differences of colour (0..1, largest channel) that are the background's own, of a coded video; and hardly any."""
LOOKED_AT = 16
"""Pictures, about, in which it is looked for."""
PLAIN = 0.93
"""Share of that strip which has to be of one colour."""
HOLE = 0.004
"""Of the object's pixels: an enclosed place of exactly the background's colour that is larger is no part of it."""
MOSTLY = 0.6
"""Share of such a place that has to be of it, the mixed pixels along its edge not."""
SPECK = 0.003
"""Of the largest part's pixels: parts with fewer are noise of a coded video."""
HELPER = "u2netp"
UNSURE = 0.25
"""Share of the object's pixels that a helper may be undecided about."""
LARGEST = 0.95
"""Of a picture: a helper that calls more of it the object has not told it off."""

Picture = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class CutOut:
    """T pictures of an object alone.

    Attributes:
        pictures: [T, H, W, 4] uint8 RGBA, colours times alpha.
        by: how it was cut out.
    """

    pictures: Bytes
    by: Cut


def cut_out(pictures: list[Bytes], where: str, device: torch.device, reporter: StageReporter, first: int = 0) -> CutOut:
    """The object of pictures [H, W, 3 or 4] of one size; the first has the number `first` in what errors say.

    Raises:
        DatasetError: nothing tells the background off.
        Stopped: the reporter says so.
    """
    found = np.empty((len(pictures), *pictures[0].shape[:2], 4), np.uint8)
    if all(p.shape[2] == 4 for p in pictures) and (as_unit(pictures[0][..., 3]) < OPAQUE).mean() > SEEN_THROUGH:
        for number, picture in enumerate(pictures):
            rgba = as_unit(picture)
            found[number] = as_bytes(np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=-1))
        return CutOut(found, "alpha")
    background = _plain(as_unit(p[..., :3]) for p in pictures[:: max(1, len(pictures) // LOOKED_AT)])
    if background is not None:
        for number, picture in enumerate(pictures):
            reporter.step(number, len(pictures))
            found[number] = as_bytes(_off_plain(as_unit(picture[..., :3]), background))
        return CutOut(found, "plain")
    if not is_there(find_prior(HELPER), priors_folder()):
        fix = f"give pictures with alpha, or fetch what cuts objects out by `legs4d priors get {HELPER}`"
        raise DatasetError("the background is neither transparent nor of one colour", where=where, fix=fix)
    helper = open_prior(HELPER, device)
    for number, picture in enumerate(pictures):
        reporter.step(number, len(pictures))
        color = as_unit(picture[..., :3])
        height, width = color.shape[:2]
        mask = helper.masks(np.ascontiguousarray(color), np.array([[0, 0, width, height]], np.float32))[0]
        sure = (mask > 0.5).sum()
        if not sure or ((mask > 0.2) & (mask < 0.8)).sum() > UNSURE * sure or (mask > 0.5).mean() > LARGEST:
            raise DatasetError(
                f"the background of picture {first + number} cannot be told off",
                where=where,
                fix="leave it out, by --frames FIRST:LAST, or cut the object out by hand, and give pictures with alpha",
            )
        found[number] = as_bytes(np.concatenate([color * mask[..., None], mask[..., None]], axis=-1))
    return CutOut(found, "u2netp")


def _plain(colors: Iterable[Picture]) -> NDArray[np.float32] | None:
    """[3] the colour of the strip along the edges of these pictures, if it has one."""
    strips = []
    for color in colors:
        height, width = color.shape[:2]
        wide = max(1, round(FRAME * min(height, width)))
        inside = np.zeros((height, width), np.bool_)
        inside[wide:-wide, wide:-wide] = True
        strips.append(color[~inside])
    every = np.concatenate(strips)
    middle = np.median(every, axis=0).astype(np.float32)
    return middle if (np.abs(every - middle).max(axis=1) < ALIKE).mean() >= PLAIN else None


def _off_plain(color: Picture, background: NDArray[np.float32]) -> Picture:
    """[H, W, 4] what is not background: that is what is like it and reaches the picture's edge, and holes like it."""
    apart = np.abs(color - background).max(axis=-1)
    empty = apart < ALIKE
    parts, count = label(empty)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    outside = np.isin(parts, edge[edge > 0])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    same = np.bincount(parts[apart < SAME], minlength=count + 1)
    holes = (sizes > HOLE * (~outside).sum()) & (same > MOSTLY * sizes)
    holes[0] = False
    outside |= holes[parts]
    parts, count = label(~outside)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        outside |= sizes[parts] < SPECK * sizes.max()
    # Pixels along the edge are mixed: how much of the object is in one tells how far its colour is gone towards it.
    rim = ~outside & binary_dilation(outside)
    full = maximum_filter(np.where(outside | rim, 0, apart), 5)
    alpha = np.where(outside, 0, 1).astype(np.float32)
    alpha[rim] = np.clip(apart[rim] / np.maximum(full[rim], apart[rim]).clip(min=1e-6), 0, 1)
    cut = np.clip(color - (1 - alpha[..., None]) * background, 0, alpha[..., None])
    return np.concatenate([cut, alpha[..., None]], axis=-1).astype(np.float32)
