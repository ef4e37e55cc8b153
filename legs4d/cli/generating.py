"""The command that makes an object of a video, a picture or words: object."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from legs4d.cli.command import writer
from legs4d.cli.edge import working
from legs4d.cli.options import Again, Engine, EngineName, Json, asked
from legs4d.terminal import print_json, say


class PriorName(StrEnum):
    auto = "auto"
    given = "given"
    turntable = "turntable"
    static = "static"
    revolve = "revolve"
    inflate = "inflate"


class ObjectMethod(StrEnum):
    roads = "roads"
    onepass = "onepass"
    optimise = "optimise"


class LensName(StrEnum):
    syncdreamer = "syncdreamer"
    fourdgen = "4dgen"


@writer("object", "Object")
def make_object(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A video of one object, a folder of pictures, a picture, or words.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The run to make, or to go on with.")],
    method: Annotated[
        ObjectMethod,
        typer.Option(
            help="roads: fits, without learned weights. optimise: as 4DGen, of given views, minutes on a GPU. onepass: "
            "L4GM's network or tiny4d, all frames at once."
        ),
    ] = ObjectMethod.roads,
    views: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures of it from elsewhere (4DGen's NAME_sync, SyncDreamer's sixteen, footage with cameras), or "
            "the run of a known object.",
        ),
    ] = None,
    prior: Annotated[
        PriorName, typer.Option(help="Where the shape comes from; by default the best that there is.")
    ] = PriorName.auto,
    lens: Annotated[
        LensName, typer.Option(help="Of views without cameras: SyncDreamer's, or as 4DGen takes them to be.")
    ] = LensName.syncdreamer,
    trust_views: Annotated[
        bool,
        typer.Option("--trust-views", help="Take predicted views as they are, where they look out of order to it."),
    ] = False,
    frames: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Frames of the video; all by default.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, max=10_000, help="Frames a second of the result; by default the video's.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What it does: a helper makes a video of the picture (`legs4d priors`)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one, another picture or video of helpers.")] = 0,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="onepass: L4GM's recon.safetensors, and by another --weights its interp.safetensors; by default "
            "tiny4d's, which come with the package. Of L4GM's, the file says Apache-2.0 and the model card "
            "CC BY-NC-SA 4.0: find out which of them holds.",
        ),
    ] = None,
    views_by: Annotated[
        str | None, typer.Option(metavar="HELPER", help="onepass: who invents the views that are not given.")
    ] = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="onepass: put two moments between any two frames.")
    ] = False,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="onepass: fit one set of Gaussians that moves to the video, in a minute more.",
        ),
    ] = False,
    stride: Annotated[
        int | None, typer.Option(min=0, help="onepass: take one of so many frames; by default 15 a second are left.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(min=0, max=64, help="onepass: frames a pass; by default as in training.")
    ] = None,
    elevation: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES", help="onepass: how far above the object its camera and the views stand (L4GM: below)."
        ),
    ] = None,
    again: Again = False,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Make a moving object of a video, a picture or words; what no picture shows of it is a guess, and marked.

    --json prints {run, kind, method, prior, why, frames, gaussians, seen, seconds, warnings}.
    """
    given = locals()
    from legs4d import commands
    from legs4d.generate.work import object_run

    how = asked(commands.Object, given)
    with working(engine) as context:
        found = object_run(how, context)
    if as_json:
        print_json(found)
        return
    say(
        f"{found['run']}: {found['frames']} frames, {found['gaussians']} Gaussians, {found['seen']:.0%} of which "
        f"a picture shows; shape: {found['prior']}"
    )
