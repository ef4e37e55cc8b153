"""Extraction in a process of its own while Gaussians are tracked, which leaves cores idle where pictures are small.

The process writes the grids that the extract stage would write, timestep by timestep; the stage goes on from what is
there. It yields to whatever else runs, and ends with whoever started it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread

import torch

from legs4d.config import ExtractSettings
from legs4d.context import Context
from legs4d.executor import IN_ORDER, default_threads
from legs4d.gaussians.store.files import forget_unfinished
from legs4d.gaussians.store.run import Run
from legs4d.language.embedding.extract import Extractor, describe, reopening
from legs4d.language.embedding.features import CropEncoder
from legs4d.language.embedding.grids import GridStore
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.sequence import Sequence

MOST_PIXELS = 100_000
"""Of all training pictures of a frame: of more, tracking's kernels keep the cores busy themselves."""
LEAST_FRAMES = 48
"""Of fewer, starting Python and torch costs more than is gained."""
YIELDS = 10
"""Added to the process's nice value."""
_PROGRAM = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); pickle.load(sys.stdin.buffer)()"


def pays(sequence: Sequence, context: Context, device: torch.device) -> bool:
    """Whether tracking leaves enough idle that another process can use, which reads the footage by itself."""
    cameras = sequence.cameras("train", 0)
    return (
        device.type == "cpu"
        and context.executor is IN_ORDER
        and default_threads() > 1
        and sequence.num_frames >= LEAST_FRAMES
        and len(cameras) * cameras.height * cameras.width <= MOST_PIXELS
        and not isinstance(sequence, MotionMasks)
    )


@contextmanager
def extracting(
    run: Run, sequence: Sequence, encoder: CropEncoder, settings: ExtractSettings, device: torch.device
) -> Iterator[None]:
    """Extract beside what the block does; where it has ended, so has this, however far it has come.

    Args:
        run: knows its footage; the caller holds its lock, and writes no features meanwhile.
    """
    store = GridStore.begin(run.path, describe(sequence, encoder, settings))
    work = partial(_work, reopening(store, encoder, settings, device), settings.block)
    # What it has to say is said again by the stage, which does what is missing.
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # a terminal's Ctrl-C is for this process alone
        bufsize=0,
    )
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):  # it could not begin
            process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(work))
        yield
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        forget_unfinished(store.path)


def _work(opened: Callable[[], Extractor], block: int) -> None:
    """What the process does."""
    Thread(target=_end_with_starter, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(YIELDS)
    torch.set_num_threads(1)
    extractor = opened()
    for first in range(0, len(extractor.store.description.timesteps), block):
        extractor.extract_block(first)


def _end_with_starter() -> None:
    sys.stdin.buffer.read()  # until its other end is closed, or has died
    os._exit(0)
