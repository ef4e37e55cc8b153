"""Names that file systems, render passes and markers take, of what people type: any signs, any script, any length."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

LONGEST = 63
"""Bytes of the name of a render pass, a marker or a node's socket."""
REFUSED = frozenset('\\/:*?"<>|.')
"""Signs that some file system refuses, or that divide the names of an EXR file's channels."""
RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789")}
)
"""Names of devices on Windows."""


def plain(text: str, otherwise: str = "_") -> str:
    """The text without the signs that file systems refuse; `otherwise` where nothing is left.

    Letters of any script stay, composed as NFC, so that equal names are equal on every disk.
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join("_" if c in REFUSED else c for c in composed if unicodedata.category(c) not in ("Cc", "Cs", "Co"))
    name = " ".join(kept.split())
    if name.lower() in RESERVED:
        name = f"{name}_"
    return name or otherwise


def cut(text: str, size: int = LONGEST) -> str:
    """At most so many bytes of it, whole characters."""
    return text.encode(errors="ignore")[:size].decode(errors="ignore").rstrip()


def distinct(name: str, taken: Collection[str], size: int = LONGEST) -> str:
    """The name within so many bytes, numbered where it is taken: also in other capitals, which many disks do not tell
    apart."""
    known = {one.casefold() for one in taken}
    found, number = cut(name, size), 1
    while found.casefold() in known:
        number += 1
        ending = f" {number}"
        found = f"{cut(name, size - len(ending))}{ending}"
    return found
