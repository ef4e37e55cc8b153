"""The command that makes a 4D scene of one ordinary video: video."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from legs4d.cli.command import writer
from legs4d.cli.edge import working
from legs4d.cli.options import Again, Engine, EngineName, Json, MakeDepth, Out, asked
from legs4d.terminal import print_json, say


class Flow(StrEnum):
    dis = "dis"
    gmflow = "gmflow"
    raft = "raft"


class Stage(StrEnum):
    objects = "objects"
    motion = "motion"
    scene = "scene"


@writer("video", "Video")
def video(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A video, or a folder of its pictures.")],
    out: Out,
    masks: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|first",
            help="Masks of its objects: a folder an object, pictures of ids, or videos. first: of those beside the "
            "video (DreamScene4D's layout) the first frame's alone, carried on.",
        ),
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Of --masks FOLDER the first frame's alone, carried on.")
    ] = False,
    boxes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Boxes on a frame, from which masks are made (docs/video.md).")
    ] = None,
    found: Annotated[
        bool, typer.Option("--found", help="Find the objects, though masks lie beside the video.")
    ] = False,
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="still|found|FILE",
            show_default="the best that can be had",
            help="Where it was filmed from: it stands still, it is found, or a camera path's file (x.json).",
        ),
    ] = None,
    camera_file: Annotated[Path | None, typer.Option("--camera-file", metavar="FILE", help="As --camera FILE.")] = None,
    fov: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            max=179.0,
            show_default="49.1 across the shorter side",
            help="Field of view in degrees, from the upper to the lower border.",
        ),
    ] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Frames of the video, both included.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1.0, show_default="640 pixels at most", help="Work on pictures of this share of their size."
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, max=10_000, help="Pictures a second, of a folder; else the video's own.")
    ] = None,
    lite: Annotated[bool, typer.Option("--lite", help="Less work, for a CPU.")] = False,
    flow: Annotated[
        Flow,
        typer.Option(help="What follows points of objects; all but dis need weights (`legs4d priors`)."),
    ] = Flow.dis,
    invent: Annotated[
        bool,
        typer.Option(
            "--invent", help="A helper makes up the sides that nobody saw (guidance in `legs4d priors`); for a GPU."
        ),
    ] = False,
    stage: Annotated[Stage | None, typer.Option(help="Stop after this stage, to look at its picture.")] = None,
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What its objects do, and when, for language.")
    ] = None,
    distance: Annotated[
        list[str] | None,
        typer.Option(
            "--distance",
            metavar="ID=UNITS",
            help="How far away an object is in the frame that shows it best. Repeatable.",
        ),
    ] = None,
    depth: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Depth maps, named as the pictures: .npy of depths, or grey pictures in which near is bright. Their "
            "scale and offset are found.",
        ),
    ] = None,
    make_depth: MakeDepth = False,
    again: Again = False,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Make a 4D scene of one ordinary video: its objects as Gaussians that move, before the background.

    Three stages (objects, motion, scene), each with a picture in RUN/video; RUN/report.html says what was done. --json
    prints {run, kind, stage, frames, gaussians, camera: {route, why}, objects: [{id, distance, routes, seen, …}],
    failed, seen, seconds, report, warnings}.
    """
    given = locals()
    from legs4d import commands
    from legs4d.video.work import make_video_run

    how = asked(commands.Video, given)
    with working(engine) as context:
        made = make_video_run(how, context)
    if as_json:
        print_json(made)
        return
    if "report" not in made:
        picture = f"{made['run']}/video/{made['stage']}.png"
        say(f"{made['run']}: as far as the stage {made['stage']}; its picture is {picture}")
        return
    seen = made["seen"]
    filmed = made["camera"]
    frames = f"{made['frames']} frame{'' if made['frames'] == 1 else 's'}"
    say(f"{made['run']}: {frames} of {made['gaussians']} Gaussians")
    say(f"camera: {filmed['route']} ({filmed['why']})")
    for one in made["objects"]:
        away = f"{min(one['distance']):.2f} to {max(one['distance']):.2f} units away ({one['why']})"
        say(f"{one['name'] or one['id']}: {away}, {one['seen']:.0%} of it seen")
    for one in made["failed"]:
        say(f"{one['name'] or one['id']} was left out: {one['why']}")
    say(f"{seen['background']:.0%} of the background was seen; {made['report']} shows it all")
