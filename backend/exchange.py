"""Jobs that read and write other programs' files: checked in the server, done in a worker process.

What such a job makes appears whole, by rename, when it is done; until then it grows in a hidden folder beside it, from
which a killed job goes on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.errors import BackendError
from backend.paths import Roots
from backend.requests import Export, ImportCapture
from backend.wire import Code
from legs4d.errors import RunError
from legs4d.gaussians.dynamic3dgs import import_dynamic3dgs
from legs4d.gaussians.export import SUFFIXES, export_frames, export_npz
from legs4d.gaussians.files import TEMPORARY_PREFIX
from legs4d.gaussians.store import Run
from legs4d.progress import OnProgress, StageReporter, StopSignal

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")


def prepare_export(request: Export, roots: Roots) -> Spec:
    """Raises BackendError `path` or `body`, RunError when the run cannot be exported or something is at `out`."""
    run = Run.open(roots.find(request.run))
    out = _new_output(request.out, roots)
    first, last = request.frames or (0, run.num_frames - 1)
    if not first <= last < run.num_frames:
        raise RunError(f"has no frames {first} to {last}: it has {run.num_frames}, counted from 0", where=request.run)
    if request.prompt is not None and request.format not in ("ply", "gltf"):
        raise BackendError(
            f"{request.format} has no place for a highlight",
            where="'prompt'",
            fix="ask for ply or gltf",
            code=Code.BODY,
        )
    return {
        "source": str(run.path),
        "out": str(out),
        "name": request.out,
        "format": request.format,
        "frames": [first, last],
        "prompt": request.prompt,
    }


def prepare_import(request: ImportCapture, roots: Roots) -> Spec:
    """Raises BackendError `path` or `body`, RunError when the source is not there or something is at `out`."""
    source = roots.find(request.source)
    if not source.exists():
        raise RunError("there is no such file or folder", where=request.source, fix="name one under the roots")
    if source.is_dir() and request.sequence is None:
        fix = "say which of the folder's sequences is meant, such as 'basketball'"
        raise BackendError("a 4-LEGS folder needs one", where="'sequence'", fix=fix, code=Code.BODY)
    out = _new_output(request.out, roots)
    return {
        "source": str(source),
        "sequence": request.sequence if source.is_dir() else None,
        "out": str(out),
        "name": request.out,
        "fps": request.fps,
    }


def _new_output(name: str, roots: Roots) -> Path:
    out = roots.output(name)
    if out.exists():
        raise RunError("is there already", where=name, fix="choose another name")
    return out


def partial_folder(spec: Spec) -> Path:
    """Where what the job makes grows until it is whole."""
    out = Path(spec["out"])
    return out.parent / f".{out.name}.{spec['job']}.partial"


def files_in(spec: Spec) -> int:
    """Files that the job has made so far: grows whenever a process got anywhere."""
    folder = partial_folder(spec)
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else int(Path(spec["out"]).exists())


def discard(spec: Spec) -> None:
    """Delete what a job that is cancelled has made."""
    shutil.rmtree(partial_folder(spec), ignore_errors=True)


# -- in the worker process ---------------------------------------------------------------------------------------------


def export(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""

    def write(folder: Path) -> None:
        run = Run.open(spec["source"])
        first, last = spec["frames"]
        reporter = StageReporter("export", progress, stop)
        if spec["format"] == "npz":
            reporter.check()
            export_npz(run, folder, range(first, last + 1))
            return
        highlight = _highlight(run, spec["prompt"])
        for frame in range(first, last + 1):
            reporter.step(frame - first, last - first + 1)
            if not (folder / f"frame_{frame:06d}{SUFFIXES[spec['format']]}").exists():
                export_frames(run, folder, range(frame, frame + 1), spec["format"], highlight=highlight)
        reporter.step(last - first + 1, last - first + 1)

    _make_whole(spec, write)
    return {"out": spec["name"]}


def import_capture(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `export`."""

    def write(folder: Path) -> None:
        if spec["sequence"] is None:
            import_dynamic3dgs(Path(spec["source"]), folder, fps=spec["fps"], progress=progress, stop=stop)
            return
        from legs4d.language.legacy import import_4legs

        import_4legs(spec["source"], spec["sequence"], folder, fps=spec["fps"], progress=progress, stop=stop)

    _make_whole(spec, write)
    return {"run": spec["name"]}


def _highlight(run: Run, prompt: str | None) -> Callable[[int], Any] | None:
    if prompt is None:
        return None
    from legs4d.grounding import query

    (grounding,) = query(run, [prompt])
    for warning in grounding.warnings:
        log.warning("%r: %s", prompt, warning)
    return grounding.frame


def _make_whole(spec: Spec, write: Callable[[Path], None]) -> None:
    """Fill the hidden folder, then give it its name. If that is there, a process died after renaming: all is done."""
    out, partial = Path(spec["out"]), partial_folder(spec)
    if out.exists() and not partial.exists():
        return
    partial.parent.mkdir(parents=True, exist_ok=True)
    for leftover in partial.glob(f"{TEMPORARY_PREFIX}*"):  # of a process that was killed while it wrote
        leftover.unlink()
    write(partial)
    partial.rename(out)
