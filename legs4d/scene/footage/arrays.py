"""What may go wrong when numpy reads a file that is damaged."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

ARRAY_ERRORS = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, SyntaxError, MemoryError, OverflowError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
)
"""Of `np.load` and of taking an array from an archive: headers are Python literals, archives may be encrypted."""
