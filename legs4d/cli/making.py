"""Commands that make runs: train, reconstruct, extract, lift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legs4d.cli.command import writer
from legs4d.cli.edge import working
from legs4d.cli.options import (
    Again,
    Align,
    Background,
    CameraNames,
    Change,
    Chunks,
    Cluster,
    CodecChoice,
    CodecWeights,
    CodeDim,
    Config,
    Dataset,
    DatasetNow,
    Download,
    EncoderName,
    Engine,
    EngineName,
    Every,
    Fps,
    Json,
    LeftOut,
    LiftMethodName,
    MethodName,
    NoObjects,
    Objects,
    Offset,
    Out,
    PresetName,
    Refine,
    RunFolder,
    Scale,
    Set,
    Store,
    Weights,
    asked,
)
from legs4d.errors import Legs4dError
from legs4d.terminal import print_json, say

if TYPE_CHECKING:
    from legs4d.gaussians.store.run import Run


@writer("train", "Train")
def train(
    dataset: Dataset,
    out: Out,
    scale: Scale = None,
    cameras: CameraNames = None,
    leave_out: LeftOut = None,
    offset: Offset = None,
    align: Align = None,
    encoder: EncoderName = None,
    weights: Weights = None,
    download: Download = False,
    every: Every = None,
    preset: PresetName = None,
    method: MethodName = None,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    chunks: Chunks = None,
    objects: Objects = None,
    no_objects: NoObjects = False,
    assignments: Set = None,
    config: Config = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Reconstruct footage as dynamic Gaussians and lift language onto them: `reconstruct`, then `lift`.

    Everything finished is kept: the same command goes on where a killed one stopped, and does nothing when all is done.
    What was made otherwise is told, and left as it is unless --again is given. Footage is known by its content: it may
    be moved and copied.
    """
    given = locals()
    from legs4d import commands, pipeline

    settings = asked(commands.Train, given).geometry()
    folders = _to_send(dataset, out, objects)
    found = _found(objects, no_objects)
    with working(engine, cluster, store=store, folders=folders, weights=weights, download=download) as context:
        run = pipeline.train(dataset, out, settings, context, objects=found, again=again)
    _tell_choice(run, settings.lift.encoder)
    tell_made(run, as_json)


@writer("reconstruct", "Reconstruct")
def reconstruct(
    dataset: Dataset,
    out: Out,
    scale: Scale = None,
    cameras: CameraNames = None,
    leave_out: LeftOut = None,
    offset: Offset = None,
    align: Align = None,
    preset: PresetName = None,
    method: MethodName = None,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    chunks: Chunks = None,
    objects: Objects = None,
    no_objects: NoObjects = False,
    assignments: Set = None,
    config: Config = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Reconstruct footage as dynamic Gaussians, without language; goes on where a killed one stopped."""
    given = locals()
    from legs4d import commands, pipeline

    settings = asked(commands.Reconstruct, given).geometry()
    folders = _to_send(dataset, out, objects)
    found = _found(objects, no_objects)
    with working(engine, cluster, store=store, folders=folders) as context:
        run = pipeline.reconstruct(dataset, out, settings, context, objects=found, again=again)
    tell_made(run, as_json)


@writer("extract", "Extract")
def extract(
    run: RunFolder,
    encoder: Annotated[str, typer.Option("--encoder", help="One that sees: tiny, viclip, openclip:MODEL.")] = "tiny",
    weights: Weights = None,
    download: Download = False,
    every: Every = None,
    background: Background = None,
    change: Change = None,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    assignments: Set = None,
    config: Config = None,
    dataset: DatasetNow = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Embed the crops of a run's pictures, which `lift` then puts onto its Gaussians; goes on where it stopped."""
    given = locals()
    from legs4d import commands, pipeline

    settings = asked(commands.Extract, given).extraction()
    folders = _travelling(run, dataset, store)
    with working(engine, cluster, store=store, folders=folders, weights=weights, download=download) as context:
        done = pipeline.extract(run, encoder, settings, context, dataset=dataset, again=again)
    tell_made(done, as_json)


@writer("lift", "Lift")
def lift(
    run: RunFolder,
    encoder: EncoderName = None,
    weights: Weights = None,
    download: Download = False,
    method: LiftMethodName = None,
    refine: Refine = None,
    codec: CodecChoice = None,
    dim: CodeDim = None,
    codec_weights: CodecWeights = None,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    assignments: Set = None,
    config: Config = None,
    dataset: DatasetNow = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Lift language onto a reconstructed run, from the dataset it was made from.

    With an encoder that sees, what `extract` made is lifted; what is not there yet is extracted first.
    """
    given = locals()
    from legs4d import commands, pipeline

    settings = asked(commands.Lift, given).lifting()
    folders = _travelling(run, dataset, store)
    with working(engine, cluster, store=store, folders=folders, weights=weights, download=download) as context:
        lifted = pipeline.lift(run, settings, context, dataset=dataset, again=again)
    _tell_choice(lifted, settings.encoder)
    tell_made(lifted, as_json)


@writer("import-d3dgs", "ImportD3dgs")
def import_d3dgs(
    params: Annotated[Path, typer.Argument(metavar="PARAMS.NPZ", help="What Dynamic 3D Gaussians wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to make.")],
    dataset: Annotated[
        Path | None, typer.Option(help="Its footage: gives the run cameras, so that it can be rendered and lifted.")
    ] = None,
    scale: Scale = None,
    fps: Fps = 30.0,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Turn a result of Dynamic 3D Gaussians into a run; goes on where a killed one stopped."""
    given = locals()
    from legs4d import commands, imports

    how = asked(commands.ImportD3dgs, given)
    with working() as context:
        run = imports.import_params(params, out, context, dataset=dataset, scale=how.scale, fps=fps, again=again)
    tell_made(run, as_json)


def _found(objects: Path | None, none: bool) -> Path | bool:
    """`objects` of `pipeline.train`. Raises Legs4dError where both were said."""
    if objects is not None and none:
        raise Legs4dError("stands beside --no-objects", where="--objects", fix="give one of them")
    return not none if objects is None else objects


def _to_send(dataset: Path, out: Path, objects: Path | None) -> dict[str, Path]:
    """What workers elsewhere need; a folder need not be there yet."""
    from legs4d.priors.objects.folder import default_folder

    return {"run": out, "dataset": dataset, "objects": objects or default_folder(dataset)}


def _tell_choice(run: Run, asked: str) -> None:
    if asked == "auto" and run.info["encoder"] == "tiny":
        why = "The footage has no captions" if "dataset" in run.info else "There is no footage"
        seen = "the pictures" if "dataset" in run.info else "pictures that are rendered of it"
        say(f"{why}: its language is what the encoder `tiny` sees in {seen}.")
    if asked == "auto" and run.info["encoder"] == "actions":
        say("The footage has no captions: its language is what its objects do, by how they move (encoder `actions`).")


def tell_made(run: Run, as_json: bool) -> None:
    from legs4d.gaussians.objects import read_objects

    seconds = {name: round(stage.seconds, 1) for name, stage in run.stages.items()}
    notes = run.info.get("notes", [])
    counts = [run.count(frame) for frame in range(run.num_frames)]
    objects = read_objects(run)
    table = [] if objects is None else objects.table()
    if as_json:
        told = {"run": str(run.path), "frames": run.num_frames, "gaussians": max(counts), "seconds": seconds}
        told["objects"] = table
        print_json({**told, "warnings": notes})
        return
    for note in notes:
        say(note)
    if run.info.get("masks") == "motion":
        say("The footage has no foreground masks: what moves against the background was taken for it.")
    if table:
        say("objects: " + ", ".join(f"{one['id']} {one['name']}".strip() for one in table))
    many = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else str(counts[0])
    if run.has_loose:
        moving = "which no other frame has"
    else:
        tinted = run.info.get("births", {}).get("changing", 0)
        moving = f"{run.num_dynamic - tinted} of which move"
        moving += f", and {tinted} stand still and change their colour" if tinted else ""
    say(f"{run.path}: {run.num_frames} frames, {many} Gaussians, {moving}")


def _travelling(run: Path, dataset: Path | None, store: str | None) -> dict[str, Path]:
    """What workers need of a reconstructed run that travels through a store."""
    from legs4d.gaussians.store.footage import travelling
    from legs4d.gaussians.store.run import Run

    return {} if store is None else travelling(Run.open(run), dataset)
