"""What the command `animate` does, which the job of its name does too: a run, a video, and a run that moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d import __version__
from legs4d.animate.footage.clip import MOST_SIDE, Wanted, clip, takes_an_end
from legs4d.animate.footage.filming import Filmed
from legs4d.animate.footage.video import MotionVideo
from legs4d.animate.placing import Placing
from legs4d.animate.report import NOTHING, report
from legs4d.animate.result import STAGE, Result, bent_by, kept_info, rigid
from legs4d.animate.tracking.bend import Bends, BendSettings, bends_of
from legs4d.animate.tracking.follow import Follower, FollowSettings
from legs4d.animate.tracking.motions import Body, body_of
from legs4d.animate.tracking.pulls import Contact
from legs4d.animate.tracking.smooth import SmoothSettings, ending, smoothed
from legs4d.animate.tracking.stage import Stage
from legs4d.animate.tracking.visible import visible_share
from legs4d.animate.tracking.whole_clip import follow_clip
from legs4d.animate.trajectory import Trajectory, read_trajectory, write_trajectory
from legs4d.commands import Animate
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, Legs4dError, RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.part import BELONGS
from legs4d.gaussians.selections import read_selection
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom, inputs_of
from legs4d.gaussians.store.unfinished import forget, keep, kept
from legs4d.portable.motion_file import BendFile
from legs4d.priors.flow.dis import DisFlow
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.reconstruct.vignette import background_of
from legs4d.scene.content import digest_of
from legs4d.segment.views import near_of

VERSION = 2
"""Of this code: raise it when the same input gives another result."""
TRAJECTORY = "motion.json"
"""In the run: the object's motion, for Blender and other programs."""


@dataclass(frozen=True)
class _Moved:
    """What came of a video or a file: [T, 4, 4] motions, frames a second, what is to be told of them, and the object at
    rest as the video shows it, and how it bends."""

    motions: NDArray[np.float64]
    fps: float
    report: dict[str, Any]
    look: Gaussians | None = None
    bends: Bends | None = None


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
    _check_options(asked)
    made_from = _made_from(source, asked, context)
    if _is_file_of_motion(asked):
        read_trajectory(Path(str(asked.motion)))  # what is wrong with it is said before there is a folder of the result
    with working_on(asked.out, lambda run: {STAGE: made_from}, again=again or asked.again, tell=context.tell) as run:
        if not run.begin_stage(STAGE, made_from).finished:
            with run.timed(STAGE):
                _Work(source, asked, member, run, made_from, context).finish()
    return describe(Run.open(asked.out))


def describe(run: Run) -> dict[str, Any]:
    """What is told of an animated run, JSON."""
    told = run.info["report"]
    return {
        "run": str(run.path),
        "kind": run.info["kind"],
        "selection": run.info["made_from"]["selection"],
        "frames": run.num_frames,
        "motion": str(run.path / TRAJECTORY),
        **{name: told[name] for name in ("error", "uncertain", "hidden", "residual", "warnings")},
        "seconds": {name: round(stage.seconds, 1) for name, stage in run.stages.items()},
    }


def _made_from(source: Run, asked: Animate, context: Context) -> MadeFrom:
    if asked.motion is not None and not Path(asked.motion).exists():
        raise DatasetError("there is no such file or folder", where=asked.motion, fix="give a video of the motion")
    files = {"motion": asked.motion, "depth": asked.depth, "camera": asked.camera_file}
    inputs = {"run": digest_of([source.geometry_id, asked.frame]), **inputs_of(files, context)}
    weights = read_selection(source, asked.selection).frame(source, asked.frame)
    inputs["selection"] = digest_of(np.flatnonzero(weights >= BELONGS).tolist())
    own = ("selection", "camera", "frame", "frames", "fps", "start", "end", "contact", "make_depth", "rigid")
    settings = {name: getattr(asked, name) for name in own}
    if asked.prompt is not None:
        settings |= {"prompt": asked.prompt, "seed": asked.seed}
    return MadeFrom(settings, VERSION, inputs, by="animation")


def _check_options(asked: Animate) -> None:
    """Raise Legs4dError where an option would do nothing, before anything is written."""
    if (asked.motion is None) == (asked.prompt is None):
        raise Legs4dError("are one of the two", where="--motion and --prompt", fix="give a video, or say what happens")
    if asked.prompt is None and asked.seed:
        raise Legs4dError("is of a video made of words", where="--seed", fix="give --prompt too, or leave it out")
    if not _is_file_of_motion(asked):
        return
    for option in ("camera", "camera_file", "depth", "make_depth", "start", "end", "contact", "frames", "rigid"):
        if getattr(asked, option):
            name = "camera" if option == "camera_file" else option.replace("_", "-")
            what = "is of a video, and a motion's file is given"
            raise Legs4dError(what, where=f"--{name}", fix="leave it out")


def _is_file_of_motion(asked: Animate) -> bool:
    return asked.motion is not None and asked.motion.endswith(".json")


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
        self.placing = Placing(source, asked, self.gaussians, member, self.body, self.device)
        self.warnings: list[str] = []
        self._background = background_of(source, self.device)

    def finish(self) -> None:
        """Follow, then write."""
        given = self.asked.motion
        with torch.no_grad(), torch_threads(self.device):
            moved = self._given(Path(str(given))) if _is_file_of_motion(self.asked) else self._followed()
        self._write(moved)
        self.run.finish_stage(STAGE)
        forget(self.run)

    def _given(self, path: Path) -> _Moved:
        """From a motion's file."""
        given, thing = read_trajectory(path), self.gaussians.take(self.member)
        bends = None if given.bend is None else bends_of(thing, given.bend)
        return _Moved(given.motions, self.asked.fps or given.fps, NOTHING, thing, bends)

    # -- a video -------------------------------------------------------------------------------------------------------

    def _followed(self) -> _Moved:
        asked, placing = self.asked, self.placing
        path, fps = (Path(asked.motion), asked.fps) if asked.motion else self._clip()
        video = MotionVideo(path, None if asked.frames is None else tuple(asked.frames), fps)  # type: ignore[arg-type]
        camera = placing.camera(video, lambda done, of: self.context.reporter("finding_the_camera").step(done, of))
        near = near_of(self.source)
        visible = visible_share(self.source, asked.frame, near)
        stage = Stage(self.gaussians, self.member, camera, near, self.device, visible, self._background)
        start = placing.start
        if float(stage.predict([start]).share.sum()) < 1:
            raise Legs4dError(
                "the object is not to be seen from there", where="--camera", fix="choose a camera that sees it"
            )
        filmed = Filmed(video, stage, start)
        depth, contact = placing.depth(video, camera), placing.contact(stage)
        fingerprint = self._of_fits()
        follower = Follower(
            stage,
            filmed.read,
            FollowSettings(bend=None if asked.rigid else BendSettings()),
            start=start,
            flow=self._flow(),
            contact=contact,
            disparity=None if depth is None else depth.read,
            kept=kept(self.run, fingerprint),
            most=video.num_frames,
        )
        reporter = self.context.reporter(STAGE)
        follow_clip(follower, filmed, video, reporter.step, lambda: keep(self.run, fingerprint, follower.state()))
        motions = self._together(follower, stage, contact)
        follower.learn(list(motions))
        told, warnings = report(follower.fits, motions, camera, self.body)
        self.warnings += warnings
        return _Moved(motions, video.fps, told, stage.thing, follower.bends)

    def _clip(self) -> tuple[Path, float]:
        """The video that a helper makes of the words, and its pictures a second."""
        asked = self.asked
        camera = self.placing.camera_without_video(MOST_SIDE)
        near = near_of(self.source)
        stage = Stage(self.gaussians, self.member, camera, near, self.device, background=self._background)
        ends = [self.placing.start]
        if self.placing.end is not None and takes_an_end():
            ends.append(self.placing.end)
        made = stage.predict(ends).color.clamp(0, 1).cpu().numpy().astype(np.float32)
        first, last = made[0], made[1] if len(made) > 1 else None
        scene = digest_of([self.made_from.inputs, asked.camera, asked.frame, asked.start, asked.end])
        wanted = Wanted(asked.selection, asked.prompt or "", asked.seed, scene)
        self.context.reporter("making_the_video").step(0, 1)
        folder, fps = clip(self.run.path, wanted, first, last, self.device)
        return folder, asked.fps or fps

    def _together(self, follower: Follower, stage: Stage, contact: Contact | None) -> NDArray[np.float64]:
        """All frames' motions, made even."""
        informations = [fit.information for fit in follower.fits]
        motions = smoothed(follower.motions(), informations, stage.camera, stage.body, SmoothSettings())
        motions[0] = self.placing.start
        if self.placing.end is not None:
            motions = ending(motions, self.placing.end, stage.body)
        if contact is not None:
            motions = [contact.settled(motion) for motion in motions]
        return np.stack(motions)

    def _flow(self) -> DisFlow | None:
        try:
            return DisFlow()
        except Legs4dError:
            self.warnings.append("OpenCV is not installed, so that very large moves from frame to frame may be lost.")
            return None

    def _of_fits(self) -> str:
        """What fits of single frames depend on: all but how many there are, and what is done to them together."""
        settings = {**self.made_from.settings}
        for name in ("fps",) if self.asked.prompt else ("end", "fps"):  # a video of words may end where it is said
            settings.pop(name)
        settings["frames"] = None if self.asked.frames is None else self.asked.frames[0]
        return replace(self.made_from, settings=settings).fingerprint

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
        thing = result.thing if moved.look is None else moved.look
        bent, nodes = rigid(thing, moved.motions), None
        if moved.bends is not None:
            bent, nodes = bent_by(thing, moved.motions, moved.bends)
        result.write(run, asked.selection, self.body, moved.motions, bent, nodes)
        bend = (
            None
            if moved.bends is None
            else BendFile(*(part.astype(np.float64) for part in (moved.bends.rest, moved.bends.nodes)))
        )
        told = Trajectory(moved.motions, moved.fps, asked.selection, self.body.center, bend)
        write_trajectory(run.path / TRAJECTORY, told)
        for warning in self.warnings:
            self.context.tell(warning)
