"""The command that makes what is selected in a run move as a video shows: animate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from legs4d.cli.command import writer
from legs4d.cli.edge import working
from legs4d.cli.options import Again, Engine, EngineName, Json, MakeDepth, RunFolder, asked
from legs4d.terminal import print_json, say


@writer("animate", "Animate")
def animate(
    run: RunFolder,
    selection: Annotated[str, typer.Option("--selection", metavar="NAME", help="What moves: a selection of the run.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The run to make, or to go on with.")],
    motion: Annotated[
        Path | None,
        typer.Option(metavar="VIDEO", help="How: a video, a folder of its pictures, or a motion's file (x.json)."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="In place of a video what it does (`falls over`): a helper makes one (`legs4d priors`).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one, another video by --prompt.")] = 0,
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE|found",
            help="Through which camera the video is seen: a number of the run's, a camera path's file (x.json), or "
            "found: it is looked for in the first frame.",
        ),
    ] = None,
    camera_file: Annotated[Path | None, typer.Option("--camera-file", metavar="FILE", help="As --camera FILE.")] = None,
    frame: Annotated[
        int, typer.Option(min=0, help="The run's frame that is kept, and in which the object begins.")
    ] = 0,
    frames: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Frames of the video; all by default.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, max=10_000, help="Frames a second of the result; by default the video's.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z[,RX,RY,RZ]",
            help="Where the object is in the video's first frame, if not where it is in the run: a shift, and a turn "
            "in degrees (rotation vector), in the run's axes.",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z[,RX,RY,RZ]", help="Where it is known to be in the last; what is off is spread evenly."
        ),
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option(
            metavar="below|NX,NY,NZ,HEIGHT",
            help="What it touches all the time: what it stands on, or a plane. Tells how far away it is.",
        ),
    ] = None,
    depth: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Depth maps, one a frame: .npy of depths, or grey pictures in which near is bright."
        ),
    ] = None,
    make_depth: MakeDepth = False,
    rigid: Annotated[
        bool, typer.Option("--rigid", help="It never bends, even where no rigid motion explains the video.")
    ] = False,
    again: Again = False,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Make a selection move as a video shows: it is rendered, compared and moved until both look alike.

    The camera of the video stands still. --json prints {run, kind, selection, frames, motion, error: {turn, across,
    along}, uncertain, hidden, residual, seconds, warnings}.
    """
    given = locals()
    from legs4d import commands
    from legs4d.animate.work import animate_run

    how = asked(commands.Animate, given)
    with working(engine) as context:
        found = animate_run(how, context)
    if as_json:
        print_json(found)
        return
    off = found["error"]
    told = (
        ""
        if off is None
        else (
            f"; sure to about {off['turn']:.1f}°, {off['across']:.2f} % of the distance across the view and "
            f"{off['along']:.1f} % along it"
        )
    )
    say(f"{found['run']}: {found['selection']!r} moves in {found['frames']} frames{told}")
