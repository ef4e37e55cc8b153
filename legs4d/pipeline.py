"""The stages from footage to an answerable run, each skipped where its output is already there.

What needs torch is imported where it is used: a mistyped path is told at once, not after the seconds that takes.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from legs4d.config import ExtractSettings, GeometrySettings, LiftSettings, Preset, TrainSettings
from legs4d.errors import EncoderError, RunError
from legs4d.executor import IN_ORDER, Executor
from legs4d.gaussians.store import Run
from legs4d.grounding import query
from legs4d.grounding.truth import read_truth, true_intervals
from legs4d.language.encoders import choose_encoder, get_encoder, sees
from legs4d.language.encoders.weights import EncoderFiles
from legs4d.language.grids import is_complete
from legs4d.language.lift import lift as lift_run
from legs4d.language.sources import open_source
from legs4d.progress import OnProgress, StopSignal
from legs4d.scene.checks import check_camera_count
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence, reading_of
from legs4d.scene.sequence import Sequence, cameras_move

if TYPE_CHECKING:
    from legs4d.effects.run_video import Layer
    from legs4d.grounding import Grounding


def train(
    dataset: str | Path,
    out: str | Path,
    settings: TrainSettings,
    *,
    files: EncoderFiles | None = None,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """Reconstruct footage, then lift language onto it; goes on where a stopped or killed call ended.

    Args:
        dataset: folder in a layout that `scene.readers` knows.
        out: run folder, made if need be.
        files: where the encoder's weights are.
        engine: "cpu", "cuda", or "auto" for CUDA where it can run.
        executor: who does what can be done frame by frame; see `cluster`.
        progress: told of every stage several times a second.
        stop: looked at in every step.

    Raises:
        DatasetError: the footage cannot be used; nothing is written then.
        EncoderError: the encoder's weights are not there.
        RunError: the run folder cannot be used, or another process writes it.
        Stopped: `stop` was set; what is finished is kept.
    """
    sequence = open_sequence(dataset, settings.dataset, progress, stop)
    encoder = get_encoder(choose_encoder(settings.lift.encoder, sequence), files)
    # Fail on a dataset or weights that cannot be read now, not after minutes of reconstruction.
    _ = encoder.weights_id if sees(encoder) else encoder.sample_rows(sequence)
    run = _reconstruct(sequence, out, settings, engine=engine, executor=executor, progress=progress, stop=stop)
    return lift(
        run.path,
        settings.lift,
        extraction=settings.extract,
        files=files,
        engine=engine,
        executor=executor,
        progress=progress,
        stop=stop,
    )


def reconstruct(
    dataset: str | Path,
    out: str | Path,
    settings: GeometrySettings,
    *,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """The reconstruction half of `train`."""
    sequence = open_sequence(dataset, settings.dataset, progress, stop)
    return _reconstruct(sequence, out, settings, engine=engine, executor=executor, progress=progress, stop=stop)


def _reconstruct(
    sequence: Sequence,
    out: str | Path,
    settings: GeometrySettings,
    *,
    engine: str,
    executor: Executor,
    progress: OnProgress | None,
    stop: StopSignal | None,
) -> Run:
    """`reconstruct`, of footage that is open."""
    from legs4d.reconstruct.chunks import ChunkedReconstruction
    from legs4d.reconstruct.stages import Reconstruction, choose_device

    device = choose_device(engine)
    check_camera_count(len(sequence.cameras("train", 0)), f"{sequence.root}, frame 0")
    if isinstance(sequence, MotionMasks):
        sequence.prepare(progress, stop)
    run = Run.open(out) if (Path(out) / "run.json").exists() else Run.create(out)
    with run.lock():
        run.set_info(
            dataset=str(sequence.root.resolve()),
            scale=settings.dataset.scale,
            reading=sequence.reading.model_dump(mode="json", exclude={"scale"}),
            notes=list(sequence.notes),
            origin=list(sequence.origin),
            fps=sequence.fps,
            frame_numbers=list(sequence.frame_numbers),
            masks="motion" if isinstance(sequence, MotionMasks) else "footage",
            cameras_move=cameras_move(sequence),
        )
        wanted = settings.reconstruct
        if settings.preset is not None:
            suited: Preset = "full" if device.type == "cuda" else "quick"
            wanted = wanted.with_preset(suited if settings.preset == "auto" else settings.preset)
        what = run, sequence, wanted, device, progress, stop
        (ChunkedReconstruction(*what, executor=executor) if wanted.chunks.length else Reconstruction(*what)).finish()
    return run


def lift(
    run_folder: str | Path,
    settings: LiftSettings,
    *,
    extraction: ExtractSettings | None = None,
    files: EncoderFiles | None = None,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """The language half of `train`, on a reconstructed run whose dataset is still where it was.

    Args:
        extraction, files: for encoders that see, as in `extract`; with neither, what was extracted before is lifted.
    """
    run = Run.open(run_folder)
    sequence = footage(run)
    name = choose_encoder(settings.encoder, sequence)
    again = extraction is not None or files is not None or not is_complete(run.path, name, sequence)
    if sees(get_encoder(name)) and again:
        extract(
            run_folder,
            name,
            extraction or ExtractSettings(),
            files=files,
            engine=engine,
            executor=executor,
            progress=progress,
            stop=stop,
        )
    with run.lock():
        lift_run(
            run,
            sequence,
            open_source(run, name),
            settings.model_copy(update={"encoder": name}),
            near=run.info["near"],
            engine=engine,
            progress=progress,
            stop=stop,
            threads=executor.threads,
            executor=executor,
        )
    return run


def extract(
    run_folder: str | Path,
    encoder: str,
    settings: ExtractSettings,
    *,
    files: EncoderFiles | None = None,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """Embed the crops of a run's footage; `lift` then puts them onto the Gaussians.

    Args:
        encoder: one that sees; see `language.encoders`.
        files: where its weights are.
        engine: "cpu", "cuda", or "auto" for CUDA where there is a device.

    Raises:
        EncoderError: the encoder does not look at pictures, or its weights are missing, damaged or another model's.
    """
    run = Run.open(run_folder)
    sequence = footage(run)
    seeing = get_encoder(encoder, files)
    if not sees(seeing):
        raise EncoderError(
            "reads the dataset and not its pictures, so that there is nothing to extract",
            where=f"encoder {encoder}",
            fix="run `legs4d lift`",
        )
    from legs4d.language.extract import choose_device
    from legs4d.language.extract import extract as extract_run

    device = choose_device(engine)
    with run.lock():
        extract_run(run, sequence, seeing, settings, device, progress=progress, stop=stop, executor=executor)
    return run


def import_splats(
    named: Several[str | Path],
    out: str | Path,
    *,
    fps: float | None = None,
    up: tuple[float, float, float] | None = None,
    identity: Literal["auto", "keep", "none"] = "auto",
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """Splat files of other programs as a run; see `gaussians.import_splats`."""
    from legs4d.gaussians.import_splats import import_splats as import_files

    return import_files(named, Path(out), fps=fps, up=up, identity=identity, progress=progress, stop=stop)


def import_params(
    source: str | Path,
    out: str | Path,
    *,
    dataset: str | Path | None = None,
    scale: float = 1.0,
    fps: float = 30.0,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """A result of Dynamic3DGS (`params.npz`) as a run; with its footage, one that can be rendered, judged and lifted.

    Args:
        fps: of the capture; the footage's own, if that is given.

    Raises:
        RunError: see `gaussians.dynamic3dgs.import_dynamic3dgs`.
        DatasetError: the footage cannot be used, or is not that of this result.
    """
    from legs4d.gaussians.dynamic3dgs import import_dynamic3dgs

    sequence = None if dataset is None else open_sequence(dataset, scale)
    run = import_dynamic3dgs(Path(source), Path(out), fps=fps, sequence=sequence, progress=progress, stop=stop)
    return _with_footage(run, dataset, scale)


def import_4legs(
    folder: str | Path,
    sequence: str,
    out: str | Path,
    *,
    autoencoder: str | Path | None = None,
    dataset: str | Path | None = None,
    scale: float = 1.0,
    fps: float = 30.0,
    linear: int | None = None,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """A finished output folder of 4-LEGS as a run; see `language.legacy.import_4legs` for what is read and raised."""
    from legs4d.language.legacy import import_4legs as import_folder

    seen = None if dataset is None else open_sequence(dataset, scale)
    run = import_folder(
        folder,
        sequence,
        out,
        autoencoder=autoencoder,
        fps=fps,
        footage=seen,
        linear=linear,
        progress=progress,
        stop=stop,
    )
    return _with_footage(run, dataset, scale)


def _with_footage(run: Run, dataset: str | Path | None, scale: float) -> Run:
    """An imported run that says where its footage is."""
    if dataset is not None:
        with run.lock():
            run.set_info(dataset=str(Path(dataset).resolve()), scale=scale)
    return run


def footage(run: Run) -> Sequence:
    """The sequence that a run was made from, at the run's scale.

    Raises:
        RunError: the run was not made from footage.
        DatasetError: it is no longer there.
    """
    if "dataset" not in run.info:
        raise RunError("was not made from footage, so there is none to read", where=str(run.path))
    return open_sequence(run.info["dataset"], reading_of(run.info))


def render(
    run_folder: str | Path,
    out: str | Path,
    *,
    cameras: str = "test",
    grounding: Grounding | None = None,
    layers: Several[Layer] = (),
    engine: str = "auto",
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> list[Path]:
    """A run as video, and what was written; see `effects.run_video.write_run_video`."""
    run = Run.open(run_folder)
    from legs4d.effects.run_video import write_run_video
    from legs4d.reconstruct.stages import choose_device

    device = choose_device(engine)
    return write_run_video(run, out, cameras, grounding, device, layers=layers, progress=progress, stop=stop)


def evaluate(
    run_folder: str | Path,
    *,
    grounding: str | Path | None = None,
    pictures: str | Path | None = None,
    plot: str | Path | None = None,
    lpips: str | Path | None = None,
    track: int | None = None,
    per_pixel: bool = False,
    engine: str = "auto",
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> dict[str, Any]:
    """Compare a finished run with its test cameras' pictures, and with true masks.

    Args:
        grounding: folder of true masks (`grounding.truth`); adds `grounding` to the result.
        pictures: folder for `test_views.png` and, with `grounding`, a contact sheet, a timeline, a plot of its scores
            and pages of its masks against the true ones.
        plot: file for the scores over time.
        lpips: file of its weights (`reconstruct.lpips`); without it, LPIPS is None.
        track: an object of the dataset's objects/; adds `tracking` to the result.
        per_pixel: whether relevancy is decoded per pixel, see `grounding.benchmark.evaluate`.

    Returns:
        As `reconstruct.evaluate.evaluate_pictures`, `grounding` as `grounding.benchmark.evaluate`, and `tracking` as
        `reconstruct.object_tracking.evaluate_tracking`.
    """
    run = Run.open(run_folder)
    sequence = footage(run)
    from legs4d.effects.mask_page import write_mask_pages
    from legs4d.effects.metrics_plot import metrics_plot
    from legs4d.effects.report import write_report
    from legs4d.effects.score_plot import score_plot
    from legs4d.effects.views_page import write_test_views
    from legs4d.grounding.benchmark import evaluate as evaluate_grounding
    from legs4d.reconstruct.evaluate import evaluate_pictures
    from legs4d.reconstruct.lpips import Lpips
    from legs4d.reconstruct.object_tracking import evaluate_tracking
    from legs4d.reconstruct.stages import choose_device

    device = choose_device(engine)
    distance = None if lpips is None else Lpips(lpips, device)
    result = evaluate_pictures(run, sequence, device, lpips=distance, progress=progress, stop=stop)
    if plot is not None:
        score_plot(plot, result)
    if pictures is not None:
        write_test_views(run, sequence, Path(pictures) / "test_views.png", device)
    if track is not None:
        result["tracking"] = evaluate_tracking(run, sequence, track, device, progress=progress, stop=stop)
    if grounding is not None:
        result["grounding"] = evaluate_grounding(
            run, grounding, per_pixel=per_pixel, device=device, progress=progress, stop=stop
        )
        truth = true_intervals(read_truth(grounding), run.info["frame_numbers"])
        if pictures is not None and truth:
            groundings = query(run, list(truth))
            write_report(run, sequence, groundings, pictures, device, truth)
            metrics_plot(Path(pictures) / "grounding.png", result["grounding"])
            write_mask_pages(run, groundings, grounding, pictures, device, per_pixel=per_pixel)
    return result
