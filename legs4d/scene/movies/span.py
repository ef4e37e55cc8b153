"""Which frames of a video, a folder of pictures or a run count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from legs4d.errors import DatasetError

FOLDER_FPS = 24.0
"""Pictures a second of a folder, where nobody says."""


def chosen_span(frames: Sequence[int] | None, count: int, path: Path) -> range:
    """The frames that were asked for.

    Args:
        frames: first and last that count, both included, counted from 0; None for all.
        count: of all frames; path: of what has them.

    Raises:
        DatasetError: there are no such frames.
    """
    first, last = frames or (0, count - 1)
    if not 0 <= first <= last < count:
        fix = f"write FIRST:LAST within 0:{count - 1}"
        raise DatasetError(f"has no frames {first} to {last}", where=str(path), fix=fix)
    return range(first, last + 1)
