"""What was recognised of each object over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from legs4d.effects.pages.plots import plot_file, save_plot
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.motion.recognised import LIKELY
from legs4d.motion.stored import read_motion

INCHES_WIDE, INCHES_PER_ACTION, MARGIN_INCHES = 9.0, 0.42, 0.8


def actions_page(path: str | Path, run: Run) -> bool:
    """Plot a band per object and action that it does: how sure that is, in each frame; whether there was anything.

    Args:
        path: .png, .svg or .pdf.
        run: with what its objects do (encoder `actions`).

    Raises:
        Legs4dError: another suffix, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = plot_file(path)
    stored, objects = read_motion(run), read_objects(run)
    if stored is None or objects is None:
        return False
    found = stored[0]
    rows = [
        (row, action)
        for row in range(found.count)
        for action, sure in found.sure.items()
        if (sure[:, row] >= LIKELY).any()
    ]
    if not rows:
        return False
    names = [  # two may be called alike
        f"{name} {number}" if not name or objects.names.count(name) > 1 else name
        for name, number in zip((name or "object" for name in objects.names), objects.ids, strict=True)
    ]
    figure = Figure((INCHES_WIDE, MARGIN_INCHES + INCHES_PER_ACTION * len(rows)), layout="constrained")
    bands = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    frames = np.arange(found.frames)
    for axes, (row, action) in zip(bands, rows, strict=True):
        color = f"C{row % 10}"
        axes.fill_between(frames, found.sure[action][:, row], step="mid", color=color, alpha=0.6, linewidth=0)
        axes.axhline(LIKELY, color="black", linewidth=0.4, alpha=0.4)
        others = found.other[action][found.sure[action][:, row] >= LIKELY, row]
        whom = (
            f" ({', '.join(names[other] for other in np.unique(others[others >= 0]))})" if (others >= 0).any() else ""
        )
        axes.set(xlim=(-0.5, found.frames - 0.5), ylim=(0, 1.05), yticks=[])
        label = f"{names[row]}: {action}{whom}"
        axes.set_ylabel(label, rotation=0, horizontalalignment="right", verticalalignment="center", fontsize=9)
    bands[-1].set_xlabel("frame")
    figure.suptitle(f"{run.path.name}: what objects do, and how sure that is", fontsize=10)
    save_plot(figure, target)
    return True
