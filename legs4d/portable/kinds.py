"""What a file is by its first bytes, to tell when a name says something else."""

from __future__ import annotations

from pathlib import Path

from .splats import SplatFileError

SPLAT_FILES = {
    ".ply": "ply",
    ".spz": "spz",
    ".sog": "sog",
    ".splat": "splat",
    ".glb": "gltf",
    ".gltf": "gltf",
    ".usd": "usd",
    ".usda": "usd",
    ".usdc": "usd",
    ".usdz": "usd",
}
"""Suffix → format, of all files of splats that are read, here or by the library."""

_LFS, _PAGE = b"version https://git-lfs", b"<"
_STARTS = (
    (b"ply\n", "a .ply file"),
    (b"ply\r", "a .ply file"),
    (b"NGSP", "an .spz file of version 4"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file"),
    (b"glTF", "a .glb file"),
    (b"PXR-USDC", "a USD file"),
    (b"#usda", "a USD file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"RIFF", "a WebP, AVI or WAV file"),
    (b"\x93NUMPY", "an .npy file"),
    (b"{", "a JSON file"),
    (_PAGE, "a web page or XML file"),
    (_LFS, "a Git LFS pointer: its content was never fetched"),
)


def kind_of(start: bytes) -> str | None:
    """A name for what starts like this, None where nothing is known."""
    return next((name for magic, name in _STARTS if start.startswith(magic)), None)


def size_of(path: Path) -> int:
    """Bytes of a file.

    Raises:
        SplatFileError: there is none, or nothing is in it.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise SplatFileError(what, where=str(path), fix="name a file of splats")
    size = path.stat().st_size
    if size == 0:
        raise SplatFileError("is empty (0 bytes)", where=str(path), fix="copy or export it again")
    return size


def wrong_kind(path: Path, start: bytes, expected: str) -> SplatFileError:
    """What to raise for a file that does not start as its name says."""
    found = kind_of(start)
    what = f"is no {expected} file but {found}" if found else f"is no {expected} file"
    fix = "give it its right name" if found else "export it again"
    if start.startswith(_LFS):
        fix = "run `git lfs pull` where it was cloned"
    elif start.startswith(_PAGE):
        fix = "download it again: what came was the page around it"
    return SplatFileError(what, where=str(path), fix=fix)


def cut_short(path: Path, found: int, wanted: int) -> SplatFileError:
    """What to raise for a file of `found` bytes whose header needs `wanted`."""
    return SplatFileError(
        f"is cut short: it has {found} bytes of the {wanted} that its header tells of",
        where=str(path),
        fix="copy or export it again",
    )


def unreadable(path: Path, error: OSError) -> SplatFileError:
    """What to raise where the operating system refuses."""
    reason = error.strerror or str(error)
    return SplatFileError(f"cannot be read ({reason})", where=str(path), fix="check the file and what you may read")
