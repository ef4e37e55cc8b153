"""The stage `births`: a run is given what its clip reveals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.config import BirthSettings
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.births.births import reveal
from legs4d.reconstruct.births.clip import Clip


def find_births(run: Run, clip: Clip, settings: BirthSettings, context: Context) -> None:
    """Find what a clip reveals, lay the run out with it, and record `births` as finished.

    Raises:
        Stopped: the stop signal is set; the run's Gaussians are as they were.
    """
    found = reveal(clip, settings, context)
    writing = context.reporter("writing_frames")

    def moving(frame: int) -> dict[str, NDArray[np.float32]]:
        writing.step(frame, run.num_frames)
        gaussians = found.dynamic(frame)
        return {name: getattr(gaussians, name) for name in ("means", "quats", "colors")}

    run.set_info(births=found.counts)
    run.lay_out_again(
        found.static,
        found.dynamic(0),
        moving,
        born=found.born,
        died=found.died,
        seen=found.seen,
        finishes="births",
    )
    writing.step(run.num_frames, run.num_frames)
