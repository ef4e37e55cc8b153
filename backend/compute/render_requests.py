"""The `render` request in the server: what the computing process is told. No torch here; `rendering.py` has it."""

from __future__ import annotations

from typing import Any

from backend.runs.library import Library
from backend.service.errors import BackendError
from backend.service.requests import Render
from backend.wire import Code

WORK = "backend.compute.rendering:render"


def prepare(body: Render, library: Library) -> dict[str, Any]:
    """What `WORK` is told.

    Raises:
        RunError: the run is not there, or another than the client has.
        BackendError: the crop is not inside the picture.
    """
    if body.crop is not None:
        left, top, width, height = body.crop
        if min(width, height) < 1 or left + width > body.width or top + height > body.height:
            raise BackendError(
                f"the crop {body.crop} is not inside the picture of {body.width} × {body.height} pixels",
                where="render",
                fix="ask for a part of the picture",
                code=Code.BODY,
            )
    opened = library.open(body.run)
    opened.expect(body.revision)
    return {
        "path": str(opened.run.path),
        "revision": opened.revision,
        "state": list(opened.state),
        "body": body.model_dump(),
    }


def view(body: Render) -> str:
    """Pictures of the same view supersede each other."""
    return body.view
