"""Segments of a run by trained features: the yardstick's road through everything that segments are used for."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store import unfinished
from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.stages import choose_device
from legs4d.segment.lifting import Evidence
from legs4d.segment.masks.frame_masks import FrameMasks
from legs4d.segment.trained.clusters import clusters
from legs4d.segment.trained.training import FeatureSettings, FeatureTraining

STAGE = "features"
FILE = "features.npz"
"""In the run folder, while a training goes on."""
KEEP_SECONDS = 20.0
_SHOWN_EVERY = 10
"""Steps; to read the loss is to wait for the GPU."""


def trained_shares(
    run: Run,
    frames: Sequence[tuple[Gaussians, FrameMasks]],
    evidence: Evidence,
    near: float,
    settings: FeatureSettings,
    context: Context = QUIET,
) -> scipy.sparse.csr_array:
    """[G, S] how far each Gaussian belongs to each group of features; what is trained is kept when it is stopped.

    Args:
        frames: numpy Gaussians and masks of their pictures.
        evidence: of the same masks: which Gaussians they show at all.

    Raises:
        RunError: the run has Gaussians that only one frame has, which no other frame's pictures teach.
        DatasetError: no picture has two masks.
        Stopped: the context's stop was set.
    """
    if run.has_loose:
        raise RunError(
            "has Gaussians that only one frame has", where=str(run.path), fix="features need ids: leave out --method"
        )
    device = choose_device(context.engine)
    reporter = context.reporter(STAGE)
    reporter.check()
    training = FeatureTraining([(g.torch(device), masks) for g, masks in frames], near, settings)
    fingerprint = _fingerprint(run, frames, settings)
    before = unfinished.kept(run, fingerprint, FILE)
    if before is not None:
        training.load(before)
        context.tell(f"Features go on from step {training.done} of {settings.steps}.")
    last = time.monotonic()

    def report(done: int, total: int, loss: torch.Tensor | None) -> None:
        nonlocal last
        if time.monotonic() - last > KEEP_SECONDS:
            unfinished.keep(run, fingerprint, training.state(), FILE)
            last = time.monotonic()
        reporter.step(done, total, loss if done % _SHOWN_EVERY == 0 or done == total else None)

    try:
        gated = training.run(report)
    except BaseException:  # stopped, or out of memory: what is trained is worth its minutes
        unfinished.keep(run, fingerprint, training.state(), FILE)
        raise
    unfinished.keep(run, fingerprint, training.state(), FILE)  # until the segments are stored, see `forget`
    return clusters(gated, covered(evidence), settings.seed)


def forget(run: Run) -> None:
    """Delete what is kept of a training, whose segments are stored."""
    unfinished.forget(run, FILE)


def covered(evidence: Evidence) -> NDArray[np.float32]:
    """[G] share of what Gaussians show that some mask has: of each picture the one that has most."""
    pixels = evidence.pixels.tocsc()
    total = np.zeros(len(evidence), np.float32)
    for view in np.unique(evidence.view):
        own = pixels[:, np.flatnonzero(evidence.view == view)]
        most = own.sum(axis=1) if evidence.identity is not None else own.max(axis=1).toarray()
        total += np.asarray(most, np.float32).ravel()
    return np.minimum(total / np.maximum(evidence.mass, np.float32(1e-9)), 1)


def _fingerprint(run: Run, frames: Sequence[tuple[Gaussians, FrameMasks]], settings: FeatureSettings) -> str:
    """Of Gaussians, masks and settings: another one, and what was kept is of no use. More steps go on."""
    digest = hashlib.sha256(json.dumps([run.geometry_id, settings.rays, settings.rate, settings.seed]).encode())
    for gaussians, masks in frames:
        digest.update(np.ascontiguousarray(gaussians.means).tobytes())
        digest.update(np.ascontiguousarray(masks.index).tobytes())
    return digest.hexdigest()
