"""The Gaussians of a run: static ones, dynamic ones, and those that each frame has for itself."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians, concatenate, with_sh_rest
from legs4d.gaussians.store.arrays import (
    array_names,
    create_array,
    create_group,
    open_array,
    read_attributes,
    replace_group,
)
from legs4d.gaussians.store.attached import ATTACHED, RunAttached
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, sync_folder
from legs4d.gaussians.store.folder import CONSTANT, FIELDS, MOVING, WIDTHS, fields_of, kind_of
from legs4d.gaussians.store.stage_records import FOLLOWING

AMENDED = ("scales", "opacities")
UNREFINED = "unrefined"
BEFORE = "before"
"""What `lay_out_again` replaced, for its stage to be made anew."""


class RunGeometry(RunAttached):
    """Geometry of a run; see `run.Run`."""

    def static(self) -> Gaussians:
        """The N Gaussians that do not move; N may be 0."""
        return Gaussians(
            **{name: self._constant(f"static/{name}").copy() for name in FIELDS}, sh_rest=self._sh_rest("static")
        )

    def dynamic(self, frame: int) -> Gaussians:
        """The M Gaussians that move, in this frame; opacity 0 in those not alive in it."""
        moving = self.moving(frame)
        constant = {name: self._constant(f"dynamic/{name}").copy() for name in CONSTANT if name not in moving}
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
        return {name: self._array(f"dynamic/{name}").read(frame) for name in (*MOVING, *self.changing)}

    def loose(self, frame: int) -> Gaussians:
        """The Gaussians of this frame that no other frame knows; none in a run without such."""
        self._require_frame(frame)
        if not self.has_loose:
            return Gaussians(**{name: np.zeros((0, *WIDTHS[name]), kind_of(name)) for name in FIELDS})
        return Gaussians(
            **{name: self._loose(name, frame) for name in FIELDS},
            sh_rest=self._loose("sh_rest", frame) if self._has("loose", "sh_rest") else None,
        )

    def frame(self, frame: int) -> Gaussians:
        """All Gaussians in this frame, static first, then dynamic ones: up to there an id means the same Gaussian in
        every frame. Then the loose ones."""
        parts = [self.static(), self.dynamic(frame)]
        return concatenate(*parts, self.loose(frame)) if self.has_loose else concatenate(*parts)

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

    # -- writing ---------------------------------------------------------------------------------------------------

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
        for stale in (UNREFINED, BEFORE, "loose"):
            if self._group(stale).is_dir():
                shutil.rmtree(self._group(stale))
        self._drop_attached()
        replace_group(self._group("static"), fields_of(static, FIELDS))
        constant = fields_of(dynamic, tuple(name for name in CONSTANT if name not in changing))
        if "sh_rest" in changing:
            constant.pop("sh_rest", None)
        replace_group(self._group("dynamic"), {**constant, "born": born, "died": died})
        for name in (*MOVING, *changing):
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

    def lay_out_again(
        self,
        static: Gaussians,
        dynamic: Gaussians,
        moving: Callable[[int], dict[str, NDArray[np.float32]]],
        *,
        born: NDArray[np.int32],
        died: NDArray[np.int32],
        seen: tuple[ArrayLike, ArrayLike],
        finishes: str,
    ) -> None:
        """Store other Gaussians in place of all that a run has, and record the stage that does so as finished.

        A kill leaves all of the old, with the stage unfinished, or all of the new. To forget the stage brings back what
        was there.

        Args:
            static, dynamic: N and M numpy Gaussians, the second as in frame 0.
            moving: frame → means [M,3], quats [M,4] wxyz, colors [M,3] of the dynamic ones.
            born, died: [M] first and last frame alive.
            seen: [N] and [M], what the method `seen` says of them.
            finishes: name of the stage.

        Raises:
            RunError: it cannot be written, or a value is not finite.
        """
        fresh = self._group(f"{TEMPORARY_PREFIX}again")
        with clear_write_errors(fresh):
            if fresh.exists():
                shutil.rmtree(fresh)
        create_group(fresh)
        marks = [{"seen": np.asarray(values, np.float16)} for values in seen]
        replace_group(fresh / "static", {**fields_of(static, FIELDS), **marks[0]})
        replace_group(fresh / "dynamic", {**fields_of(dynamic, CONSTANT), **marks[1], "born": born, "died": died})
        arrays = {
            name: create_array(
                fresh / "dynamic" / name, (self.num_frames, *getattr(dynamic, name).shape), np.float32, per_frame=True
            )
            for name in MOVING
        }
        for frame in range(self.num_frames):
            for name, values in moving(frame).items():
                arrays[name].write(values, frame)
        self._drop_attached()
        before = self._group(BEFORE)
        replace_group(before, {}, {"stage": finishes, "geometry": self._geometry})
        with clear_write_errors(before):
            for name in ("static", "dynamic"):
                self._group(name).rename(before / name)
                (fresh / name).rename(self._group(name))
            shutil.rmtree(fresh)
            sync_folder(self._zarr)
        self._forget()
        self._geometry_or_none = {**self._geometry, "num_static": len(static), "num_dynamic": len(dynamic)}
        self.geometry_id = _new_id()
        self.stages[finishes].done_frames = list(range(self.num_frames))
        self.stages[finishes].finished = True
        self._save()

    def _replaced_by(self) -> str | None:
        """The stage whose `lay_out_again` replaced what this run had; None where nothing was replaced."""
        before = self._group(BEFORE)
        return str(read_attributes(before)["stage"]) if before.is_dir() else None

    def _settle_layout(self) -> None:
        """Bring back what `lay_out_again` replaced, where its stage is not finished."""
        before, by = self._group(BEFORE), self._replaced_by()
        if by is None or self.has_finished(by):
            return
        kept = read_attributes(before)
        with clear_write_errors(before):
            for name in ("static", "dynamic"):
                if (before / name).is_dir():
                    if self._group(name).is_dir():
                        shutil.rmtree(self._group(name))
                    (before / name).rename(self._group(name))
            if self._group(UNREFINED).is_dir():
                shutil.rmtree(self._group(UNREFINED))
        self._drop_attached()
        self._forget()
        self._geometry_or_none = kept["geometry"]
        self.geometry_id = _new_id()
        self._save()
        leftover = self._group(f"{TEMPORARY_PREFIX}before")
        with clear_write_errors(before):
            before.rename(leftover)  # in one step: half of it would say nothing of what it was
            shutil.rmtree(leftover)

    def _drop_attached(self) -> None:
        """Delete what speaks of Gaussians that are replaced by others."""
        with clear_write_errors(self._zarr):
            for name in ATTACHED:
                if self._group(name).is_dir():
                    shutil.rmtree(self._group(name))

    def _lay_out_loose(self, num_frames: int, rows: int, sh: int) -> None:
        group = self._group("loose")
        create_group(group)
        create_array(group / "count", (num_frames,), np.int32, per_frame=True)
        for name in (*FIELDS, *(("sh_rest",) if sh else ())):
            width = (sh, 3) if name == "sh_rest" else WIDTHS[name]
            create_array(group / name, (num_frames, rows, *width), kind_of(name), per_frame=True)

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
        values = fields_of(gaussians, FIELDS)
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

    def amend(self, static: Gaussians, scales: ArrayLike, opacities: ArrayLike) -> None:
        """Replace the static Gaussians, and scales [M,3] and opacities [M] of the moving ones, by as many others.

        What was there before the first call is kept: `restore` brings it back, also after a kill in the middle of this.
        """
        seen = self._static_seen()
        if not self._group(UNREFINED).is_dir():
            was = {name: self._constant(f"dynamic/{name}") for name in AMENDED}
            replace_group(
                self._group(UNREFINED),
                {**fields_of(self.static(), FIELDS), **seen, **{f"dynamic/{name}": was[name] for name in was}},
            )
        self._write_amended({**fields_of(static, FIELDS), **seen}, {"scales": scales, "opacities": opacities})

    def restore(self) -> None:
        """Undo `amend`, and forget the stage "refinement" and what follows; nothing where there is nothing to undo."""
        group = self._group(UNREFINED)
        if not group.is_dir():
            return
        for stale in ("refinement", *FOLLOWING["refinement"]):
            self.stages.pop(stale, None)
        self._save()
        static = {name: open_array(group / name).read() for name in array_names(group) if name != "dynamic"}
        self._write_amended(static, {name: open_array(group / "dynamic" / name).read() for name in AMENDED})
        with clear_write_errors(group):
            shutil.rmtree(group)

    def _static_seen(self) -> dict[str, NDArray[Any]]:
        """What `seen` says of the static Gaussians, as it is stored; empty where it says nothing."""
        return {"seen": self._constant("static/seen").copy()} if self._has("static", "seen") else {}

    def _write_amended(self, static: dict[str, NDArray[Any]], constants: dict[str, ArrayLike]) -> None:
        replace_group(self._group("static"), static)
        for name, values in constants.items():
            array = np.asarray(values, np.float32)
            create_array(self._group("dynamic") / name, array.shape, array.dtype).write(array)
        self._forget()
        self.geometry_id = _new_id()
        self._save()


def _new_id() -> str:
    return secrets.token_hex(8)
