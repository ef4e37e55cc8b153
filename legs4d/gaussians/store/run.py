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

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legs4d.errors import RunError
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors
from legs4d.gaussians.store.folder import FORMAT, MOVING, read_state
from legs4d.gaussians.store.language import RunLanguage
from legs4d.gaussians.store.lock import lock_file
from legs4d.gaussians.store.stage_records import (
    FOLLOWING,
    LAYOUT_STAGES,
    WHOLE_STAGES,
    Difference,
    MadeFrom,
    RunDiffers,
    StageRecord,
    differences,
)
from legs4d.gaussians.store.swap import settle, settle_if_need_be


class Run(RunLanguage):
    """A run folder. Reading needs nothing else; writing is for the process that holds `lock()`.

    Make one with `Run.create` or `Run.open`. An opened run is a view of run.json at that moment: open again (it costs
    one small file) to see what another process has finished since.
    """

    _timed: tuple[str, float] | None = None
    """The stage whose time is being taken, and when it was noted last."""

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
        return cls(folder, read_state(folder))

    @contextmanager
    def lock(self) -> Iterator[Run]:
        """Be the one writer: reads run.json anew and deletes what a killed writer left half-written.

        Raises:
            RunError: another process is writing this run. A dead one's lock is free.
        """
        with lock_file(self.path / ".lock"):
            settle(self.path)
            self._adopt(read_state(self.path))
            with clear_write_errors(self.path):
                _delete_temporary(self.path)
            if self.has_geometry:
                self._settle_layout()
            yield self

    @contextmanager
    def lock_unchanged(self) -> Iterator[Run]:
        """`lock`, to write what was worked out of these very Gaussians.

        Raises:
            RunError: as `lock`; the Gaussians were replaced by others since this was opened.
        """
        known = self.geometry_id
        with self.lock():
            if self.geometry_id != known:
                what = "was made anew meanwhile, and what was worked out is of its old Gaussians"
                raise RunError(what, where=str(self.path), fix="run the same command again")
            yield self

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
        elif record is None or not (record.fingerprint == fingerprint or record.begun_alike(name, made_from)):
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
        # Runs of before births were a stage kept nothing of tracking without them.
        self._drop("tracking" if name == "births" and self._replaced_by() == "tracking" else name)
        self._save()
        if self.has_geometry:
            self._settle_layout()
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

    def finish_stage(self, name: str) -> None:
        """Record a stage as finished."""
        self.stages[name].finished = True
        self._save()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add what the work within takes to the stage's time, also if it is stopped or fails."""
        self._timed = name, time.perf_counter()
        try:
            yield
        finally:
            self.note_time()
            self._timed = None

    def note_time(self) -> None:
        """Add what work that is `timed` has taken so far, where that much of it is kept and would survive a kill."""
        if self._timed is None:
            return
        name, last = self._timed
        self._timed = name, time.perf_counter()
        self.stages[name].seconds += self._timed[1] - last
        self._save()

    def _discard_unreported(self) -> None:
        """Delete the frames of unfinished stages that are not in `done_frames`, and a lift that has not begun."""
        if not self.has_geometry:
            return
        lift = self.stages.get("lift", StageRecord(""))
        for name in WHOLE_STAGES:
            stage = self.stages.get(name)
            if stage and not stage.finished:
                # Frame 0 of what has ids came with the layout.
                self._discard_frames("dynamic", (*MOVING, *self.changing), {0, *stage.done_frames})
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
