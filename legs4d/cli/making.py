"""Commands that make runs: train, reconstruct, extract, lift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legs4d.cli.command import app
from legs4d.cli.options import (
    Background,
    BackgroundCrops,
    CameraNames,
    Change,
    Chunks,
    Cluster,
    CodecChoice,
    CodecName,
    CodecWeights,
    CodeDim,
    Dataset,
    Download,
    EncoderName,
    Engine,
    EngineName,
    Every,
    Json,
    LeftOut,
    LiftMethod,
    LiftMethodName,
    Out,
    PresetChoice,
    PresetName,
    Refine,
    RunFolder,
    Scale,
    Store,
    Weights,
    reading,
)
from legs4d.errors import Legs4dError
from legs4d.terminal import print_json, progress_display, say

if TYPE_CHECKING:
    from legs4d.config import ReconstructSettings
    from legs4d.gaussians.store import Run


@app.command()
def train(
    dataset: Dataset,
    out: Out,
    scale: Scale = 1.0,
    cameras: CameraNames = None,
    leave_out: LeftOut = None,
    encoder: EncoderName = "auto",
    weights: Weights = None,
    download: Download = False,
    every: Every = 1,
    preset: PresetName = PresetChoice.auto,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    chunks: Chunks = 0,
    as_json: Json = False,
) -> None:
    """Reconstruct footage as dynamic Gaussians and lift language onto them: `reconstruct`, then `lift`.

    Everything finished is kept: the same command goes on where a killed one stopped, and does nothing when all is done.
    """
    from legs4d import pipeline
    from legs4d.cluster import executor_on
    from legs4d.config import ExtractSettings, LiftSettings, TrainSettings
    from legs4d.language.encoders.weights import EncoderFiles

    settings = TrainSettings(
        dataset=reading(scale, cameras, leave_out),
        preset=preset.value,
        reconstruct=cut(chunks),
        extract=ExtractSettings(every=every),
        lift=LiftSettings(encoder=encoder),
    )
    files = EncoderFiles(weights, download)
    with (
        progress_display() as show,
        executor_on(cluster, engine.value, store=store, folders={"run": out, "dataset": dataset}) as executor,
    ):
        run = pipeline.train(dataset, out, settings, files=files, engine=engine.value, executor=executor, progress=show)
    _tell_choice(run, encoder)
    _report(run, as_json)


@app.command()
def reconstruct(
    dataset: Dataset,
    out: Out,
    scale: Scale = 1.0,
    cameras: CameraNames = None,
    leave_out: LeftOut = None,
    preset: PresetName = PresetChoice.auto,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    chunks: Chunks = 0,
    as_json: Json = False,
) -> None:
    """Reconstruct footage as dynamic Gaussians, without language; goes on where a killed one stopped."""
    from legs4d import pipeline
    from legs4d.cluster import executor_on
    from legs4d.config import TrainSettings

    settings = TrainSettings(dataset=reading(scale, cameras, leave_out), preset=preset.value, reconstruct=cut(chunks))
    with (
        progress_display() as show,
        executor_on(cluster, engine.value, store=store, folders={"run": out, "dataset": dataset}) as executor,
    ):
        run = pipeline.reconstruct(dataset, out, settings, engine=engine.value, executor=executor, progress=show)
    _report(run, as_json)


@app.command()
def extract(
    run: RunFolder,
    encoder: Annotated[str, typer.Option("--encoder", help="One that sees: tiny, viclip, openclip:MODEL.")] = "tiny",
    weights: Weights = None,
    download: Download = False,
    every: Every = 1,
    background: Background = BackgroundCrops.once,
    change: Change = 0.01,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Embed the crops of a run's pictures, which `lift` then puts onto its Gaussians; goes on where it stopped."""
    from legs4d import pipeline
    from legs4d.cluster import executor_on
    from legs4d.config import ExtractSettings
    from legs4d.language.encoders.weights import EncoderFiles

    settings = ExtractSettings(every=every, background=background.value, change=change)
    files = EncoderFiles(weights, download)
    with (
        progress_display() as show,
        executor_on(cluster, engine.value, store=store, folders=_travelling(run, store)) as executor,
    ):
        done = pipeline.extract(
            run, encoder, settings, files=files, engine=engine.value, executor=executor, progress=show
        )
    _report(done, as_json)


@app.command()
def lift(
    run: RunFolder,
    encoder: EncoderName = "auto",
    weights: Weights = None,
    download: Download = False,
    method: LiftMethodName = LiftMethod.closed,
    refine: Refine = 0,
    codec: CodecChoice = CodecName.linear,
    dim: CodeDim = None,
    codec_weights: CodecWeights = None,
    engine: EngineName = Engine.auto,
    cluster: Cluster = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Lift language onto a reconstructed run, from the dataset it was made from.

    With an encoder that sees, what `extract` made is lifted; what is not there yet is extracted first.
    """
    from legs4d import pipeline
    from legs4d.cluster import executor_on
    from legs4d.config import CodecSettings, LiftSettings
    from legs4d.language.encoders.weights import EncoderFiles

    checkpoint = None if codec_weights is None else str(codec_weights)
    settings = LiftSettings(
        encoder=encoder,
        codec=CodecSettings(name=codec.value, dim=dim, weights=checkpoint),
        method=method.value,
        refine=refine,
    )
    files = EncoderFiles(weights, download) if weights or download else None
    with (
        progress_display() as show,
        executor_on(cluster, engine.value, store=store, folders=_travelling(run, store)) as executor,
    ):
        lifted = pipeline.lift(run, settings, files=files, engine=engine.value, executor=executor, progress=show)
    _tell_choice(lifted, encoder)
    _report(lifted, as_json)


@app.command(name="import-d3dgs")
def import_d3dgs(
    params: Annotated[Path, typer.Argument(metavar="PARAMS.NPZ", help="What Dynamic 3D Gaussians wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to make.")],
    dataset: Annotated[
        Path | None, typer.Option(help="Its footage: gives the run cameras, so that it can be rendered and lifted.")
    ] = None,
    scale: Scale = 1.0,
    as_json: Json = False,
) -> None:
    """Turn a result of Dynamic 3D Gaussians into a run; goes on where a killed one stopped."""
    from legs4d import pipeline

    with progress_display() as show:
        run = pipeline.import_params(params, out, dataset=dataset, scale=scale, progress=show)
    _report(run, as_json)


def cut(chunks: int) -> ReconstructSettings:
    """The settings that `--chunks` means. Raises Legs4dError when the chunks are too short."""
    from legs4d.config import ChunkSettings, ReconstructSettings

    least = ChunkSettings().overlap + 2
    if 0 < chunks < least:
        raise Legs4dError(f"{chunks} frames are too few", where="--chunks", fix=f"give {least} or more, or 0")
    return ReconstructSettings(chunks=ChunkSettings(length=chunks))


def _tell_choice(run: Run, asked: str) -> None:
    if asked == "auto" and run.info["encoder"] == "tiny":
        say("The footage has no captions: its language is what the encoder `tiny` sees in the pictures.")


def _report(run: Run, as_json: bool) -> None:
    seconds = {name: round(stage.seconds, 1) for name, stage in run.stages.items()}
    notes = run.info.get("notes", [])
    if as_json:
        told = {"run": str(run.path), "frames": run.num_frames, "gaussians": run.num_gaussians, "seconds": seconds}
        print_json({**told, "warnings": notes})
        return
    for note in notes:
        say(note)
    if run.info.get("masks") == "motion":
        say("The footage has no foreground masks: what moves against the background was taken for it.")
    say(f"{run.path}: {run.num_frames} frames, {run.num_gaussians} Gaussians, {run.num_dynamic} of which move")


def _travelling(run: Path, store: str | None) -> dict[str, Path]:
    """What workers need of a reconstructed run that travels through a store."""
    from legs4d.gaussians.store import Run

    return {} if store is None else {"run": run, "dataset": Path(Run.open(run).info["dataset"])}
