"""3D Gaussians from .ply: files of the original 3DGS (Kerbl et al. 2023), its many kin, and plain point clouds.

The rule is 3DGS's: log scales, logit opacities, rotations wxyz, SH coefficients `f_dc`, `f_rest` (channel by channel).
What a file leaves out is made up: see `read_ply`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kinds import size_of, unreadable
from ..parallel import for_each
from ..sh import COEFFICIENTS
from ..splats import SplatFileError, Splats
from ..values import SH_C0, Triple, empty, finish, from_origin, make_valid, sigmoid
from .compressed import is_compressed, read_compressed
from .header import Element, Header, read_header
from .rows import Columns, Rows, copy_columns

AXES = "as trained: y down, as 3DGS has it"
THIN = 1e-3
"""Thickness of a disc (2DGS: two scales), as a share of the smaller of its two."""
SPACING_SAMPLES = 64
"""Points whose nearest neighbour is looked for, to size those of a cloud without scales."""

_UP = re.compile(r"(?:vertical axis:|up)\s+(.+)", re.IGNORECASE)
_ORIGIN = re.compile(r"origin\s+(.+)", re.IGNORECASE)
_MOVING = {"trbf_center", "motion_0", "omega_0", "scale_t"}
"""Properties of Gaussians that live and move in time (SpacetimeGaussians, 4D Gaussians); kept as `extra`."""
_IGNORED = ("nx", "ny", "nz")
"""Normals: 3DGS writes zeros there."""


def read_ply(path: Path, *, origin: Triple | None = None) -> Splats:
    """Read a file whole.

    Without scales (a point cloud) all get half the distance between neighbours; one scale is taken for all three axes,
    two are a disc (2DGS). Without rotations none is turned; without `f_dc`, red, green and blue are the colour; without
    opacity, alpha is, or all are opaque.

    Args:
        path: ascii or binary of either byte order, any property types and order, lists and further elements included;
            or the chunked "compressed" kind.
        origin: what to take off all positions; None: what `find_origin` says, or the comment `origin x y z` of a file
            that was written with one, which is then not taken off again.

    Raises:
        SplatFileError: it is no such file, is cut short, or holds no usable Gaussian.
    """
    size = size_of(path)
    try:
        with open(path, "rb") as file:
            header = read_header(file, size, path)
            vertex = _vertex(header, path)
            rows = Rows(file, header, path)
            if is_compressed(header):
                splats, usable = read_compressed(rows, header, path)
                splats, usable = _from_origin(splats, splats.means, origin, header), usable
            else:
                splats, usable = _read(rows, header, vertex, origin, path)
    except OSError as error:
        raise unreadable(path, error) from error
    return finish(splats, usable, str(path), **_said_axes(header))


def _vertex(header: Header, path: Path) -> Element:
    vertex = header.find("vertex")
    if vertex is None:
        found = ", ".join(e.name for e in header.elements) or "none"
        raise SplatFileError(f"has no element vertex (its elements: {found})", where=str(path), fix="export points")
    if vertex.count == 0:
        raise SplatFileError("holds no Gaussians (element vertex 0)", where=str(path), fix="export it again")
    return vertex


def _read(
    rows: Rows, header: Header, vertex: Element, origin: Triple | None, path: Path
) -> tuple[Splats, NDArray[np.bool_]]:
    names = set(vertex.names)
    if not {"x", "y", "z"} <= names:
        raise SplatFileError("its vertices have no x, y, z", where=str(path), fix="export points with positions")
    if "f_anchor_feat_0" in names:
        raise SplatFileError(
            "holds anchors of Scaffold-GS, whose Gaussians only its own network makes",
            where=str(path),
            fix="export Gaussians from the program that trained it",
        )
    coefficients = _rest_count(names, path)
    splats = empty(vertex.count, coefficients)
    extra_names = sorted(names - _known_names(coefficients))
    extra = {p.name: np.empty(vertex.count, p.type.lstrip("<>=")) for p in vertex.properties if p.name in extra_names}
    is_single = header.encoding != "ascii" and all(
        p.type[1:] == "f4" for p in vertex.properties if p.name in ("x", "y", "z")
    )
    means = splats.means if is_single else np.empty((vertex.count, 3))
    fill = _filler(names, vertex, coefficients)
    usable = np.empty(vertex.count, bool)
    for element in header.elements:
        if element is vertex:
            break
        rows.skip(element)

    def take_in(numbered: tuple[int, Columns]) -> None:
        first, block = numbered
        part = slice(first, first + len(block["x"]))
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite, and left out
            copy_columns(block, ("x", "y", "z"), means[part])
            if not is_single:
                splats.means[part] = means[part]
            fill(splats, part, block)
            for name, values in extra.items():
                values[part] = block[name]
            usable[part] = make_valid(splats, part)

    for_each(take_in, _numbered(rows.read(vertex)))
    splats = _from_origin(splats, means, origin, header)
    if not names & {"scale_0"}:
        splats.scales[:] = half_spacing(splats.means[usable])
        splats = replace(splats, notes=(*splats.notes, "it has no scales: each point is a ball of half the spacing"))
    if names & _MOVING:
        splats = replace(splats, notes=(*splats.notes, "it tells how its Gaussians move, which is left out"))
    return replace(splats, extra=extra), usable


def _numbered(blocks: Iterator[Columns]) -> Iterator[tuple[int, Columns]]:
    """Each block with the number of its first row."""
    first = 0
    for block in blocks:
        yield first, block
        first += len(block["x"])


def _rest_count(names: set[str], path: Path) -> int:
    """K of the properties f_rest_0, f_rest_1, …"""
    count = sum(1 for name in names if name.startswith("f_rest_") and name[7:].isdigit())
    if count % 3 or count // 3 not in COEFFICIENTS or not {f"f_rest_{i}" for i in range(count)} <= names:
        raise SplatFileError(
            f"has {count} f_rest properties; 0, 9, 24 or 45, counted from 0, are known",
            where=str(path),
            fix="export it with spherical harmonics of degree 3 at most",
        )
    return count // 3


def _known_names(coefficients: int) -> set[str]:
    return {
        *("x", "y", "z", *_IGNORED, "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "red", "green", "blue", "alpha"),
        *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
        *(f"f_rest_{i}" for i in range(3 * coefficients)),
    }


# -- what one block of rows says ---------------------------------------------------------------------------------------

Fill = Callable[[Splats, slice, Columns], None]


def _filler(names: set[str], vertex: Element, coefficients: int) -> Fill:
    """Writes a block's scales, rotations, opacities and colours into their place."""
    types = {p.name: np.dtype(p.type) for p in vertex.properties}
    scales = tuple(f"scale_{i}" for i in range(3) if f"scale_{i}" in names)
    turns = tuple(f"rot_{i}" for i in range(4))
    dc, rgb = ("f_dc_0", "f_dc_1", "f_dc_2"), ("red", "green", "blue")
    # Channel by channel in the file, coefficient by coefficient here.
    rest = tuple(f"f_rest_{channel * coefficients + i}" for i in range(coefficients) for channel in range(3))

    def fill(splats: Splats, part: slice, block: Columns) -> None:
        copy_columns(block, scales, splats.scales[part, : len(scales)])
        _complete_scales(splats.scales[part], len(scales))
        if names.issuperset(turns):
            copy_columns(block, turns, splats.quats[part])
        else:
            splats.quats[part] = (1, 0, 0, 0)
        if "opacity" in names:
            splats.opacities[part] = sigmoid(np.asarray(block["opacity"], np.float32))
        else:
            splats.opacities[part] = np.clip(_unit(block["alpha"], types["alpha"]), 0, 1) if "alpha" in names else 1
        if names.issuperset(dc):
            copy_columns(block, dc, splats.colors[part])
        elif names.issuperset(rgb):
            for channel, name in enumerate(rgb):
                splats.colors[part, channel] = (_unit(block[name], types[name]) - 0.5) / SH_C0
        else:
            splats.colors[part] = 0
        if splats.sh_rest is not None:
            copy_columns(block, rest, splats.sh_rest[part].reshape(-1, len(rest)))

    return fill


def _complete_scales(scales: NDArray[np.float32], found: int) -> None:
    """Linear scales of the logarithms in the first `found` columns, in place."""
    np.exp(scales[:, :found], out=scales[:, :found])
    if found == 0:
        scales[:] = 1  # until the spacing of all points is known
    elif found == 1:
        scales[:, 1:] = scales[:, :1]
    elif found == 2:
        scales[:, 2] = THIN * scales[:, :2].min(axis=1)


def _unit(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """Colours or alphas as 0..1: integers by the range of their type, floats as they are."""
    found = np.asarray(values, np.float32)
    return found / np.float32(np.iinfo(dtype).max) if dtype.kind in "iu" else found


# -- where it lies -----------------------------------------------------------------------------------------------------


def _from_origin(splats: Splats, means: NDArray[np.floating], origin: Triple | None, header: Header) -> Splats:
    """With positions counted from `origin`; those of a file that tells its own are counted from there already."""
    said = _said_vector(header, _ORIGIN)
    if origin is None and said is not None:
        return replace(splats, origin=said)
    return from_origin(replace(splats, origin=said or (0.0, 0.0, 0.0)), means, origin)


def _said_axes(header: Header) -> dict[str, Any]:
    """`up` and `axes`: by a comment of the file (legs4d's, nerfstudio's), else by 3DGS's convention."""
    for comment in header.comments:
        found = _UP.fullmatch(comment)
        if not found:
            continue
        word = found[1].strip().lower()
        up = _vector(word)
        if re.fullmatch(r"[+-]?[xyz]", word):
            up = tuple((-1.0 if word[0] == "-" else 1.0) * (axis == word[-1]) for axis in "xyz")
        if up is not None and any(up):
            return {"up": up, "axes": f"as trained: up is {word}, as the file says"}
    return {"up": (0.0, -1.0, 0.0), "axes": AXES}


def _said_vector(header: Header, pattern: re.Pattern[str]) -> Triple | None:
    matches = (pattern.fullmatch(comment) for comment in header.comments)
    return next((vector for found in matches if found and (vector := _vector(found[1]))), None)


def _vector(text: str) -> Any:
    """Three finite numbers, or None."""
    words = text.split()
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        return None
    return numbers if len(numbers) == 3 and np.isfinite(numbers).all() else None


def half_spacing(points: NDArray[np.float32]) -> float:
    """Half the median distance of points [N, 3] from their nearest neighbours, looked for from a few of them; 1 if
    there is only one place."""
    chosen = points[:: max(1, len(points) // SPACING_SAMPLES)][:SPACING_SAMPLES]
    nearest = np.full(len(chosen), np.inf, np.float32)
    step = 1 << 15
    for first in range(0, len(points), step):
        with np.errstate(over="ignore"):
            apart = points[None, first : first + step] - chosen[:, None]
            squares = np.einsum("cpi,cpi->cp", apart, apart)
        squares[squares == 0] = np.inf  # the point itself, and others in the same place
        np.minimum(nearest, squares.min(axis=1), out=nearest)
    found = nearest[np.isfinite(nearest)].astype(np.float64)  # the mean of the two in the middle must not overflow
    return 0.5 * float(np.sqrt(np.median(found))) if len(found) else 1.0
