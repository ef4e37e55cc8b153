"""The `render` request in the server: what the computing process is told. No torch here; `rendering.py` has it."""

from __future__ import annotations

from typing import Any

from backend.library import Library
from backend.requests import Render
from legs4d.errors import RunError

WORK = "backend.rendering:render"


def prepare(body: Render, library: Library) -> dict[str, Any]:
    """What `WORK` is told. Raises RunError if the run is not there, or another than the client has."""
    opened = library.open(body.run)
    if body.revision is not None and body.revision != opened.revision:
        raise RunError("was trained anew since it was opened", where=body.run, fix="open it again")
    return {
        "path": str(opened.run.path),
        "revision": opened.revision,
        "state": list(opened.state),
        "body": body.model_dump(),
    }


def view(body: Render) -> str:
    """Pictures of the same view supersede each other."""
    return body.view
