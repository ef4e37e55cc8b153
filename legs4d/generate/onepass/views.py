"""What an object looks like from its sides and from behind at the first moment: what is given beside a video.

A user's pictures, or a helper's of the role `views`. Whether pictures can be of one object, seen from where they are
said to be, is told by their silhouettes: a solid that fits into all of them has to fill each (Baumgart 1974). Pictures
in another order, or from below in place of above, leave gaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError, Legs4dError
from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM
from legs4d.generate.resizing import resized, scaled
from legs4d.generate.shapes.agreement import agreement
from legs4d.generate.subject.source import FILLED, HALF
from legs4d.priors.protocols import ViewsPrior
from legs4d.scene.footage.names import PICTURES, in_order, list_files
from legs4d.scene.images import as_bytes, as_unit, read_picture

OTHERS = len(AZIMUTHS) - 1
BETTER = 0.06
"""Share of the silhouettes that another reading has to fill more than the one that was told: true views of ten glTF
models fill 0.95 and more."""
LARGER = 1.25
"""Times as large as from the front, or as small, from which on it is told that an object is so from behind: cameras
that stand across see it about as large."""
PLAIN_WHITE = 0.985
"""Light from which on a pixel of a picture without alpha is background."""


@dataclass(frozen=True)
class SideViews:
    """Pictures of the first moment from elsewhere.

    Attributes:
        pictures: [K, S, S, 4] uint8 RGBA, colours times alpha.
        azimuths: [K] degrees from the video's camera, towards the object's left.
        elevation: degrees above the object, of these and of the video's camera.
        source: "user" or the helper's name.
        notes: what should be known of them, a sentence each.
    """

    pictures: NDArray[np.uint8]
    azimuths: tuple[float, ...]
    elevation: float
    source: str
    notes: tuple[str, ...] = ()


def read_views(folder: Path, size: int, front: NDArray[np.uint8], elevation: float) -> SideViews:
    """A user's views: pictures at azimuths 90, 180 and 270 in the order of their names, or all four from 0 on.

    Args:
        size: S that is wanted.
        front: [F, F, 4] uint8, the video's first frame.
        elevation: of all cameras, degrees above the object.

    Raises:
        DatasetError: they are not as many, not square, of several sizes, empty, or of other cameras than told.
    """
    if not folder.is_dir():
        raise DatasetError("is no folder of views", where=str(folder), fix=_WANTED)
    names = in_order([file.name for file in list_files(folder, PICTURES)], "views", str(folder))
    if len(names) not in (OTHERS, OTHERS + 1):
        raise DatasetError(f"holds {len(names)} pictures", where=str(folder), fix=_WANTED)
    pictures = [_rgba(folder / name) for name in names]
    for name, picture in zip(names, pictures, strict=True):
        height, width = picture.shape[:2]
        if height != width:
            fix = "give square ones, with the object in the middle as the video shows it"
            raise DatasetError(f"a view is {width}×{height}", where=str(folder / name), fix=fix)
        if picture.shape != pictures[0].shape:
            first = len(pictures[0])
            what = f"is {width}×{height}, and {names[0]} is {first}×{first}"
            raise DatasetError(what, where=str(folder / name), fix="give views of one size")
        if not (picture[..., 3] > 0.5).any():
            fix = "give pictures with alpha, or on white"
            raise DatasetError("shows no object", where=str(folder / name), fix=fix)
    shown = np.stack([as_bytes(resized(picture, size, size)) for picture in pictures[-OTHERS:]])
    views = SideViews(shown, AZIMUTHS[1:], elevation, "user")
    check_views(views, front, str(folder))
    return replace(views, notes=tuple(_of_another_size(views, front)))


def _of_another_size(views: SideViews, front: NDArray[np.uint8]) -> Iterator[str]:
    """What is to be told where the object is larger or smaller in the view from behind than in the video as cut out."""
    behind = views.pictures[views.azimuths.index(180.0)]
    times = _extent(behind) / _extent(front)
    if max(times, 1 / times) > LARGER:
        yield (
            f"From behind the object is {times:.1f} times as large as from the front: show it in the views as large as "
            f"the video is cut out, where its longest side takes {FILLED:.0%} of the picture."
        )


def _extent(picture: NDArray[np.uint8]) -> float:
    """Geometric mean of a silhouette's columns and rows, as a share of the side of its picture [S, S, 4]."""
    solid = picture[..., 3] >= HALF
    across, down = (int(np.count_nonzero(solid.any(axis=axis))) for axis in (0, 1))
    return max(across * down, 1) ** 0.5 / len(picture)


_WANTED = (
    "give a folder of three square pictures of the first frame, from the object's left, from behind and from its right "
    "(azimuths 90, 180, 270), or of four that begin with the front"
)


def check_views(views: SideViews, front: NDArray[np.uint8], where: str) -> None:
    """Raise DatasetError where the views would fit another order, or the other sign of the elevation, much better.

    A swap of left and right mirrors the whole object front to back, and cannot be told by silhouettes.
    """
    size = views.pictures.shape[1]
    alphas = as_unit(np.stack([scaled(front, size), *views.pictures])[..., 3])
    told = _agreed(alphas, views.elevation, views.azimuths)
    if views.elevation and _agreed(alphas, -views.elevation, views.azimuths) > told + BETTER:
        raise DatasetError(
            f"the views were taken {abs(views.elevation):g}° {'below' if views.elevation > 0 else 'above'} the object, "
            f"by their silhouettes, and not {abs(views.elevation):g}° {'above' if views.elevation > 0 else 'below'}",
            where=where,
            fix=f"give --elevation {-views.elevation:g}: here elevations count upwards, L4GM's own count downwards",
        )
    best, other = max(
        (_agreed(alphas[[0, *(1 + i for i in order)]], views.elevation, views.azimuths), order)
        for order in permutations(range(len(views.pictures)))
    )
    if best > told + BETTER:
        said = ", ".join(f"{views.azimuths[other.index(i)]:g}°" for i in range(len(other)))
        what = f"the views are not in the order {_listed(views.azimuths)}: by their silhouettes they are from {said}"
        raise DatasetError(what, where=where, fix="name them in the order left, back, right of the object")


def _listed(azimuths: tuple[float, ...]) -> str:
    return ", ".join(f"{azimuth:g}°" for azimuth in azimuths)


def _agreed(alphas: NDArray[np.float32], elevation: float, azimuths: tuple[float, ...]) -> float:
    """How well silhouettes [1 + K, S, S] agree, the first from the front."""
    return agreement(alphas, L4GM.cameras(elevation, (0.0, *azimuths), alphas.shape[1]), L4GM.reach)


def views_by_prior(
    prior: ViewsPrior, name: str, front: NDArray[np.uint8], size: int, elevation: float, seed: int
) -> SideViews:
    """What a helper invents, of the video's first frame [S, S, 4] uint8.

    Raises:
        Legs4dError: it answers with pictures of another count or shape.
    """
    unit = as_unit(front)
    white = unit[..., :3] + 1 - unit[..., 3:]
    asked = np.array([[0.0, azimuth, 0.0] for azimuth in AZIMUTHS[1:]], np.float32)
    made = prior.views(white, asked, seed)
    if made.ndim != 4 or len(made) != OTHERS or made.shape[1] != made.shape[2]:
        what = f"gave pictures of shape {made.shape}, not {OTHERS} square ones"
        raise Legs4dError(what, where=name, fix="choose another helper of the role views")
    shown = np.stack([as_bytes(resized(_off_white(picture[..., :3]), size, size)) for picture in made])
    return SideViews(shown, AZIMUTHS[1:], elevation, name)


def _rgba(path: Path) -> NDArray[np.float32]:
    """[H, W, 4] in 0..1, colours times alpha; white is taken for background where there is no alpha."""
    picture = as_unit(read_picture(path))
    if picture.shape[2] == 3:
        return _off_white(picture)
    return np.concatenate([picture[..., :3] * picture[..., 3:], picture[..., 3:]], axis=-1)


def _off_white(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    alpha = (picture.min(axis=-1, keepdims=True) < PLAIN_WHITE).astype(np.float32)
    return np.concatenate([picture * alpha, alpha], axis=-1)
