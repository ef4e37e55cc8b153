"""Commands of the server. The only file of `legs4d` that may reach into `backend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from legs4d.cli.command import app
from legs4d.cli.options import RunFolder
from legs4d.terminal import say


@app.command()
def serve(
    root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose runs and datasets clients may use; repeatable. Default: here."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on this machine; 0 takes a free one.")] = 0,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Where jobs are kept and clients find the server. Default: $LEGS4D_STATE_DIR or your own."),
    ] = None,
) -> None:
    """Serve runs to Blender until stopped."""
    from backend.server import serve as serve_runs

    serve_runs(root or [], port, state_dir)


@app.command()
def view(
    run: RunFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Show a run in the browser, with timeline and prompts, until stopped. Only this machine reaches the page."""
    import threading

    from backend.viewer.page import Page
    from legs4d.gaussians.store import Run

    page = Page(Run.open(run), port)
    try:
        say(f"{run}: open {page.address} in a browser; Ctrl-C ends.")
        threading.Event().wait()
    finally:
        page.close()
