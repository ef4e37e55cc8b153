"""The stages from footage to an answerable run, each skipped where its output is already there.

What is there is kept: what was made otherwise than is asked for is told, and made anew only where that is asked for
(`gaussians.again`). What needs torch is imported where it is used: a mistyped path is told at once, not after the
seconds that takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from legs4d.config import ExtractSettings, GeometrySettings, LiftSettings, TrainSettings
from legs4d.errors import EncoderError, Legs4dError
from legs4d.executor import IN_ORDER, Executor
from legs4d.gaussians.store.again import Tell, working_on
from legs4d.gaussians.store.footage import find_footage, remember_footage
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.grounding import query
from legs4d.grounding.truth import read_truth, true_intervals
from legs4d.language.embedding.rendered import RenderedFootage, is_filmed
from legs4d.language.embedding.sources import open_source
from legs4d.language.encoders import get_encoder, sees
from legs4d.language.encoders.weights import EncoderFiles
from legs4d.language.lift.stage import lift as lift_run
from legs4d.plan import Making, Plan, forget, records
from legs4d.progress import OnProgress, StopSignal
from legs4d.scene.checks import size_notes
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence, cameras_move

GEOMETRY = ("first_frame", "tracking", "refinement")
"""The stages of reconstruction."""

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
    again: bool | str = False,
    tell: Tell | None = None,
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
        again: make anew what was made otherwise, or everything where nothing was and all is finished. The old result
            counts until the new one is finished. A name makes that happen once, see `gaussians.again.working_on`.
        tell: told, a sentence each, of what is kept though the code has changed, of pictures that are large, and so on.
        progress: told of every stage several times a second.
        stop: looked at in every step.

    Raises:
        DatasetError: the footage cannot be used; nothing is written then.
        EncoderError: the encoder's weights are not there.
        RunDiffers: the run was made, or begun, otherwise, and `again` is not set; nothing is changed then.
        RunError: the run folder cannot be used, or another process writes it.
        Stopped: `stop` was set; what is finished is kept.
    """
    work = _Work(executor, progress, stop)
    sequence = open_sequence(dataset, settings.dataset, progress, stop)
    plan = Plan(sequence, settings, engine=engine, parts=("reconstruct", "lift"), files=files, extracts=True)
    plan.check(out)
    with work.on(out, plan, again, tell) as (run, making):
        if tell and making.extract is None and settings.extract.model_fields_set:
            tell(f"What is set for `extract` (--every) changes nothing: {making.encoder} do not look at the pictures.")
        work.reconstruct(run, plan, making)
        work.lift(run, plan, making)
    return Run.open(out)


def reconstruct(
    dataset: str | Path,
    out: str | Path,
    settings: GeometrySettings,
    *,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    again: bool | str = False,
    tell: Tell | None = None,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """The reconstruction half of `train`."""
    work = _Work(executor, progress, stop)
    asked = TrainSettings(dataset=settings.dataset, preset=settings.preset, reconstruct=settings.reconstruct)
    plan = Plan(open_sequence(dataset, settings.dataset, progress, stop), asked, engine=engine, parts=("reconstruct",))
    plan.check(out)
    with work.on(out, plan, again, tell) as (run, making):
        work.reconstruct(run, plan, making)
    return Run.open(out)


def lift(
    run_folder: str | Path,
    settings: LiftSettings,
    *,
    dataset: str | Path | None = None,
    extraction: ExtractSettings | None = None,
    files: EncoderFiles | None = None,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    again: bool | str = False,
    tell: Tell | None = None,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """The language half of `train`, on a reconstructed run.

    Args:
        dataset: where the footage is now, if not where it was last.
        extraction, files: for encoders that see, as in `extract`; with neither, what was extracted before is lifted.
    """
    work = _Work(executor, progress, stop)
    sequence = _shown(Run.open(run_folder), dataset, engine, progress, stop)
    asked = TrainSettings(extract=extraction or ExtractSettings(), lift=settings)
    plan = Plan(sequence, asked, engine=engine, parts=("lift",), files=files, extracts=extraction is not None)
    with work.on(run_folder, plan, again, tell) as (run, making):
        work.lift(run, plan, making)
    return Run.open(run_folder)


def extract(
    run_folder: str | Path,
    encoder: str,
    settings: ExtractSettings,
    *,
    dataset: str | Path | None = None,
    files: EncoderFiles | None = None,
    engine: str = "auto",
    executor: Executor = IN_ORDER,
    again: bool | str = False,
    tell: Tell | None = None,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """Embed the crops of a run's footage; `lift` then puts them onto the Gaussians.

    Args:
        encoder: one that sees; see `language.encoders`.
        dataset: where the footage is now, if not where it was last.
        files: where its weights are.
        engine: "cpu", "cuda", or "auto" for CUDA where there is a device.

    Raises:
        EncoderError: the encoder does not look at pictures, or its weights are missing, damaged or another model's.
    """
    work = _Work(executor, progress, stop)
    sequence = _shown(Run.open(run_folder), dataset, engine, progress, stop)
    if not sees(get_encoder(encoder, files)):
        raise EncoderError(
            "reads the dataset and not its pictures, so that there is nothing to extract",
            where=f"encoder {encoder}",
            fix="run `legs4d lift`",
        )
    asked = TrainSettings(extract=settings, lift=LiftSettings(encoder=encoder))
    plan = Plan(sequence, asked, engine=engine, parts=("extract",), files=files, extracts=True)
    with work.on(run_folder, plan, again, tell) as (run, making):
        work.extract(run, plan, making)
    return Run.open(run_folder)


def _shown(
    run: Run, dataset: str | Path | None, engine: str, progress: OnProgress | None, stop: StopSignal | None
) -> Sequence:
    """What encoders are shown of a run: its footage, or, where there never was any, pictures of the run itself."""
    if dataset is None and not is_filmed(run):
        return RenderedFootage(run, engine)
    return find_footage(run, dataset, progress=progress, stop=stop)


@dataclass(frozen=True)
class _Work:
    """Who does it, and who is told. Runs that it works on are locked, and hold nothing but what is wanted."""

    executor: Executor
    progress: OnProgress | None
    stop: StopSignal | None

    @contextmanager
    def on(self, out: str | Path, plan: Plan, again: bool | str, tell: Tell | None) -> Iterator[tuple[Run, Making]]:
        """A run, and what is to be made in it; see `again.working_on`."""
        if tell and (advice := plan.advice(out)):
            tell(advice)
        plan.sequence.content.hashes(progress=self.progress, stop=self.stop)
        made: list[Making] = []

        def wanted(run: Run) -> dict[str, MadeFrom]:
            made.append(plan.making(run))
            return plan.wanted(run, made[0])

        with working_on(
            out,
            wanted,
            again=again,
            records=lambda run: records(run, made[0].encoder),
            explain=plan.explain,
            forget=lambda run, stage: forget(run, stage, made[0].encoder),
            tell=tell or (lambda sentence: None),
            fix=plan.fix,
        ) as run:
            if not isinstance(plan.sequence, RenderedFootage):
                remember_footage(run, plan.sequence)
            yield run, made[0]

    def reconstruct(self, run: Run, plan: Plan, making: Making) -> None:
        """Do what is left of the reconstruction."""
        from legs4d.reconstruct.chunks import ChunkedReconstruction
        from legs4d.reconstruct.stages import Reconstruction

        sequence = plan.sequence
        if all(run.has_finished(name) for name in plan.wanted(run, making) if name in GEOMETRY):
            return
        if isinstance(sequence, MotionMasks):
            sequence.prepare(self.progress, self.stop)
        first = sequence.cameras("train", 0)
        run.set_info(
            scale=sequence.reading.scale,
            reading=sequence.reading.model_dump(mode="json", exclude={"scale"}),
            notes=[*sequence.notes, *size_notes(first.width, first.height)],
            origin=list(sequence.origin),
            fps=sequence.fps,
            frame_numbers=list(sequence.frame_numbers),
            masks="motion" if isinstance(sequence, MotionMasks) else "footage",
            cameras_move=cameras_move(sequence),
        )
        what: dict[str, Any] = {"dataset": sequence.reading, "preset": making.preset}
        kind: type[Reconstruction] = Reconstruction
        if making.reconstruct.chunks.length:
            kind, what = ChunkedReconstruction, {**what, "executor": self.executor}
        kind(run, sequence, making.reconstruct, plan.device, self.progress, self.stop, **what).finish()

    def extract(self, run: Run, plan: Plan, making: Making) -> None:
        """Embed what an encoder that sees has not seen yet."""
        from legs4d.language.embedding.extract import choose_device
        from legs4d.language.embedding.extract import extract as extract_run

        encoder = get_encoder(making.encoder, plan.files)
        if making.extract is None or not sees(encoder):
            return
        what = run, plan.sequence, encoder, making.extract, choose_device(plan.engine)
        extract_run(*what, progress=self.progress, stop=self.stop, executor=self.executor)

    def lift(self, run: Run, plan: Plan, making: Making) -> None:
        """Extract what is needed, and lift it."""
        self.extract(run, plan, making)
        if not (run.has_finished("lift") or isinstance(plan.sequence, RenderedFootage)):
            remember_footage(run, plan.sequence, language=True)
        lift_run(
            run,
            plan.sequence,
            open_source(run, making.encoder),
            making.lift,
            near=run.info["near"],
            engine=plan.engine,
            progress=self.progress,
            stop=self.stop,
            threads=self.executor.threads,
            executor=self.executor,
        )


def import_splats(
    named: Several[str | Path],
    out: str | Path,
    *,
    fps: float | None = None,
    up: tuple[float, float, float] | None = None,
    identity: Literal["auto", "keep", "none"] = "auto",
    frames: int | None = None,
    heads: tuple[str, ...] | None = None,
    again: bool | str = False,
    tell: Tell | None = None,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """Splat files of other programs as a run; see `gaussians.import_splats`."""
    from legs4d.gaussians.import_splats import import_splats as import_files

    how: dict[str, Any] = {"fps": fps, "up": up, "identity": identity, "frames": frames, "heads": heads}
    return import_files(named, Path(out), **how, again=again, tell=tell, progress=progress, stop=stop)


def import_params(
    source: str | Path,
    out: str | Path,
    *,
    dataset: str | Path | None = None,
    scale: float = 1.0,
    fps: float = 30.0,
    again: bool | str = False,
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

    sequence = _footage_of_import(dataset, scale)
    run = import_dynamic3dgs(
        Path(source), Path(out), fps=fps, sequence=sequence, again=again, progress=progress, stop=stop
    )
    return _with_footage(run, sequence, scale)


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
    again: bool | str = False,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """A finished output folder of 4-LEGS as a run; see `language.legacy.import_4legs` for what is read and raised."""
    from legs4d.language.legacy import import_4legs as import_folder

    seen = _footage_of_import(dataset, scale)
    run = import_folder(
        folder,
        sequence,
        out,
        autoencoder=autoencoder,
        fps=fps,
        footage=seen,
        linear=linear,
        again=again,
        progress=progress,
        stop=stop,
    )
    return _with_footage(run, seen, scale)


def _footage_of_import(dataset: str | Path | None, scale: float) -> Sequence | None:
    if dataset is not None:
        return open_sequence(dataset, scale)
    if scale != 1:
        raise Legs4dError(
            "is of footage, and none is given", where="--scale", fix="give --dataset too, or leave it out"
        )
    return None


def _with_footage(run: Run, sequence: Sequence | None, scale: float) -> Run:
    """An imported run that knows its footage."""
    if sequence is not None:
        with run.lock():
            run.set_info(scale=scale)
            remember_footage(run, sequence)
    return run


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
    dataset: str | Path | None = None,
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
        dataset: where the footage is now, if not where it was last.
        grounding: folder of true masks (`grounding.truth`); adds `grounding` to the result.
        pictures: folder for `test_views.png` and, with `grounding`, a contact sheet, a timeline, a plot of its scores
            and pages of its masks against the true ones.
        plot: file for the scores over time.
        lpips: "alex" or "vgg", whose weights are among the priors, or a file of weights (`priors.perceptual.lpips`);
            without it, LPIPS is None.
        track: an object of the dataset's objects/; adds `tracking` to the result.
        per_pixel: whether relevancy is decoded per pixel, see `grounding.benchmark.evaluate`.

    Returns:
        As `reconstruct.evaluate.evaluate_pictures`, `grounding` as `grounding.benchmark.evaluate`, and `tracking` as
        `reconstruct.object_tracking.evaluate_tracking`.
    """
    run = Run.open(run_folder)
    sequence = find_footage(run, dataset, progress=progress, stop=stop)
    from legs4d.effects.pages.mask_page import write_mask_pages
    from legs4d.effects.pages.metrics_plot import metrics_plot
    from legs4d.effects.pages.report import write_report
    from legs4d.effects.pages.score_plot import score_plot
    from legs4d.effects.pages.views_page import write_test_views
    from legs4d.grounding.benchmark import evaluate as evaluate_grounding
    from legs4d.priors.perceptual.lpips import open_lpips
    from legs4d.reconstruct.evaluation.evaluate import evaluate_pictures
    from legs4d.reconstruct.evaluation.object_tracking import evaluate_tracking
    from legs4d.reconstruct.stages import choose_device

    device = choose_device(engine)
    distance = None if lpips is None else open_lpips(lpips, device)
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
