"""What the command `animate` does, which the job of its name does too: a run, a video, and a run that moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d import __version__
from legs4d.animate.cameras import camera_of, find_camera
from legs4d.animate.footage.clip import MOST_SIDE, Wanted, clip
from legs4d.animate.footage.depths import DepthMaps
from legs4d.animate.footage.filming import Filmed
from legs4d.animate.footage.video import MotionVideo
from legs4d.animate.result import STAGE, Result, kept_info, rigid
from legs4d.animate.tracking.follow import Follower, FollowSettings
from legs4d.animate.tracking.motions import ALONG, TURNS, Body, Motion, Sight, body_of, moved
from legs4d.animate.tracking.pulls import Contact, Plane
from legs4d.animate.tracking.refine import Fit, OutOfSight
from legs4d.animate.tracking.smooth import SmoothSettings, smoothed
from legs4d.animate.tracking.stage import Stage
from legs4d.animate.tracking.visible import visible_share
from legs4d.animate.trajectory import Trajectory, read_trajectory, write_trajectory
from legs4d.commands import Animate
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, Legs4dError, RunError
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.part import BELONGS
from legs4d.gaussians.selections import read_selection
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.gaussians.store.unfinished import forget, keep, kept
from legs4d.priors.flow.dis import DisFlow
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.content import digest_of, hash_files
from legs4d.segment.views import near_of

VERSION = 1
"""Of this code: raise it when the same input gives another result."""
MOST_WIDTH = 320
"""Pixels of the pictures that are compared; larger ones are made smaller."""
KEEP_EVERY = 5.0
"""Seconds after which fits are kept."""
MOST_LOST = 6
"""Frames in a row in which the object may be hidden; where it is in the meantime is told by its course."""
UNCERTAIN = 0.02
"""Of the distance: a depth that may be off by more is uncertain."""
LEFT = 0.35
"""Share of its pixels of the first frame, of which an object that is leaving shows less."""
TRAJECTORY = "motion.json"
"""In the run: the object's motion, for Blender and other programs."""


@dataclass(frozen=True)
class _Moved:
    """What came of a video or a file: [T, 4, 4] motions, frames a second, what is to be told of them, and the object at
    rest as the video shows it."""

    motions: NDArray[np.float64]
    fps: float
    report: dict[str, Any]
    look: Gaussians | None = None


def animate_run(asked: Animate, context: Context = QUIET, *, again: bool | str = False) -> dict[str, Any]:
    """Make a selection of a run move as a video, or a motion's file, says; a run of kind "animated".

    Args:
        again: as in `store.again.working_on`, beside what is asked for.

    Returns:
        {run, kind, selection, frames, error {turn, across, along}, uncertain, hidden, residual, seconds, warnings}:
        `error` is how far the motion may be off, in degrees and per cent of the distance (median over frames),
        `uncertain` and `hidden` are frames in which the distance is hardly known, and in which the object was not seen.

    Raises:
        Legs4dError: the selection is empty, the camera is not there, the video cannot be followed; fits of frames
            before are kept.
        RunDiffers: there is another result at `out`, and `again` is not set.
        Stopped: the stop signal is set; fits so far are kept, and the same call goes on.
    """
    source = Run.open(asked.run)
    source.require_geometry()
    if not 0 <= asked.frame < source.num_frames:
        raise RunError(
            f"has no frame {asked.frame}: it has {source.num_frames}, counted from 0", where=str(source.path)
        )
    member = read_selection(source, asked.selection).frame(source, asked.frame) >= BELONGS
    member &= source.frame(asked.frame).opacities > 0
    if not member.any():
        raise Legs4dError(
            f"nothing of it is there in frame {asked.frame}",
            where=f"the selection {asked.selection!r}",
            fix="select something, or name another --frame",
        )
    if Path(asked.out).resolve() == source.path.resolve():
        raise RunError("is the run itself", where="--out", fix="name another folder for the result")
    if (asked.motion is None) == (asked.prompt is None):
        raise Legs4dError("are one of the two", where="--motion and --prompt", fix="give a video, or say what happens")
    made_from = _made_from(source, asked, context)
    started = time.perf_counter()
    with working_on(asked.out, lambda run: {STAGE: made_from}, again=again or asked.again, tell=context.tell) as run:
        if not run.begin_stage(STAGE, made_from).finished:
            _Work(source, asked, member, run, made_from, context).finish(started)
    return describe(Run.open(asked.out))


def describe(run: Run) -> dict[str, Any]:
    """What is told of an animated run, JSON."""
    report = run.info["report"]
    return {
        "run": str(run.path),
        "kind": run.info["kind"],
        "selection": run.info["made_from"]["selection"],
        "frames": run.num_frames,
        "motion": str(run.path / TRAJECTORY),
        **{name: report[name] for name in ("error", "uncertain", "hidden", "residual", "warnings")},
        "seconds": {name: round(stage.seconds, 1) for name, stage in run.stages.items()},
    }


def _made_from(source: Run, asked: Animate, context: Context) -> MadeFrom:
    if asked.motion is not None and not Path(asked.motion).exists():
        raise DatasetError("there is no such file or folder", where=asked.motion, fix="give a video of the motion")
    files = {
        "motion": Path(asked.motion) if asked.motion else None,
        "depth": Path(asked.depth) if asked.depth else None,
        "camera": Path(asked.camera_file) if asked.camera_file else None,
    }
    inputs = {"run": digest_of([source.geometry_id, asked.frame])}
    for name, path in files.items():
        if path is None:
            continue
        if not path.exists():
            raise DatasetError("there is no such file or folder", where=str(path), fix="check its name")
        those = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        inputs[name] = digest_of(hash_files(root, those, context))
    weights = read_selection(source, asked.selection).frame(source, asked.frame)
    inputs["selection"] = digest_of(np.flatnonzero(weights >= BELONGS).tolist())
    own = ("selection", "camera", "frame", "frames", "fps", "start", "end", "contact", "make_depth")
    settings = {name: getattr(asked, name) for name in own}
    if asked.prompt is not None:
        settings |= {"prompt": asked.prompt, "seed": asked.seed}
    return MadeFrom(settings, VERSION, inputs, by="animation")


class _Work:
    def __init__(
        self,
        source: Run,
        asked: Animate,
        member: NDArray[np.bool_],
        run: Run,
        made_from: MadeFrom,
        context: Context,
    ) -> None:
        self.source, self.asked, self.member, self.run, self.context = source, asked, member, run, context
        self.made_from = made_from
        self.gaussians = source.frame(asked.frame)
        self.device = choose_device(context.engine)
        thing = self.gaussians.take(member)
        self.body: Body = body_of(thing.means, thing.opacities)
        self.warnings: list[str] = []

    def finish(self, started: float) -> None:
        """Follow, then write."""
        given = self.asked.motion
        threads = 1 if self.device.type == "cpu" else torch.get_num_threads()
        with torch.no_grad(), torch_threads(threads):
            moved = self._given(Path(given)) if given and given.endswith(".json") else self._followed()
        self._write(moved)
        self.run.finish_stage(STAGE, time.perf_counter() - started)
        forget(self.run)

    def _given(self, path: Path) -> _Moved:
        """From a motion's file."""
        for option in ("camera", "camera_file", "depth", "make_depth", "start", "end", "contact", "frames"):
            if getattr(self.asked, option):
                raise Legs4dError(
                    "is of a video, and a motion's file is given",
                    where=f"--{option.replace('_', '-')}",
                    fix="leave it out",
                )
        given = read_trajectory(path)
        nothing: dict[str, Any] = {"error": None, "uncertain": [], "hidden": [], "residual": None}
        return _Moved(given.motions, self.asked.fps or given.fps, nothing)

    # -- a video -------------------------------------------------------------------------------------------------------

    def _followed(self) -> _Moved:
        asked = self.asked
        path, fps = (Path(asked.motion), asked.fps) if asked.motion else self._clip()
        video = MotionVideo(path, None if asked.frames is None else tuple(asked.frames), fps)  # type: ignore[arg-type]
        camera = self._camera(video)
        near = near_of(self.source)
        visible = visible_share(self.source, asked.frame, near)
        stage = Stage(self.gaussians, self.member, camera, near, self.device, visible)
        start = self._pose(asked.start, np.eye(4))
        if float(stage.predict([start]).share.sum()) < 1:
            raise Legs4dError(
                "the object is not to be seen from there", where="--camera", fix="choose a camera that sees it"
            )
        filmed = Filmed(video, stage, start)
        depth = self._depth(video, camera)
        contact = self._contact(stage)
        fingerprint = self._of_fits()
        follower = Follower(
            stage,
            filmed.read,
            FollowSettings(),
            start=start,
            flow=self._flow(),
            contact=contact,
            disparity=None if depth is None else depth.read,
            kept=kept(self.run, fingerprint),
            most=video.num_frames,
        )
        self._follow(follower, filmed, video, fingerprint)
        motions = self._together(follower, stage, contact)
        follower.learn(list(motions))
        return _Moved(motions, video.fps, self._report(follower.fits, motions, camera), stage.thing)

    def _clip(self) -> tuple[Path, float]:
        """The video that a helper makes of the words, and its pictures a second."""
        asked = self.asked

        def find() -> Cameras:
            fix = "name one of the run's cameras, or a file"
            raise Legs4dError("there is no video yet to find it in", where="--camera found", fix=fix)

        camera = self._named_camera(find)
        camera = camera.scaled(min(1.0, MOST_SIDE / max(camera.width, camera.height)))
        stage = Stage(self.gaussians, self.member, camera, near_of(self.source), self.device)
        made = stage.predict([self._pose(asked.start, np.eye(4))])
        first = made.color[0].clamp(0, 1).cpu().numpy().astype(np.float32)
        scene = digest_of([self.made_from.inputs, asked.camera, asked.frame, asked.start])
        wanted = Wanted(asked.selection, asked.prompt or "", asked.seed, scene)
        self.context.reporter("making_the_video").step(0, 1)
        folder, fps = clip(self.run.path, wanted, first, self.device)
        return folder, asked.fps or fps

    def _follow(self, follower: Follower, filmed: Filmed, video: MotionVideo, fingerprint: str) -> None:
        reporter, last = self.context.reporter(STAGE), time.monotonic()
        lost = _trailing(follower.fits)
        try:
            while (done := len(follower.fits)) < video.num_frames:
                reporter.step(done, video.num_frames, follower.fits[-1].residual if done else None)
                before = follower.fits[-1].motion if done else np.eye(4)
                try:
                    fit = follower.step(filmed.seen(done, before))
                except OutOfSight:
                    raise self._gone("leaves the picture", done, video) from None
                lost = lost + 1 if not fit.information.any() else 0
                if done == 0 and lost:
                    raise Legs4dError(
                        f"the object does not look there as in the run (only {fit.agreeing:.0%} of it)",
                        where=f"{video.path}, frame {video.first}",
                        fix="say by --start how it is moved and turned there, or choose another --frame",
                    )
                if lost > MOST_LOST:
                    raise self._gone("is hidden, or lost,", done - MOST_LOST, video)
                if fit.share < LEFT * follower.fits[0].share and self._at_border(follower.stage, fit.motion):
                    raise self._gone("leaves the picture", done, video)
                if time.monotonic() - last > KEEP_EVERY:
                    keep(self.run, fingerprint, follower.state())
                    last = time.monotonic()
        finally:
            if follower.fits:
                keep(self.run, fingerprint, follower.state())
        reporter.step(video.num_frames, video.num_frames)

    @staticmethod
    def _at_border(stage: Stage, motion: Motion) -> bool:
        """Whether the object's middle is outside of the picture, or its radius reaches out."""
        sight = Sight.of(stage.camera, stage.body, motion)
        reach = stage.body.radius / sight.units[0]
        size = np.array([stage.camera.width, stage.camera.height])
        return bool((sight.pixel < reach).any() or (sight.pixel > size - reach).any())

    @staticmethod
    def _gone(what: str, frame: int, video: MotionVideo) -> Legs4dError:
        number = video.first + frame
        fix = "film it so that it stays in sight"
        if frame > 1:
            fix = f"follow what comes before, by --frames {video.first}:{number - 1}: its fits are kept"
        return DatasetError(f"the object {what} from frame {number} on", where=str(video.path), fix=fix)

    def _together(self, follower: Follower, stage: Stage, contact: Contact | None) -> NDArray[np.float64]:
        """All frames' motions, made even."""
        informations = [fit.information for fit in follower.fits]
        motions = smoothed(follower.motions(), informations, stage.camera, stage.body, SmoothSettings())
        motions[0] = self._pose(self.asked.start, np.eye(4))
        if self.asked.end is not None:
            motions = _ending(motions, self._pose(self.asked.end, motions[-1]), stage.body)
        if contact is not None:
            motions = [contact.settled(motion) for motion in motions]
        return np.stack(motions)

    def _camera(self, video: MotionVideo) -> Cameras:
        """The video's, at the size at which it is looked at."""
        asked = self.asked

        def find() -> Cameras:
            scale = min(1.0, 2 * MOST_WIDTH / video.width)
            size = round(video.width * scale), round(video.height * scale)
            reporter = self.context.reporter("finding_the_camera")
            picture, near = video.read(0, *size), near_of(self.source)
            shown = self.gaussians
            if asked.start is not None:  # else a camera would be found that explains where the object is not any more
                thing = moved(shown.take(self.member), self._pose(asked.start, np.eye(4)))
                shown = concatenate(shown.take(~self.member), thing)
            return find_camera(self.source, asked.frame, shown, picture, near, self.device, reporter.step)

        camera = self._named_camera(find)
        video.check_shape(camera.width, camera.height)
        return camera.scaled(min(1.0, MOST_WIDTH / camera.width, video.width / camera.width))

    def _named_camera(self, find: Callable[[], Cameras]) -> Cameras:
        asked = self.asked
        if (asked.camera is None) == (asked.camera_file is None):
            raise Legs4dError(
                "is not said once",
                where="--camera",
                fix="say through which camera the video is seen: a number, a file, found",
            )
        return camera_of(self.source, asked.camera, asked.camera_file, asked.frame, find)

    def _depth(self, video: MotionVideo, camera: Cameras) -> DepthMaps | None:
        asked = self.asked
        if asked.depth is not None and asked.make_depth:
            raise Legs4dError("depth maps are given too", where="--make-depth", fix="leave out one of the two")
        if asked.depth is None and not asked.make_depth:
            return None
        return DepthMaps(None if asked.depth is None else Path(asked.depth), video, camera)

    def _flow(self) -> DisFlow | None:
        try:
            return DisFlow()
        except Legs4dError:
            self.warnings.append("OpenCV is not installed, so that very large moves from frame to frame may be lost.")
            return None

    def _contact(self, stage: Stage) -> Contact | None:
        told = self.asked.contact
        if told is None:
            return None
        solid = stage.thing.means[stage.thing.opacities > 0.3]
        points = solid if len(solid) else stage.thing.means
        if told == "below":
            return Contact.below(stage.camera, stage.body, points, self.source.up)
        normal, height = np.array(told[:3], np.float64), float(told[3])
        size = float(np.linalg.norm(normal))
        if size < 1e-9:
            raise Legs4dError("has no direction", where="--contact", fix="give NX,NY,NZ,HEIGHT, or below")
        normal, height = normal / size, height / size
        if normal @ stage.body.center < height:  # the plane is the same, told from its other side
            normal, height = -normal, -height
        return Contact(stage.camera, stage.body, points, Plane(normal, height))

    def _pose(self, told: list[float] | None, otherwise: Motion) -> Motion:
        """A motion told as a shift and a turn in degrees about the run's axes, through the object's middle."""
        if told is None:
            return otherwise
        values = np.array([*told, 0.0, 0.0, 0.0][:6])
        motion = np.eye(4)
        motion[:3, :3] = Rotation.from_rotvec(np.radians(values[3:])).as_matrix()
        motion[:3, 3] = self.body.center + values[:3] - motion[:3, :3] @ self.body.center
        return motion

    def _of_fits(self) -> str:
        """What fits of single frames depend on: all but how many there are, and what is done to them together."""
        settings = {**self.made_from.settings}
        for name in ("end", "fps"):
            settings.pop(name)
        settings["frames"] = None if self.asked.frames is None else self.asked.frames[0]
        return replace(self.made_from, settings=settings).fingerprint

    def _report(self, fits: list[Fit], motions: NDArray[np.float64], camera: Cameras) -> dict[str, Any]:
        """How far the motion may be off, and where."""
        floor, found = SmoothSettings().floor, []
        for fit, motion in zip(fits, motions, strict=True):
            sight = Sight.of(camera, self.body, motion)
            spread = np.linalg.inv(fit.information + 1e-6 * np.eye(6)) + floor**2 * np.eye(6)
            off = np.sqrt(np.diag(spread)) * sight.units
            found.append(
                (np.degrees(off[TURNS].max()), np.hypot(*off[:2]) / sight.distance, off[ALONG] / sight.distance)
            )
        table = np.array(found)
        hidden = [i for i, fit in enumerate(fits) if not fit.information.any()]
        uncertain = [i for i in np.flatnonzero(table[:, 2] > UNCERTAIN).tolist() if i not in hidden]
        if uncertain:
            self.warnings.append(f"How far away the object is is uncertain in {_listed(uncertain)}.")
        if hidden:
            self.warnings.append(f"The object is hidden in {_listed(hidden)}; it goes on there as before and after.")
        turn, across, along = np.median(table, axis=0)
        return {
            "error": {"turn": round(turn, 2), "across": round(100 * across, 3), "along": round(100 * along, 3)},
            "uncertain": uncertain,
            "hidden": hidden,
            "residual": round(float(np.mean([fit.residual for fit in fits])), 4),
        }

    # -- the run -------------------------------------------------------------------------------------------------------

    def _write(self, moved: _Moved) -> None:
        run, source, asked = self.run, self.source, self.asked
        count = len(moved.motions)
        result = Result(source, asked.frame, self.member)
        run.set_info(
            kind="animated",
            **kept_info(source),
            fps=moved.fps,
            times=[frame / moved.fps for frame in range(count)],
            frame_numbers=list(range(count)),
            cameras_move=False,
            made_from={
                "command": STAGE,
                "version": __version__,
                "run": str(source.path.resolve()),
                "geometry": source.geometry_id,
                "frame": asked.frame,
                "selection": asked.selection,
                "motion": str(Path(asked.motion).resolve()) if asked.motion else asked.prompt,
                "camera": asked.camera or asked.camera_file,
            },
            report={**moved.report, "warnings": self.warnings},
        )
        bent = rigid(result.thing if moved.look is None else moved.look, moved.motions)
        result.write(run, asked.selection, self.body, moved.motions, bent, None)
        write_trajectory(run.path / TRAJECTORY, Trajectory(moved.motions, moved.fps, asked.selection, self.body.center))
        for warning in self.warnings:
            self.context.tell(warning)


def _trailing(fits: list[Fit]) -> int:
    """How many of the last frames were lost."""
    count = 0
    for fit in reversed(fits):
        if fit.information.any():
            break
        count += 1
    return count


def _ending(motions: list[Motion], end: Motion, body: Body) -> list[Motion]:
    """The same motions, but ending as is known: what they are off there has grown evenly."""
    last = motions[-1]
    turn = Rotation.from_matrix(end[:3, :3] @ last[:3, :3].T).as_rotvec()
    middle = [m[:3, :3] @ body.center + m[:3, 3] for m in motions]
    shift = end[:3, :3] @ body.center + end[:3, 3] - middle[-1]
    found = []
    for number, motion in enumerate(motions):
        share = number / (len(motions) - 1)
        mended = np.eye(4)
        mended[:3, :3] = Rotation.from_rotvec(share * turn).as_matrix() @ motion[:3, :3]
        mended[:3, 3] = middle[number] + share * shift - mended[:3, :3] @ body.center
        found.append(mended)
    return found


def _listed(frames: list[int]) -> str:
    some = ", ".join(map(str, frames[:8])) + (", …" if len(frames) > 8 else "")
    return f"frame{'s' if len(frames) > 1 else ''} {some}"
