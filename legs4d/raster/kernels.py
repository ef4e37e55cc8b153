"""Whether kernels can be compiled here."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec


@cache
def has_triton() -> bool:
    """torch comes with it on Linux, not on Windows."""
    return find_spec("triton") is not None
