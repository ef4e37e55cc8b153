"""Commands that take a run apart into things, and keep what is meant by pointing at it: segments, segment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from legs4d.cli.command import writer
from legs4d.cli.edge import working
from legs4d.cli.options import DatasetNow, Frames, Json, RunFolder, asked
from legs4d.terminal import print_json, say


class SegmentMethod(StrEnum):
    lift = "lift"
    trained = "trained"


SHOWN = 40
"""Segments that are listed for a person."""


@writer("segments", "Segments")
def segments(
    run: RunFolder,
    masks: Annotated[
        str | None,
        typer.Option(
            metavar="objects|foreground|priors|FOLDER",
            show_default="auto",
            help="The footage's object ids, its foreground, what helpers cut out of its pictures, "
            "or a folder with files named as its pictures are: .pt of SAM [masks, h, w], "
            ".png whose pixels are ids; auto takes the first that is there.",
        ),
    ] = None,
    frames: Frames = None,
    dataset: DatasetNow = None,
    agree: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=0.99, show_default="0.4", help="How far masks of two pictures have to be the same thing's."
        ),
    ] = None,
    least_piece: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, show_default="0.01", help="Pieces that lie apart go below this share of the largest."
        ),
    ] = None,
    method: Annotated[
        SegmentMethod | None,
        typer.Option(
            show_default="lift",
            help="lift puts masks onto Gaussians in closed form; trained learns features by them, as SAGA does.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, show_default="10000", help="Of --method trained.")] = None,
    rays: Annotated[
        int | None, typer.Option(min=2, show_default="1000", help="Pixels that each of its steps compares.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Make them anew, where the run has some.")] = False,
    bitmaps: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write NAME.pt of every selection, bool [Gaussians], and labels.pt, the smallest segment of each.",
        ),
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="Say which segments and selections there are.")] = False,
    rename: Annotated[str | None, typer.Option(metavar="NUMBER=NAME", help="Give a segment a name.")] = None,
    delete: Annotated[str | None, typer.Option(metavar="NAME", help="Delete a selection.")] = None,
    as_json: Json = False,
) -> None:
    """Take a run apart into things, by masks of its pictures; clicks, boxes and prompts then mean these.

    --json prints {run, segments: [{number, name, parent, scale, quantile, gaussians}], selections: [{name, gaussians,
    share, steps}], made: {source, masks, pictures, frames, seconds, …}}.
    """
    given = locals()
    from legs4d import commands
    from legs4d.segment.work import segments_of

    how = asked(commands.Segments, given)
    with working() as context:
        found = segments_of(run, how, context)
    if as_json:
        print_json(found)
    else:
        _print_segments(found)


@writer("segment", "Segment")
def segment(
    run: RunFolder,
    click: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="A pixel of --camera's picture, from its upper left corner; repeatable."),
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="LEFT,TOP,RIGHT,BOTTOM", help="What lies in it, in --camera's picture.")
    ] = None,
    camera: Annotated[int | None, typer.Option(min=0, help="The number of the camera that is meant.")] = None,
    frame: Annotated[int, typer.Option(min=0, help="The frame, counted from 0.")] = 0,
    point: Annotated[str | None, typer.Option(metavar="X,Y,Z", help="A place, in the run's axes.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What it is, in words; of a run with language.")] = None,
    segment: Annotated[
        list[int] | None,
        typer.Option(min=0, help="The number of a segment, as `segments --list` tells it; repeatable."),
    ] = None,
    bitmap: Annotated[
        Path | None, typer.Option(metavar="FILE.pt", help="A value for each Gaussian, of torch.save.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, show_default="0.5", help="Of the segments that are there: 0 the smallest, 1 the largest."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.999, show_default="0.5", help="Share of a Gaussian from which it belongs."),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the selection is kept as.")] = "selection",
    add: Annotated[bool, typer.Option("--add", help="Add to what the selection holds.")] = False,
    subtract: Annotated[bool, typer.Option("--subtract", help="Take away from what it holds.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back its last step.")] = False,
    as_json: Json = False,
) -> None:
    """Select what is pointed at, and keep it in the run under a name, for export, render, effect and Blender.

    --json prints {run, name, gaussians, share, segments, scores, scale, steps}.
    """
    given = locals()
    from legs4d import commands
    from legs4d.grounding.selecting import select_in

    how = asked(commands.Segment, given)
    found = select_in(run, how)
    if as_json:
        print_json(found)
        return
    of = ", ".join(map(str, found.get("segments", [])))
    of = f", of segment{'s' if ',' in of else ''} {of}" if of else ""
    say(f"{found['name']!r}: {found['gaussians']} Gaussians ({found['share']:.1%} of the run){of}")


def _print_segments(found: dict[str, Any]) -> None:
    for one in found["segments"][:SHOWN]:
        of = f", part of {one['parent']}" if one["parent"] is not None else ""
        print(
            f"{one['number']:4} {one['name'] or '–':20} {one['gaussians']:8} Gaussians, size {one['scale']:.3g} "
            f"(--scale {one['quantile']:.2f}){of}"
        )
    if len(found["segments"]) > SHOWN:
        print(f"     and {len(found['segments']) - SHOWN} more; --json tells all")
    for one in found["selections"]:
        print(f"     selection {one['name']!r}: {one['gaussians']} Gaussians, {one['steps']} steps")
    if not found["segments"] and not found["selections"]:
        print("no segments and no selections yet")
