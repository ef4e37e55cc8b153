"""Commands that answer prompts."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legs4d.cli.command import app, writer
from legs4d.cli.edge import working
from legs4d.cli.options import Again, Engine, EngineName, Fps, Json, Only, RunFolder, Scale, Without, asked
from legs4d.errors import Legs4dError
from legs4d.terminal import print_json, say

if TYPE_CHECKING:
    from legs4d.config import QuerySettings
    from legs4d.gaussians.store.run import Run
    from legs4d.grounding import Grounding


class BoxAxes(StrEnum):
    world = "world"
    own = "own"


Compose = Annotated[
    bool,
    typer.Option("--compose", help='Read prompts as expressions: "a AND NOT (b OR c)", "a BEFORE b"; capitals only.'),
]
Canonical = Annotated[
    list[str] | None,
    typer.Option(metavar="PHRASE", help="What a prompt has to fit better than, in place of the encoder's; repeatable."),
]
Negative = Annotated[
    list[str] | None, typer.Option(metavar="PROMPT", help="What is not meant, for all prompts; repeatable.")
]
Ensemble = Annotated[
    bool, typer.Option("--ensemble", help='Ask in several wordings: the prompt, "a photo of …", "a video of …", ….')
]
PerPixel = Annotated[
    bool, typer.Option("--per-pixel", help="Decode relevancy pixel by pixel, as the paper does; for comparison.")
]


@app.command()
def query(
    run: RunFolder,
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What happens, in words.")],
    compose: Compose = False,
    canonical: Canonical = None,
    negative: Negative = None,
    ensemble: Ensemble = False,
    boxes: Annotated[
        BoxAxes | None, typer.Option(help="Also boxes in space for each frame, along the scene's axes or their own.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write what cameras see of it: <prompt>/cam<id>/*.png.")
    ] = None,
    cameras: Annotated[
        str, typer.Option(help="Of --masks: test, train, orbit, arc, camera numbers (0,10,15), or path.json.")
    ] = "test",
    segments: Annotated[
        bool,
        typer.Option(
            "--segments",
            help="Answer by the run's segments: boxes and masks are those of the whole things that answer.",
        ),
    ] = False,
    scale: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            show_default="the surest",
            help="Of --segments: of those that answer, 0 the smallest, 1 the largest.",
        ),
    ] = None,
    per_pixel: PerPixel = False,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Say in which frames each PROMPT holds.

    --json prints {prompt, intervals: [{start, end, peak, score}], relevancy: [one a frame], warnings, from, seconds},
    or a list of these for several prompts; with --boxes also {boxes: [{frame, boxes: [{center, axes, size, count}]}]},
    with --masks also {masks: folder}, with --segments also {segments: [{number, name, score}]}.
    Frames are counted from 0, and intervals include both ends. Warnings, which
    stderr gets too, are of words that the run's encoder does not know. `from` tells where the answer to what a prompt
    says comes from.
    """
    from legs4d.gaussians.store.run import Run
    from legs4d.grounding.answers import describe, describe_boxes, describe_segments
    from legs4d.grounding.boxes import Axes
    from legs4d.grounding.selecting import by_segments
    from legs4d.segment.segments import read_segments

    if per_pixel and masks is None:
        raise Legs4dError("there are no masks to decode", where="--per-pixel", fix="give --masks FOLDER too")
    if segments and (compose or per_pixel):
        other = "--compose" if compose else "--per-pixel"
        raise Legs4dError("answers whole things", where="--segments", fix=f"leave it out, or {other}")
    if scale is not None and not segments:
        raise Legs4dError("is of --segments", where="--scale", fix="give that too, or leave it out")
    opened, settings = Run.open(run), query_settings(canonical, negative, ensemble)
    things = read_segments(opened) if segments else None
    groundings = ask(opened, prompts, settings, compose=compose)
    answers: list[dict[str, Any]] = [describe(grounding) for grounding in groundings]
    if things is not None:
        for number, grounding in enumerate(groundings):
            groundings[number], chosen = by_segments(opened, things, grounding, scale)
            answers[number]["segments"] = describe_segments(things, chosen)
    if boxes is not None:
        for answer, grounding in zip(answers, groundings, strict=True):
            answer["boxes"] = describe_boxes(opened, grounding, Axes(boxes))
    if masks is not None:
        written = _write_masks(opened, groundings, masks, cameras, settings if per_pixel else None, engine)
        for answer, folder in zip(answers, written, strict=True):
            answer["masks"] = str(folder)
    if as_json:
        print_json(answers[0] if len(answers) == 1 else answers)
        return
    for answer in answers:
        _print_answer(answer)


@writer("import-4legs", "Import4legs")
def import_4legs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What 4-LEGS wrote: output/ and ae/.")],
    sequence: Annotated[str, typer.Option(help="Name of the sequence: that of its folders in output/.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to make, or to go on with.")],
    autoencoder: Annotated[
        Path | None, typer.Option(help="The autoencoder's checkpoint, where it is not FOLDER/ae/best_ckpt.pth.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Its footage: gives the run cameras, so that it can be rendered and judged.")
    ] = None,
    scale: Scale = None,
    fps: Fps = 30.0,
    linear: Annotated[
        int | None,
        typer.Option(
            min=1, max=768, help="Keep features by a linear codec of so many numbers: prompts are answered much sooner."
        ),
    ] = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Turn a finished output folder of the original 4-LEGS into a run; goes on where a killed import stopped.

    Prompts then need the weights of `viclip`, the encoder that 4-LEGS was trained with.
    """
    given = locals()
    from legs4d import commands, imports

    how = asked(commands.Import4legs, given)
    with working() as context:
        run = imports.import_4legs(
            folder,
            sequence,
            out,
            context,
            autoencoder=autoencoder,
            dataset=dataset,
            scale=how.scale,
            fps=fps,
            linear=linear,
            again=again,
        )
    if as_json:
        print_json({"run": str(run.path), "frames": run.num_frames, "gaussians": run.num_gaussians})
    else:
        say(f"{run.path}: {run.num_frames} frames, {run.num_gaussians} Gaussians, with the language of 4-LEGS")


effects = typer.Typer(help="Show what prompts name as videos, from any cameras.", no_args_is_help=True)
app.add_typer(effects, name="effect")

FilmRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder with language.")]
FilmPrompt = Annotated[str, typer.Option("--prompt", help="What happens, in words.")]
FilmPrompts = Annotated[list[str], typer.Option("--prompt", help="What happens, in words; repeatable.")]
FilmOut = Annotated[Path, typer.Option("--out", help="Video (x.mp4, x.mov), or a folder for PNGs.")]
FilmCameras = Annotated[str, typer.Option("--cameras", help="test, train, orbit, arc, numbers (0,10), or path.json.")]


@effects.command()
def highlight(
    run: FilmRun,
    prompt: FilmPrompt,
    out: FilmOut,
    cameras: FilmCameras = "test",
    compose: Compose = False,
    selection: Only = None,
    without: Without = None,
    engine: EngineName = Engine.auto,
) -> None:
    """What the prompt names lights up while it happens; the rest goes dim and grey."""
    _make_effect("highlight", run, [prompt], out, cameras, compose, engine, selection, without)


@effects.command()
def desaturate(
    run: FilmRun,
    prompt: FilmPrompt,
    out: FilmOut,
    cameras: FilmCameras = "test",
    compose: Compose = False,
    selection: Only = None,
    without: Without = None,
    engine: EngineName = Engine.auto,
) -> None:
    """Only what the prompt names keeps its colour while it happens."""
    _make_effect("desaturate", run, [prompt], out, cameras, compose, engine, selection, without)


@effects.command(name="bullet-time")
def bullet_time(
    run: FilmRun,
    prompt: FilmPrompt,
    out: FilmOut,
    cameras: FilmCameras = "test",
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="That the camera takes to circle once.")] = 4.0,
    degrees: Annotated[
        float, typer.Option(min=1, max=360, help="Of the circle; less than 360 is swung through to either side.")
    ] = 360.0,
    compose: Compose = False,
    selection: Only = None,
    without: Without = None,
    engine: EngineName = Engine.auto,
) -> None:
    """Time stops when it happens most, the camera circles it, and time goes on."""
    _make_effect(
        "bullet-time",
        run,
        [prompt],
        out,
        cameras,
        compose,
        engine,
        selection,
        without,
        circle_seconds=seconds,
        circle_degrees=degrees,
    )


@effects.command()
def zoom(
    run: FilmRun,
    prompt: FilmPrompt,
    out: FilmOut,
    cameras: FilmCameras = "test",
    fill: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the picture that the action takes up.")
    ] = 0.5,
    compose: Compose = False,
    selection: Only = None,
    without: Without = None,
    engine: EngineName = Engine.auto,
) -> None:
    """The cameras move to the action while it happens, follow it, and return."""
    _make_effect("zoom", run, [prompt], out, cameras, compose, engine, selection, without, zoom_fill=fill)


@effects.command()
def scenes(
    run: FilmRun,
    prompts: FilmPrompts,
    out: FilmOut,
    cameras: FilmCameras = "test",
    handles: Annotated[float, typer.Option(min=0, help="Seconds to keep before and after each scene.")] = 0.0,
    compose: Compose = False,
    selection: Only = None,
    without: Without = None,
    engine: EngineName = Engine.auto,
) -> None:
    """Only the scenes in which the prompts hold, joined; beside the video x.json and x.otio, a cut list for editors."""
    _make_effect("scenes", run, prompts, out, cameras, compose, engine, selection, without, scene_handles=handles)


def _make_effect(
    kind: str,
    run: Path,
    prompts: list[str],
    out: Path,
    cameras: str,
    compose: bool,
    engine: Engine,
    selection: list[str] | None,
    without: list[str] | None,
    **settings: float,
) -> None:
    from legs4d.effects.effect import EffectSettings, Kind, write_effect
    from legs4d.gaussians.part import part_of
    from legs4d.gaussians.store.run import Run
    from legs4d.reconstruct.stages import choose_device

    opened = Run.open(run)
    shown = part_of(opened, selection, without, keep_places=True)
    groundings = ask(opened, prompts, query_settings(None, None, False), compose=compose)
    device, how = choose_device(engine.value), EffectSettings(**settings)
    with working() as context:
        written = write_effect(shown, Kind(kind), groundings, out, device, context, cameras=cameras, settings=how)
    say(f"wrote {', '.join(map(str, written))}")


def ask(run: Run, prompts: list[str], settings: QuerySettings, *, compose: bool = False) -> list[Grounding]:
    """What `grounding.query`, or with `compose` `grounding.compose`, answers; its warnings go to stderr."""
    from legs4d import grounding

    groundings = (grounding.compose if compose else grounding.query)(run, prompts, settings)
    for answer in {g.prompt: g for g in groundings}.values():
        warn(answer.prompt, answer.warnings)
    return groundings


def warn(prompt: str, warnings: Iterable[str]) -> None:
    """Say on stderr what a `Grounding` warns of."""
    for warning in warnings:
        say(f"warning: {prompt!r}: {warning}")


def query_settings(canonical: list[str] | None, negative: list[str] | None, ensemble: bool) -> QuerySettings:
    """What the options of these names say."""
    from legs4d.config import ENSEMBLE, QuerySettings

    plain = QuerySettings()
    return QuerySettings(
        canonical=tuple(canonical or ()),
        negative=tuple(negative or ()),
        templates=ENSEMBLE if ensemble else plain.templates,
    )


def ground(run: Run, prompts: list[str]) -> list[Grounding]:
    """What `grounding.query` answers for a run."""
    return ask(run, prompts, query_settings(None, None, False))


def _write_masks(
    run: Run, groundings: list[Grounding], folder: Path, cameras: str, decode: QuerySettings | None, engine: Engine
) -> list[Path]:
    """Write each grounding's masks; `decode` are the settings by which to decode pixels, None for per Gaussian."""
    from legs4d.effects.run_video import choose_cameras, near_plane
    from legs4d.grounding.answers import folder_names, write_masks
    from legs4d.grounding.masks import PixelDecoder
    from legs4d.reconstruct.stages import choose_device

    path, device = choose_cameras(run, cameras), choose_device(engine.value)
    chosen, near = {shot.frame: shot.cameras for shot in path.shots}, near_plane(run, path)
    pixels = None if decode is None else PixelDecoder(run, decode)
    with working() as context:
        return [
            write_masks(run, g, folder, chosen, context, near=near, name=name, device=device, pixels=pixels)
            for g, name in zip(groundings, folder_names([g.prompt for g in groundings]), strict=True)
        ]


def _print_answer(answer: dict[str, Any]) -> None:
    found = "; ".join(
        f"frames {i['start']} to {i['end']} (most at {i['peak']}, score {i['score']:.2f})" for i in answer["intervals"]
    )
    print(f"{answer['prompt']}: {found or 'not found in this run'}")
    for segment in answer.get("segments", []):
        name = f" {segment['name']!r}" if segment["name"] else ""
        print(f"  segment {segment['number']}{name}, score {segment['score']:.2f}")
    for frame in answer.get("boxes", []):
        for box in frame["boxes"]:
            center, size = (" ".join(f"{value:.3f}" for value in box[name]) for name in ("center", "size"))
            print(f"  frame {frame['frame']}: a box of {size} at {center}, {box['count']} Gaussians")
    if "masks" in answer:
        print(f"  masks in {answer['masks']}")
