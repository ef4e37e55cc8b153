"""What the command `video` does, which the job of its name does too: a video → a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d import __version__
from legs4d.commands import Video
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, Legs4dError
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.footage import remember_footage
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom, inputs_of
from legs4d.priors.cache import best_prior, how_to_get, open_prior, priors_folder
from legs4d.priors.depth.maps import depth_helper
from legs4d.priors.protocols import FlowPrior
from legs4d.priors.registry import find_prior
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.scene.readers import open_sequence
from legs4d.video.input.clip import Clip, open_clip
from legs4d.video.input.find import Wanted, find_things
from legs4d.video.input.masks import folders_beside
from legs4d.video.input.things import Thing
from legs4d.video.kept import Kept, State, seconds_of, with_seconds
from legs4d.video.motion.colors import Shown
from legs4d.video.motion.stage import as_state, fit_object, from_state, moving_of
from legs4d.video.motion.tracks import best_frame, follow
from legs4d.video.objects.canonical import Canonical, canonical_of, restored, stored
from legs4d.video.objects.invent import InventSettings, invent
from legs4d.video.pictures import objects_sheet, save
from legs4d.video.report import motion_sheet, report_of, scene_sheet, write_page
from legs4d.video.scene.compose import Moving
from legs4d.video.scene.depth import Told, maps_of, told_by
from legs4d.video.scene.distance import Distances, Placed, distances_of
from legs4d.video.scene.filming import Filming
from legs4d.video.scene.footage import FOLDER, read_captions, write_footage
from legs4d.video.scene.parallax import parallax_distances
from legs4d.video.scene.plate import BEHIND, plate_of
from legs4d.video.scene.result import Scene, space_of, write_scene
from legs4d.video.scene.route import camera_of
from legs4d.video.settings import FULL, LITE

STAGE = "video"
VERSION = 4
"""Of this code: raise it when the same input gives another result."""
INVENTING = InventSettings()
STAGES = ("objects", "motion", "scene")
LEAST = 24
"""Pixels that an object has to fill in the frame that shows it best."""
FILLS = 0.9
"""Share of a picture that an object may fill."""
MOST_BYTES = 6 << 30
"""Of all states of all objects, which are held together until they are a run."""
STATE_BYTES = 40
"""Of a Gaussian in a frame: its place, turn and colour."""


def make_video_run(asked: Video, context: Context = QUIET, *, again: bool | str = False) -> dict[str, Any]:
    """One video → a run of kind captured, in three stages, of which each goes on where it was stopped.

    Args:
        again: as in `store.again.working_on`, beside what is asked for.

    Returns:
        {run, kind, stage, frames, gaussians, camera {route, why, fov}, objects [{id, name, distance, seen, …}], failed,
        seen, seconds, report, warnings}.

    Raises:
        Legs4dError: the video, its masks or its camera cannot be used.
        RunDiffers: there is another result at `out`, and `again` is not set.
        Stopped: the stop signal is set; what is finished is kept.
    """
    again = again or asked.again
    if again and asked.stage not in (None, STAGES[-1]):
        raise Legs4dError("makes a run anew, which needs all stages", where="--again", fix="leave out --stage")
    made_from = _made_from(asked, context)
    with working_on(asked.out, lambda run: {STAGE: made_from}, again=again, tell=context.tell) as run:
        if not run.begin_stage(STAGE, made_from).finished:
            done = _Work(asked, run, made_from, context).finish()
            if not done:
                return {"run": str(run.path), "kind": "captured", "stage": asked.stage}
    return describe(Run.open(asked.out))


def describe(run: Run) -> dict[str, Any]:
    """What is told of a run that a video made, JSON."""
    report = run.info["report"]
    return {
        "run": str(run.path),
        "kind": run.info["kind"],
        "stage": STAGES[-1],
        "frames": run.num_frames,
        "gaussians": run.num_gaussians,
        **{name: report[name] for name in ("camera", "objects", "failed", "seen", "seconds", "warnings")},
        "report": str(run.path / "report.html"),
    }


def _made_from(asked: Video, context: Context) -> MadeFrom:
    source = Path(asked.source)
    if not source.exists():
        raise DatasetError("there is no such file or folder", where=asked.source, fix="give a video, or its pictures")
    files = {name: getattr(asked, name) for name in ("source", "masks", "boxes", "camera_file", "captions", "depth")}
    inputs = inputs_of({**files, **folders_beside(source)}, context)
    own = (
        "first", "camera", "fov", "frames", "scale", "fps", "lite", "flow", "invent", "distance", "found", "make_depth",
    )  # fmt: skip
    return MadeFrom({name: getattr(asked, name) for name in own}, VERSION, inputs, by="video")


class _Work:
    def __init__(self, asked: Video, run: Run, made_from: MadeFrom, context: Context) -> None:
        self.asked, self.run, self.made_from, self.context = asked, run, made_from, context
        self.settings = LITE if asked.lite else FULL
        self.device = choose_device(context.engine)
        self.kept = Kept(run, made_from.fingerprint)
        self.failed: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []

    def finish(self) -> bool:
        """Do what is not done; whether all of it is."""
        last = self.asked.stage or STAGES[-1]
        with torch_threads(self.device), self.run.timed(STAGE):
            self.clip = self._clip()
            self.things = self._things()
            self.given = self._given_distances()
            self.maps = self._depth_maps()
            self.filming = self._filming()
            objects = self._objects()
            if last == "objects":
                return False
            shown = self._motion(objects)
            if last == "motion":
                return False
            self._scene(objects, shown)
            self.run.finish_stage(STAGE)
        return True

    # -- what is given ---------------------------------------------------------------------------------------------

    def _clip(self) -> Clip:
        asked = self.asked
        frames = None if asked.frames is None else (asked.frames[0], asked.frames[1])
        reporter = self.context.reporter("reading_pictures")
        clip = open_clip(Path(asked.source), reporter, frames=frames, scale=asked.scale, fps=asked.fps)
        self.warnings += clip.notes
        if clip.num_frames == 1:
            self.warnings.append("A single frame: nothing moves in it, and the scene is that of a picture.")
        return clip

    def _things(self) -> list[Thing]:
        asked = self.asked
        wanted = Wanted(
            None if asked.masks is None else Path(asked.masks),
            asked.first,
            None if asked.boxes is None else Path(asked.boxes),
            asked.found,
        )
        things = find_things(self.clip, wanted, self.context, self.kept, self.warnings)
        kept = []
        for thing in things:
            why = self._why_not(thing)
            if why is None:
                kept.append(thing)
            else:
                self.failed.append({"id": thing.id, "name": thing.name, "why": why})
        if not kept:
            told = "; ".join(f"{one['name'] or one['id']}: {one['why']}" for one in self.failed)
            raise DatasetError(f"no object can be used ({told})", where=str(self.clip.path), fix="give better masks")
        return kept

    def _why_not(self, thing: Thing) -> str | None:
        areas = [int(thing.mask(frame).sum()) for frame in range(self.clip.num_frames)]
        most = max(areas)
        if most < LEAST:
            return f"it fills {most} pixels at most, and {LEAST} are needed" if most else "its masks are empty"
        if most > FILLS * self.clip.width * self.clip.height:
            return "it fills the picture, so that nothing tells its shape"
        return None

    def _filming(self) -> Filming:
        return camera_of(self.asked, self.clip, self.things, self.kept, self.context)

    def _depth_maps(self) -> Iterator[NDArray[np.float32] | None] | None:
        """Of all frames, made or read when they are looked at. Raises Legs4dError where there are none."""
        asked = self.asked
        if asked.depth is not None and asked.make_depth:
            raise Legs4dError("depth maps are given too", where="--make-depth", fix="leave out one of the two")
        if asked.depth is None and not asked.make_depth:
            return None
        helper = depth_helper(self.device, "--make-depth") if asked.make_depth else None
        return maps_of(self.clip, None if asked.depth is None else Path(asked.depth), helper)

    # -- stages ----------------------------------------------------------------------------------------------------

    def _objects(self) -> list[Canonical]:
        found = self.kept.read("objects")
        if found is None:
            started = time.perf_counter()
            reporter = self.context.reporter("objects")
            made: list[Canonical] = []
            prior = self._guidance() if self.asked.invent else None
            for row, thing in enumerate(self.things):
                reporter.step(row, len(self.things))
                one = canonical_of(self.clip, thing, best_frame(thing), self.filming, self.settings)
                made.append(one if prior is None else self._invented(thing, one, prior))
            reporter.step(len(self.things), len(self.things))
            save(objects_sheet(made, self.filming), self.kept.folder / "objects.png")
            state: State = {}
            for thing, one in zip(self.things, made, strict=True):
                state |= stored(one, str(thing.id))
            found = with_seconds(state, time.perf_counter() - started)
            self.kept.write("objects", found)
        self.seconds["objects"] = seconds_of(found)
        objects = [restored(found, str(thing.id)) for thing in self.things]
        self._check_room(sum(len(one.blown.seen) for one in objects))
        return objects

    def _check_room(self, gaussians: int) -> None:
        frames = self.clip.num_frames
        if frames * gaussians * STATE_BYTES > MOST_BYTES:
            fewer = max(0, MOST_BYTES // (gaussians * STATE_BYTES) - 1)
            what = f"{frames} frames of {gaussians} Gaussians of objects are more than is held together"
            lighter = "" if self.asked.lite else ", or --lite"
            raise DatasetError(what, where=str(self.clip.path), fix=f"take fewer by --frames 0:{fewer}{lighter}")

    def _guidance(self) -> Any:
        """The helper that invents sides. Raises Legs4dError where it is not there."""
        prior = best_prior("guidance")
        if prior is None:
            fix = how_to_get(find_prior("zero123"), priors_folder())
            raise Legs4dError("no helper that invents sides is there", where="--invent", fix=fix)
        return open_prior(prior.name, self.device)

    def _invented(self, thing: Thing, canonical: Canonical, prior: Any) -> Canonical:
        frame, crop = canonical.frame, canonical.crop
        mask = crop.take(thing.mask(frame).astype(np.float32))
        picture = crop.take(thing.picture(frame, self.clip.pictures[frame]).astype(np.float32) / np.float32(255))
        shown = np.concatenate([picture, mask[..., None]], axis=-1)
        up = self.filming.turn(frame) @ self.filming.up
        matrix = crop.intrinsics(self.filming.intrinsics[frame])
        reporter = self.context.reporter("inventing")
        return invent(canonical, shown, matrix, up, prior, INVENTING, self.device, reporter)

    @cached_property
    def _flow(self) -> FlowPrior:
        """What follows points, opened where some are left to be followed. Raises Legs4dError where it is not there."""
        return open_prior(self.asked.flow, self.device)

    def _motion(self, objects: list[Canonical]) -> list[Shown]:
        made = []
        for row, (thing, canonical) in enumerate(zip(self.things, objects, strict=True)):
            name = f"motion-{thing.id}"
            state = self.kept.read(name)
            if state is None:
                started = time.perf_counter()
                if len(self.things) > 1:
                    self.context.tell(f"Following {thing.called}, {row + 1} of {len(self.things)}.")
                fitted = fit_object(
                    self.clip, self.things, row, canonical, self.filming, self._flow, self.settings, self.device,
                    self.kept, self.context,
                )  # fmt: skip
                state = with_seconds(as_state(fitted), time.perf_counter() - started)
                self.kept.write(name, state)
                self.kept.forget(f"fit-{thing.id}")
            self.seconds["motion"] = self.seconds.get("motion", 0.0) + seconds_of(state)
            made.append(from_state({key: value for key, value in state.items() if key != "seconds"}))
        picture = self.kept.folder / "motion.png"
        if not picture.exists():
            save(motion_sheet(self.clip, self.things, self._moving(made), self.filming), picture)
        return made

    def _moving(self, shown: list[Shown]) -> list[Moving]:
        side = self.settings.motion_side
        return [
            moving_of(one, follow(thing, side), self.filming) for thing, one in zip(self.things, shown, strict=True)
        ]

    def _scene(self, objects: list[Canonical], shown: list[Shown]) -> None:
        started = time.perf_counter()
        moving = self._moving(shown)
        distances = self._distances(moving)
        farthest = max(
            (float((d.factors * m.centers[:, 2])[m.there].max()) for d, m in zip(distances, moving, strict=True)),
            default=4.0,
        )
        reporter = self.context.reporter("background")
        most = self.settings.plate_side
        plate = plate_of(self.clip, self.things, self.filming, BEHIND * farthest, most, reporter)
        if not plate.known.any():
            self.warnings.append("No frame shows any background: it is grey.")
        scene = Scene(self.clip, self.things, moving, distances, self.filming, plate)
        captions = None
        if self.asked.captions is not None:
            captions = read_captions(Path(self.asked.captions), self.clip, self.things)
        footage = self.kept.folder / FOLDER
        write_footage(footage, self.clip, self.things, self.filming, captions)
        run, clip = self.run, self.clip
        run.set_info(
            kind="captured",
            **space_of(scene),
            scale=1.0,
            fps=clip.fps,
            times=clip.times.tolist(),
            frame_numbers=list(clip.numbers),
            cameras_move=self.filming.moves,
            notes=list(clip.notes),
        )
        writing = self.context.reporter("scene")
        write_scene(run, scene, STAGE, writing.step)
        self.seconds["scene"] = time.perf_counter() - started
        report = report_of(scene, objects, shown, self.failed, self.warnings, self.seconds)
        run.set_info(made_from=self._origin(), report=report)
        remember_footage(run, open_sequence(footage, 1.0, found=False))
        save(scene_sheet(run, scene), self.kept.folder / "scene.png")
        write_page(run, report)
        for warning in self.warnings:
            self.context.tell(warning)

    def _told(self) -> Told | None:
        """What depth maps say of the objects."""
        if self.maps is None:
            return None
        state = self.kept.read("depth")
        if state is None:
            reporter = self.context.reporter("depth_maps")
            told = told_by(self.maps, self.clip, self.things, self.filming, reporter)
            self.kept.write("depth", {"inverse": told.inverse, "fitted": told.fitted})
        else:
            told = Told(state["inverse"], state["fitted"])
        if not told.fitted.any():
            self.warnings.append("Depth maps are not used: nothing of the background fits them in any frame.")
        elif not told.fitted.all():
            self.warnings.append(f"{told.why}; in others they are missing, or nothing of the background fits them.")
        return told

    def _distances(self, moving: list[Moving]) -> list[Distances]:
        placed = []
        told = self._told()
        for row, (thing, one) in enumerate(zip(self.things, moving, strict=True)):
            bent = [one.in_camera(frame, self.filming) for frame in range(self.clip.num_frames)]
            others = [other.masks for other in self.things if other is not thing]
            shows = np.array([_lowest_shows(thing, others, frame) for frame in range(self.clip.num_frames)])
            depths = None if told is None else told.inverse[:, row]
            still = parallax_distances([places[one.seen > 0.5] for places in bent], one.there, self.filming)
            placed.append(Placed(bent, one.sizes, one.there, shows, thing.masks, thing.called, depths, still))
        return distances_of(placed, self.filming, self.given)

    def _given_distances(self) -> dict[int, float]:
        """Row of an object → its distance, as asked for."""
        given: dict[int, float] = {}
        for name, value in (self.asked.distance or {}).items():
            rows = [row for row, thing in enumerate(self.things) if name in (str(thing.id), thing.name)]
            if not rows or value <= 0:
                ids = ", ".join(str(thing.id) for thing in self.things)
                what = f"{name}={value:g} is of no object" if not rows else f"{name}={value:g} is no distance"
                raise Legs4dError(what, where="--distance", fix=f"write ID=UNITS; objects are {ids}")
            given[rows[0]] = value
        return given

    def _origin(self) -> dict[str, Any]:
        settings = {name: value for name, value in asdict(self.settings).items() if name != "deform"}
        return {
            "command": STAGE,
            "version": __version__,
            "source": str(Path(self.asked.source).resolve()),
            "masks": None if self.asked.masks is None else str(Path(self.asked.masks).resolve()),
            "lite": self.asked.lite,
            "settings": settings,
        }


def _lowest_shows(thing: Thing, others: list[np.ndarray[Any, Any]], frame: int) -> bool:
    """Whether the object's lowest pixels are its own end: not the picture's border, nor another object before it."""
    mask = thing.mask(frame)
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows) or rows[-1] >= mask.shape[0] - 2:
        return False
    below = np.zeros(mask.shape, bool)
    columns = mask[max(rows[-1] - 1, 0) : rows[-1] + 1].any(axis=0)
    below[rows[-1] + 1 : rows[-1] + 4] = columns
    return not any((other[frame] & below).any() for other in others)
