"""Commands that show, measure and hand on what a run holds: render, eval, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from legs4d.cli.asking import PerPixel, ground, warn
from legs4d.cli.command import app, writer
from legs4d.cli.edge import working
from legs4d.cli.options import (
    DatasetNow,
    Download,
    Engine,
    EngineName,
    Frames,
    Json,
    Only,
    RunFolder,
    Weights,
    Without,
    chosen_frames,
)
from legs4d.errors import Legs4dError
from legs4d.portable.pointing import DEFAULT_SCALE
from legs4d.terminal import print_json, print_scores, say

if TYPE_CHECKING:
    from legs4d.effects.run_video import Layer
    from legs4d.gaussians.store.run import Run
    from legs4d.language.object_scores import Asked


class ExportFormat(StrEnum):
    ply = "ply"
    spz = "spz"
    sog = "sog"
    gltf = "gltf"
    usd = "usd"
    usdz = "usdz"
    npz = "npz"
    json = "json"


@app.command()
def render(
    run: RunFolder,
    out: Annotated[
        Path, typer.Option("--out", help="Video (x.mp4: H.264; x.mov: ProRes 422 HQ), or a folder for PNGs.")
    ],
    prompt: Annotated[str | None, typer.Option(help="Highlight what this names, where and when it happens.")] = None,
    cameras: Annotated[
        str,
        typer.Option(help="test, train, orbit, arc, camera numbers (0,10,15), or a camera path's file (x.json)."),
    ] = "test",
    depth: Annotated[
        bool, typer.Option("--depth", help="Also x_depth: near plane / depth; PNGs have 16 bits.")
    ] = False,
    alpha: Annotated[bool, typer.Option("--alpha", help="Also x_alpha: how much of a pixel is filled.")] = False,
    segmentation: Annotated[
        bool, typer.Option("--segmentation", help="Also x_segmentation: how much of a pixel is foreground.")
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(min=0.01, max=1000, help="Pictures a second, also between frames; by default the run's frames."),
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=100_000,
            show_default="one a frame",
            help="Of an orbit or an arc, while the run goes by once: 100 pictures of 16 frames turn slowly.",
        ),
    ] = None,
    selection: Only = None,
    without: Without = None,
    mask: Annotated[
        bool, typer.Option("--mask", help="Also x_mask: where --selection is, among all the rest.")
    ] = False,
    similarity: Annotated[
        bool, typer.Option("--similarity", help="Also x_similarity: what is in the same segments as --selection.")
    ] = False,
    segments: Annotated[
        bool, typer.Option("--segments", help="Also x_segments: a colour for each, at --scale.")
    ] = False,
    components: Annotated[
        bool, typer.Option("--components", help="Also x_components: segments by their principal components.")
    ] = False,
    scale: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, show_default="0.5", help="Of --segments: 0 shows the smallest, 1 the largest."),
    ] = None,
    background: Annotated[
        str,
        typer.Option(
            metavar="COLOUR",
            help="Behind everything: auto (white where pictures were transparent, else black), black, white, grey, "
            "#rrggbb, or transparent (PNGs).",
        ),
    ] = "auto",
    engine: EngineName = Engine.auto,
) -> None:
    """Show a run as its cameras see it, from an orbit around it, or along a camera path."""
    from legs4d.gaussians.store.run import Run

    wanted: dict[Layer, bool] = {"depth": depth, "alpha": alpha, "segmentation": segmentation}
    wanted |= {"mask": mask, "similarity": similarity, "segments": segments, "components": components}
    layers = [layer for layer, asked in wanted.items() if asked]
    if scale is not None and not segments:
        raise Legs4dError("is of --segments", where="--scale", fix="give that too, or leave it out")
    opened = Run.open(run)
    grounding = ground(opened, [prompt])[0] if prompt is not None else None
    from legs4d.effects.run_video import write_run_video
    from legs4d.reconstruct.stages import choose_device

    with working(engine) as context:
        written = write_run_video(
            opened,
            out,
            cameras,
            grounding,
            choose_device(context.engine),
            context,
            layers=layers,
            selections=selection or (),
            without=without or (),
            scale=DEFAULT_SCALE if scale is None else scale,
            fps=fps,
            pictures=pictures,
            background=background,
        )
    say(f"wrote {', '.join(map(str, written))}")


@app.command(name="eval")
def evaluate(
    run: RunFolder,
    dataset: DatasetNow = None,
    grounding: Annotated[
        Path | None,
        typer.Option(help="Folder of true masks, <prompt>/cam<id>/: adds tIoU and vIoU per prompt and camera."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for test_views.png (truth, rendered, error), with --grounding also sheets, timeline and plot."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture (.png, .svg, .pdf) of the scores over time.")] = None,
    lpips: Annotated[
        str | None,
        typer.Option(
            metavar="alex|vgg|FILE",
            help="Adds LPIPS: with the weights that `legs4d priors get lpips-alex` or lpips-vgg fetches, or a file's.",
        ),
    ] = None,
    track: Annotated[
        int | None, typer.Option(metavar="OBJECT_ID", min=1, help="How well the Gaussians of this object follow it.")
    ] = None,
    per_pixel: PerPixel = False,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="openclip:MODEL",
            help="Of a run of `legs4d object`: CLIP and CLIP-T against its video, as 4DGen's paper has them.",
        ),
    ] = None,
    xclip: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Of such a run: how well it shows what words say, by your X-CLIP."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Of --xclip; by default the words that the run was made of."),
    ] = None,
    weights: Weights = None,
    download: Download = False,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Compare renderings with the test cameras' images: PSNR, SSIM, LPIPS, plain and with each image's gain fitted.

    --json prints {psnr, ssim, lpips, per_camera: {id: dB}, per_frame: [dB], images: [{camera, frame, psnr, ssim,
    lpips}], gain_fitted: {the same}}, where lpips is null without --lpips, and with --grounding also
    {grounding: {rows: [{prompt, camera, tiou, viou, accuracy}], mean, per_prompt, prompts}}, and with --track
    {tracking: {object, gaussians, median_px, median_carried_px, median_rendered_px, iou, on_object, stayed, per_camera,
    per_frame}}. A run of `legs4d object` is compared with its video, from its own camera: {frames, psnr, ssim, lpips,
    per_frame}, with --clip also {clip, clip_t, clip_t_sides: {front, right, back}, encoder}, with --xclip also {xclip,
    xclip_sides, words}.
    """
    from legs4d.gaussians.store.run import Run

    if text is not None and xclip is None:
        raise Legs4dError("is of --xclip", where="--text", fix="give that too, or leave it out")
    opened = Run.open(run)
    from legs4d.language.object_scores import Asked, is_object

    if clip is not None or xclip is not None or is_object(opened):
        others: dict[str, object] = {"--dataset": dataset, "--grounding": grounding, "--pictures": pictures}
        others |= {"--plot": plot, "--track": track, "--per-pixel": per_pixel or None}
        for option, given in others.items():
            if given is not None:
                what = "is for runs of footage, and objects are compared with their video"
                raise Legs4dError(what, where=option, fix="leave it out")
        asked = Asked(lpips, clip, xclip, text)
        _object_scores(opened, asked, weights, download, engine, as_json)
        return
    from legs4d import pipeline

    if per_pixel and grounding is None:
        raise Legs4dError("there are no masks to decode", where="--per-pixel", fix="give --grounding too")
    with working(engine) as context:
        result = pipeline.evaluate(
            run,
            context,
            dataset=dataset,
            grounding=grounding,
            pictures=pictures,
            plot=plot,
            lpips=lpips,
            track=track,
            per_pixel=per_pixel,
        )
    if lpips is None:
        say("LPIPS was not measured: its weights are not shipped; see --lpips.")
    for asked, found in result.get("grounding", {}).get("prompts", {}).items():
        warn(asked, found["warnings"])
    if as_json:
        print_json(result)
    else:
        print_scores(result)


def _object_scores(run: Run, asked: Asked, weights: Path | None, download: bool, engine: Engine, as_json: bool) -> None:
    from legs4d.language.object_scores import object_scores

    with working(engine, weights=weights, download=download) as context:
        found = object_scores(run, asked, context)
    if as_json:
        print_json(found)
        return
    felt = "" if found["lpips"] is None else f", LPIPS {found['lpips']:.3f}"
    say(f"beside its video, {found['frames']} frames: {found['psnr']:.2f} dB, SSIM {found['ssim']:.3f}{felt}")
    if "clip" in found:
        say(f"CLIP {found['clip']:.4f}, CLIP-T {found['clip_t']:.4f} ({found['encoder']}; lower is more alike)")
    if "xclip" in found:
        say(f"X-CLIP {found['xclip']:.2f} for {found['words']!r} (higher is more alike)")


@writer("export", "Export")
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for the files.")],
    format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="A file a frame: ply (3DGS names), spz and sog (small, rounded), gltf (.glb, KHR_gaussian_splatting). "
            "All frames in one file: usd (.usdc with time samples), usdz. npz: Dynamic3DGS params.npz. "
            "json: where the objects are in each frame, without the Gaussians.",
        ),
    ] = ExportFormat.ply,
    frames: Frames = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="ply, gltf, usd: each Gaussian's relevancy (0..1) as `highlight` (gltf: `_HIGHLIGHT`)."),
    ] = None,
    sh_degree: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=3,
            help="Degrees of view dependence. ply is padded with zeros to them: 3 makes f_rest_0 to 44, 62 properties, "
            "that some programs insist on.",
        ),
    ] = None,
    spz_version: Annotated[
        int | None, typer.Option(min=2, max=4, help="spz: 3 (what most programs read), 2 (older ones) or 4 (zstd).")
    ] = None,
    per_frame: Annotated[bool, typer.Option("--per-frame", help="usd: a file a frame.")] = False,
    selection: Only = None,
    without: Without = None,
) -> None:
    """Write a run as files that other programs read, turned so that up is where their format has it (ply is not).

    docs/formats.md says which program takes which.
    """
    from legs4d.gaussians.export import FileFormat, check_export, export_files, what_is_left_out
    from legs4d.gaussians.part import of_part, part_of
    from legs4d.gaussians.store.run import Run
    from legs4d.portable.spz_writer import Version

    whole, kind = Run.open(run), cast(FileFormat, str(format.value))
    opened = part_of(whole, selection, without, keep_places=False)
    wanted = chosen_frames(frames, opened.num_frames, whole.path)
    check_export(
        kind,
        prompt=prompt is not None,
        sh_degree=sh_degree,
        spz_version=spz_version,
        per_frame=per_frame,
        selection=bool(selection),
        without=bool(without),
    )
    highlight = of_part(opened, ground(whole, [prompt])[0].frame) if prompt is not None else None
    with working() as context:
        paths = export_files(
            opened,
            out,
            wanted,
            kind,
            context,
            sh_degree=sh_degree,
            spz_version=cast(Version | None, spz_version),
            per_frame=per_frame,
            highlight=highlight,
        )
    for sentence in what_is_left_out(opened, wanted, kind):
        say(sentence)
    several = (
        f"{len(paths)} files, {paths[0]} to {paths[-1].name}" if len(paths) > 1 else paths[0] if paths else "no file"
    )
    say(f"wrote {several}")
