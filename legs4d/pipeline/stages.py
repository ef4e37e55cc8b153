"""The stages from footage to an answerable run, each skipped where its output is already there.

What is there is kept: what was made otherwise than is asked for is told, and made anew only where that is asked for
(`gaussians.again`). What needs torch is imported where it is used: a mistyped path is told at once, not after the
seconds that takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from legs4d.config import ExtractSettings, GeometrySettings, LiftSettings, TrainSettings
from legs4d.context import QUIET, Context
from legs4d.errors import EncoderError
from legs4d.gaussians.store.again import run_in, working_on
from legs4d.gaussians.store.footage import find_footage, remember_footage
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.language.embedding.rendered import RenderedFootage, is_filmed
from legs4d.language.embedding.sources import open_source
from legs4d.language.encoders import get_encoder, sees
from legs4d.language.lift.stage import lift as lift_run
from legs4d.pipeline.footage import read_footage
from legs4d.plan import Making, Plan, forget, records
from legs4d.scene.checks import size_notes
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.sequence import Sequence, cameras_move

GEOMETRY = ("deform", "first_frame", "tracking", "births", "refinement")
"""The stages of reconstruction."""


def train(
    dataset: str | Path,
    out: str | Path,
    settings: TrainSettings,
    context: Context = QUIET,
    *,
    objects: str | Path | bool = True,
    again: bool | str = False,
) -> Run:
    """Reconstruct footage, then lift language onto it; goes on where a stopped or killed call ended.

    Args:
        dataset: folder in a layout that `scene.readers` knows.
        out: run folder, made if need be.
        objects: folder of objects that `legs4d objects` found; True for the one beside the footage, which is made where
            masks are missing and the helpers' weights are there; False for none. True means, of a run that has begun,
            what it was made with.
        again: make anew what was made otherwise, or everything where nothing was and all is finished. The old result
            counts until the new one is finished. A name makes that happen once, see `gaussians.again.working_on`.

    Raises:
        DatasetError: the footage cannot be used; nothing is written then.
        EncoderError: the encoder's weights are not there.
        RunDiffers: the run was made, or begun, otherwise, and `again` is not set; nothing is changed then.
        RunError: the run folder cannot be used, or another process writes it.
        Stopped: the context's stop was set; what is finished is kept.
    """
    parts = ("reconstruct", "lift")
    with _from_footage(dataset, out, settings, context, parts, objects=objects, again=again) as work:
        if work.making.extract is None and settings.extract.model_fields_set:
            encoder = work.making.encoder
            context.tell(f"What is set for `extract` (--every) changes nothing: {encoder} do not look at the pictures.")
        work.reconstruct()
        work.lift()
    return Run.open(out)


def reconstruct(
    dataset: str | Path,
    out: str | Path,
    settings: GeometrySettings,
    context: Context = QUIET,
    *,
    objects: str | Path | bool = True,
    again: bool | str = False,
) -> Run:
    """The reconstruction half of `train`."""
    asked = TrainSettings(**{name: getattr(settings, name) for name in GeometrySettings.model_fields})
    with _from_footage(dataset, out, asked, context, ("reconstruct",), objects=objects, again=again) as work:
        work.reconstruct()
    return Run.open(out)


def lift(
    run_folder: str | Path,
    settings: LiftSettings,
    context: Context = QUIET,
    *,
    dataset: str | Path | None = None,
    extraction: ExtractSettings | None = None,
    again: bool | str = False,
) -> Run:
    """The language half of `train`, on a reconstructed run.

    Args:
        context: `files` is for encoders that see, as `extraction`.
        dataset: where the footage is now, if not where it was last.
        extraction: as in `extract`; with neither, what was extracted before is lifted.
    """
    run = Run.open(run_folder)
    asked = TrainSettings(extract=extraction or ExtractSettings(), lift=settings)
    shown = _shown(run, dataset, context)
    plan = Plan(shown, asked, context, ("lift",), extracts=extraction is not None, again=bool(again))
    with _working(run, plan, again) as work:
        work.lift()
    return Run.open(run_folder)


def extract(
    run_folder: str | Path,
    encoder: str,
    settings: ExtractSettings,
    context: Context = QUIET,
    *,
    dataset: str | Path | None = None,
    again: bool | str = False,
) -> Run:
    """Embed the crops of a run's footage; `lift` then puts them onto the Gaussians.

    Args:
        encoder: one that sees; see `language.encoders`.
        dataset: where the footage is now, if not where it was last.

    Raises:
        EncoderError: the encoder does not look at pictures, or its weights are missing, damaged or another model's.
    """
    run = Run.open(run_folder)
    sequence = _shown(run, dataset, context)
    if not sees(get_encoder(encoder, context.files)):
        raise EncoderError(
            "reads the dataset and not its pictures, so that there is nothing to extract",
            where=f"encoder {encoder}",
            fix="run `legs4d lift`",
        )
    asked = TrainSettings(extract=settings, lift=LiftSettings(encoder=encoder))
    plan = Plan(sequence, asked, context, ("extract",), extracts=True, again=bool(again))
    with _working(run, plan, again) as work:
        work.extract()
    return Run.open(run_folder)


def _shown(run: Run, dataset: str | Path | None, context: Context) -> Sequence:
    """What encoders are shown of a run: its footage, or, where there never was any, pictures of the run itself."""
    if dataset is None and not is_filmed(run):
        return RenderedFootage(run, context.engine)
    return find_footage(run, dataset, context)


@contextmanager
def _from_footage(
    dataset: str | Path,
    out: str | Path,
    settings: TrainSettings,
    context: Context,
    parts: tuple[str, ...],
    *,
    objects: str | Path | bool,
    again: bool | str,
) -> Iterator[_Work]:
    """What is to be made in a run, which may be there, of a dataset; see `_working`."""
    there = run_in(out)
    sequence = read_footage(dataset, Path(out), there, settings.dataset, context, objects=objects, again=again)
    plan = Plan(sequence, settings, context, parts, extracts=True, again=bool(again))
    plan.check(there)
    with _working(there or out, plan, again) as work:
        yield work


@contextmanager
def _working(out: str | Path | Run, plan: Plan, again: bool | str) -> Iterator[_Work]:
    """A run, locked, and what is to be made in it; see `again.working_on`."""
    context, sequence = plan.context, plan.sequence
    there = out if isinstance(out, Run) else None
    for sentence in (
        plan.advice(there),
        plan.word_on_pixels(there),
        plan.word_on_matches(there),
        plan.word_on_preset(there),
    ):
        if sentence:
            context.tell(sentence)
    sequence.content.hashes(context)
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
        tell=context.tell,
        fix=plan.fix,
    ) as run:
        if not isinstance(sequence, RenderedFootage):
            remember_footage(run, sequence)
        yield _Work(run, plan, made[0])


@dataclass(frozen=True)
class _Work:
    """A locked run that holds nothing but what is wanted, and what is to be made in it."""

    run: Run
    plan: Plan
    making: Making

    def reconstruct(self) -> None:
        """Do what is left of the reconstruction, and tell the run of its objects."""
        self._fit()
        if self.plan.tells_objects(self.run):
            from legs4d.reconstruct.objects.place import place_objects

            place_objects(self.run, self.plan.sequence, self.plan.context)

    def _fit(self) -> None:
        from legs4d.deform.stage import Deformation, is_cut_out
        from legs4d.reconstruct.calibration import Look, look_at_cameras
        from legs4d.reconstruct.chunks import ChunkedReconstruction
        from legs4d.reconstruct.stages import Reconstruction

        run, plan, making, sequence = self.run, self.plan, self.making, self.plan.sequence
        if all(run.has_finished(name) for name in plan.wanted(run, making) if name in GEOMETRY):
            return
        bends, asked = making.method == "deform", plan.settings.matches
        cut = bends and is_cut_out(sequence, making.deform)
        begins = sequence.initial_points is None and not cut  # with points, or a hull alone, matches begin nothing
        if run.has_geometry or asked == "none" or (cut and asked == "auto"):
            looked = Look([], None, "none")
        else:
            looked = look_at_cameras(sequence, plan.device, plan.context)
        doubts = [f"{one}." for one in looked.misfits]
        for sentence in doubts:
            plan.context.tell(sentence)
        if not run.has_geometry:
            count = 0 if looked.points is None or not begins else len(looked.points.positions)
            matches = looked.matches if begins else None
            run.set_info(matched_points=count, matches=matches, doubts=doubts)
        if isinstance(sequence, MotionMasks) and not bends:
            sequence.prepare(plan.context)
        first = sequence.cameras("train", 0)
        run.set_info(
            scale=sequence.reading.scale,
            reading=sequence.reading.model_dump(mode="json", exclude={"scale"}),
            notes=[*sequence.notes, *size_notes(first.width, first.height), *run.info.get("doubts", [])],
            origin=list(sequence.origin),
            fps=sequence.fps,
            frame_numbers=list(sequence.frame_numbers),
            masks="footage" if not isinstance(sequence, MotionMasks) else "none" if bends else "motion",
            cameras_move=cameras_move(sequence),
        )
        reading = sequence.reading
        if bends:
            bent = run, sequence, making.deform, plan.device, plan.context
            Deformation(*bent, dataset=reading, means=making.means, matched=looked.points).finish()
            return
        kind = ChunkedReconstruction if making.reconstruct.chunks.length else Reconstruction
        what = run, sequence, making.reconstruct, plan.device, plan.context
        with self._extracting():
            kind(*what, dataset=reading, means=making.means, matched=looked.points).finish()

    @contextmanager
    def _extracting(self) -> Iterator[None]:
        """Begin to extract meanwhile, where that is to be done and cores would be idle."""
        from legs4d.language.embedding import ahead

        plan, settings = self.plan, self.making.extract
        if settings is None or not ahead.pays(plan.sequence, plan.context, plan.device):
            yield
            return
        encoder = get_encoder(self.making.encoder, plan.context.files)
        if not sees(encoder):
            yield
            return
        with ahead.extracting(self.run, plan.sequence, encoder, settings, plan.device):
            yield

    def extract(self) -> None:
        """Embed what an encoder that sees has not seen yet."""
        from legs4d.language.embedding.extract import choose_device
        from legs4d.language.embedding.extract import extract as extract_run

        plan, context = self.plan, self.plan.context
        encoder, settings = get_encoder(self.making.encoder, context.files), self.making.extract
        if settings is not None and sees(encoder):
            extract_run(self.run, plan.sequence, encoder, settings, choose_device(context.engine), context)

    def lift(self) -> None:
        """Extract what is needed, and lift it."""
        self.extract()
        run, sequence = self.run, self.plan.sequence
        if not (run.has_finished("lift") or isinstance(sequence, RenderedFootage)):
            remember_footage(run, sequence, language=True)
        source, near = open_source(run, self.making.encoder), run.info["near"]
        lift_run(run, sequence, source, self.making.lift, self.plan.context, near=near)
