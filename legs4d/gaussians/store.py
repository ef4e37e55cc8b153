"""The run folder: everything that training makes, durable frame by frame (CONTRACTS, "Run folder, format 1").

    run.json      format, geometry {num_frames, num_static, num_dynamic}, info, stages; replaced whole, by rename
    run.zarr/     static/  dynamic/ (chunk = one frame)  cameras/  codec/  unrefined/ (what `amend` replaced)
    .lock         held by the one process that writes

A frame counts as done only when run.json says so, which happens after its chunks are on the disk. A process may be
killed at any instant: what run.json does not vouch for is deleted and made again by the next `begin_stage`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from legs4d.errors import RunError
from legs4d.gaussians.arrays import (
    StoredArray,
    array_names,
    create_array,
    create_group,
    open_array,
    read_attributes,
    replace_group,
)
from legs4d.gaussians.files import TEMPORARY_PREFIX, clear_write_errors, write_file
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.lock import lock_file
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Split

FORMAT = 1
"""Version of the run folder; a run of another one is refused."""

FOLLOWING = {
    "first_frame": ("tracking", "refinement", "lift"),
    "tracking": ("refinement", "lift"),
    "refinement": ("lift",),
    "extract": ("lift",),
    "lift": (),
}
"""Stage → those that depend on it."""

_MOVING = ("means", "quats", "colors")
_CONSTANT = ("scales", "opacities", "is_foreground")
_AMENDED = ("scales", "opacities")
_UNREFINED = "unrefined"
_RESUME = "run the same `legs4d train` command again to resume"


@dataclass
class StageRecord:
    """What a stage has done so far: `done_frames` in ascending order, `seconds` of work summed over all its runs."""

    fingerprint: str
    done_frames: list[int] = field(default_factory=list)
    finished: bool = False
    seconds: float = 0.0


class Run:
    """A run folder. Reading needs nothing else; writing is for the process that holds `lock()`.

    Make one with `Run.create` or `Run.open`. An opened run is a view of run.json at that moment: open again (it costs
    one small file) to see what another process has finished since.
    """

    info: dict[str, Any]
    """What the run was made from: dataset (path), scale, fps, encoder, frame_numbers; change it by `set_info`."""
    stages: dict[str, StageRecord]
    """What has been done, by stage name; change it by `begin_stage`, `frame_done`, `finish_stage`."""
    _geometry_or_none: dict[str, int] | None

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        self.path = path
        self._arrays: dict[str, StoredArray] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._adopt(state)

    @classmethod
    def create(cls, path: str | Path, *, force: bool = False) -> Run:
        """Start an empty run in this folder, which is made if need be.

        Args:
            path: a folder that does not exist, is empty, or (with `force`) holds a run, which is then deleted.

        Raises:
            RunError: the folder holds a run and `force` is False, or holds anything else.
        """
        folder = Path(path)
        with clear_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if (folder / "run.json").exists():
            if not force:
                raise RunError("already holds a run", where=str(folder), fix="choose another folder or delete it")
            _delete_run(folder)
        strangers = [p.name for p in folder.iterdir() if not p.name.startswith((TEMPORARY_PREFIX, ".lock"))]
        if strangers:
            raise RunError(f"is not empty (it holds {strangers[0]!r})", where=str(folder), fix="choose a new folder")
        run = cls(folder, {"format": FORMAT})
        run._save()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in this folder.

        Raises:
            RunError: there is none, it is of another format, or run.json cannot be read.
        """
        folder = Path(path)
        return cls(folder, _read_state(folder))

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def num_frames(self) -> int:
        return self._geometry["num_frames"]

    @property
    def num_static(self) -> int:
        return self._geometry["num_static"]

    @property
    def num_dynamic(self) -> int:
        return self._geometry["num_dynamic"]

    @property
    def num_gaussians(self) -> int:
        return self.num_static + self.num_dynamic

    @property
    def has_geometry(self) -> bool:
        """Whether the first frame is there, so that counts and frames may be asked for."""
        return self._geometry_or_none is not None

    def has_frame(self, frame: int) -> bool:
        """Whether the geometry of this frame is there."""
        if not (self.has_geometry and 0 <= frame < self.num_frames):
            return False
        return all(self._array(f"dynamic/{name}").has(frame) for name in _MOVING)

    def has_codes(self, frame: int) -> bool:
        """Whether the language codes of this frame, and the static ones, are there."""
        written = all((self._group(g) / "codes").is_dir() for g in ("static", "dynamic"))
        return written and self._array("dynamic/confidence").has(frame)

    @property
    def has_cameras(self) -> bool:
        """Whether cameras are there; an imported run has none."""
        return self._group("cameras").is_dir()

    @property
    def has_test_cameras(self) -> bool:
        """Whether test cameras are among them."""
        return self.has_cameras and (self._group("cameras") / "test").is_dir()

    def set_info(self, **values: Any) -> None:
        """Add to `info` (JSON values: dataset, scale, fps, encoder, frame_numbers, …)."""
        self.info.update(values)
        self._save()

    # -- geometry --------------------------------------------------------------------------------------------------

    def static(self) -> Gaussians:
        """The N Gaussians that do not move; N may be 0."""
        return Gaussians(**{name: self._constant(f"static/{name}").copy() for name in (*_MOVING, *_CONSTANT)})

    def dynamic(self, frame: int) -> Gaussians:
        """The M Gaussians that move, in this frame; opacity 0 in those not alive in it."""
        moving = self.moving(frame)
        constant = {name: self._constant(f"dynamic/{name}").copy() for name in _CONSTANT}
        alive = (self._constant("dynamic/born") <= frame) & (frame <= self._constant("dynamic/died"))
        constant["opacities"] *= alive
        return Gaussians(**moving, **constant)

    def moving(self, frame: int) -> dict[str, NDArray[np.float32]]:
        """Only what changes: means [M,3], quats [M,4], colors [M,3] of the moving Gaussians in this frame."""
        self._require_frame(frame)
        return {name: self._array(f"dynamic/{name}").read(frame) for name in _MOVING}

    def frame(self, frame: int) -> Gaussians:
        """All N + M Gaussians in this frame, static first: an id means the same Gaussian in every frame."""
        return concatenate(self.static(), self.dynamic(frame))

    @property
    def dynamic_opacities(self) -> NDArray[np.float32]:
        """[M] opacity of each moving Gaussian while it is alive."""
        return self._constant("dynamic/opacities").copy()

    @property
    def born(self) -> NDArray[np.int32]:
        """[M] first frame in which each moving Gaussian is alive."""
        return self._constant("dynamic/born").copy()

    @property
    def died(self) -> NDArray[np.int32]:
        """[M] last frame in which each moving Gaussian is alive."""
        return self._constant("dynamic/died").copy()

    def write_geometry(
        self,
        static: Gaussians,
        dynamic: Gaussians,
        num_frames: int,
        *,
        born: NDArray[np.int32] | None = None,
        died: NDArray[np.int32] | None = None,
    ) -> None:
        """Store the static Gaussians, the constants of the moving ones, and frame 0, in place of what was there.

        Args:
            static, dynamic: N and M numpy Gaussians; either may be empty.
            num_frames: T.
            born, died: [M] first and last frame alive; by default all of them.

        Raises:
            RunError: it cannot be written, or a value is not finite.
        """
        self._geometry_or_none = None
        self._save()
        count = len(dynamic)
        born = np.zeros(count, np.int32) if born is None else born
        died = np.full(count, num_frames - 1, np.int32) if died is None else died
        create_group(self._zarr)
        if self._group(_UNREFINED).is_dir():
            shutil.rmtree(self._group(_UNREFINED))
        replace_group(self._group("static"), _fields(static, (*_MOVING, *_CONSTANT)))
        replace_group(self._group("dynamic"), {**_fields(dynamic, _CONSTANT), "born": born, "died": died})
        for name, width in zip(_MOVING, (3, 4, 3), strict=True):
            create_array(self._group("dynamic") / name, (num_frames, count, width), np.float32, per_frame=True)
        self._forget()
        self._geometry_or_none = {"num_frames": num_frames, "num_static": len(static), "num_dynamic": count}
        self.write_frame(0, dynamic.means, dynamic.quats, dynamic.colors)
        self._save()

    def write_frame(self, frame: int, means: ArrayLike, quats: ArrayLike, colors: ArrayLike) -> None:
        """Store the moving Gaussians ([M,3], [M,4] wxyz, [M,3]) of one frame; durable on return."""
        for name, values in zip(_MOVING, (means, quats, colors), strict=True):
            self._array(f"dynamic/{name}").write(np.asarray(values), frame)

    def amend(self, static: Gaussians, scales: ArrayLike, opacities: ArrayLike) -> None:
        """Replace the static Gaussians, and scales [M,3] and opacities [M] of the moving ones, by as many others.

        What was there before the first call is kept: `restore` brings it back, also after a kill in the middle of this.
        """
        if not self._group(_UNREFINED).is_dir():
            was = {name: self._constant(f"dynamic/{name}") for name in _AMENDED}
            replace_group(
                self._group(_UNREFINED),
                {**_fields(self.static(), (*_MOVING, *_CONSTANT)), **{f"dynamic/{name}": was[name] for name in was}},
            )
        self._write_amended(static, {"scales": scales, "opacities": opacities})

    def restore(self) -> None:
        """Undo `amend`, and forget the stage "refinement" and what follows; nothing where there is nothing to undo."""
        group = self._group(_UNREFINED)
        if not group.is_dir():
            return
        for stale in ("refinement", *FOLLOWING["refinement"]):
            self.stages.pop(stale, None)
        self._save()
        names = (*_MOVING, *_CONSTANT)
        static = Gaussians(**{name: open_array(group / name).read() for name in names})
        self._write_amended(static, {name: open_array(group / "dynamic" / name).read() for name in _AMENDED})
        with clear_write_errors(group):
            shutil.rmtree(group)

    def _write_amended(self, static: Gaussians, constants: dict[str, ArrayLike]) -> None:
        replace_group(self._group("static"), _fields(static, (*_MOVING, *_CONSTANT)))
        for name, values in constants.items():
            array = np.asarray(values, np.float32)
            create_array(self._group("dynamic") / name, array.shape, array.dtype).write(array)
        self._forget()

    # -- cameras ---------------------------------------------------------------------------------------------------

    def write_cameras(self, train: Cameras, test: Cameras | None, gain: ArrayLike, offset: ArrayLike) -> None:
        """Store the cameras, and the colour `gain` and `offset` ([C,3]) of the training cameras:
        image ≈ exp(gain) · render + offset."""
        arrays: dict[str, NDArray[Any]] = {
            "gain": np.asarray(gain, np.float32),
            "offset": np.asarray(offset, np.float32),
        }
        attributes: dict[str, Any] = {}
        for split, cameras in (("train", train), ("test", test)):
            if cameras is None:
                continue
            arrays[f"{split}/viewmats"] = np.asarray(cameras.world_to_camera, np.float32)
            arrays[f"{split}/Ks"] = np.asarray(cameras.intrinsics, np.float32)
            arrays[f"{split}/ids"] = np.asarray(cameras.ids, np.int32)
            attributes[split] = {"width": cameras.width, "height": cameras.height}
        create_group(self._zarr)
        replace_group(self._group("cameras"), arrays, attributes)
        self._forget()

    def cameras(self, split: Split) -> Cameras:
        """The training or test cameras. Raises RunError when the run has none of this split."""
        sizes = read_attributes(self._group("cameras")) if self.has_cameras else {}
        if split not in sizes:
            raise RunError(f"has no {split} cameras", where=str(self.path), fix="use the other split, or orbit")
        return Cameras(
            self._constant(f"cameras/{split}/viewmats").copy(),
            self._constant(f"cameras/{split}/Ks").copy(),
            sizes[split]["width"],
            sizes[split]["height"],
            tuple(int(i) for i in self._constant(f"cameras/{split}/ids")),
        )

    def gain(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """([C,3] gain, [C,3] offset) of the training cameras: image ≈ exp(gain) · render + offset."""
        return self._constant("cameras/gain").copy(), self._constant("cameras/offset").copy()

    # -- language --------------------------------------------------------------------------------------------------

    def write_codec(self, name: str, arrays: dict[str, NDArray[Any]], attrs: dict[str, Any]) -> None:
        """Store what turns codes into scores: arrays, and JSON attributes to which `name` is added."""
        create_group(self._zarr)
        replace_group(self._group("codec"), arrays, {**attrs, "name": name})
        self._forget()

    def codec(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """(arrays, attributes) as given to `write_codec`; the attribute `name` is the codec's name."""
        group = self._group("codec")
        if not group.is_dir():
            raise RunError("has no language yet", where=str(self.path), fix=_RESUME + ", or run `legs4d lift`")
        attributes = read_attributes(group)
        return {name: self._constant(f"codec/{name}").copy() for name in array_names(group)}, attributes

    def language_mark(self) -> tuple[int, int]:
        """Changes when the run is lifted anew, by whichever process: the codec is replaced then, before any codes."""
        found = self._group("codec").stat()
        return found.st_ino, found.st_mtime_ns

    def write_static_codes(self, codes: ArrayLike, confidence: ArrayLike) -> None:
        """Store codes [N,D] (as float16) and confidence [N] (as float32) of the static Gaussians."""
        values = np.asarray(codes, np.float16)
        for name, array in (("codes", values), ("confidence", np.asarray(confidence, np.float32))):
            create_array(self._group("static") / name, array.shape, array.dtype).write(array)
        self._forget()

    def write_codes(self, frame: int, codes: ArrayLike, confidence: ArrayLike) -> None:
        """Store codes [M,D] (as float16) and confidence [M] (as float32) of the moving ones in a frame; durable."""
        values = np.asarray(codes, np.float16)
        if values.shape[0] != self.num_dynamic:
            raise ValueError(f"codes: {values.shape[0]} rows, expected {self.num_dynamic}")
        self._codes_array("codes", values.shape, np.float16).write(values, frame)
        self._codes_array("confidence", values.shape[:1], np.float32).write(np.asarray(confidence), frame)

    def static_codes(self) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """(codes [N,D], confidence [N]) of the static Gaussians."""
        return self._read_codes("static", None)

    def dynamic_codes(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """(codes [M,D], confidence [M]) of the moving Gaussians in this frame."""
        self._require_frame(frame)
        return self._read_codes("dynamic", frame)

    def map_dynamic_codes(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """As `dynamic_codes`, but the codes are a view of their file, to be read once: for sweeps over frames."""
        self._require_frame(frame)
        return self._read_codes("dynamic", frame, mapped=True)

    # -- stages ----------------------------------------------------------------------------------------------------

    def begin_stage(self, name: str, fingerprint: str) -> StageRecord:
        """What this stage has done already, if its fingerprint is the same; else forget it and all that follow.

        Frames that the stage wrote but was not able to report are deleted, so that none is trusted by mistake.

        Args:
            name: one of FOLLOWING.
            fingerprint: hash of the stage's settings, code version and inputs' fingerprints.
        """
        record = self.stages.get(name)
        if record is None or record.fingerprint != fingerprint:
            for stale in (name, *FOLLOWING[name]):
                self.stages.pop(stale, None)
            if name == "first_frame":
                self._geometry_or_none = None
            record = self.stages[name] = StageRecord(fingerprint)
            self._save()
        with clear_write_errors(self.path):
            self._discard_unreported()
        return record

    def frame_done(self, name: str, frame: int, seconds: float) -> None:
        """Record a frame whose data are on the disk, and add `seconds` to the stage's time."""
        self.frames_done(name, {frame: seconds})

    def frames_done(self, name: str, seconds: dict[int, float]) -> None:
        """Record several frames, each with its seconds, by writing run.json once."""
        record = self.stages[name]
        record.done_frames = sorted({*record.done_frames, *seconds})
        record.seconds += sum(seconds.values())
        self._save()

    def finish_stage(self, name: str, seconds: float = 0.0) -> None:
        """Record a stage as finished, and add `seconds` (those not told to `frame_done`) to its time."""
        record = self.stages[name]
        record.finished = True
        record.seconds += seconds
        self._save()

    @contextmanager
    def lock(self) -> Iterator[Run]:
        """Be the one writer: reads run.json anew and deletes what a killed writer left half-written.

        Raises:
            RunError: another process is writing this run. A dead one's lock is free.
        """
        with lock_file(self.path / ".lock"):
            self._adopt(_read_state(self.path))
            with clear_write_errors(self.path):
                _delete_temporary(self.path)
            yield self

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _zarr(self) -> Path:
        return self.path / "run.zarr"

    def _group(self, name: str) -> Path:
        return self._zarr / name

    @property
    def _geometry(self) -> dict[str, int]:
        if self._geometry_or_none is None:
            raise RunError("is not reconstructed yet: its first frame is not done", where=str(self.path), fix=_RESUME)
        return self._geometry_or_none

    def _array(self, name: str) -> StoredArray:
        if name not in self._arrays:
            self._arrays[name] = open_array(self._zarr / name)
        return self._arrays[name]

    def _constant(self, name: str) -> NDArray[Any]:
        """An array without a time axis, read once; callers copy what they hand out."""
        if name not in self._constants:
            if name.startswith(("static/", "dynamic/")):
                _ = self._geometry  # the clearer error where there is none
            self._constants[name] = self._array(name).read()
        return self._constants[name]

    def _forget(self) -> None:
        """Drop what was read, after an array was written anew."""
        self._arrays.clear()
        self._constants.clear()

    def _require_frame(self, frame: int) -> None:
        if not 0 <= frame < self.num_frames:
            raise RunError(f"has no frame {frame}: it has {self.num_frames}, counted from 0", where=str(self.path))
        if not self.has_frame(frame):
            raise RunError(f"has not reached frame {frame} yet", where=str(self.path), fix=_RESUME)

    def _codes_array(self, name: str, shape: tuple[int, ...], dtype: type) -> StoredArray:
        path = self._group("dynamic") / name
        if not (path / "zarr.json").exists():
            self._arrays[f"dynamic/{name}"] = create_array(path, (self.num_frames, *shape), dtype, per_frame=True)
        return self._array(f"dynamic/{name}")

    def _read_codes(
        self, group: str, frame: int | None, *, mapped: bool = False
    ) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        _ = self._geometry
        written = (self._group(group) / "confidence").is_dir()
        if not written or (frame is not None and not self._array("dynamic/confidence").has(frame)):
            where = "its static part" if frame is None else f"frame {frame}"
            raise RunError(f"has no language in {where} yet", where=str(self.path), fix=_RESUME)
        codes = self._array(f"{group}/codes")
        return (codes.map if mapped else codes.read)(frame), self._array(f"{group}/confidence").read(frame)

    def _discard_unreported(self) -> None:
        """Delete the frames of unfinished stages that are not in `done_frames`, and a lift that has not begun."""
        if not self.has_geometry:
            return
        tracking, lift = self.stages.get("tracking"), self.stages.get("lift", StageRecord(""))
        if tracking and not tracking.finished:
            kept = {0, *tracking.done_frames}
            self._discard_frames(_MOVING, kept)
        if not lift.finished and not lift.done_frames:
            for path in ("codec", "static/codes", "static/confidence", "dynamic/codes", "dynamic/confidence"):
                if (self._zarr / path).exists():
                    shutil.rmtree(self._zarr / path)
            self._forget()
        elif not lift.finished:
            self._discard_frames(("codes", "confidence"), set(lift.done_frames))

    def _discard_frames(self, names: tuple[str, ...], kept: set[int]) -> None:
        for name in names:
            array = self._array(f"dynamic/{name}")
            for frame in range(self.num_frames):
                if frame not in kept:
                    array.discard(frame)

    def _adopt(self, state: dict[str, Any]) -> None:
        self._forget()
        self._geometry_or_none = state.get("geometry")
        self.info = state.get("info", {})
        self.stages = {name: StageRecord(**record) for name, record in state.get("stages", {}).items()}

    def _save(self) -> None:
        state = {
            "format": FORMAT,
            "geometry": self._geometry_or_none,
            "info": self.info,
            "stages": {name: vars(record) for name, record in self.stages.items()},
        }
        # Neither indented nor copied deeply, which took 48 ms for every frame done at 10,000 frames; this takes 5.
        write_file(self.path / "run.json", json.dumps(state).encode())


def _read_state(folder: Path) -> dict[str, Any]:
    """run.json, checked as far as every reader relies on it."""
    file = folder / "run.json"
    again = "train into a new folder"
    try:
        state = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        fix = "give a folder that `legs4d train` made"
        raise RunError("is not a run folder (no run.json)", where=str(folder), fix=fix) from error
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", where=str(file), fix=again) from error
    if not isinstance(state, dict) or "format" not in state:
        raise RunError("is not a legs4d run", where=str(file), fix=again)
    if state["format"] != FORMAT:
        raise RunError(
            f"is of run format {state['format']!r}, this legs4d reads format {FORMAT}",
            where=str(folder),
            fix="use the legs4d that made it, or train again into a new folder",
        )
    try:
        for record in state.get("stages", {}).values():
            StageRecord(**record)
    except (TypeError, AttributeError) as error:
        raise RunError(f"has stages that cannot be read ({error})", where=str(file), fix=again) from error
    return state


def _fields(gaussians: Gaussians, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    kinds: dict[str, type] = {"is_foreground": np.bool_}
    return {name: np.asarray(getattr(gaussians, name), kinds.get(name, np.float32)) for name in names}


def _delete_run(folder: Path) -> None:
    with clear_write_errors(folder):
        (folder / "run.json").unlink()
        if (folder / "run.zarr").exists():
            shutil.rmtree(folder / "run.zarr")


def _delete_temporary(folder: Path) -> None:
    for leftover in list(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover.exists():
            leftover.unlink()
