"""Splats that another program made, one file or a sequence, as a run.

A sequence whose Gaussians are the same things in every frame keeps their ids (`dynamic/`); one whose frames were made
apart has other Gaussians in each (`loose/`). Files do not say which they are: equal counts, and places that change
little from one frame to the next where the same two rows of unrelated frames would be far apart, tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from legs4d import __version__
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.gaussians.formats.splat_files import Frames, find_splats
from legs4d.gaussians.gaussians import Gaussians, with_sh_rest
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.folder import CHANGEABLE
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.gaussians.virtual_cameras import look_around
from legs4d.portable.splats import Splats
from legs4d.scene.content import digest_of, hash_files

Identity = Literal["auto", "keep", "none"]

VERSION = 1
"""Of the import's code: raise it when the same files give another run."""
FPS = 30.0
"""Where neither files nor user say."""
SAMPLED_PAIRS = 4
"""Neighbouring frames that are compared to tell whether rows are the same things, evenly spread."""
SAMPLED_ROWS = 20_000
MOVED_LITTLE = 0.25
"""Median way of a row from frame to frame, as a share of the median distance of two rows that have nothing to do with
each other: frames that were made apart have 1, a dancer at 10 frames a second has less than 0.1."""


@dataclass(frozen=True)
class Layout:
    """How frames lie in the run.

    Attributes:
        identity: "static" (one frame), "kept" or "none".
        changing: what differs from frame to frame where ids are kept, of CHANGEABLE.
        sh: K, the most SH coefficients beyond DC that a frame has.
        why: a sentence on how the identity was found.
    """

    identity: Literal["static", "kept", "none"]
    changing: tuple[str, ...] = ()
    sh: int = 0
    why: str = ""


class _Surprised(Exception):
    """A frame does not fit the layout; `layout` is one that it fits."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout


def import_splats(
    named: Sequence[str | Path],
    out: str | Path,
    context: Context = QUIET,
    *,
    fps: float | None = None,
    up: tuple[float, float, float] | None = None,
    identity: Identity = "auto",
    frames: int | None = None,
    heads: tuple[str, ...] | None = None,
    again: bool | str = False,
) -> Run:
    """Read splat files into a run; goes on where a stopped or killed call ended.

    Args:
        named: files, folders or patterns; see `splat_files.find_splats`.
        out: run folder: new, empty, or one that was begun from the same files.
        again: whether a run that was made otherwise is made anew, see `again.working_on`.
        fps: frames a second; by default what the files say, else FPS.
        up: [3] the direction that is up in the files' axes; by default the format's own rule.
        frames, heads: of a 4DGaussians folder, how many frames its time is cut into, and what its field changes; see
            `deformed_folder.DeformedFrames`.
        identity: "keep": row i is the same Gaussian in all frames; "none": it is not; "auto": as the frames tell.

    Returns:
        A run of kind "imported". `info["report"]` says what was assumed, and what was dropped.

    Raises:
        DatasetError: a file cannot be read; frames of unlike counts were to keep their identity; `up` is no direction.
        RunDiffers: the folder holds another run, and `again` is not set.
        RunError: the folder cannot be written.
        Stopped: `stop` was set; the frames that are done are kept.
    """
    found, out = find_splats(named, total=frames, heads=heads), Path(out)
    direction = None if up is None else _direction(up)
    work = _Import(found, identity, context)
    if again or not (out / "run.json").exists():
        work.choose()  # what cannot be read is told before there is a folder
    made_from = work.made_from(frames, heads)
    with working_on(out, lambda run: {"import": made_from}, again=again, tell=context.tell) as run:
        work.finish(run, made_from, fps or found.fps or FPS, direction)
    return Run.open(out)


def describe_import(run: Run) -> dict[str, Any]:
    """What `import-splats` tells of a run that it made, as JSON; its job results in the same."""
    report = run.info["report"]
    dropped = {int(frame): count for frame, count in report["dropped"].items()}
    warnings = list(report["notes"])
    if dropped:
        some = ", ".join(f"{count} in frame {frame}" for frame, count in list(dropped.items())[:4])
        warnings.append(f"Gaussians with numbers that are not finite were left out: {some}.")
    if report["unused"]:
        warnings.append(f"Read and not used: {', '.join(report['unused'])}.")
    return {
        "run": str(run.path),
        "kind": run.info["kind"],
        "frames": run.num_frames,
        "gaussians": [run.count(frame) for frame in range(run.num_frames)],
        "identity": report["identity"],
        "why": report["why"],
        "up": run.info["up"],
        "axes": report["axes"],
        "dropped": sum(dropped.values()),
        "seconds": {name: round(stage.seconds, 1) for name, stage in run.stages.items()},
        "warnings": warnings,
    }


class _Import:
    def __init__(self, frames: Frames, identity: Identity, context: Context) -> None:
        self.frames, self.identity, self.context = frames, identity, context
        self._layout: Layout | None = None
        self._first: Splats | None = None
        self._most = 0

    def finish(self, run: Run, made_from: MadeFrom, fps: float, up: NDArray[np.float64] | None) -> None:
        """Write what is not there yet, then what the run says of itself."""
        if not run.begin_stage("import", made_from).finished:
            self._write(run)
        report = run.info["report"]
        direction = up if up is not None else _direction(report["up"])
        if not run.has_cameras or run.info.get("up") != direction.tolist():
            look_around(run, direction)
        run.set_info(
            fps=fps,
            times=[frame / fps for frame in range(len(self.frames))],
            frame_numbers=list(self.frames.numbers),
            up=direction.tolist(),
            down=(-direction).tolist(),
            report={**report, "axes": "as --up says" if up is not None else report["rule"]},
        )

    def made_from(self, frames: int | None, heads: tuple[str, ...] | None) -> MadeFrom:
        """What decides on the run: the files' content, in their order, and what was said of them."""
        files = [path.resolve() for path in self.frames.files()]  # links may point anywhere
        root = Path(os.path.commonpath([path.parent for path in files]))
        hashes = hash_files(root, files, self.context)
        ordered = [hashes[path.relative_to(root).as_posix()] for path in files]
        settings = {"identity": self.identity, "frames": frames, "heads": heads and list(heads)}
        return MadeFrom(settings, VERSION, {"files": digest_of(ordered)}, by="import of splats")

    def _write(self, run: Run) -> None:
        """Lay the run out, and write all frames that are not there; anew where a frame does not fit the layout."""
        record = run.stages["import"]
        if record.done_frames:
            known = run.info["layout"]
            self._layout = Layout(**{**known, "changing": tuple(known["changing"])})
        while True:
            try:
                layout = self._layout or self.choose()
                if not record.done_frames:
                    self._lay_out(run, layout)
                self._write_frames(run, layout)
                return
            except _Surprised as surprise:
                self._layout, record.done_frames, record.seconds = surprise.layout, [], 0.0

    def choose(self) -> Layout:
        """How the frames will lie, from what a few of them look like."""
        self._first = self.frames.read(0)
        self._layout = self._choose(self._first)
        return self._layout

    def _choose(self, start: Splats) -> Layout:
        total = len(self.frames)
        if total == 1:
            return Layout("static", sh=_width(start), why="one frame")
        counts = self._count()
        unlike = next((frame for frame, count in enumerate(counts) if count != counts[0]), None)
        if unlike is not None:
            why = f"frame 0 has {counts[0]} Gaussians and frame {unlike} has {counts[unlike]}"
            self._refuse_to_keep(why, unlike)
            return Layout("none", sh=_width(start), why=why)
        first = np.unique(np.linspace(0, total - 2, SAMPLED_PAIRS).round().astype(int))
        pairs = [(self.frames.read(int(frame)), self.frames.read(int(frame) + 1)) for frame in first]
        sh = max(_width(splats) for pair in pairs for splats in pair)
        share = max(moved(before.means, after.means) for before, after in pairs)
        why = f"rows move {share:.3f} of the way between unrelated ones from frame to frame"
        why = why if self.identity == "auto" else "as --identity says"
        if self.identity == "none" or (self.identity == "auto" and share >= MOVED_LITTLE):
            return Layout("none", sh=sh, why=why)
        seen = [start, *(splats for pair in pairs for splats in pair)]
        changing = tuple(name for name in CHANGEABLE if any(_differs(a, b, name) for a, b in pairwise(seen)))
        return Layout("kept", changing, sh, why)

    def _count(self) -> list[int]:
        """The most Gaussians that each frame can have."""
        reporter, total = self.context.reporter("look"), len(self.frames)
        counts = []
        for frame in range(total):
            counts.append(self.frames.count(frame) or len(self.frames.read(frame)))  # that says what is wrong with it
            reporter.step(frame + 1, total)
        self._most = max(counts)
        return counts

    def _refuse_to_keep(self, why: str, frame: int) -> None:
        if self.identity == "keep":
            raise DatasetError(
                f"{why}, so that they cannot be the same ones",
                where=str(self.frames.path(frame)),
                fix="import them with --identity none",
            )

    def _lay_out(self, run: Run, layout: Layout) -> None:
        total = len(self.frames)
        first = self._first or self.frames.read(0)
        gaussians = _gaussians(first, layout.sh)
        nothing = gaussians.take(slice(0)).replace(sh_rest=None)
        run.set_info(
            kind="imported",
            made_from={
                "command": "import-splats",
                "version": __version__,
                "format": self.frames.kind,
                "path": str(self.frames.path(0).resolve()),
            },
            layout=vars(layout),
            origin=list(first.origin),
            report={
                "identity": layout.identity,
                "why": layout.why,
                "rule": first.axes or f"up is {_axis(first.up)} by the format's rule",
                "up": list(first.up),
                "notes": [*self.frames.notes, *first.notes],
                "unused": sorted(first.extra),
                "dropped": {},
            },
        )
        if layout.identity == "static":
            run.write_geometry(gaussians, nothing, 1)
        elif layout.identity == "kept":
            run.write_geometry(nothing, gaussians, total, changing=layout.changing)
        else:
            rows = self._most or max(self._count())
            run.write_geometry(nothing, nothing, total, max_loose=rows, loose_sh=layout.sh)

    def _write_frames(self, run: Run, layout: Layout) -> None:
        total = len(self.frames)
        record = run.stages["import"]
        left = [frame for frame in range(total) if frame not in set(record.done_frames)]
        reporter = self.context.reporter("import")
        reporter.step(total - len(left), total)
        constant = run.dynamic(0) if layout.identity == "kept" else None
        before = run.dynamic(left[0] - 1).means if constant is not None and left and left[0] > 0 else None
        origin = np.asarray(run.info["origin"], np.float64)
        dropped: dict[str, int] = dict(run.info["report"]["dropped"])
        started = time.perf_counter()
        for frame, splats in self._ahead(left):
            splats = _counted_from(splats, origin)
            if splats.dropped:
                dropped[str(frame)] = splats.dropped
                run.info["report"]["dropped"] = dropped  # written with the frame below
            if _width(splats) > layout.sh:
                raise _Surprised(replace(layout, sh=_width(splats)))
            gaussians = _gaussians(splats, layout.sh)
            if constant is not None:
                self._check(layout, constant, before, gaussians, frame)
                before = gaussians.means
                extra = {name: getattr(gaussians, name) for name in layout.changing}
                run.write_frame(frame, gaussians.means, gaussians.quats, gaussians.colors, **extra)
            elif layout.identity == "none":
                run.write_loose(frame, gaussians)
            now = time.perf_counter()
            run.frame_done("import", frame, now - started)
            started = now
            reporter.step(len(record.done_frames), total)
        run.finish_stage("import")

    def _ahead(self, frames: list[int]) -> Iterator[tuple[int, Splats]]:
        """Frames and what their files hold; the next is read while the caller writes one."""
        with ThreadPoolExecutor(1, thread_name_prefix="legs4d-read") as reader:
            coming = [reader.submit(self.frames.read, frame) for frame in frames[:1]]
            for position, frame in enumerate(frames):
                splats = coming.pop().result()
                if position + 1 < len(frames):
                    coming.append(reader.submit(self.frames.read, frames[position + 1]))
                yield frame, splats

    def _check(
        self, layout: Layout, first: Gaussians, before: NDArray[np.float32] | None, now: Gaussians, frame: int
    ) -> None:
        """Raises _Surprised, or DatasetError where the user wants an identity that is not there.

        Args:
            before: [M, 3] positions in the frame before, where there is one.
        """
        if len(now) != len(first):
            why = f"frame {frame} has {len(now)} Gaussians that can be used, and frame 0 has {len(first)}"
            self._refuse_to_keep(why, frame)
            raise _Surprised(Layout("none", sh=layout.sh, why=why))
        if self.identity == "auto" and before is not None and (share := moved(before, now.means)) >= MOVED_LITTLE:
            why = f"rows move {share:.3f} of the way between unrelated ones from frame {frame - 1} to {frame}"
            raise _Surprised(Layout("none", sh=layout.sh, why=why))
        new = tuple(n for n in CHANGEABLE if n in layout.changing or not _equal(getattr(first, n), getattr(now, n)))
        if new != layout.changing:
            raise _Surprised(replace(layout, changing=new))


def moved(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Median way of the rows from one frame to the next, as a share of the median distance of unrelated rows.

    Where all go the same way, nobody mistakes them for others: that way does not count.

    Args:
        before, after: [N, 3] positions; 1 where N differs, as rows are then others.
    """
    if len(before) != len(after):
        return 1.0
    chance = np.random.default_rng(0)
    count = len(before)
    rows = np.arange(count) if count <= SAMPLED_ROWS else chance.integers(0, count, SAMPLED_ROWS)
    here, there = before[rows].astype(np.float64), after[rows].astype(np.float64)
    there -= np.median(there - here, axis=0)
    apart = float(np.median(np.linalg.norm(here - there[chance.permutation(len(rows))], axis=1)))
    way = float(np.median(np.linalg.norm(here - there, axis=1)))
    return way / apart if apart > 0 else float(way > 0)


def _gaussians(splats: Splats, sh: int) -> Gaussians:
    """As the run stores them, with `sh` coefficients of view dependence; all are what one wants to see."""
    gaussians = Gaussians(
        means=splats.means,
        quats=splats.quats,
        scales=splats.scales,
        opacities=splats.opacities,
        colors=splats.colors,
        is_foreground=np.ones(len(splats), bool),
        sh_rest=splats.sh_rest,
    )
    return gaussians.replace(sh_rest=with_sh_rest(gaussians, sh)) if sh else gaussians


def _counted_from(splats: Splats, origin: NDArray[np.float64]) -> Splats:
    """With positions counted from the run's origin; each file may have one of its own."""
    shift = np.asarray(splats.origin, np.float64) - origin
    if not shift.any():
        return splats
    return replace(splats, means=(splats.means.astype(np.float64) + shift).astype(np.float32))


def _width(splats: Splats) -> int:
    return 0 if splats.sh_rest is None else int(splats.sh_rest.shape[1])


def _differs(one: Splats, other: Splats, name: str) -> bool:
    return len(one) == len(other) and not _equal(getattr(one, name), getattr(other, name))


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return bool(one.shape == other.shape and np.array_equal(one, other))


def _direction(numbers: Sequence[float]) -> NDArray[np.float64]:
    """[3] of length 1. Raises DatasetError where the numbers are no direction."""
    told = np.asarray(numbers, np.float64)
    largest = np.abs(told).max()
    if not (np.isfinite(largest) and largest > 0):
        raise DatasetError(f"{tuple(numbers)} is no direction", where="--up", fix="write for example 0,0,1")
    told = told / largest  # what squares of very large or small numbers would lose
    return np.asarray(told / np.linalg.norm(told))


def _axis(up: Sequence[float]) -> str:
    place = int(np.abs(up).argmax())
    return f"{'-' if up[place] < 0 else '+'}{'xyz'[place]}"
