"""Splat files that need no more than numpy to be read, by their names."""

from __future__ import annotations

from pathlib import Path

from .ply.file import read_ply
from .splat import read_splat
from .splats import SplatFileError, Splats
from .spz import read_spz
from .values import Triple, from_origin

SUFFIXES = (".ply", ".spz", ".splat")
"""Of the names that `read_splats` knows, in lower case."""


def read_splats(path: Path, *, origin: Triple | None = None) -> Splats:
    """Read a file whole, whatever its format.

    Args:
        path: a name that ends in one of `SUFFIXES`, in capitals or not.
        origin: what to take off all positions, so that the files of a sequence have one; None: found by each alone.

    Raises:
        SplatFileError: see the format's reader; or the name has another ending.
    """
    suffix = path.suffix.lower()
    if suffix == ".ply":
        return read_ply(path, origin=origin)
    if suffix not in SUFFIXES:
        raise SplatFileError(f"ends in {suffix or 'nothing'}, known are {', '.join(SUFFIXES)}", where=str(path))
    found = read_spz(path) if suffix == ".spz" else read_splat(path)
    return from_origin(found, found.means, origin)
