"""What the command `segments` does, which the job of its name does too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from legs4d.commands import Segments as Asked
from legs4d.context import QUIET, Context
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.selections import delete_selection, read_selection, selection_names
from legs4d.gaussians.store.run import Run
from legs4d.scene.movies.span import chosen_span
from legs4d.segment.bitmaps import write_bitmap
from legs4d.segment.segments import Segments, has_segments, name_segment, read_segments
from legs4d.segment.selecting import BELONGS, described
from legs4d.segment.stage import find_masks, segment_run
from legs4d.segment.tree import AGREE, LEAST_PIECE, TreeSettings

if TYPE_CHECKING:
    from legs4d.segment.trained.training import FeatureSettings

_MAKING = ("masks", "frames", "dataset", "agree", "least_piece", "method", "steps", "rays", "again")
"""Options that say how segments are made."""


def segments_of(folder: str | Path, asked: Asked, context: Context = QUIET) -> dict[str, Any]:
    """Make the segments of a run, or change or tell what it has; {run, segments, selections, made}.

    Raises:
        RunError: there is no such run; it has segments, and they are not to be made again.
        DatasetError: masks are not there, or cannot be used.
        Stopped: the context's stop was set; nothing is changed then.
    """
    run = Run.open(folder)
    run.require_geometry()
    _check_single(asked)
    if asked.rename is not None:
        number, name = _renamed(asked.rename)
        with run.lock():
            name_segment(run, number, name)
    elif asked.delete is not None:
        with run.lock():
            delete_selection(run, asked.delete)
    elif asked.bitmaps is not None:
        write_bitmaps(run, Path(asked.bitmaps))
    elif not asked.list:
        if has_segments(run) and not asked.again:
            raise RunError(
                "has segments already", where=str(run.path), fix="see them by --list, or make them anew by --again"
            )
        settings = TreeSettings(
            agree=AGREE if asked.agree is None else asked.agree,
            least_piece=LEAST_PIECE if asked.least_piece is None else asked.least_piece,
        )
        frames = None if asked.frames is None else chosen_span(asked.frames, run.num_frames, run.path)
        trained = _training(asked)
        source = find_masks(run, asked.masks or "auto", asked.dataset, context)
        segment_run(run, source, settings, context, frames=frames, trained=trained)
    return overview(run)


def overview(run: Run) -> dict[str, Any]:
    """{run, segments, selections, made} of a run; empty lists where it has none."""
    there = read_segments(run) if has_segments(run) else None
    return {
        "run": str(run.path),
        "segments": [] if there is None else listed(there),
        "selections": [described(run, read_selection(run, name)) for name in selection_names(run)],
        "made": None if there is None else there.made,
    }


def listed(segments: Segments) -> list[dict[str, Any]]:
    """{number, name, parent, scale, quantile, gaussians} of each segment, the largest first."""
    counts = [int((segments.of(s)[1] >= 0.5).sum()) for s in range(len(segments))]
    quantile = segments.quantile
    return [
        {
            "number": s,
            "name": segments.names[s],
            "parent": None if segments.parent[s] < 0 else int(segments.parent[s]),
            "scale": round(float(segments.scale[s]), 6),
            "quantile": round(float(quantile[s]), 4),
            "gaussians": counts[s],
        }
        for s in np.argsort(-segments.scale, kind="stable").tolist()
    ]


def write_bitmaps(run: Run, folder: Path) -> list[Path]:
    """Every selection as NAME.pt, and labels.pt where there are segments: of Gaussians with an id; the files.

    Raises:
        RunError: there is nothing to write; the folder has files already.
    """
    names = selection_names(run)
    if not names and not has_segments(run):
        raise RunError("has no segments and no selections", where=str(run.path), fix="make some first")
    if folder.exists() and any(folder.iterdir()):
        raise Legs4dError("has files already", where=str(folder), fix="give an empty folder, or one that is not there")
    written = []
    for name in names:
        place = folder / f"{_file_name(name)}.pt"
        write_bitmap(place, np.asarray(read_selection(run, name).weights) >= BELONGS)
        written.append(place)
    if has_segments(run):
        write_bitmap(folder / "labels.pt", labels_of(read_segments(run))[: run.num_gaussians])
        written.append(folder / "labels.pt")
    return written


def _file_name(name: str) -> str:
    """Of a selection: what disks do not take is written as %XX, and so is the name that `labels.pt` has."""
    kept = re.sub(r'[\x00-\x1f%/\\:*?"<>|]', lambda found: quote(found[0], safe=""), name)
    return f"%{ord(kept[0]):02X}{kept[1:]}" if kept.casefold() == "labels" else kept


def labels_of(segments: Segments) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """[G] the number of the smallest segment that each Gaussian belongs to, -1 for none."""
    labels = np.full(segments.count, -1, np.int64)
    for number in np.argsort(-segments.scale, kind="stable"):  # the smallest last, over the others
        index, weight = segments.of(int(number))
        labels[index[weight >= BELONGS]] = number
    return labels


def _check_single(asked: Asked) -> None:
    """Raise Legs4dError where one thing is asked for beside another, which would be left undone."""
    does = [name for name in ("rename", "delete", "bitmaps", "list") if getattr(asked, name) not in (None, False)]
    others = [name for name in _MAKING if getattr(asked, name) is not None and getattr(asked, name) is not False]
    if does and len(does) + len(others) > 1:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in (*does, *others))
        raise Legs4dError("do different things", where=options, fix="give one of them at a time")


def _training(asked: Asked) -> FeatureSettings | None:
    """How features are trained; None where masks are put onto Gaussians."""
    given = {name: getattr(asked, name) for name in ("steps", "rays") if getattr(asked, name) is not None}
    if asked.method == "trained":
        from legs4d.segment.trained.training import FeatureSettings  # torch

        return FeatureSettings(**given)
    if given:
        options = " and ".join(f"--{name}" for name in given)
        raise Legs4dError("is for --method trained", where=options, fix="add that, or leave it out")
    return None


def _renamed(text: str) -> tuple[int, str]:
    number, sign, name = text.partition("=")
    if not sign or not number.strip().isdigit() or not name.strip():
        raise Legs4dError(f"{text!r} is no NUMBER=NAME", where="--rename", fix="write for example 3=lamp")
    return int(number), name.strip()
