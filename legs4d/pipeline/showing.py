"""A run as video."""

from __future__ import annotations

from collections.abc import Sequence as Several
from pathlib import Path
from typing import TYPE_CHECKING

from legs4d.context import QUIET, Context
from legs4d.gaussians.store.run import Run
from legs4d.portable.pointing import DEFAULT_SCALE

if TYPE_CHECKING:
    from legs4d.effects.run_video import Layer
    from legs4d.grounding import Grounding


def render(
    run_folder: str | Path,
    out: str | Path,
    context: Context = QUIET,
    *,
    cameras: str = "test",
    grounding: Grounding | None = None,
    layers: Several[Layer] = (),
    fps: float | None = None,
    selections: Several[str] = (),
    without: Several[str] = (),
    scale: float = DEFAULT_SCALE,
    background: str = "auto",
) -> list[Path]:
    """A run as video, and what was written; see `effects.run_video.write_run_video`."""
    run = Run.open(run_folder)
    from legs4d.effects.run_video import write_run_video
    from legs4d.reconstruct.stages import choose_device

    device = choose_device(context.engine)
    return write_run_video(
        run,
        out,
        cameras,
        grounding,
        device,
        context,
        layers=layers,
        selections=selections,
        without=without,
        scale=scale,
        fps=fps,
        background=background,
    )
