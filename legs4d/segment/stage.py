"""Segments of a run: which masks are taken, and the work from them to what is stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, RunError
from legs4d.executor import default_threads
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.footage import cameras_taken, find_footage
from legs4d.gaussians.store.run import Run
from legs4d.raster.lift import has_cuda_kernels
from legs4d.scene.sequence import Sequence
from legs4d.segment.lifting import lift_masks
from legs4d.segment.masks.frame_masks import FrameMasks
from legs4d.segment.masks.sources import NAMED, SAM_FOLDER, ForegroundMasks, MaskFiles, MaskSource, ObjectMasks
from legs4d.segment.neighbours import Neighbours
from legs4d.segment.segments import Segments, num_slots, slots_of, write_segments
from legs4d.segment.tree import TreeSettings, make_segments, segments_of_shares
from legs4d.segment.views import near_of

if TYPE_CHECKING:
    from legs4d.segment.trained.training import FeatureSettings

STAGE = "segments"
MOST_FRAMES = 4
"""Of a run whose masks have no identities: each pair of masks is compared, and ids are the same in all frames."""


def find_masks(
    run: Run, wanted: str = "auto", dataset: str | Path | None = None, context: Context = QUIET
) -> MaskSource:
    """The masks that a run's segments are made of.

    Args:
        wanted: "objects", "foreground", "priors" (what helpers cut out of its pictures), a folder, or "auto": the
            footage's objects, else its sam_masks/, else its foreground.
        dataset: where the footage is now, if not where it was last.

    Raises:
        DatasetError: there are no such masks; RunError: there is no footage to ask.
    """
    if wanted not in NAMED:
        folder = Path(wanted)
        if not folder.is_dir():
            raise DatasetError("is no folder with masks", where=wanted, fix=f"give one, or {', '.join(NAMED[1:])}")
        return _files_of(run, folder, dataset, context)
    if "dataset" not in run.info and dataset is None:
        raise RunError(
            "was not made from footage, so there are no masks of it",
            where=str(run.path),
            fix="give masks of `legs4d render RUN --cameras train` by --masks FOLDER",
        )
    sequence = find_footage(run, dataset, context)
    if wanted == "priors":
        from legs4d.reconstruct.stages import choose_device  # torch
        from legs4d.segment.masks.cut_out import open_cut_out

        return open_cut_out(run, sequence, choose_device(context.engine).type, context.reporter(STAGE).check)
    if wanted in ("auto", "objects") and sequence.objects("train", 0, []) is not None:
        return ObjectMasks(run, sequence)
    if wanted == "objects":
        fix = "find them by `legs4d objects`, or give --masks FOLDER"
        raise DatasetError("has no object masks", where=str(sequence.root), fix=fix)
    if wanted == "auto" and (sequence.root / SAM_FOLDER).is_dir():
        return _files_of(run, sequence.root, dataset, context)
    if sequence.masks("train", 0, []) is not None:
        return ForegroundMasks(run, sequence)
    raise DatasetError("has no masks", where=str(sequence.root), fix="give --masks FOLDER")


def _files_of(run: Run, folder: Path, dataset: str | Path | None, context: Context) -> MaskFiles:
    sequence: Sequence | None = None
    if "dataset" in run.info or dataset is not None:
        sequence = find_footage(run, dataset, context)
    numbers = [int(n) for n in run.info.get("frame_numbers", range(run.num_frames))]
    if sequence is None:
        cameras = run.cameras("train")
        return MaskFiles(folder, lambda frame: cameras, lambda frame: [str(numbers[frame])] * len(cameras), numbers)
    there = sequence
    return MaskFiles(
        folder,
        lambda frame: cameras_taken(run, there, frame),
        lambda frame: there.picture_names("train", frame),
        there.frame_numbers,
    )


def segment_run(
    run: Run,
    source: MaskSource,
    settings: TreeSettings | None = None,
    context: Context = QUIET,
    *,
    frames: range | None = None,
    trained: FeatureSettings | None = None,
) -> Segments:
    """Make the segments of a run, and store them in place of those that it has.

    Args:
        source: of masks.
        frames: of which masks are taken; by default all, or MOST_FRAMES where masks have no identities, or are trained.
        trained: make them of features that are trained so, as SAGA does, instead of in closed form.

    Raises:
        RunError: the run has not all its frames; another process writes it.
        DatasetError: masks cannot be used, or none of them says anything.
        Stopped: the context's stop was set; nothing is changed then.
    """
    run.require_geometry()
    started = time.perf_counter()
    with run.lock_unchanged():
        pass  # who may not write, or not now, is told before the work
    chosen = chosen_frames(source, frames, fewer=trained is not None)
    if not chosen:
        raise DatasetError("has no masks of these frames", where=source.name, fix="choose others by --frames")
    reporter = context.reporter(STAGE)
    told = {"masks": 0, "left_out": 0, "pictures": 0}
    seen: list[tuple[Gaussians, FrameMasks]] = []
    """For training, which goes through them again and again."""

    def each() -> Iterator[tuple[Gaussians, FrameMasks]]:
        for done, frame in enumerate(chosen):
            reporter.step(done, len(chosen))
            masks = source.masks(frame)
            told["masks"] += len(masks)
            told["left_out"] += masks.left_out
            told["pictures"] += len(masks.cameras)
            gaussians = run.frame(frame)
            if trained is not None:
                seen.append((gaussians, masks))
            yield gaussians, masks

    threads = default_threads()
    evidence = lift_masks(
        each(),
        lambda frame: slots_of(run, frame),
        num_slots(run),
        near_of(run),
        device=lift_device(context.engine),
        threads=threads,
    )
    if not told["masks"]:
        raise DatasetError(
            f"has {told['left_out']} masks, and none that says anything: they have no pixels, or all",
            where=source.name,
            fix="give masks of things",
        )
    if told["left_out"]:
        context.tell(f"{told['left_out']} masks were left out: they have hardly any pixels, or all of a picture.")
    places, around = _placed(run, chosen)
    reporter.check()
    made: dict[str, Any] = {"source": source.name, "frames": [int(f) for f in chosen], **told}
    if trained is None:
        segments = make_segments(evidence, places, around, settings, made)
    else:
        from legs4d.segment.trained.stage import forget, trained_shares  # torch

        made |= {"method": "trained", "steps": trained.steps, "rays": trained.rays}
        shares = trained_shares(run, seen, evidence, near_of(run), trained, context)
        segments = segments_of_shares(shares, evidence.mass, places, around, settings or TreeSettings(), made)
    if not len(segments):
        raise DatasetError(
            "no two pictures agree on any of its masks" if trained is None else "training told no thing from another",
            where=source.name,
            fix="give masks of more pictures",
        )
    reporter.step(len(chosen), len(chosen))
    segments.made["seconds"] = round(time.perf_counter() - started, 2)
    with run.lock_unchanged():
        write_segments(run, segments)
        if trained is not None:
            forget(run)
    return segments


def lift_device(engine: str) -> str:
    """The device of an engine: "cpu", "cuda", or "auto" for CUDA where csrc/cuda is built and there is one."""
    if engine == "cpu" or (engine == "auto" and not has_cuda_kernels()):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def chosen_frames(source: MaskSource, frames: range | None, *, fewer: bool = False) -> list[int]:
    """Those of which masks are taken; `fewer` where masks have identities, too."""
    there = [frame for frame in source.frames() if frames is None or frame in frames]
    if (source.has_identities and not fewer) or frames is not None or len(there) <= MOST_FRAMES:
        return there
    return [there[i] for i in np.unique(np.linspace(0, len(there) - 1, MOST_FRAMES).round().astype(int))]


def _placed(run: Run, frames: list[int]) -> tuple[NDArray[np.float32], Neighbours]:
    """[G, 3] where Gaussians are: those with ids in the first of the frames, loose ones in their own; and which are
    beside each other, loose ones of different frames never."""
    first = run.frame(frames[0])
    if not run.has_loose:
        return np.asarray(first.means, np.float32), Neighbours.of(first, threads=default_threads())
    places = np.zeros((num_slots(run), 3), np.float32)
    extent = float(np.ptp(first.means, axis=0).max()) * 10
    parts, where = [], []
    for at, frame in enumerate(frames):
        gaussians, slots = run.frame(frame), slots_of(run, frame)
        if at:
            loose = np.arange(run.num_gaussians, len(slots))
            gaussians, slots = gaussians.take(loose), slots[loose]
        places[slots] = gaussians.means
        parts.append(gaussians.replace(means=gaussians.means + np.array([at * extent, 0, 0], np.float32)))
        where.append(slots)
    return places, Neighbours.of(concatenate(*parts), threads=default_threads()).at(np.concatenate(where), len(places))
