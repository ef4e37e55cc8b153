"""Relevancy over time, with what was found and what is true."""

from __future__ import annotations

from pathlib import Path

from legs4d.grounding.query import Grounding

INCHES_WIDE, INCHES_PER_PROMPT, MARGIN_INCHES, DPI = 9.0, 1.5, 0.7, 120
FOUND, TRUE = "#f5a623", "#3a7bd5"


def timeline(
    path: str | Path, groundings: list[Grounding], truth: dict[str, list[tuple[int, int]]] | None = None
) -> None:
    """Plot one band per prompt into a picture: its curve, its intervals shaded, and true intervals as a bar below.

    Args:
        path: .png, .svg or .pdf.
        groundings: at least one, all of one run.
        truth: prompt → true (first, last) frames, both included; prompts may be missing.
    """
    from matplotlib.figure import Figure

    figure = Figure((INCHES_WIDE, MARGIN_INCHES + INCHES_PER_PROMPT * len(groundings)), layout="constrained")
    bands = figure.subplots(len(groundings), 1, sharex=True, squeeze=False)[:, 0]
    for axes, grounding in zip(bands, groundings, strict=True):
        _band(axes, grounding, (truth or {}).get(grounding.prompt))
    bands[-1].set_xlabel("frame")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=DPI)


def _band(axes, grounding: Grounding, truth: list[tuple[int, int]] | None) -> None:
    frames = range(len(grounding.relevancy))
    for interval in grounding.intervals:
        # A frame is as wide as the step to the next, centred on its number.
        axes.axvspan(interval.start - 0.5, interval.end + 0.5, color=FOUND, alpha=0.35, linewidth=0)
        axes.plot(interval.peak, grounding.relevancy[interval.peak], "v", color="#b36b00", markersize=6)
    axes.plot(frames, grounding.relevancy, color="black", linewidth=1.5, drawstyle="steps-mid")
    for first, last in truth or []:
        axes.axvspan(first - 0.5, last + 0.5, ymin=0, ymax=0.08, color=TRUE, linewidth=0)
    axes.set(xlim=(-0.5, len(frames) - 0.5), ylim=(-0.1, 1.1), ylabel="relevancy", yticks=[0, 0.5, 1])
    legend = "orange: found" + ("; blue: true" if truth is not None else "")
    axes.set_title(f"“{grounding.prompt}”   ({legend})", loc="left", fontsize=10)
