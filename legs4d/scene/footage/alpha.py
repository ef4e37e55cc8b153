"""Whether the pictures' alpha channels are masks."""

from __future__ import annotations

import numpy as np

from legs4d.scene.footage.shots import Shot
from legs4d.scene.images import read_picture

LOOKED_AT = 16
"""Pictures whose alpha is read, spread over time; of many cameras one frame's."""
MOST = 0.5
"""Share of the pictures that have an alpha channel, if it means something."""


def tells_by_alpha(frames: list[list[Shot]]) -> tuple[bool, tuple[str, ...]]:
    """Whether training pictures have alpha that is not opaque everywhere, and a note where only some have it.

    A picture without such a channel is opaque: programs that make files smaller leave out a channel that says nothing.
    """
    shots = [shot for frame in frames for shot in frame]
    count = sum(shot.has_alpha for shot in shots)
    if not count:
        return False, ()
    with_alpha = [[shot for shot in frame if shot.has_alpha] for frame in frames]
    shown = [frame for frame in with_alpha if frame]
    spread = np.linspace(0, len(shown) - 1, max(1, LOOKED_AT // max(len(frames[0]), 1))).round().astype(int)
    read = (read_picture(shot.picture) for at in dict.fromkeys(spread) for shot in shown[at] if shot.picture)
    if not any(p.shape[2] == 4 and bool((p[..., 3] < np.iinfo(p.dtype).max).any()) for p in read):
        return False, ()
    if count == len(shots):
        return True, ()
    if count < MOST * len(shots):
        return False, (f"The alpha channel that some training pictures have ({count} of {len(shots)}) is not used.",)
    lacking = len(shots) - count
    return True, (f"Training pictures without alpha channel ({lacking} of {len(shots)}) count as opaque everywhere.",)
