"""Segments and selections of a run, in the form in which they travel; which segments a prompt means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from backend.bodies import KeptBody, MeantBody, ThingsBody
from backend.runs.bits import unpacked
from backend.runs.library import Arrays, OpenRun
from backend.service.errors import BackendError
from backend.wire import Code
from legs4d.gaussians.selections import read_selection, selection_names
from legs4d.gaussians.store.run import Run
from legs4d.segment.segments import has_segments, num_slots, read_segments

if TYPE_CHECKING:
    from backend.service.requests import Keep
    from legs4d.grounding import Grounding

_LEAST = 0.5 / 255


def things(opened: OpenRun) -> tuple[ThingsBody, Arrays]:
    """Body and arrays of the reply to `things`."""
    run = opened.run
    names = selection_names(run)
    body: ThingsBody = {"revision": opened.revision, "segments": [], "selections": names}
    arrays = _columns("selection", [_weights(run, name) for name in names])
    if has_segments(run):
        found = read_segments(run)
        body["segments"] = [
            {"name": name, "parent": int(parent), "scale": float(scale)}
            for name, parent, scale in zip(found.names, found.parent, found.scale, strict=True)
        ]
        arrays |= _sparse("segment", found.members)
    opened.check()
    return body, arrays


def meant(opened: OpenRun, grounding: Grounding, scale: float | None) -> MeantBody:
    """Which segments a prompt means.

    Raises:
        RunError: the run has none; PromptError, Legs4dError: none answers.
    """
    from legs4d.grounding.selecting import relevancy_of
    from legs4d.segment.choose import answering_prompt, for_prompt

    segments = read_segments(opened.run)
    values, least = relevancy_of(opened.run, grounding)
    chosen = for_prompt(segments, values, least, grounding.prompt, scale)
    every = answering_prompt(segments, values, least, grounding.prompt)
    return {
        "segments": list(chosen.segments),
        "scores": [round(score, 4) for score in chosen.scores],
        "answering": list(every.segments),
    }


def keep(opened: OpenRun, body: Keep, client: str) -> KeptBody:
    """Store what a client has selected; in place of what has its name only where the body says `again`.

    Args:
        client: who selected it, which the selection remembers.

    Raises:
        BackendError: `differs`, there is one of this name; `body`, the bits are not those of this run.
        RunError: the run is another by now, or somebody else writes to it. Legs4dError: nothing is selected.
    """
    from legs4d.segment import selecting

    opened.expect(body.revision)
    chosen = unpacked(body.points, num_slots(opened.run), "selected", "keep")
    opened.check()
    run, name = Run.open(opened.run.path), body.name.strip()  # one's own: who writes reads run.json anew
    if name in selection_names(run) and not body.again:
        what, fix = f"has a selection {name!r} already", "save it once more to replace that, or give another name"
        raise BackendError(what, where=opened.name, fix=fix, code=Code.DIFFERS)
    kept = selecting.keep(run, name, chosen.astype(np.float32), {"client": client})
    return {
        "name": name,
        "gaussians": kept["gaussians"],
        "share": kept["share"],
        "selections": selection_names(run),
    }


def _weights(run: Run, name: str) -> NDArray[np.float32]:
    """[G] of a selection."""
    selection = read_selection(run, name)
    full = np.zeros(num_slots(run), np.float32)
    full[: run.num_gaussians] = selection.weights
    if selection.loose is not None:
        full[run.num_gaussians :] = selection.loose.ravel()
    return full


def _columns(name: str, columns: list[NDArray[np.float32]]) -> Arrays:
    return _sparse(name, scipy.sparse.csc_array(np.stack(columns, 1))) if columns else {}


def _sparse(name: str, members: scipy.sparse.csc_array) -> Arrays:
    """A matrix [G, S] by its columns: where each begins, which rows it has, and their values as round(255·v)."""
    kept = members.copy()
    kept.data = np.where(kept.data >= _LEAST, kept.data, 0)
    kept.eliminate_zeros()
    return {
        f"{name}_start": kept.indptr.astype(np.int64),
        f"{name}_index": kept.indices.astype(np.int32),
        f"{name}_weight": np.rint(255 * kept.data).astype(np.uint8),
    }
