"""Plots as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from legs4d.effects.video import cannot_write
from legs4d.errors import Legs4dError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".svg", ".pdf")
DPI = 120


def plot_file(path: str | Path) -> Path:
    """The path of a plot that may be written.

    Raises:
        Legs4dError: another suffix than KINDS.
    """
    target = Path(path)
    if target.suffix.lower() not in KINDS:
        raise Legs4dError(
            f"{target.suffix or 'a name without a suffix'} is no kind of plot",
            where=str(target),
            fix=f"name one of {', '.join(KINDS)}",
        )
    return target


def save_plot(figure: Figure, target: Path) -> None:
    """Write it, and the folders above.

    Raises:
        Legs4dError: the file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=DPI)
    except OSError as error:
        raise cannot_write(target, error) from error
