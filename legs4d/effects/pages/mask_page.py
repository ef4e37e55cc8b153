"""What was found against what is true, on one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.effects.highlight import LUMA
from legs4d.effects.pages.contact_sheet import contact_sheet
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding
from legs4d.grounding.benchmark import camera_of, truths_of
from legs4d.grounding.masks import PixelDecoder, render_views
from legs4d.grounding.metrics import mask_iou
from legs4d.grounding.truth import Truth

RIGHT, EXTRA, MISSED = (0.25, 0.85, 0.35), (0.95, 0.25, 0.2), (0.25, 0.5, 1.0)
"""Colours of what is found and true, only found, only true."""

STRENGTH = 0.65
"""Of the colours over the grey picture."""

ROWS = 6
"""Frames of a page: from a step before the first true one to a step after the last."""

WIDTH = 320
"""Pixels of one picture: true masks may be much larger."""


def write_mask_pages(
    run: Run,
    groundings: list[Grounding],
    truth_folder: str | Path,
    folder: str | Path,
    device: torch.device,
    *,
    per_pixel: bool = False,
) -> list[Path]:
    """Write `masks_<n>.png` for the n-th prompt: a column per camera of its truth, green where right, red where only
    found, blue where missed, each picture with the IoU of its masks.

    Args:
        groundings: of the truth's prompts; others are left out.
        truth_folder: see `grounding.truth`.

    Raises:
        DatasetError: the truth cannot be read or is not about this run.
    """
    pixels = PixelDecoder(run) if per_pixel else None
    truths = truths_of(run, truth_folder)
    written = []
    for number, grounding in enumerate(groundings):
        of_prompt = [truth for truth in truths if truth.prompt == grounding.prompt]
        if of_prompt:
            written.append(Path(folder) / f"masks_{number}.png")
            _write_page(run, grounding, of_prompt, written[-1], pixels, device)
    return written


def _write_page(
    run: Run, grounding: Grounding, truths: list[Truth], path: Path, pixels: PixelDecoder | None, device: torch.device
) -> None:
    held = sorted({frame for truth in truths for frame in truth.masks})
    step = max((held[-1] - held[0]) // (ROWS - 2), 1)
    frames = sorted({f for f in range(held[0] - step, held[-1] + step + 1, step) if 0 <= f < run.num_frames})
    rows: dict[str, list[NDArray[np.floating]]] = {}
    for frame in frames:
        pictures, scores = [], []
        for truth in truths:
            camera = camera_of(run, truth, frame)
            if camera is None:  # it moves, and took no picture then
                pictures.append(np.zeros((*truth.size, 3), np.float32))
                continue
            views = render_views(run, grounding, frame, camera, near=run.info["near"], device=device, pixels=pixels)
            true = truth.masks.get(frame, np.zeros_like(views.mask[0]))
            pictures.append(_shrunk(compared(views.color[0], views.mask[0], true)))
            scores.append(mask_iou(views.mask[0], true))
        told = f"\nIoU {np.mean(scores):.2f}" if scores else ""
        rows[f"frame {frame}{told}"] = pictures
    contact_sheet(
        path, rows, [f"cam {truth.camera}" for truth in truths], title=f"{run.path.name}: {grounding.prompt!r}"
    )


def compared(color: NDArray[np.float32], found: NDArray[np.bool_], true: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A picture [H, W, 3] in grey, with its masks [H, W] against each other in RIGHT, EXTRA and MISSED."""
    picture = np.repeat((np.clip(color, 0, 1) @ LUMA)[..., None], 3, axis=-1)
    for where, paint in ((found & true, RIGHT), (found & ~true, EXTRA), (~found & true, MISSED)):
        picture[where] += STRENGTH * (np.array(paint, np.float32) - picture[where])
    return np.asarray(picture, np.float32)


def _shrunk(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most WIDTH pixels wide."""
    from PIL import Image

    height, width, _ = picture.shape
    if width <= WIDTH:
        return picture
    small = Image.fromarray(np.rint(picture * 255).astype(np.uint8)).resize((WIDTH, round(height * WIDTH / width)))
    return np.asarray(small, np.float32) / np.float32(255)
