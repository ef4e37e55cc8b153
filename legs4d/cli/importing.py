"""Commands that turn what other programs made into runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from legs4d.cli.command import writer
from legs4d.cli.edge import working
from legs4d.cli.options import Again, Json, Out, asked
from legs4d.errors import Legs4dError
from legs4d.terminal import print_json, say


class IdentityChoice(StrEnum):
    auto = "auto"
    keep = "keep"
    none = "none"


@writer("import-splats", "ImportSplats")
def import_splats(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…",
            help="A file, a folder or a pattern ('*.ply', numbered), or several files, one a frame, in their order: "
            ".ply, .spz, .sog (or its meta.json), .splat, .glb, .gltf, .usd; a 4DGaussians output folder.",
        ),
    ],
    out: Out,
    fps: Annotated[
        float | None, typer.Option(min=0.001, max=10_000, help="Frames a second; by default the file's, or 30.")
    ] = None,
    up: Annotated[
        str | None, typer.Option(metavar="X,Y,Z", help="What is up in the files' axes; by default the format's rule.")
    ] = None,
    identity: Annotated[
        IdentityChoice,
        typer.Option(help="Whether row i is one Gaussian in all frames (keep), or not (none); auto looks."),
    ] = IdentityChoice.auto,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Of a 4DGaussians folder, which does not tell: frames to make of its time."),
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="What its deformation changes, by default position,scales,rotations; also opacity, sh.",
        ),
    ] = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Turn splats that any program made, one file or a sequence, into a run; goes on where a killed import stopped.

    A run of one frame is a static scene. Language comes by `legs4d lift`, which looks at the run itself.
    """
    given = locals()
    from legs4d import commands
    from legs4d.gaussians.import_splats import describe_import
    from legs4d.gaussians.import_splats import import_splats as import_files

    parts = {"up": direction(up), "heads": None if heads is None else heads.split(",")}
    how = asked(commands.ImportSplats, {**given, **parts})
    with working() as context:
        run = import_files(how.paths, out, context, **how.how(), again=again)
    told = describe_import(run)
    if as_json:
        print_json(told)
        return
    for warning in told["warnings"]:
        say(warning)
    counts = told["gaussians"]
    many = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else str(counts[0])
    say(f"{run.path}: {run.num_frames} frames of {many} Gaussians; {told['axes']}.")
    say(f"Identity: {told['identity']} ({told['why']}).")


def direction(text: str | None) -> list[float] | None:
    """Three numbers between commas. Raises Legs4dError when they are none."""
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise Legs4dError(f"{text!r} is no direction", where="--up", fix="write for example --up 0,0,1") from None
    return [x, y, z]
