"""The Grounding-PanopticSports benchmark: prompts with true masks, a table of how near a run comes to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.gaussians.store.run import Run
from legs4d.grounding.masks import PixelDecoder, render_views
from legs4d.grounding.metrics import mask_accuracy, temporal_iou, volume_iou
from legs4d.grounding.query import Grounding, query
from legs4d.grounding.truth import Truth, read_truth
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Split

if TYPE_CHECKING:
    import torch

VIOU_LEVELS = (0.3, 0.5)
"""vIoU@R is the share of rows whose vIoU is above R."""


@dataclass(frozen=True)
class Row:
    """One prompt on one camera; all values in 0..1 (see `metrics`)."""

    prompt: str
    camera: int
    tiou: float
    viou: float
    accuracy: float


def evaluate(
    run: Run,
    folder: str | Path,
    context: Context = QUIET,
    *,
    per_pixel: bool = False,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Ask a run every prompt of a benchmark folder, and compare with the true masks, at their size.

    Args:
        run: with language; its cameras must be those of the truth, at any size.
        folder: see `truth`.
        per_pixel: whether masks are of relevancy decoded per pixel, as in the paper, in place of per Gaussian.
        device: where masks are rendered.

    Returns:
        JSON values: `rows`, a list of {prompt, camera, tiou, viou, accuracy}; `mean`, {tiou, viou, accuracy,
        "viou@0.3", "viou@0.5"} over the rows, and `per_prompt`, {prompt: the same over its rows}; `prompts`, what was
        found: {prompt: {intervals, relevancy, warnings}}.

    Raises:
        DatasetError: the folder cannot be used, or is not about this run.
        RunError, PromptError: as `query`.
    """
    truths = truths_of(run, folder)
    groundings = {g.prompt: g for g in query(run, list(dict.fromkeys(truth.prompt for truth in truths)))}
    reporter = context.reporter("grounding")
    pixels = PixelDecoder(run) if per_pixel else None
    rows: list[Row] = []
    for prompt, group in groupby(truths, key=lambda truth: truth.prompt):
        of_prompt = list(group)
        found = _found_masks(run, groundings[prompt], of_prompt, pixels, device, reporter)
        rows += [_row(truth, masks) for truth, masks in zip(of_prompt, found, strict=True)]
    return {
        "rows": [asdict(row) for row in rows],
        "mean": mean_of(rows),
        "per_prompt": {prompt: mean_of([row for row in rows if row.prompt == prompt]) for prompt in groundings},
        "prompts": {
            prompt: {
                "intervals": [asdict(i) for i in g.intervals],
                "relevancy": g.relevancy.tolist(),
                "warnings": list(g.warnings),
            }
            for prompt, g in groundings.items()
        },
    }


def mean_of(rows: list[Row]) -> dict[str, float]:
    """Means over rows, and the share of them above each of VIOU_LEVELS."""
    mean = {name: float(np.mean([getattr(row, name) for row in rows])) for name in ("tiou", "viou", "accuracy")}
    return mean | {f"viou@{level}": float(np.mean([row.viou > level for row in rows])) for level in VIOU_LEVELS}


def _row(truth: Truth, found: dict[int, NDArray[np.bool_]]) -> Row:
    return Row(
        truth.prompt,
        truth.camera,
        temporal_iou(found, truth.masks),
        volume_iou(found, truth.masks),
        mask_accuracy(found, truth.masks),
    )


def _found_masks(
    run: Run,
    grounding: Grounding,
    truths: list[Truth],
    pixels: PixelDecoder | None,
    device: str | torch.device,
    reporter: StageReporter,
) -> list[dict[int, NDArray[np.bool_]]]:
    """Per truth, the frames in which the prompt was found and its masks there."""
    frames = [frame for frame in range(run.num_frames) if grounding.holds(frame)]
    found: list[dict[int, NDArray[np.bool_]]] = [{} for _ in truths]
    for truth in truths:  # none is of another capture
        camera_of(run, truth, 0)
    for done, frame in enumerate(frames):
        reporter.step(done, len(frames))
        for masks, truth in zip(found, truths, strict=True):
            camera = camera_of(run, truth, frame)
            if camera is None:  # it moves, and took no picture then: nobody can say what it would have shown
                continue
            views = render_views(run, grounding, frame, camera, near=run.info["near"], device=device, pixels=pixels)
            masks[frame] = views.mask[0]
    reporter.step(len(frames), len(frames))
    return found


def truths_of(run: Run, folder: str | Path) -> list[Truth]:
    """The truths of a benchmark folder, with frames counted as the run does.

    Raises:
        DatasetError: the folder cannot be used, or is not about this run.
    """
    return [_in_run(truth, run) for truth in read_truth(folder)]


def _in_run(truth: Truth, run: Run) -> Truth:
    """The same with frames counted as the run does, without those of the capture that it has not got."""
    index = {number: frame for frame, number in enumerate(run.info["frame_numbers"])}
    masks = {index[number]: mask for number, mask in truth.masks.items() if number in index}
    if not masks:
        numbers = sorted(truth.masks)
        raise DatasetError(
            f"the true masks are of frames {numbers[0]} to {numbers[-1]}, the run has {min(index)} to {max(index)}",
            where=f"{truth.prompt}, camera {truth.camera}",
            fix="evaluate a run of the same capture",
        )
    return Truth(truth.prompt, truth.camera, masks)


def camera_of(run: Run, truth: Truth, frame: int) -> Cameras | None:
    """The run's camera of this number in a frame, at the size of the true masks; None where it moves and took no
    picture then.

    Raises:
        DatasetError: it has none, or one of another shape.
    """
    one = _camera_at_run_size(run, truth, frame)
    if one is None:
        return None
    height, width = truth.size
    resized = one.scaled(width / one.width)
    if (resized.height, resized.width) != (height, width):
        raise DatasetError(
            f"the true masks are {width}×{height}, camera {truth.camera} has the shape of {one.width}×{one.height}",
            where=truth.prompt,
            fix="evaluate a run of the same capture",
        )
    return resized


def _camera_at_run_size(run: Run, truth: Truth, frame: int) -> Cameras | None:
    splits: tuple[Split, ...] = ("test", "train") if run.has_test_cameras else ("train",)
    for split in splits:
        cameras = run.cameras(split, frame)
        if truth.camera in cameras.ids:
            return cameras.take([cameras.ids.index(truth.camera)])
    tracks = [track for split in splits if (track := run.track(split)) is not None]
    if any(truth.camera in track.cameras.ids for track in tracks):
        return None
    raise DatasetError(
        f"the run has no camera {truth.camera}", where=truth.prompt, fix="evaluate a run of the same capture"
    )
