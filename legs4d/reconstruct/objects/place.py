"""Which of a run's Gaussians are which object, and where each object is in every frame.

Object masks, given or found, vote: a Gaussian is of the object that most of the pixels which it fills show. An object's
pose is the rigid motion of its Gaussians from the frame in which most of it shows, where it is not turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.gaussians.formats.placing import quaternions, unbroken
from legs4d.gaussians.objects import Objects, read_objects, write_objects
from legs4d.gaussians.rigid import fit_rigid
from legs4d.gaussians.store.footage import cameras_taken
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.priors.objects.folder import FoundObject, read_table
from legs4d.progress import StageReporter
from legs4d.reconstruct.objects.votes import elected, votes_of
from legs4d.scene.content import digest_of
from legs4d.scene.found_objects import FoundObjects
from legs4d.scene.sequence import Sequence

STAGE = "objects"
VERSION = 1
"""Of this stage's code: raise it when the same run and masks give other objects."""
VOTES = 24
"""Frames, spread evenly, in which masks vote on Gaussians."""
SHOWN = 4
"""Pixels over all views of a frame, at the size of the reconstruction, from which an object is there."""
ROUNDS = 4
"""Of a fit in which what is farther off counts less: hands and feet move otherwise than the body."""


def objects_stage(run: Run, sequence: Sequence) -> MadeFrom:
    """All that a run's objects are made from, as far as it is there."""
    inputs = {"objects": masks_digest(sequence)}
    if run.layout is not None:
        inputs["geometry"] = run.layout.fingerprint
    return MadeFrom.of({}, VERSION, inputs)


def masks_digest(sequence: Sequence) -> str:
    """Of the masks alone: captions lie among what language is made from, too."""
    named = sequence.content.hashes() | sequence.content.hashes(language=True)
    return digest_of({name: value for name, value in named.items() if "objects" in name.split("/")[:-1]})


def place_objects(run: Run, sequence: Sequence, context: Context = QUIET) -> None:
    """Tell a run which Gaussians are which object, and where these are; nothing where it is told already.

    What the user called an object by its id is kept.

    Args:
        run: with its geometry finished; the caller holds its lock.
        sequence: the footage that the run was made from, at the same size, with object masks.

    Raises:
        RunError: the reconstruction is not finished.
        RunDiffers: they were placed by other masks.
        Stopped: it was told to stop; the same call begins again, as this takes seconds.
    """
    run.require_geometry()
    if run.begin_stage(STAGE, objects_stage(run, sequence)).finished:
        return
    with run.timed(STAGE):
        reporter = context.reporter(STAGE)
        pixels = _count(sequence, reporter)
        ids = np.flatnonzero(pixels.any(axis=0))
        marks = _members(run, sequence, ids, pixels, reporter)
        objects = _placed(run, sequence, ids, pixels, marks)
        run.write_marks("object", marks[: run.num_static], marks[run.num_static :])
        write_objects(run, objects)
        run.finish_stage(STAGE)


def _count(sequence: Sequence, reporter: StageReporter) -> NDArray[np.int64]:
    """[T, 256] pixels of each id in a frame's training pictures; of 0, which is none, it says 0."""
    pixels = np.zeros((sequence.num_frames, 256), np.int64)
    for frame in range(sequence.num_frames):
        labels = sequence.objects("train", frame)
        assert labels is not None
        pixels[frame] = np.bincount(labels.reshape(-1), minlength=256)
        reporter.step(frame + 1, 2 * sequence.num_frames)
    pixels[:, 0] = 0
    return pixels


def _members(
    run: Run, sequence: Sequence, ids: NDArray[np.int64], pixels: NDArray[np.int64], reporter: StageReporter
) -> NDArray[np.int64]:
    """[N + M] row in `ids` of the object that each Gaussian with an id belongs to, -1 for none."""
    frames = np.unique(np.linspace(0, run.num_frames - 1, min(VOTES, run.num_frames)).round().astype(int))
    # an object that shows in none of these is asked for when it shows best
    rare = ids[~pixels[frames][:, ids].any(axis=0)]
    frames = np.union1d(frames, pixels[:, rare].argmax(axis=0))
    votes = np.zeros((run.num_gaussians, len(ids) + 1), np.float64)
    for done, frame in enumerate(frames.tolist()):
        labels = sequence.objects("train", frame)
        assert labels is not None
        rig = cameras_taken(run, sequence, frame)
        votes += votes_of(run.frame(frame), rig, labels, ids, run.info["near"])[: run.num_gaussians]
        reporter.step(len(frames) + done + 1, 2 * len(frames))
    return elected(votes, run.frame(0).is_foreground[: run.num_gaussians])


@dataclass(frozen=True)
class _Members:
    """The Gaussians of one object in all frames.

    Attributes:
        means: [T, K, 3].
        weights: [T, K] opacity: 0 where it is not alive.
    """

    means: NDArray[np.float64]
    weights: NDArray[np.float64]


def _placed(
    run: Run, sequence: Sequence, ids: NDArray[np.int64], pixels: NDArray[np.int64], marks: NDArray[np.int64]
) -> Objects:
    """The objects in every frame, with what they are called."""
    frames, count = run.num_frames, len(ids)
    found = _found(sequence)
    before = read_objects(run)
    called = {int(number): name for number, name in run.info.get("object_names", {}).items()}
    if before is not None:
        called |= dict(zip(before.ids, before.names, strict=True))
    pose = np.zeros((frames, count, 7), np.float32)
    pose[:, :, 3] = 1
    shown = pixels[:, ids]
    for row, (number, members) in enumerate(zip(ids.tolist(), _read(run, marks, count), strict=True)):
        # where nothing can be fitted: where it was found, if it was
        pose[:, row, :3] = _between(found[number], frames) if number in found else 0
        if members.means.shape[1]:
            pose[:, row] = _poses(members, int(shown[:, row].argmax()), pose[:, row])
    names = [called.get(n) or (found[n].name if n in found else "") for n in ids.tolist()]
    ones = np.ones((frames, count), np.float32)
    return Objects(tuple(names), pose, ones, shown >= SHOWN, tuple(ids.tolist()))


def _found(sequence: Sequence) -> dict[int, FoundObject]:
    """id → what `legs4d objects` says of it."""
    if not isinstance(sequence, FoundObjects):
        return {}
    return {one.id: one for one in read_table(sequence.folder)[0]}


def _between(one: FoundObject, frames: int) -> NDArray[np.float64]:
    """[T, 3] where something was found, and between."""
    when = sorted(one.positions)
    where = np.array([one.positions[frame] for frame in when])
    return np.stack([np.interp(np.arange(frames), when, where[:, axis]) for axis in range(3)], axis=1)


def _read(run: Run, marks: NDArray[np.int64], count: int) -> list[_Members]:
    """The Gaussians of each object over time."""
    which = [np.flatnonzero(marks == row) for row in range(count)]
    means: list[list[NDArray[np.float64]]] = [[] for _ in which]
    weights: list[list[NDArray[np.float64]]] = [[] for _ in which]
    for frame in range(run.num_frames):
        gaussians = run.frame(frame)
        for row, members in enumerate(which):
            means[row].append(gaussians.means[members].astype(np.float64))
            weights[row].append(gaussians.opacities[members].astype(np.float64))
    return [_Members(np.stack(m), np.stack(w)) for m, w in zip(means, weights, strict=True)]


def _poses(members: _Members, rest: int, otherwise: NDArray[np.float32]) -> NDArray[np.float32]:
    """[T, 7] the pose in every frame; `otherwise` in those in which none of the Gaussians of frame `rest` is alive."""
    origin = _middle(members.means[rest], members.weights[rest])
    shape = members.means[rest] - origin
    poses = otherwise.copy()
    for frame, (means, weights) in enumerate(zip(members.means, members.weights, strict=True)):
        weight = weights * members.weights[rest]
        if weight.sum() <= 0:
            continue
        for _ in range(ROUNDS):
            fit = fit_rigid(shape, means, weight)
            off = np.linalg.norm(shape @ fit.rotation[0].T + fit.translation[0] - means, axis=1)
            spread = max(_median(off, weights), 1e-9)
            # the weights of Geman and McClure 1987
            weight = weights * members.weights[rest] / (1 + (off / (2 * spread)) ** 2) ** 2
        poses[frame, :3], poses[frame, 3:] = fit.translation[0], quaternions(fit.rotation)[0]
    poses[:, 3:] = unbroken(poses[:, 3:])
    return poses


def _middle(points: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] weighted median along each axis: stray Gaussians do not draw it to them."""
    return np.array([_median(points[:, axis], weights) for axis in range(3)])


def _median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])
