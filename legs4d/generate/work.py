"""What the command `object` does, which the job of its name does too: a source → a run of an object that moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d import __version__
from legs4d.commands import Object
from legs4d.context import QUIET, Context
from legs4d.deform.fit import Fit
from legs4d.deform.result import seen_shares
from legs4d.errors import DatasetError, Legs4dError
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import NOT_GIVEN, MadeFrom
from legs4d.gaussians.store.unfinished import finish, forget, kept
from legs4d.generate.fitting import following, from_views, pictures_of
from legs4d.generate.lenses import FOURDGEN, LENSES, UP, Lens
from legs4d.generate.motion.track import track
from legs4d.generate.onepass import work as onepass
from legs4d.generate.onepass.stage import STAGE
from legs4d.generate.optimise.distil import Distillation
from legs4d.generate.optimise.labels import labels
from legs4d.generate.optimise.road import Optimise, scaled_to
from legs4d.generate.placing import place
from legs4d.generate.resizing import scaled
from legs4d.generate.result import Made, describe, write_object
from legs4d.generate.roads import Road, choose
from legs4d.generate.shapes.inflate import inflate
from legs4d.generate.shapes.revolve import revolve
from legs4d.generate.shapes.shape import Shape
from legs4d.generate.sizes import Sizes
from legs4d.generate.subject.orders import COUNT, check_start
from legs4d.generate.subject.source import Subject, read_subject, source_files
from legs4d.generate.subject.views import Views, read_views, sync_beside
from legs4d.generate.words import are_words, picture_of, video_of
from legs4d.priors.cache import best_prior, open_prior
from legs4d.priors.flow.dis import DisFlow
from legs4d.priors.perceptual.lpips import Lpips, open_lpips
from legs4d.progress import StageReporter
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.content import digest_at
from legs4d.scene.footage.names import PICTURES
from legs4d.scene.images import inspect_picture
from legs4d.scene.layouts import is_run
from legs4d.scene.movies.movie import Movie
from legs4d.scene.stage import Stage, find_stage

VERSION = 4
"""Of this code: raise it when the same input gives another result."""
VISITS = 30
"""Steps of a following for each frame of a short video."""
SHAPE, MOTION, OPTIMISED = "shape.npz", "fit.npz", "optimised.npz"
"""What is kept of a run that is not finished: the fits of its shape and of its motion, and 4DGen's of both."""


def object_run(
    asked: Object, context: Context = QUIET, *, again: bool | str = False, sizes: Sizes | None = None
) -> dict[str, Any]:
    """A run of kind "generated" of the object of a video, a picture or words.

    Args:
        again: as in `store.again.working_on`, beside what is asked for.
        sizes: how large the work is; by default as the device allows.

    Returns:
        {run, kind, method, prior, why, frames, gaussians, seen, seconds, warnings}: `prior` is the road that was
        taken, `seen` the share of the Gaussians that a picture shows.

    Raises:
        Legs4dError: the source shows no object, or two, or something that was asked for is not there.
        RunDiffers: there is another result at `out`, and `again` is not set.
        Stopped: the stop signal is set; fits so far are kept, and the same call goes on.
    """
    made_from = _made_from(asked, context)
    with working_on(asked.out, lambda run: {STAGE: made_from}, again=again or asked.again, tell=context.tell) as run:
        if not run.begin_stage(STAGE, made_from).finished:
            work = _Work(asked, run, made_from, context, sizes)
            with torch_threads(work.device), run.timed(STAGE):
                work.finish()
                run.finish_stage(STAGE)
            for name in (SHAPE, MOTION, OPTIMISED):
                forget(run, name)
            onepass.forget_pass(run)
    return describe(Run.open(asked.out))


def _views_of(asked: Object) -> Path | None:
    """The views that are given, or that lie beside the source as 4DGen has them."""
    if asked.views is not None or asked.method == "onepass":
        return None if asked.views is None else Path(asked.views)
    return sync_beside(Path(asked.source)) if asked.prior in ("auto", "given") else None


def _made_from(asked: Object, context: Context) -> MadeFrom:
    inputs = {"source": NOT_GIVEN, "views": NOT_GIVEN}
    if not are_words(asked.source):
        inputs["source"] = digest_at(Path(asked.source), context, source_files(Path(asked.source)))
    views = _views_of(asked)
    if views is not None and is_run(views):
        inputs["views"] = Run.open(views).geometry_id
    elif views is not None:
        if not views.is_dir():
            raise DatasetError("is no folder", where=str(views), fix="give views, or the run of a known object")
        inputs["views"] = digest_at(views, context)
    own = ("method", "prior", "lens", "frames", "fps", "prompt", "seed")
    settings = {name: getattr(asked, name) for name in own}
    if asked.method == "onepass":
        settings |= {"method": asked.method, **onepass.made_from(asked)}
    settings["words"] = asked.source if are_words(asked.source) else None
    return MadeFrom(settings, VERSION, inputs, by="generation")


@dataclass
class _Work:
    asked: Object
    run: Run
    made_from: MadeFrom
    context: Context
    given_sizes: Sizes | None = None
    warnings: list[str] = field(default_factory=list)
    centred: bool = True

    def __post_init__(self) -> None:
        self.device = choose_device(self.context.engine)
        self.sizes = self.given_sizes or Sizes.of(self.device)

    # -- what is given -------------------------------------------------------------------------------------------------

    def _source(self) -> tuple[Path, float | None]:
        """A file or folder, and its pictures a second where that is known; helpers make what is asked for in words."""
        asked = self.asked
        source, fps = Path(asked.source), asked.fps
        if are_words(asked.source):
            self.context.reporter("making_a_picture").step(0, 1)
            source = picture_of(self.run.path / "made" / "picture", asked.source, asked.seed, self.device)
        if asked.prompt is not None:
            files = source_files(source)
            self.context.reporter("making_the_video").step(0, 1)
            words = f"{asked.source}. {asked.prompt}" if are_words(asked.source) else asked.prompt
            source, made = video_of(self.run.path / "made" / "video", files[0], words, asked.seed, self.device)
            fps = fps or made
        return source, fps

    def _made_by(self) -> dict[str, Any]:
        """What the run tells of where it comes from."""
        source, views = self.asked.source, _views_of(self.asked)
        return {
            "command": STAGE,
            "version": __version__,
            "source": source if are_words(source) else str(Path(source).resolve()),
            "views": None if views is None else str(views.resolve()),
        }

    def finish(self) -> None:
        """Read, find the shape, then the motion, and write."""
        asked, views = self.asked, _views_of(self.asked)
        pseudo = views is not None and not is_run(views)
        if asked.method == "optimise" and not pseudo:
            fix = "give sixteen a moment by --views, as SyncDreamer predicts them, or footage with cameras"
            raise Legs4dError("needs views from other sides", where="--method optimise", fix=fix)
        source, fps = self._source()
        if asked.method == "onepass":
            size = min(self.sizes.motion, _side_of(source))
            work = onepass.OnePassWork(
                asked, self.run, source, fps, self.device, self.context, self.made_from, self._made_by(), size
            )
            for warning in work.finish():
                self.context.tell(warning)
            return
        self.sizes = replace(self.sizes, picture=min(self.sizes.picture, _side_of(source)))
        reading = self.context.reporter("reading_pictures")
        frames = None if asked.frames is None else (asked.frames[0], asked.frames[1])
        given, lens = None, LENSES[asked.lens] if pseudo else FOURDGEN
        if views is not None and pseudo:
            given = read_views(views, self.sizes.picture, lens, self.device, reading, trusted=asked.trust_views)
            self.warnings += given.notes
        self.centred = given is None or given.lens is None
        subject = read_subject(
            source, self.sizes.picture, self.device, reading, frames=frames, fps=fps, centred=self.centred
        )
        self.warnings += subject.notes
        road = choose(asked.prior, subject, views)
        self.context.tell(f"{road.prior}: {road.why}")
        if asked.method == "optimise":
            self._optimise(subject, road, given)
        else:
            getattr(self, f"_{road.prior}")(subject, road, given)

    # -- roads ---------------------------------------------------------------------------------------------------------

    def _inflate(self, subject: Subject, road: Road, given: Views | None) -> None:
        self.warnings.append("What lies behind is a guess: its Gaussians are marked as not seen.")
        self._moved(inflate(subject.pictures[0], FOURDGEN, self.sizes.most), subject, road, self._front(FOURDGEN), UP)

    def _revolve(self, subject: Subject, road: Road, given: Views | None) -> None:
        self.warnings.append("What lies behind is a guess: its Gaussians are marked as not seen.")
        self._moved(revolve(subject.pictures[0], FOURDGEN, self.sizes.most), subject, road, self._front(FOURDGEN), UP)

    def _turntable(self, subject: Subject, road: Road, given: Views | None) -> None:
        assert road.turn is not None
        if not road.turn.is_sure:
            self.warnings.append(f"This is hardly a turntable's video. {road.turn.told()}")
        count = len(subject)
        cameras = road.turn.cameras(count, FOURDGEN, self.sizes.picture)
        fit = self._fitted(subject.pictures, cameras, np.zeros(count, np.int64), 1, FOURDGEN.stage)
        self._write(fit, road, 1, subject.fps, self._front(FOURDGEN), UP, seen_shares(fit))

    def _given(self, subject: Subject, road: Road, given: Views | None) -> None:
        assert given is not None
        self._check_moments(subject, given)
        if given.lens is None:
            shape, up = self._of_footage(given)
            self._moved(shape, subject, road, self._placed(shape, subject, up), up)
            return
        front = self._front(given.lens)
        fit = self._of_pseudo(subject, given, given.lens)
        if given.num_frames == len(subject):
            self._write(fit, road, len(subject), subject.fps, front, UP, seen_shares(fit))
            return
        self._moved(_shape_of(fit), subject, road, front, UP)

    def _check_moments(self, subject: Subject, given: Views) -> None:
        """Raise DatasetError where views are not of the first frame, or of all, or begin at another side."""
        if given.lens is None and given.num_frames > 1:
            fix = "give those of the first frame; what moves before many cameras is for `legs4d train`"
            raise DatasetError(
                "views with cameras of their own have several frames", where=str(self.asked.views), fix=fix
            )
        if given.num_frames not in (1, len(subject)):
            what = f"there are views of {given.num_frames} frames, and the video has {len(subject)}"
            fix = "give views of every frame, or of the first alone; --frames chooses some of the video"
            raise DatasetError(what, where=str(_views_of(self.asked)), fix=fix)
        if given.lens is not None and not self.asked.trust_views:
            check_start(given.pictures[:COUNT], subject.pictures[0], given.lens, Path(str(_views_of(self.asked))))

    def _of_pseudo(self, subject: Subject, given: Views, lens: Lens) -> Fit:
        """What pseudo views and the video's first frames show together."""
        count = given.num_frames
        pictures = np.concatenate([subject.pictures[:count], given.pictures])
        cameras = Cameras.together([*([self._front(lens)] * count), given.cameras])
        frames = np.concatenate([np.arange(count), given.frames])
        return self._fitted(pictures, cameras, frames, count, lens.stage)

    def _of_footage(self, given: Views) -> tuple[Shape, NDArray[np.float64]]:
        """The shape that views with cameras of their own show, of the first moment, and what is up there."""
        stage = find_stage(given.cameras)
        fit = self._fitted(given.pictures, given.cameras, given.frames, 1, stage)
        return _shape_of(fit), -stage.down.astype(np.float64)

    def _static(self, subject: Subject, road: Road, given: Views | None) -> None:
        known = Run.open(str(self.asked.views))
        if known.num_frames > 1:
            self.warnings.append("Of the known run, frame 0 is what it looks like.")
        gaussians = known.frame(0)
        there = gaussians.opacities > 0
        seen = known.seen(0)
        seen = np.ones(len(gaussians), np.float32) if seen is None else seen
        shape = Shape(gaussians.take(there), seen[there])
        self._moved(shape, subject, road, self._placed(shape, subject, known.up), known.up)

    def _placed(self, shape: Shape, subject: Subject, up: NDArray[np.float64]) -> Cameras:
        """The video's camera, looked for all around a known shape."""
        looking = self.context.reporter("looking_for_the_camera")
        found = place(shape.gaussians, up, subject.pictures[0], self.asked.source, looking)
        self.warnings.append(
            f"The video is taken to be seen from {found.told()}: silhouettes overlap by {found.overlap:.2f}."
        )
        return found.camera

    def _optimise(self, subject: Subject, road: Road, given: Views | None) -> None:
        """4DGen's optimisation."""
        assert given is not None
        self._check_moments(subject, given)
        count, lens = len(subject), given.lens
        lpips, guidance = self._helpers(subject, lens)  # first: a wrong folder is told before minutes of work
        shape: Shape | None = None
        if lens is None:
            shape, up = self._of_footage(given)
            front, stage = self._placed(shape, subject, up), find_stage(given.cameras)
        else:
            up, front, stage = UP, self._front(lens), lens.stage
        pictures = [subject.pictures, given.pictures]
        cameras = [*([front] * count), given.cameras]
        frames = [np.arange(count), given.frames]
        if given.num_frames < count:
            if shape is None:
                assert lens is not None
                shape = _shape_of(self._of_pseudo(subject, given, lens))
            looking = self.context.reporter("looking_at_what_follows")
            more = labels(self._followed(shape, subject, front), given.cameras, count, looking)
            pictures.append(more[0])
            cameras.append(more[1])
            frames.append(more[2])
        together, rig = np.concatenate(pictures), Cameras.together(cameras)
        of = pictures_of(together, rig, np.concatenate(frames), count, self.device)
        reporter = self.context.reporter("optimising")
        how = scaled_to(self.sizes.optimise, count)
        fit = Optimise(of, np.arange(len(of)) < count, stage, lens, how, lpips, guidance, reporter)
        self._run(fit, OPTIMISED, reporter)
        self._write(fit, road, count, subject.fps, front, up, seen_shares(fit, count + len(given.pictures)))

    def _helpers(self, subject: Subject, lens: Lens | None) -> tuple[Lpips | None, Distillation | None]:
        """What sees as people do, and what knows how things look from elsewhere; None where weights are not there."""
        lpips = guidance = None
        if not self.sizes.optimise.perceptual:
            self.warnings.append("On a processor the work is made much smaller and LPIPS is left out: a preview.")
        elif (seeing := best_prior("perceptual")) is not None:
            lpips = open_lpips(seeing.name.removeprefix("lpips-"), self.device)
        else:
            self.warnings.append("LPIPS is left out of the loss: its weights are not there (`legs4d priors get`).")
        guiding = best_prior("guidance")
        if lens is None:
            self.warnings.append("Nothing is distilled: views have cameras of their own, and guidance knows 4DGen's.")
        elif guiding is not None:
            guidance = Distillation(open_prior(guiding.name, self.device), subject.pictures, self.device)
        else:
            self.warnings.append("Nothing is distilled: there are no weights of the role `guidance` (`legs4d priors`).")
        return lpips, guidance

    # -- fits ----------------------------------------------------------------------------------------------------------

    def _front(self, lens: Lens) -> Cameras:
        return lens.cameras(0.0, 0.0, self.sizes.picture)

    def _fitted(
        self, pictures: NDArray[np.uint8], cameras: Cameras, frames: NDArray[np.int64], count: int, stage: Stage
    ) -> Fit:
        """The shape, and where views of all moments are given the motion too, fitted to views."""
        reporter = self.context.reporter("fitting_the_views")
        of = pictures_of(pictures, cameras, frames, count, self.device)
        fit = from_views(of, stage, self.sizes.shape, str(_views_of(self.asked) or self.asked.source), reporter)
        self._run(fit, SHAPE, reporter)
        return fit

    def _followed(self, shape: Shape, subject: Subject, front: Cameras) -> Fit:
        """What is known at the first moment follows the video."""
        count = len(subject)
        size = min(self.sizes.motion, subject.pictures.shape[1])
        camera = front.scaled(size / front.width)
        cameras = Cameras.together([camera] * count)
        pictures = pictures_of(scaled(subject.pictures, size), cameras, np.arange(count), count, self.device)
        distance = float(camera.world_to_camera[0, 2] @ np.append(np.median(shape.gaussians.means, axis=0), 1))
        how = replace(self.sizes.following, steps=min(self.sizes.following.steps, VISITS * count))
        fit = following(shape.gaussians, pictures, how, 0.2 * distance)
        if count > 1:
            if kept(self.run, self.made_from.fingerprint, MOTION) is None:
                track(fit, DisFlow(), np.arange(count), self.context.reporter("following"))
            self._run(fit, MOTION, self.context.reporter("bending"))
        return fit

    def _moved(self, shape: Shape, subject: Subject, road: Road, front: Cameras, up: NDArray[np.float64]) -> None:
        """What is known at the first moment follows the video, and is written."""
        fit = self._followed(shape, subject, front)
        seen = np.minimum(shape.seen, seen_shares(fit)) if road.prior in ("inflate", "revolve") else shape.seen
        self._write(fit, road, len(subject), subject.fps, front, up, seen)

    def _run(self, fit: Fit, name: str, reporter: StageReporter) -> None:
        """All steps of a fit, or those that are left."""
        finish(fit, self.run, self.made_from.fingerprint, reporter, name)

    def _write(
        self,
        fit: Fit,
        road: Road,
        count: int,
        fps: float,
        front: Cameras,
        up: NDArray[np.float64],
        seen: NDArray[np.float32],
    ) -> None:
        report: dict[str, Any] = {"method": self.asked.method, "prior": road.prior, "why": road.why}
        report |= {"warnings": self.warnings, "centred": self.centred}
        write_object(self.run, Made(fit, count, fps, front, up, seen), self._made_by(), report)
        for warning in self.warnings:
            self.context.tell(warning)


def _shape_of(fit: Fit) -> Shape:
    """What was fitted, at the first moment."""
    return Shape(fit.gaussians_at(0.0).numpy(), seen_shares(fit))


def _side_of(source: Path) -> int:
    """Pixels of the longer side of a source's pictures: nothing is gained by more."""
    first = source_files(source)[0]
    if first.suffix.casefold() in PICTURES:
        return max(inspect_picture(first).shown)
    movie = Movie(first)
    return max(movie.shown_width, movie.shown_height)
