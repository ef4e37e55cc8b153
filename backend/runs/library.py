"""The runs and datasets under the roots: listed, opened, and read frame by frame. No sockets; any thread may call."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.bodies import Precision, ProblemBody, RunBody
from backend.runs.paths import Roots
from backend.service.errors import BackendError, error_body
from backend.wire import Code
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.nodes import read_nodes
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.selections import selection_names
from legs4d.gaussians.store.run import LAYOUT_STAGES, Run
from legs4d.scene.camera import Cameras
from legs4d.scene.layouts import layout_of
from legs4d.scene.sequence import Split

MAX_OPEN = 8
"""Runs whose static arrays are kept in memory."""
MAX_LISTED = 1000
RUN_MARKER = "run.json"
LARGEST_HALF = 65504.0
LARGEST_INTEGER = np.float32(65535)
SMALLEST_SCALE = np.float32(1e-8)
"""Standard deviations travel as logarithms: those below this as this."""

Arrays = dict[str, NDArray[Any]]

State = tuple[int, int, int]
"""Inode, time and size of a run.json: another one after every write, as it is replaced whole."""


@dataclass(frozen=True)
class OpenRun:
    """A run as it was when it was opened.

    Attributes:
        name: as clients call it.
        run: the store's view of it.
        revision: another one whenever the geometry is another.
        state: identity of run.json then; every write to the run changes it.
    """

    name: str
    run: Run
    revision: str
    state: State

    def check(self) -> None:
        """Raises RunError unless the geometry is still what it was."""
        if _state_of(self.run.path) == self.state:
            return
        now = _read(self.name, self.run.path)  # training writes run.json after every frame: that alone is no change
        if now.revision != self.revision:
            raise RunError("was replaced while it was open", where=self.name, fix="open it again")

    def expect(self, revision: str | None) -> None:
        """Raises RunError where a client knows the run by another revision; None knows it by its name alone."""
        if revision is not None and revision != self.revision:
            what = "was trained anew since it was opened: its Gaussians were replaced by others"
            raise RunError(what, where=self.name, fix="import it again")

    def available_frames(self) -> list[int]:
        """Frames whose geometry is complete."""
        return self.run.available_frames()

    def geometry(self, frame: int, precision: Precision) -> tuple[dict[str, Any], Arrays]:
        """What changes from frame to frame: means [M,3], quats [M,4], colors [M,3] of the moving Gaussians and what
        else of them `changing` names; those without identity as `loose_…`. For "uint16" the body has `low`, `step` and
        `logarithms`, by which each number is low + step · integer, or the exponential of that."""
        try:
            arrays: Arrays = dict(self.run.moving(frame))
            if self.run.has_loose:
                arrays |= self._loose(frame)
        except (Legs4dError, OSError):
            self.check()  # if the run is gone, that is what the client must hear
            raise
        self.check()
        if precision == "uint16":
            return _quantised(arrays)
        if precision == "float32":
            return {}, arrays
        return {}, {name: _half(name, a, self.name) if a.dtype == np.float32 else a for name, a in arrays.items()}

    def _loose(self, frame: int) -> Arrays:
        """The Gaussians without identity of one frame."""
        loose = self.run.loose(frame)
        found = {f"loose_{name}": values for name, values in _fields(loose).items()}
        seen = self.run.seen(frame)
        if seen is not None:
            found["loose_seen"] = seen[self.run.num_gaussians :].astype(np.float16)
        return found


class Library:
    """What lies under the roots."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._open: OrderedDict[Path, OpenRun] = OrderedDict()
        self._told: dict[Path, tuple[State, RunBody]] = {}
        """What was told of runs, as long as their run.json is the same file."""
        self._lock = threading.Lock()

    def runs(
        self, after: str | None = None, limit: int = MAX_LISTED
    ) -> tuple[list[RunBody], list[ProblemBody], str | None]:
        """Runs and folders that look like one but are not, sorted by name, and the last name if there are more.

        Args:
            after: only names that come after this one.
            limit: the most that are looked at.
        """
        folders: dict[str, Path] = {}
        problems: list[ProblemBody] = []
        hidden: dict[str, Path] = {}
        for name, folder, _ in self._roots.search(_run_or_none):
            if folders.setdefault(name, folder) != folder:
                hidden[name] = folder
        page, more = _page(folders, after, limit)
        known = set(folders.values())
        found: list[RunBody] = []
        for name in page:
            try:
                found.append(self._summary(name, folders[name]))
            except Legs4dError as error:
                problems.append({"name": name, "message": error_body(error)["message"]})
            if name in hidden:
                message = f"{hidden[name]}: an earlier root has a run of this name"
                problems.append({"name": name, "message": message})
        with self._lock:
            self._told = {path: told for path, told in self._told.items() if path in known}
        return found, problems, more

    def _summary(self, name: str, path: Path) -> RunBody:
        state = _state_of(path)
        with self._lock:
            told = self._told.get(path)
        if told is None or told[0] != state:
            told = state, summary(_read(name, path))
            with self._lock:
                self._told[path] = told
        return {**told[1], "name": name}

    def datasets(self, after: str | None = None, limit: int = MAX_LISTED) -> tuple[list[dict[str, str]], str | None]:
        """Dataset folders of every layout that can be read, as `runs`."""
        layouts: dict[str, str] = {}
        for name, _, kind in self._roots.search(lambda folder: _run_or_none(folder) or layout_of(folder)):
            if kind != RUN_MARKER:
                layouts.setdefault(name, kind)
        page, more = _page(layouts, after, limit)
        return [{"name": name, "layout": layouts[name]} for name in page], more

    def open(self, name: str) -> OpenRun:
        """The run of this name, as it is now. Raises BackendError `path` or RunError."""
        path = self._roots.find(name)
        state = _state_of(path)
        with self._lock:
            known = self._open.get(path)
            if known is not None and known.state == state:
                self._open.move_to_end(path)
                return known
        opened = _read(name, path)
        with self._lock:
            self._open[path] = opened
            self._open.move_to_end(path)
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        return opened


def _run_or_none(folder: Path) -> str | None:
    return RUN_MARKER if (folder / RUN_MARKER).is_file() else None


def _page(names: Iterable[str], after: str | None, limit: int) -> tuple[list[str], str | None]:
    """The next `limit` names after `after`, and the last of them if there are more."""
    later = sorted(name for name in names if after is None or name > after)
    return later[:limit], later[limit - 1] if len(later) > limit else None


def summary(opened: OpenRun) -> RunBody:
    """What `runs` tells about a run."""
    run = opened.run
    counts = (run.num_frames, run.num_static, run.num_dynamic, run.max_loose) if run.has_geometry else (0, 0, 0, 0)
    lift = run.stages.get("lift")
    return {
        "name": opened.name,
        "frames": counts[0],
        "static": counts[1],
        "dynamic": counts[2],
        "loose": counts[3],
        "kind": str(run.info.get("kind", "captured")),
        "revision": opened.revision,
        "finished": run.has_geometry and _is_finished(run),
        "language": lift is not None and lift.finished,
        "stages": {
            name: {"done": len(record.done_frames), "finished": record.finished} for name, record in run.stages.items()
        },
    }


def _is_finished(run: Run) -> bool:
    """Whether all frames are there: by run.json where that says it, as looking for each takes long on a slow disk."""
    made = run.layout
    return made.finished if made is not None else len(run.available_frames()) == run.num_frames


def describe(opened: OpenRun) -> tuple[dict[str, Any], Arrays]:
    """Body and arrays of the reply to `open`. Raises RunError when the first frame is not done."""
    run = opened.run
    static, first = run.static(), run.dynamic(0)
    arrays = {f"static_{name}": values for name, values in _fields(static).items()}
    arrays |= {"dynamic_scales": first.scales, "dynamic_is_foreground": first.is_foreground}
    arrays |= {"dynamic_opacities": run.dynamic_opacities, "born": run.born, "died": run.died}
    if first.sh_rest is not None and "sh_rest" not in run.changing:
        arrays["dynamic_sh_rest"] = first.sh_rest
    seen = run.seen(0)
    if seen is not None:
        arrays["static_seen"] = seen[: run.num_static].astype(np.float16)
        arrays["dynamic_seen"] = seen[run.num_static : run.num_gaussians].astype(np.float16)
    objects = read_objects(run)
    if objects is not None:
        arrays |= {"objects_pose": objects.pose, "objects_scale": objects.scale, "objects_visible": objects.visible}
    splits: tuple[Split, ...] = ("train", "test")
    cameras = {split: _cameras(run, split) for split in splits}
    for split, found in cameras.items():
        if found is not None:
            arrays |= {f"{split}_viewmats": found.world_to_camera, f"{split}_Ks": found.intrinsics}
            track = run.track(split)
            if track is not None:
                arrays |= {f"{split}_frame": track.frames, f"{split}_moment": track.moments}
    nodes = read_nodes(run)
    if nodes is not None:
        arrays |= {f"nodes_{name}": getattr(nodes, name) for name in ("rest", "pose", "index", "weight")}
    opened.check()
    body = {
        **summary(opened),
        "fps": float(run.info.get("fps", 0.0)),
        "frame_numbers": list(run.info.get("frame_numbers", range(run.num_frames))),
        "available": opened.available_frames(),
        "up": [float(x) for x in run.up],
        "changing": list(run.changing),
        "sh": max(
            found.sh_rest.shape[1] if found.sh_rest is not None else 0 for found in (static, first, run.loose(0))
        ),
        "has_seen": seen is not None,
        "objects": [] if objects is None else list(objects.names),
        "object_ids": [] if objects is None else list(objects.ids),
        "selections": selection_names(run),
        "counts": [int(n) for n in run.loose_counts] if run.has_loose else [],
        "cameras": {split: _camera_body(found) for split, found in cameras.items()},
        "encoder": str(run.info.get("encoder", "")) if "lift" in run.stages else "",
    }
    return body, arrays


def _fields(gaussians: Gaussians) -> Arrays:
    """Those that are there, by name."""
    values = {field.name: getattr(gaussians, field.name) for field in fields(gaussians)}
    return {name: array for name, array in values.items() if array is not None}


def _cameras(run: Run, split: Split) -> Cameras | None:
    """All that are stored: of cameras that move those of every frame."""
    try:
        track = run.track(split)
        return run.cameras(split) if track is None else track.cameras
    except RunError:  # an imported run may have none
        return None


def _camera_body(cameras: Cameras | None) -> dict[str, Any] | None:
    if cameras is None:
        return None
    return {"width": cameras.width, "height": cameras.height, "ids": [int(i) for i in cameras.ids]}


def _read(name: str, path: Path) -> OpenRun:
    state = _state_of(path)
    run = Run.open(path)
    return OpenRun(name, run, _revision(run), state)


def _state_of(path: Path) -> State:
    try:
        status = (path / RUN_MARKER).stat()
    except OSError as error:
        raise RunError(
            "is not there (or was removed)", where=str(path), fix="list the runs to see which there are"
        ) from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _revision(run: Run) -> str:
    """From what made the geometry and the mark that it was laid out with: a copy of a run has its revision, whatever
    the times of its files; what is trained anew by the same settings has another."""
    if run.has_geometry and not (run.path / "run.zarr" / "dynamic" / "zarr.json").is_file():
        raise RunError("is damaged: run.zarr is missing", where=str(run.path), fix="copy the run again")
    mark = run.geometry_id or (_mark_of(run) if run.has_geometry else "")
    fingerprints = [run.stages[name].fingerprint for name in (*LAYOUT_STAGES, "tracking") if name in run.stages]
    refined = run.stages.get("refinement")
    if refined is not None and refined.finished:
        fingerprints.append(refined.fingerprint)
    content = json.dumps([fingerprints, mark, run.has_geometry])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _mark_of(run: Run) -> str:
    """Of runs of earlier versions, which have none: their first frame's Gaussians, a few megabytes."""
    digest = hashlib.sha256()
    for values in (run.static().means, *run.moving(0).values()):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _half(field: str, values: NDArray[np.float32], name: str) -> NDArray[np.float16]:
    if values.size and max(float(values.max()), -float(values.min())) > LARGEST_HALF:
        raise BackendError(
            f"{field} reaches beyond ±{LARGEST_HALF:.0f} and has no half precision",
            where=name,
            fix="ask for float32",
            code=Code.RUN,
        )
    return values.astype(np.float16)


def _quantised(arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Every array of floats in 65,536 steps over the range that it has in this frame; scales, which span several orders
    of magnitude, by their logarithms.

    One range for all components of an array: with one for each, numpy takes ten times as long.
    """
    low: dict[str, float] = {}
    step: dict[str, float] = {}
    logarithms: list[str] = []
    integers: Arrays = {}
    for name, given in arrays.items():
        if given.dtype != np.float32:
            integers[name] = given
            continue
        values = given
        if name.endswith("scales"):
            logarithms.append(name)
            values = np.log(np.maximum(given, SMALLEST_SCALE))
        least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        scaled = values - np.float32(least)
        scaled *= np.float32(LARGEST_INTEGER / (most - least) if most > least else 0.0)
        scaled += np.float32(0.5)  # and cut off: rounded
        integers[name] = np.minimum(scaled, LARGEST_INTEGER, out=scaled).astype(np.uint16)
        low[name], step[name] = least, (most - least) / float(LARGEST_INTEGER)
    return {"low": low, "step": step, "logarithms": logarithms}, integers
