"""What the `legs4d` command shows: progress on stderr, results on stdout, errors as one sentence."""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from legs4d.errors import Legs4dError, disk_is_full
from legs4d.progress import OnProgress, Progress, duration

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

LINE_SECONDS = 10.0
"""Without a terminal, progress is a line no more often than this."""


class SentenceGroup(TyperGroup):
    """Commands whose errors a person can read: exit code 1 and a sentence, 130 on Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Legs4dError as error:
            sentence, code = str(error), EXIT_ERROR
        except OSError as error:
            if not disk_is_full(error):
                raise
            where = f"the disk of {error.filename}" if error.filename else "the disk"
            cure = "free some and run the same command again: what is finished is kept."
            sentence, code = f"No space is left on {where}; {cure}", EXIT_ERROR
        except KeyboardInterrupt:
            sentence, code = "Stopped; run the same command again to resume.", EXIT_INTERRUPTED
        # Out here nothing holds the stopped work any more: an interpreter that ended with it would tell of leaks.
        gc.collect()
        say(sentence)
        raise typer.Exit(code)


def say(text: str) -> None:
    """A line for the person, not for a program: on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The only thing on stdout, for a program. Values that are not finite are null, as JSON knows no NaN."""
    print(json.dumps(_without_nan(value), ensure_ascii=False))


_GROUNDING = ("tiou", "viou", "accuracy", "viou@0.3", "viou@0.5")


def print_scores(result: dict[str, Any]) -> None:
    """What `legs4d eval` found, as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    pictures = Table("test camera", "PSNR dB", "gain fitted", "SSIM", "LPIPS", title="Pictures")
    fitted = result["gain_fitted"]
    for camera, value in result["per_camera"].items():
        images = [image for image in result["images"] if str(image["camera"]) == camera]
        others = (_number(_mean([image[name] for image in images]), 3) for name in ("ssim", "lpips"))
        pictures.add_row(camera, f"{value:.2f}", f"{fitted['per_camera'][camera]:.2f}", *others)
    frames = result["per_frame"]
    seen = [frame for frame, value in enumerate(frames) if value is not None]
    for frame in sorted({seen[0], seen[(len(seen) - 1) // 2], seen[-1]}):
        images = [image for image in result["images"] if image["frame"] == frame]
        others = (_number(_mean([image[name] for image in images]), 3) for name in ("ssim", "lpips"))
        pictures.add_row(f"frame {frame}", f"{frames[frame]:.2f}", f"{fitted['per_frame'][frame]:.2f}", *others)
    whole = (f"{result['psnr']:.2f}", f"{fitted['psnr']:.2f}", f"{result['ssim']:.3f}", _number(result["lpips"], 3))
    pictures.add_row("mean", *whole, style="bold")
    console.print(pictures)
    if "tracking" in result:
        console.print(_tracking_table(result["tracking"]))
    if "grounding" not in result:
        return
    places = Table("prompt", "camera", "tIoU", "vIoU", "accuracy", "vIoU@0.3", "vIoU@0.5", title="Grounding")
    found = result["grounding"]
    for prompt, mean in found["per_prompt"].items():
        for row in (row for row in found["rows"] if row["prompt"] == prompt):
            places.add_row(prompt, str(row["camera"]), *(f"{row[k]:.2f}" for k in ("tiou", "viou", "accuracy")))
        places.add_row(prompt, "mean", *(f"{mean[k]:.2f}" for k in _GROUNDING), style="italic", end_section=True)
    places.add_row("mean", "", *(f"{found['mean'][k]:.2f}" for k in _GROUNDING), style="bold")
    console.print(places)


def _tracking_table(tracking: dict[str, Any]) -> Any:
    from rich.table import Table

    title = f"Object {tracking['object']}, followed by {tracking['gaussians']} Gaussians"
    table = Table("frames", "Gaussians' mean px", "carried middle px", "seen middle px", "IoU", "on it", title=title)
    names = ("px", "carried_px", "rendered_px", "iou", "on_object")
    digits = (1, 1, 1, 2, 2)
    frames = tracking["per_frame"]
    for row in (frames[0], frames[len(frames) // 2], frames[-1]):
        table.add_row(str(row["frame"]), *(_number(row[name], d) for name, d in zip(names, digits, strict=True)))
    medians = ("median_px", "median_carried_px", "median_rendered_px", "iou", "on_object")
    whole = (_number(tracking[name], d) for name, d in zip(medians, digits, strict=True))
    table.add_row("all", *whole, style="bold")
    table.caption = f"{tracking['stayed']:.0%} of them stayed on it"
    return table


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


@contextmanager
def progress_display() -> Iterator[OnProgress]:
    """Shows what it is called with: a bar on a terminal, a line now and then where stderr is a file or a pipe."""
    if not sys.stderr.isatty():
        yield _LineProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage.replace("_", " "), note="")
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total, note=_note(progress))

        yield show


class _LineProgress:
    def __init__(self) -> None:
        self._stage, self._last = "", 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        done = progress.done >= progress.total
        if progress.stage == self._stage and now - self._last < LINE_SECONDS and not done:
            return
        self._stage, self._last = progress.stage, now
        say(f"{progress.stage.replace('_', ' ')} {progress.done}/{progress.total} {_note(progress)}".rstrip())


def _note(progress: Progress) -> str:
    parts = []
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    if hasattr(value, "item"):  # a numpy number
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
