"""The benchmark's scores as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

METRICS = {"tiou": ("tIoU", "#3a7bd5"), "viou": ("vIoU", "#f5a623"), "accuracy": ("accuracy", "#9b9b9b")}
INCHES_PER_ROW, MARGIN_INCHES, INCHES_HIGH, DPI = 0.8, 2.0, 3.6, 120


def metrics_plot(path: str | Path, result: dict[str, Any]) -> None:
    """Plot `grounding.benchmark.evaluate`'s rows, a group of bars for each prompt and camera, and their mean.

    Args:
        path: .png, .svg or .pdf.
    """
    from matplotlib.figure import Figure

    rows = [*result["rows"], {"prompt": "", "camera": "mean", **result["mean"]}]
    figure = Figure((MARGIN_INCHES + INCHES_PER_ROW * len(rows), INCHES_HIGH), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(METRICS)
    for number, (name, (label, color)) in enumerate(METRICS.items()):
        places = np.arange(len(rows)) + (number - (len(METRICS) - 1) / 2) * width
        axes.bar(places, [row[name] for row in rows], width, label=label, color=color)
    for level in (0.3, 0.5):
        axes.axhline(level, color="black", linewidth=0.6, linestyle=":")
    axes.set(ylim=(0, 1.05), xticks=range(len(rows)))
    axes.set_xticklabels([str(row["camera"]) for row in rows])
    for prompt in dict.fromkeys(row["prompt"] for row in result["rows"]):
        where = [i for i, row in enumerate(rows) if row["prompt"] == prompt]
        axes.text(float(np.mean(where)), -0.16, prompt, ha="center", va="top", fontsize=8, wrap=True)
    axes.set_xlabel("camera", labelpad=22)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(METRICS), frameon=False)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=DPI)
