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

from backend.runs.paths import Roots
from backend.service.errors import BackendError
from backend.wire import Code
from legs4d.commands import Export, Import4legs, ImportD3dgs, ImportSplats
from legs4d.context import Context
from legs4d.errors import RunError
from legs4d.gaussians.export import check_export, export_files
from legs4d.gaussians.part import of_part, part_of
from legs4d.gaussians.store.files import TEMPORARY_PREFIX
from legs4d.gaussians.store.run import Run
from legs4d.progress import OnProgress, StopSignal

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")


def prepare_export(request: Export, roots: Roots) -> Spec:
    """Raises BackendError `path` or `body`, RunError when the run cannot be exported or something is at `out`."""
    run = Run.open(roots.find(request.run))
    out = _new_output(request.out, roots)
    first, last = request.frames or (0, run.num_frames - 1)
    if not first <= last < run.num_frames:
        raise RunError(f"has no frames {first} to {last}: it has {run.num_frames}, counted from 0", where=request.run)
    how: dict[str, Any] = {
        "sh_degree": request.sh_degree,
        "spz_version": request.spz_version,
        "per_frame": request.per_frame,
    }
    part_of(run, request.selection, request.without, keep_places=False)
    try:
        parts = {"selection": bool(request.selection), "without": bool(request.without)}
        check_export(request.format, prompt=request.prompt is not None, **parts, **how)
    except RunError as error:
        field = error.where.removeprefix("--").replace("-", "_")
        raise BackendError(error.what, where=f"'{field}'", fix=error.fix, code=Code.BODY) from error
    return {
        "source": str(run.path),
        "out": str(out),
        "name": request.out,
        "format": request.format,
        "frames": [first, last],
        "prompt": request.prompt,
        "parts": [request.selection, request.without],
        "how": how,
    }


def prepare_splats(request: ImportSplats, roots: Roots) -> Spec:
    """Raises BackendError `path`, RunError when something is at `out`. Patterns are expanded by the worker."""
    return {
        "sources": [str(roots.find(name)) for name in request.paths],
        "roots": [str(folder) for folder in roots.folders],
        **_made(request, roots),
        "how": request.how(),
    }


def prepare_d3dgs(request: ImportD3dgs, roots: Roots) -> Spec:
    """Raises BackendError `path`, RunError when the source is not there or something is at `out`."""
    return {"source": _source(request.params, roots), **_import(request, roots)}


def prepare_4legs(request: Import4legs, roots: Roots) -> Spec:
    """As `prepare_d3dgs`."""
    return {
        "source": _source(request.folder, roots),
        "sequence": request.sequence,
        "autoencoder": None if request.autoencoder is None else str(roots.find(request.autoencoder)),
        "linear": request.linear,
        **_import(request, roots),
    }


def _source(name: str, roots: Roots) -> str:
    source = roots.find(name)
    if not source.exists():
        raise RunError("there is no such file or folder", where=name, fix="name one under the roots")
    return str(source)


def _made(request: ImportSplats | ImportD3dgs | Import4legs, roots: Roots) -> Spec:
    """Where the run is made, and whether in place of one that is there."""
    out = roots.output(request.out)
    again = request.again and (out / "run.json").exists()
    return {"out": str(out if again else _new_output(request.out, roots)), "again": again, "name": request.out}


def _import(request: ImportD3dgs | Import4legs, roots: Roots) -> Spec:
    return {
        **_made(request, roots),
        "dataset": None if request.dataset is None else str(roots.find(request.dataset)),
        "scale": request.scale,
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
        whole = Run.open(spec["source"])
        run = part_of(whole, *spec["parts"], keep_places=False)
        first, last = spec["frames"]
        export_files(
            run,
            folder,
            range(first, last + 1),
            spec["format"],
            Context(progress=progress, stop=stop),
            **spec["how"],
            highlight=_highlight(whole, run, spec["prompt"]),
            keep=True,
        )

    _make_whole(spec, write)
    return {"out": spec["name"]}


def import_splats(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `export`. A folder may hold links: a file that lies under no root is not read."""
    from legs4d.gaussians.formats.splat_files import find_splats
    from legs4d.gaussians.import_splats import describe_import
    from legs4d.gaussians.import_splats import import_splats as import_files

    lists = {
        name: value if value is None else tuple(value) for name, value in spec["how"].items() if name in ("up", "heads")
    }
    how = {**spec["how"], **lists}  # a spec is JSON
    for file in find_splats(spec["sources"], total=how["frames"], heads=how["heads"]).files():
        if not any(file.resolve().is_relative_to(root) for root in spec["roots"]):
            raise BackendError("leads outside the roots of the server", where=file.name, fix="copy it", code=Code.PATH)

    def write(folder: Path) -> None:
        import_files(spec["sources"], folder, Context(progress=progress, stop=stop), **how, again=_once(spec))

    _make_run(spec, write)
    return {**describe_import(Run.open(spec["out"])), "run": spec["name"]}


def import_d3dgs(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `export`."""
    from legs4d import imports

    def write(folder: Path) -> None:
        how = {name: spec[name] for name in ("dataset", "scale", "fps")}
        context = Context(progress=progress, stop=stop)
        imports.import_params(spec["source"], folder, context, **how, again=_once(spec))

    _make_run(spec, write)
    return {"run": spec["name"]}


def import_4legs(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `export`."""
    from legs4d import imports

    def write(folder: Path) -> None:
        how = {name: spec[name] for name in ("autoencoder", "dataset", "scale", "fps", "linear")}
        context = Context(progress=progress, stop=stop)
        imports.import_4legs(spec["source"], spec["sequence"], folder, context, **how, again=_once(spec))

    _make_run(spec, write)
    return {"run": spec["name"]}


def _highlight(run: Run, part: Run, prompt: str | None) -> Callable[[int], Any] | None:
    if prompt is None:
        return None
    from legs4d.grounding import query

    (grounding,) = query(run, [prompt])
    for warning in grounding.warnings:
        log.warning("%r: %s", prompt, warning)
    return of_part(part, grounding.frame)


def _once(spec: Spec) -> str | bool:
    """By what name a run that is there is made anew: a job that is taken up again does that once."""
    return str(spec["job"]) if spec["again"] else False


def _make_run(spec: Spec, write: Callable[[Path], None]) -> None:
    """A new run as `_make_whole` makes it; in place of one that is there as `gaussians.again` does."""
    if spec["again"]:
        write(Path(spec["out"]))
    else:
        _make_whole(spec, write)


def _make_whole(spec: Spec, write: Callable[[Path], None]) -> None:
    """Fill the hidden folder, then give it its name. If that is there, a process died after renaming: all is done."""
    out, partial = Path(spec["out"]), partial_folder(spec)
    if out.exists() and not partial.exists():
        return
    partial.parent.mkdir(parents=True, exist_ok=True)
    for leftover in partial.glob(f"{TEMPORARY_PREFIX}*"):  # of a process that was killed while it wrote
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    write(partial)
    partial.rename(out)
