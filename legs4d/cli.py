"""The `legs4d` command.

Commands import what they need inside, so that `--help` and `query` do not wait for torch.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legs4d.errors import Legs4dError
from legs4d.progress import Progress
from legs4d.terminal import SentenceGroup, print_json, print_scores, progress_display, say

if TYPE_CHECKING:
    from legs4d.gaussians.store import Run
    from legs4d.grounding import Grounding

app = typer.Typer(
    cls=SentenceGroup,
    help="Dynamic 3D Gaussians with language: train on multi-view footage, ask when and where something happens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Engine(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ExportFormat(StrEnum):
    ply = "ply"
    npz = "npz"


Dataset = Annotated[Path, typer.Argument(help="Dataset folder: train_meta.json, ims/, seg/, …")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as `legs4d train` makes it.")]
Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to make, or to go on with.")]
Scale = Annotated[float, typer.Option(min=0.01, max=1.0, help="Work on images of this share of their size.")]
EncoderName = Annotated[str, typer.Option("--encoder", help="Where language comes from: captions.")]
EngineName = Annotated[Engine, typer.Option("--engine", help="Rasteriser: cuda (gsplat), cpu, or what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout; progress goes to stderr.")]


@app.command()
def train(
    dataset: Dataset,
    out: Out,
    scale: Scale = 1.0,
    encoder: EncoderName = "captions",
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Reconstruct footage as dynamic Gaussians and lift language onto them: `reconstruct`, then `lift`.

    Everything finished is kept: the same command goes on where a killed one stopped, and does nothing when all is done.
    """
    from legs4d import pipeline
    from legs4d.config import DatasetSettings, LiftSettings, TrainSettings

    settings = TrainSettings(dataset=DatasetSettings(scale=scale), lift=LiftSettings(encoder=encoder))
    with progress_display() as show:
        run = pipeline.train(dataset, out, settings, engine=engine.value, progress=show)
    _report(run, as_json)


@app.command()
def reconstruct(
    dataset: Dataset, out: Out, scale: Scale = 1.0, engine: EngineName = Engine.auto, as_json: Json = False
) -> None:
    """Reconstruct footage as dynamic Gaussians, without language; goes on where a killed one stopped."""
    from legs4d import pipeline
    from legs4d.config import DatasetSettings, TrainSettings

    settings = TrainSettings(dataset=DatasetSettings(scale=scale))
    with progress_display() as show:
        run = pipeline.reconstruct(dataset, out, settings, engine=engine.value, progress=show)
    _report(run, as_json)


@app.command()
def lift(run: RunFolder, encoder: EncoderName = "captions", as_json: Json = False) -> None:
    """Lift language onto a reconstructed run, from the dataset it was made from."""
    from legs4d import pipeline
    from legs4d.config import LiftSettings

    with progress_display() as show:
        lifted = pipeline.lift(run, LiftSettings(encoder=encoder), progress=show)
    _report(lifted, as_json)


@app.command()
def query(
    run: RunFolder,
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What happens, in words.")],
    as_json: Json = False,
) -> None:
    """Say in which frames each PROMPT holds.

    --json prints {prompt, intervals: [{start, end, peak, score}], relevancy: [one a frame], seconds}, or a list of
    these for several prompts. Frames are counted from 0, and intervals include both ends.
    """
    groundings = _ground(run, prompts)
    if as_json:
        answers = [
            {
                "prompt": g.prompt,
                "intervals": [{"start": i.start, "end": i.end, "peak": i.peak, "score": i.score} for i in g.intervals],
                "relevancy": list(g.relevancy),
                "seconds": g.seconds,
            }
            for g in groundings
        ]
        print_json(answers[0] if len(answers) == 1 else answers)
        return
    for g in groundings:
        found = "; ".join(f"frames {i.start} to {i.end} (most at {i.peak}, score {i.score:.2f})" for i in g.intervals)
        print(f"{g.prompt}: {found or 'not found in this run'}")


@app.command()
def render(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Video (x.mp4), or a folder for PNGs.")],
    prompt: Annotated[str | None, typer.Option(help="Highlight what this names, where and when it happens.")] = None,
    cameras: Annotated[str, typer.Option(help="test, train, orbit, or camera numbers: 0,10,15.")] = "test",
    engine: EngineName = Engine.auto,
) -> None:
    """Show a run as its cameras see it, or from an orbit around it."""
    from legs4d import pipeline

    with progress_display() as show:
        pipeline.render(run, out, cameras=cameras, prompt=prompt, engine=engine.value, progress=show)
    say(f"wrote {out}")


@app.command(name="eval")
def evaluate(
    run: RunFolder,
    grounding: Annotated[
        Path | None,
        typer.Option(help="Folder of true masks, <prompt>/cam<id>/: adds tIoU and vIoU per prompt and camera."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a contact sheet and a timeline of the prompts of --grounding.")
    ] = None,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Compare renderings with the test cameras' images: PSNR and SSIM, plain and with each image's gain fitted.

    --json prints {psnr, ssim, per_camera, per_frame, gain_fitted: {the same}}, and with --grounding also
    {grounding: {rows: [{prompt, camera, tiou, viou, accuracy}], mean, prompts}}.
    """
    from legs4d import pipeline

    with progress_display() as show:
        result = pipeline.evaluate(run, grounding=grounding, pictures=pictures, engine=engine.value, progress=show)
    if as_json:
        print_json(result)
    else:
        print_scores(result)


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for the files.")],
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="ply: one file a frame, 3DGS names; npz: Dynamic3DGS params.npz.")
    ] = ExportFormat.ply,
    frames: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Frames, both ends included; all by default.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="ply: also write each Gaussian's relevancy (0..1) as the property `highlight`.")
    ] = None,
) -> None:
    """Write a run as files that other programs read."""
    from legs4d.gaussians.export import export_npz, export_ply
    from legs4d.gaussians.store import Run

    opened = Run.open(run)
    wanted = _frames(frames, opened.num_frames)
    if file_format is ExportFormat.npz:
        if prompt is not None:
            raise Legs4dError("params.npz has no place for a highlight", where="--prompt", fix="use --format ply")
        say(f"wrote {export_npz(opened, out, wanted)}")
        return
    highlight = _ground(run, [prompt])[0].frame if prompt is not None else None
    with progress_display() as show:

        def on_frame(frame: int) -> None:
            show(Progress("export", frame - wanted.start + 1, len(wanted)))

        paths = export_ply(opened, out, wanted, highlight=highlight, on_frame=on_frame)
    say(f"wrote {len(paths)} files, {paths[0]} to {paths[-1].name}")


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


def _ground(run: Path, prompts: list[str]) -> list[Grounding]:
    from legs4d.gaussians.store import Run
    from legs4d.grounding import query as answer

    return answer(Run.open(run), prompts)


def _frames(text: str | None, num_frames: int) -> range:
    """The frames that FIRST:LAST names, both included."""
    if text is None:
        return range(num_frames)
    match = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(match.group(1)), int(match.group(2))) if match else (1, 0)
    if not first <= last < num_frames:
        raise Legs4dError(
            f"{text!r} names no frames of this run", where="--frames", fix=f"write FIRST:LAST within 0:{num_frames - 1}"
        )
    return range(first, last + 1)


def _report(run: Run, as_json: bool) -> None:
    seconds = {name: round(stage.seconds, 1) for name, stage in run.stages.items()}
    if as_json:
        print_json({"run": str(run.path), "frames": run.num_frames, "gaussians": run.num_gaussians, "seconds": seconds})
        return
    say(f"{run.path}: {run.num_frames} frames, {run.num_gaussians} Gaussians, {run.num_dynamic} of which move")
