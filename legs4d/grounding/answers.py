"""Answers as JSON values and as files, for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legs4d.context import QUIET, Context
from legs4d.gaussians.store.files import clear_write_errors, write_file
from legs4d.gaussians.store.run import Run
from legs4d.grounding.boxes import Axes, boxes_of
from legs4d.grounding.masks import PixelDecoder, box_of, render_views
from legs4d.grounding.query import Grounding
from legs4d.scene.camera import Cameras
from legs4d.segment.choose import Chosen
from legs4d.segment.segments import Segments

if TYPE_CHECKING:
    import torch

_NAME_LENGTH = 100
"""Characters of a prompt that its folder is named by."""


def describe(grounding: Grounding) -> dict[str, Any]:
    """{prompt, intervals: [{start, end, peak, score}], relevancy: [one a frame, 0..1], warnings: [sentence], from,
    seconds}; `from` is as `Grounding.origins`.

    JSON values.
    """
    return {
        "prompt": grounding.prompt,
        "intervals": [
            {"start": int(i.start), "end": int(i.end), "peak": int(i.peak), "score": float(i.score)}
            for i in grounding.intervals
        ],
        "relevancy": grounding.relevancy.tolist(),
        "warnings": list(grounding.warnings),
        "from": dict(grounding.origins),
        "seconds": float(grounding.seconds),
    }


def describe_boxes(run: Run, grounding: Grounding, axes: Axes = Axes.world) -> list[dict[str, Any]]:
    """[{frame, boxes: [{center, axes, size, count}]}] of every frame in which something takes part; JSON values."""
    return [
        {"frame": frame, "boxes": [box.to_json() for box in boxes]}
        for frame, boxes in boxes_of(run, grounding, axes).items()
    ]


def describe_segments(segments: Segments, chosen: Chosen) -> list[dict[str, Any]]:
    """[{number, name, score}] of segments that answer a prompt, the surest first; JSON values."""
    return [
        {"number": number, "name": segments.names[number], "score": round(score, 4)}
        for number, score in zip(chosen.segments, chosen.scores, strict=True)
    ]


def write_masks(
    run: Run,
    grounding: Grounding,
    folder: str | Path,
    cameras: Mapping[int, Cameras],
    context: Context = QUIET,
    *,
    near: float,
    name: str | None = None,
    device: str | torch.device = "cpu",
    pixels: PixelDecoder | None = None,
) -> Path:
    """Write a prompt's masks as the benchmark lays out true ones, so that `truth.read_truth` reads them.

        <folder>/<prompt>/cam<id>/<frame>.png     1-bit, for each frame of the intervals; frames numbered by the dataset
        <folder>/<prompt>/boxes.json              {"cam<id>": {"<frame>": [x1, y1, x2, y2]; null when nothing is seen}}

    Args:
        cameras: frame → C views; frames that are not in it are left out.
        near: near plane, scene units.
        name: the prompt's folder, if not as `folder_name` has it.
        pixels: see `masks.render_views`.

    Returns:
        The prompt's folder.

    Raises:
        RunError: it cannot be written.
        Stopped: `stop` was set; boxes.json is missing then.
    """
    import io

    from PIL import Image

    target = Path(folder) / (name or folder_name(grounding.prompt))
    frames = [frame for frame in range(run.num_frames) if grounding.holds(frame) and frame in cameras]
    numbers = run.info["frame_numbers"]
    boxes: dict[str, dict[str, Any]] = {}
    reporter = context.reporter("masks")
    with clear_write_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        for done, frame in enumerate(frames):
            reporter.step(done, len(frames))
            views = render_views(run, grounding, frame, cameras[frame], near=near, device=device, pixels=pixels)
            for camera, mask in zip(cameras[frame].ids, views.mask, strict=True):
                picture = io.BytesIO()
                Image.fromarray(mask).save(picture, "PNG")
                path = target / f"cam{camera}" / f"{numbers[frame]:06d}.png"
                path.parent.mkdir(exist_ok=True)
                write_file(path, picture.getvalue())
                boxes.setdefault(f"cam{camera}", {})[str(numbers[frame])] = box_of(mask)
        write_file(target / "boxes.json", json.dumps(boxes).encode())
    reporter.step(len(frames), len(frames))
    return target


def folder_names(prompts: Sequence[str]) -> list[str]:
    """A folder of its own for each prompt, also where `folder_name` does not tell them apart: "a?", "A*" → a_, A__2."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    for prompt in dict.fromkeys(prompts):
        name = first = folder_name(prompt)
        number = 1
        while name.casefold() in taken:  # some disks do not tell upper case from lower
            number += 1
            name = f"{first}_{number}"
        taken.add(name.casefold())
        names[prompt] = name
    return [names[prompt] for prompt in prompts]


def folder_name(prompt: str) -> str:
    """A prompt as the benchmark names its folder: with _ for spaces, and for what file names may not have."""
    return re.sub(r"[^\w'.,-]", "_", prompt.strip())[:_NAME_LENGTH].strip(".") or "_"
