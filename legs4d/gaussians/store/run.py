"""The run folder: everything that training or an import makes, durable frame by frame (docs/run-format.md).

    run.json      format, geometry {num_frames, num_static, num_dynamic, max_loose}, info, stages; replaced by rename
    run.zarr/     static/  dynamic/  loose/ (chunk = one frame)  cameras/  codec/  unrefined/ (what `amend` replaced)
    .lock         held by the one process that writes

A frame's Gaussians are, in this order: the static ones (N), the dynamic ones (M), which are the same things in every
frame, and the loose ones, which are other ones in every frame, as in sequences of splat files without identity.

A frame counts as done only when run.json says so, which happens after its chunks are on the disk. A process may be
killed at any instant: what run.json does not vouch for is deleted and made again by the next `begin_stage`.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians, concatenate, with_sh_rest
from legs4d.gaussians.store.arrays import (
    StoredArray,
    array_names,
    create_array,
    create_group,
    open_array,
    read_attributes,
    replace_group,
)
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, write_file
from legs4d.gaussians.store.lock import lock_file
from legs4d.gaussians.store.stage_records import Difference, MadeFrom, RunDiffers, StageRecord, differences
from legs4d.gaussians.store.swap import settle, settle_if_need_be
from legs4d.portable.up import CAMERA_UP, find_up
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Split

FORMAT = 2
"""Version of the run folders that are made; a run goes on in the one that it was begun in."""

READABLE = (1, 2)
"""Versions that are read. Format 2 adds loose Gaussians, what may change in time, and view dependence to format 1."""

FOLLOWING = {
    "import": ("lift",),
    "first_frame": ("tracking", "refinement", "lift"),
    "tracking": ("refinement", "lift"),
    "refinement": ("lift",),
    "extract": (),
    "lift": (),
}
"""Stage → those whose output means nothing without its own. Codes stay what they are when features are made anew."""

GEOMETRY_STAGES = ("import", "first_frame", "tracking", "refinement")
"""Those that make Gaussians, in their order; a run has those of one road."""
LAYOUT_STAGES = ("import", "first_frame")
"""Those that decide how many Gaussians there are."""

CHANGEABLE = ("scales", "opacities", "sh_rest")
"""What of the dynamic Gaussians is constant in most runs, and may change from frame to frame."""
_MOVING = ("means", "quats", "colors")
_CONSTANT = ("scales", "opacities", "is_foreground")
_FIELDS = (*_MOVING, *_CONSTANT)
_WIDTHS: dict[str, tuple[int, ...]] = {
    "means": (3,),
    "quats": (4,),
    "colors": (3,),
    "scales": (3,),
    "opacities": (),
    "is_foreground": (),
}
ATTACHED = ("nodes", "light", "objects", "segments", "selections")
"""Groups that speak of these very Gaussians, and go with them."""
_AMENDED = ("scales", "opacities")
_UNREFINED = "unrefined"


class Run:
    """A run folder. Reading needs nothing else; writing is for the process that holds `lock()`.

    Make one with `Run.create` or `Run.open`. An opened run is a view of run.json at that moment: open again (it costs
    one small file) to see what another process has finished since.
    """

    format: int
    """Version of the run folder."""
    info: dict[str, Any]
    """What the run was made from: dataset (path), scale, fps, encoder, frame_numbers; change it by `set_info`."""
    stages: dict[str, StageRecord]
    """What has been done, by stage name; change it by `begin_stage`, `frame_done`, `finish_stage`, `forget_stage`."""
    geometry_id: str
    """Random, another one whenever Gaussians are laid out anew; "" in runs of earlier versions. Copies keep it."""
    _geometry_or_none: dict[str, int] | None

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        self.path = path
        self._arrays: dict[str, StoredArray] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._there: dict[str, bool] = {}
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
        return cls.begin(folder)

    @classmethod
    def begin(cls, path: Path) -> Run:
        """An empty run in a folder that exists, whatever else is in it. Raises RunError when it cannot be written."""
        run = cls(path, {"format": FORMAT})
        run._save()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in this folder.

        Raises:
            RunError: there is none, it is of another format, or run.json cannot be read.
        """
        folder = Path(path)
        settle_if_need_be(folder)
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
        """Those with an id: static and dynamic ones."""
        return self.num_static + self.num_dynamic

    @property
    def max_loose(self) -> int:
        """R, the most loose Gaussians that a frame holds; 0 where a run has none."""
        return self._geometry.get("max_loose", 0)

    @property
    def has_loose(self) -> bool:
        """Whether frames hold Gaussians without identity."""
        return self.max_loose > 0

    @property
    def loose_counts(self) -> NDArray[np.int32]:
        """[T] loose Gaussians of each frame; 0 in those that are not there yet."""
        return np.array([self._loose_count(frame) for frame in range(self.num_frames)], np.int32)

    def count(self, frame: int) -> int:
        """Gaussians of this frame: N + M + its loose ones."""
        return self.num_gaussians + self._loose_count(frame)

    @property
    def changing(self) -> tuple[str, ...]:
        """Which of CHANGEABLE the dynamic Gaussians have anew in every frame."""
        return tuple(
            name for name in CHANGEABLE if self._has("dynamic", name) and self._array(f"dynamic/{name}").per_frame
        )

    @property
    def has_geometry(self) -> bool:
        """Whether the first frame is there, so that counts and frames may be asked for."""
        return self._geometry_or_none is not None

    def has_frame(self, frame: int) -> bool:
        """Whether the geometry of this frame is there."""
        if not (self.has_geometry and 0 <= frame < self.num_frames):
            return False
        moving = all(self._array(f"dynamic/{name}").has(frame) for name in (*_MOVING, *self.changing))
        return moving and (not self.has_loose or self._array("loose/count").has(frame))

    def available_frames(self) -> list[int]:
        """Frames whose geometry is complete."""
        if not self.has_geometry:
            return []
        for name in ("import", "tracking"):
            stage = self.stages.get(name)
            if stage is not None and not stage.finished:
                return sorted({*stage.done_frames, *((0,) if name == "tracking" else ())})
        return [frame for frame in range(self.num_frames) if self.has_frame(frame)]

    @property
    def geometry_stages(self) -> tuple[str, ...]:
        """Those of GEOMETRY_STAGES that this run has begun, in their order."""
        return tuple(name for name in GEOMETRY_STAGES if name in self.stages)

    def require_geometry(self) -> StageRecord:
        """The stage after which all frames are there; raises RunError when it is not finished."""
        for name in ("import", "tracking"):
            stage = self.stages.get(name)
            if stage is not None and stage.finished:
                return stage
        raise RunError(
            "is not reconstructed yet: its frames are not all there",
            where=str(self.path),
            fix="run the same command that made it again to resume",
        )

    def has_codes(self, frame: int) -> bool:
        """Whether the language codes of this frame, and the static ones, are there."""
        groups = ("dynamic", *(("loose",) if self.has_loose else ()))
        written = all((self._group(g) / "codes").is_dir() for g in ("static", *groups))
        return written and all(self._array(f"{group}/confidence").has(frame) for group in groups)

    @property
    def has_cameras(self) -> bool:
        """Whether cameras are there; an imported run has none."""
        return self._group("cameras").is_dir()

    @property
    def has_test_cameras(self) -> bool:
        """Whether test cameras are among them."""
        return self.has_cameras and (self._group("cameras") / "test").is_dir()

    def has_finished(self, stage: str) -> bool:
        """Whether nothing is left to do of a stage."""
        return stage in self.stages and self.stages[stage].finished

    def set_info(self, **values: Any) -> None:
        """Add to `info` (JSON values: dataset, scale, fps, encoder, frame_numbers, …)."""
        self.info.update(values)
        self._save()

    @property
    def up(self) -> NDArray[np.float64]:
        """[3] unit vector: the direction of the run's world that is up.

        What the run says (`info["up"]`); else what its cameras tell, as runs of before say only the mean of their
        downward axes, which leans; else that mean; else as 3DGS captures have it, -Y.
        """
        if "up" not in self.info and self.has_cameras:
            return find_up(self.cameras("train").world_to_camera)
        down = self.info.get("down", np.negative(CAMERA_UP))
        up = np.asarray(self.info.get("up", np.negative(down)), np.float64)
        return up / np.linalg.norm(up)

    # -- geometry --------------------------------------------------------------------------------------------------

    def static(self) -> Gaussians:
        """The N Gaussians that do not move; N may be 0."""
        return Gaussians(
            **{name: self._constant(f"static/{name}").copy() for name in _FIELDS}, sh_rest=self._sh_rest("static")
        )

    def dynamic(self, frame: int) -> Gaussians:
        """The M Gaussians that move, in this frame; opacity 0 in those not alive in it."""
        moving = self.moving(frame)
        constant = {name: self._constant(f"dynamic/{name}").copy() for name in _CONSTANT if name not in moving}
        values: dict[str, Any] = {**constant, **moving}
        alive = (self._constant("dynamic/born") <= frame) & (frame <= self._constant("dynamic/died"))
        values["opacities"] = values["opacities"] * alive
        if "sh_rest" not in moving:
            values["sh_rest"] = self._sh_rest("dynamic")
        return Gaussians(**values)

    def moving(self, frame: int) -> dict[str, NDArray[np.float32]]:
        """Only what changes: means [M,3], quats [M,4], colors [M,3] of the moving Gaussians in this frame, and what
        `changing` names: scales [M,3], opacities [M], sh_rest [M,K,3]."""
        self._require_frame(frame)
        return {name: self._array(f"dynamic/{name}").read(frame) for name in (*_MOVING, *self.changing)}

    def loose(self, frame: int) -> Gaussians:
        """The Gaussians of this frame that no other frame knows; none in a run without such."""
        self._require_frame(frame)
        if not self.has_loose:
            return Gaussians(**{name: np.zeros((0, *_WIDTHS[name]), _kind(name)) for name in _FIELDS})
        return Gaussians(
            **{name: self._loose(name, frame) for name in _FIELDS},
            sh_rest=self._loose("sh_rest", frame) if self._has("loose", "sh_rest") else None,
        )

    def frame(self, frame: int) -> Gaussians:
        """All Gaussians in this frame, static first, then dynamic ones: up to there an id means the same Gaussian in
        every frame. Then the loose ones."""
        parts = [self.static(), self.dynamic(frame)]
        return concatenate(*parts, self.loose(frame)) if self.has_loose else concatenate(*parts)

    def seen(self, frame: int) -> NDArray[np.float32] | None:
        """[count] 0..1 how much of each Gaussian of a frame training pixels showed, 0 where it is invented; None where
        the run does not tell."""
        return self._marks("seen", frame, 1)

    def object_ids(self, frame: int) -> NDArray[np.int16] | None:
        """[count] the object that each Gaussian of a frame belongs to, -1 for none; None where nothing tells."""
        return self._marks("object", frame, -1)

    @property
    def dynamic_opacities(self) -> NDArray[np.float32]:
        """[M] opacity of each moving Gaussian while it is alive; where opacities change, in the first frame."""
        if "opacities" in self.changing:
            return self._array("dynamic/opacities").read(0)
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
        changing: tuple[str, ...] = (),
        max_loose: int = 0,
        loose_sh: int = 0,
    ) -> None:
        """Store the static Gaussians, the constants of the moving ones, and frame 0, in place of what was there.

        Args:
            static, dynamic: N and M numpy Gaussians; either may be empty.
            num_frames: T.
            born, died: [M] first and last frame alive; by default all of them.
            changing: which of CHANGEABLE `write_frame` will be given for every frame.
            max_loose: R, the most Gaussians that `write_loose` will be given for a frame.
            loose_sh: K of their `sh_rest`, 0 for none.

        Raises:
            RunError: it cannot be written, or a value is not finite.
        """
        if self.format == 1 and (changing or max_loose or static.sh_rest is not None or dynamic.sh_rest is not None):
            raise RunError(
                "was begun in run format 1, which cannot hold this", where=str(self.path), fix="choose another folder"
            )
        self._geometry_or_none = None
        self._save()
        count = len(dynamic)
        born = np.zeros(count, np.int32) if born is None else born
        died = np.full(count, num_frames - 1, np.int32) if died is None else died
        create_group(self._zarr)
        for stale in (_UNREFINED, "loose", *ATTACHED):
            if self._group(stale).is_dir():
                shutil.rmtree(self._group(stale))
        replace_group(self._group("static"), _fields(static, _FIELDS))
        constant = _fields(dynamic, tuple(name for name in _CONSTANT if name not in changing))
        if "sh_rest" in changing:
            constant.pop("sh_rest", None)
        replace_group(self._group("dynamic"), {**constant, "born": born, "died": died})
        for name in (*_MOVING, *changing):
            width = getattr(dynamic, name).shape[1:]
            create_array(self._group("dynamic") / name, (num_frames, count, *width), np.float32, per_frame=True)
        if max_loose:
            self._lay_out_loose(num_frames, max_loose, loose_sh)
        self._forget()
        self._geometry_or_none = {"num_frames": num_frames, "num_static": len(static), "num_dynamic": count}
        if max_loose:
            self._geometry_or_none["max_loose"] = max_loose
        self.geometry_id = _new_id()
        self.write_frame(
            0, dynamic.means, dynamic.quats, dynamic.colors, **{name: getattr(dynamic, name) for name in changing}
        )
        self._save()

    def _lay_out_loose(self, num_frames: int, rows: int, sh: int) -> None:
        group = self._group("loose")
        create_group(group)
        create_array(group / "count", (num_frames,), np.int32, per_frame=True)
        for name in (*_FIELDS, *(("sh_rest",) if sh else ())):
            width = (sh, 3) if name == "sh_rest" else _WIDTHS[name]
            create_array(group / name, (num_frames, rows, *width), _kind(name), per_frame=True)

    def write_frame(
        self, frame: int, means: ArrayLike, quats: ArrayLike, colors: ArrayLike, **changing: ArrayLike
    ) -> None:
        """Store the moving Gaussians ([M,3], [M,4] wxyz, [M,3]) of one frame, and what `changing` names ([M,3] scales,
        [M] opacities, [M,K,3] sh_rest); durable on return."""
        if set(changing) != set(self.changing):
            raise ValueError(f"given {sorted(changing)}, but {sorted(self.changing)} change from frame to frame")
        for name, values in {"means": means, "quats": quats, "colors": colors, **changing}.items():
            self._array(f"dynamic/{name}").write(np.asarray(values), frame)

    def write_loose(
        self,
        frame: int,
        gaussians: Gaussians,
        *,
        seen: ArrayLike | None = None,
        objects: ArrayLike | None = None,
    ) -> None:
        """Store one frame's Gaussians without identity, up to `max_loose`; durable on return.

        Args:
            seen: [n] float 0..1; objects: [n] int, -1 for none. See the methods `seen` and `object_ids`.
        """
        if len(gaussians) > self.max_loose:
            raise ValueError(f"{len(gaussians)} loose Gaussians in frame {frame}, there is room for {self.max_loose}")
        values = _fields(gaussians, _FIELDS)
        if self._has("loose", "sh_rest"):
            values["sh_rest"] = with_sh_rest(gaussians, self._array("loose/sh_rest").shape[2])
        for name, marks, kind in (("seen", seen, np.float16), ("object", objects, np.int16)):
            if marks is not None:
                if not self._has("loose", name):
                    shape = (self.num_frames, self.max_loose)
                    create_array(self._group("loose") / name, shape, kind, per_frame=True)
                    self._there.clear()
                values[name] = np.asarray(marks, kind)
        for name, rows in values.items():
            self._array(f"loose/{name}").write_rows(rows, frame)
        # Last: a frame is there when its count is.
        self._array("loose/count").write(np.array(len(gaussians), np.int32), frame)

    def write_marks(self, name: Literal["seen", "object"], static: ArrayLike, dynamic: ArrayLike) -> None:
        """Store what `seen` (0..1) or `object_ids` (-1 for none) say of the Gaussians with ids: [N] and [M]."""
        kind = np.float16 if name == "seen" else np.int16
        for group, values in (("static", np.asarray(static, kind)), ("dynamic", np.asarray(dynamic, kind))):
            create_array(self._group(group) / name, values.shape, kind).write(values)
        self._forget()

    def amend(self, static: Gaussians, scales: ArrayLike, opacities: ArrayLike) -> None:
        """Replace the static Gaussians, and scales [M,3] and opacities [M] of the moving ones, by as many others.

        What was there before the first call is kept: `restore` brings it back, also after a kill in the middle of this.
        """
        if not self._group(_UNREFINED).is_dir():
            was = {name: self._constant(f"dynamic/{name}") for name in _AMENDED}
            replace_group(
                self._group(_UNREFINED),
                {**_fields(self.static(), _FIELDS), **{f"dynamic/{name}": was[name] for name in was}},
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
        static = Gaussians(
            **{name: open_array(group / name).read() for name in array_names(group) if name != "dynamic"}
        )
        self._write_amended(static, {name: open_array(group / "dynamic" / name).read() for name in _AMENDED})
        with clear_write_errors(group):
            shutil.rmtree(group)

    def _write_amended(self, static: Gaussians, constants: dict[str, ArrayLike]) -> None:
        replace_group(self._group("static"), _fields(static, _FIELDS))
        for name, values in constants.items():
            array = np.asarray(values, np.float32)
            create_array(self._group("dynamic") / name, array.shape, array.dtype).write(array)
        self._forget()
        self.geometry_id = _new_id()
        self._save()

    # -- what speaks of these Gaussians --------------------------------------------------------------------------------

    def write_attached(self, name: str, arrays: dict[str, NDArray[Any]], attributes: dict[str, Any]) -> None:
        """Store a group that goes with these Gaussians, in place of what was there: `gaussians.objects` and others.

        Args:
            name: one of ATTACHED, or a group in it ("selections/ball").
            arrays: each is one chunk; attributes: JSON values.
        """
        _ = self._geometry
        parent = name.partition("/")[0]
        if parent not in ATTACHED:
            raise ValueError(f"{name!r} is none of {ATTACHED}")
        if "/" in name and not self._group(parent).is_dir():
            create_group(self._group(parent))
        replace_group(self._group(name), arrays, attributes)
        self._forget()

    def read_attached(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """(arrays, attributes) as given to `write_attached`; None where nothing was."""
        group = self._group(name)
        if not group.is_dir():
            return None
        return {array: open_array(group / array).read() for array in array_names(group)}, read_attributes(group)

    def attached_names(self, name: str) -> list[str]:
        """The groups in one of ATTACHED, sorted."""
        group = self._group(name)
        inside = group.iterdir() if group.is_dir() else ()
        return sorted(path.name for path in inside if path.is_dir() and not path.name.startswith(TEMPORARY_PREFIX))

    def delete_attached(self, name: str) -> None:
        """Delete what `write_attached` stored; nothing where nothing was."""
        if self._group(name).is_dir():
            with clear_write_errors(self._group(name)):
                shutil.rmtree(self._group(name))

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

    @property
    def language_cure(self) -> str:
        """What gives the run language, for the end of a sentence: what was imported was not trained here."""
        return "run `legs4d lift`" if self.info.get("kind") == "imported" else self._resume + ", or run `legs4d lift`"

    @property
    def _resume(self) -> str:
        """What goes on with a run that is not finished, for the end of a sentence."""
        command = (self.info.get("made_from") or {}).get("command", "train")
        return f"run the same `legs4d {command}` command again to resume"

    def codec(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """(arrays, attributes) as given to `write_codec`; the attribute `name` is the codec's name."""
        group = self._group("codec")
        if not group.is_dir():
            raise RunError("has no language yet", where=str(self.path), fix=self.language_cure)
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
        """Store codes [n,D] (as float16) and confidence [n] (as float32) of what is not static in a frame: the M
        dynamic Gaussians, then the loose ones; durable on return."""
        values, weights = np.asarray(codes, np.float16), np.asarray(confidence, np.float32)
        moving, loose = self.num_dynamic, self._loose_count(frame)
        if values.shape[0] != moving + loose:
            raise ValueError(f"codes: {values.shape[0]} rows, expected {moving + loose}")
        width = values.shape[1]
        self._codes_array("dynamic/codes", (moving, width), np.float16).write(values[:moving], frame)
        if self.has_loose:
            rows = self.max_loose
            self._codes_array("loose/codes", (rows, width), np.float16).write_rows(values[moving:], frame)
            self._codes_array("loose/confidence", (rows,), np.float32).write_rows(weights[moving:], frame)
        self._codes_array("dynamic/confidence", (moving,), np.float32).write(weights[:moving], frame)

    def static_codes(self) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """(codes [N,D], confidence [N]) of the static Gaussians."""
        return self._read_codes("static", None)

    def moving_codes(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """(codes [n,D], confidence [n]) of what is not static in this frame, as `write_codes` was given them."""
        return self._moving_codes(frame, mapped=False)

    def map_moving_codes(self, frame: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """As `moving_codes`, but the codes are a view of their file, to be read once: for sweeps over frames."""
        return self._moving_codes(frame, mapped=True)

    def _moving_codes(self, frame: int, *, mapped: bool) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        self._require_frame(frame)
        if not self.has_loose:
            return self._read_codes("dynamic", frame, mapped=mapped)
        loose = self._read_codes("loose", frame, mapped=mapped, rows=self._loose_count(frame))
        if not self.num_dynamic:
            return loose
        both = self._read_codes("dynamic", frame), loose
        return np.concatenate([part[0] for part in both]), np.concatenate([part[1] for part in both])

    # -- stages ----------------------------------------------------------------------------------------------------

    def begin_stage(self, name: str, made_from: MadeFrom | str) -> StageRecord:
        """What this stage has done already; a new record where that is nothing.

        Frames that the stage wrote but was not able to report are deleted, so that none is trusted by mistake.

        Args:
            name: one of FOLLOWING.
            made_from: all that decides on the stage's output, or a fingerprint of that. What an earlier version of the
                code has finished is kept, and so is what was made when records had a fingerprint alone.

        Raises:
            RunDiffers: the stage has something that was made from something else. `forget_stage` first, to lose that.
        """
        record = self.stages.get(name)
        fingerprint = made_from if isinstance(made_from, str) else made_from.fingerprint
        if record is not None and record.has_begun:
            self._check_same(name, record, made_from)
        elif record is None or record.fingerprint != fingerprint:
            self._drop(name)
            record = StageRecord(fingerprint, made_from=None if isinstance(made_from, str) else made_from)
            self.stages[name] = record
            self._save()
        with clear_write_errors(self.path):
            self._discard_unreported()
        return record

    def forget_stage(self, name: str) -> None:
        """Lose what a stage has made, and with it the stages that mean nothing without."""
        if name == "refinement":
            self.restore()
        self._drop(name)
        self._save()
        with clear_write_errors(self.path):
            self._discard_unreported()

    def _drop(self, name: str) -> None:
        for stale in (name, *FOLLOWING[name]):
            self.stages.pop(stale, None)
        if name in LAYOUT_STAGES:
            self._geometry_or_none = None

    def _check_same(self, name: str, record: StageRecord, made_from: MadeFrom | str) -> None:
        if isinstance(made_from, str):
            if record.fingerprint == made_from:
                return
            found = [Difference.of_values(name, "fingerprint", record.fingerprint, made_from)]
        elif record.made_from is None:  # of an earlier version: taken for what it says it is
            return
        else:
            found = differences(name, record.made_from, made_from)
            if not record.finished and record.made_from.version != made_from.version:
                found.append(Difference.of_version(name, record.made_from.version, made_from.version))
        if found:
            raise RunDiffers.of(self.path, found)

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
            settle(self.path)
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
            raise RunError(
                "is not reconstructed yet: its first frame is not done", where=str(self.path), fix=self._resume
            )
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
        self._there.clear()
        self._arrays.clear()
        self._constants.clear()

    def _require_frame(self, frame: int) -> None:
        if not 0 <= frame < self.num_frames:
            raise RunError(f"has no frame {frame}: it has {self.num_frames}, counted from 0", where=str(self.path))
        if not self.has_frame(frame):
            raise RunError(f"has not reached frame {frame} yet", where=str(self.path), fix=self._resume)

    def _has(self, group: str, name: str) -> bool:
        """Whether a group has this array; looked up once."""
        place = f"{group}/{name}"
        if place not in self._arrays and place not in self._there:
            self._there[place] = (self._group(group) / name / "zarr.json").exists()
        return place in self._arrays or self._there[place]

    def _sh_rest(self, group: str) -> NDArray[np.float32] | None:
        return self._constant(f"{group}/sh_rest").copy() if self._has(group, "sh_rest") else None

    def _loose_count(self, frame: int) -> int:
        if not self.has_loose or not self._array("loose/count").has(frame):
            return 0
        return int(self._array("loose/count").read(frame))

    def _loose(self, name: str, frame: int) -> NDArray[Any]:
        return self._array(f"loose/{name}").read_rows(self._loose_count(frame), frame)

    def _marks(self, name: str, frame: int, otherwise: int) -> NDArray[Any] | None:
        """[count] of an array that groups may have; `otherwise` in those that do not."""
        self._require_frame(frame)
        counts = {"static": self.num_static, "dynamic": self.num_dynamic, "loose": self._loose_count(frame)}
        if not any(self._has(group, name) for group in counts):
            return None
        kind = np.float32 if name == "seen" else np.int16
        parts = []
        for group, count in counts.items():
            if not self._has(group, name):
                parts.append(np.full(count, otherwise, kind))
            elif group == "loose":
                parts.append(self._loose(name, frame).astype(kind))
            else:
                parts.append(self._constant(f"{group}/{name}").astype(kind))
        return np.concatenate(parts)

    def _codes_array(self, name: str, shape: tuple[int, ...], dtype: type) -> StoredArray:
        path = self._zarr / name
        if not (path / "zarr.json").exists():
            self._arrays[name] = create_array(path, (self.num_frames, *shape), dtype, per_frame=True)
        return self._array(name)

    def _read_codes(
        self, group: str, frame: int | None, *, mapped: bool = False, rows: int | None = None
    ) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        _ = self._geometry
        written = (self._group(group) / "confidence").is_dir()
        if not written or (frame is not None and not self._array(f"{group}/confidence").has(frame)):
            where = "its static part" if frame is None else f"frame {frame}"
            raise RunError(f"has no language in {where} yet", where=str(self.path), fix=self.language_cure)
        codes, confidence = self._array(f"{group}/codes"), self._array(f"{group}/confidence")
        if rows is not None:
            assert frame is not None
            return codes.read_rows(rows, frame, mapped=mapped), confidence.read_rows(rows, frame)
        return (codes.map if mapped else codes.read)(frame), confidence.read(frame)

    def _discard_unreported(self) -> None:
        """Delete the frames of unfinished stages that are not in `done_frames`, and a lift that has not begun."""
        if not self.has_geometry:
            return
        lift = self.stages.get("lift", StageRecord(""))
        for name in ("import", "tracking"):
            stage = self.stages.get(name)
            if stage and not stage.finished:
                # Frame 0 of what has ids came with the layout.
                self._discard_frames("dynamic", (*_MOVING, *self.changing), {0, *stage.done_frames})
                if self.has_loose:
                    self._discard_frames("loose", ("count",), set(stage.done_frames))
        if not lift.finished and not lift.done_frames:
            coded = (f"{group}/{name}" for group in ("static", "dynamic", "loose") for name in ("codes", "confidence"))
            for path in ("codec", *coded):
                if (self._zarr / path).exists():
                    shutil.rmtree(self._zarr / path)
            self._forget()
        elif not lift.finished:
            for group in ("dynamic", *(("loose",) if self.has_loose else ())):
                self._discard_frames(group, ("codes", "confidence"), set(lift.done_frames))

    def _discard_frames(self, group: str, names: tuple[str, ...], kept: set[int]) -> None:
        for name in names:
            if not self._has(group, name):
                continue
            array = self._array(f"{group}/{name}")
            for frame in range(self.num_frames):
                if frame not in kept:
                    array.discard(frame)

    def _adopt(self, state: dict[str, Any]) -> None:
        self._forget()
        self.format = int(state["format"])
        self._geometry_or_none = state.get("geometry")
        self.info = state.get("info", {})
        self.geometry_id = state.get("geometry_id", "")
        known = state.get("made_from", {})
        self.stages = {
            name: StageRecord(**record, made_from=MadeFrom(**known[name]) if name in known else None)
            for name, record in state.get("stages", {}).items()
        }

    def _save(self) -> None:
        state = {
            "format": self.format,
            "geometry": self._geometry_or_none,
            "info": self.info,
            "geometry_id": self.geometry_id,
            "stages": {name: record.to_json() for name, record in self.stages.items()},
            # Beside the records: earlier versions read these, and take no other fields in them.
            "made_from": {name: r.made_from.to_json() for name, r in self.stages.items() if r.made_from is not None},
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
    if state["format"] not in READABLE:
        raise RunError(
            f"is of run format {state['format']!r}, this legs4d reads formats {' and '.join(map(str, READABLE))}",
            where=str(folder),
            fix="use the legs4d that made it, or train again into a new folder",
        )
    try:
        for record in state.get("stages", {}).values():
            StageRecord(**record)
        for known in state.get("made_from", {}).values():
            MadeFrom(**known)
    except (TypeError, AttributeError) as error:
        raise RunError(f"has stages that cannot be read ({error})", where=str(file), fix=again) from error
    return state


def _kind(name: str) -> type:
    return np.bool_ if name == "is_foreground" else np.float32


def _new_id() -> str:
    return secrets.token_hex(8)


def _fields(gaussians: Gaussians, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """These fields as they are stored, and `sh_rest` where there is one."""
    arrays: dict[str, NDArray[Any]] = {name: np.asarray(getattr(gaussians, name), _kind(name)) for name in names}
    return arrays if gaussians.sh_rest is None else {**arrays, "sh_rest": np.asarray(gaussians.sh_rest, np.float32)}


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
