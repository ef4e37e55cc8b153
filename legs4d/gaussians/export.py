"""A run as files that other programs read: a file a frame, or a sequence in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import RunError
from legs4d.gaussians.dynamic3dgs import export_dynamic3dgs
from legs4d.gaussians.formats.gltf_writer import write_glb
from legs4d.gaussians.formats.poses_json import export_poses
from legs4d.gaussians.formats.sog import UP as SOG_UP
from legs4d.gaussians.formats.sog import write_sog
from legs4d.gaussians.formats.usd_writer import usd_writer
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.outputs import check_output
from legs4d.gaussians.store.files import clear_write_errors, write_file
from legs4d.gaussians.store.run import Run
from legs4d.portable.ply.writer import ply_parts
from legs4d.portable.sh import COEFFICIENTS
from legs4d.portable.splats import SplatFileError, Splats
from legs4d.portable.spz_writer import DEFAULT_VERSION, Version, spz_bytes
from legs4d.portable.turns import turn_between, upright_turn

FrameFormat = Literal["ply", "spz", "sog", "gltf", "usd"]
"""Formats of which there is a file for each frame."""
SequenceFormat = Literal["usd", "usdz"]
"""Formats that hold all frames in one file."""
SUFFIXES: dict[FrameFormat, str] = {"ply": ".ply", "spz": ".spz", "sog": ".sog", "gltf": ".glb", "usd": ".usdc"}
SEQUENCE_FILES: dict[SequenceFormat, str] = {"usd": "sequence.usdc", "usdz": "sequence.usdz"}
WITH_HIGHLIGHT = ("ply", "gltf", "usd", "usdz")
"""Formats that have a place for it."""
WITH_ORIGIN = ("ply", "gltf", "usd", "usdz", "npz", "json")

FileFormat = Literal["ply", "spz", "sog", "gltf", "usd", "usdz", "npz", "json"]

Highlight = Callable[[int], NDArray[np.floating]]
"""Gives [count] values 0..1 for a frame."""


@dataclass(frozen=True)
class ExportOptions:
    """How files are written.

    Attributes:
        sh_degree: 0 to 3: this many degrees of view dependence; .ply is padded with zeros to them (3: the 62 properties
            that some readers insist on), the others have at most what is there. None: what is there.
        spz_version: of .spz files.
    """

    sh_degree: int | None = None
    spz_version: Version = DEFAULT_VERSION


_POSES = "leave it out: the file has the poses of all objects, and no Gaussians"


def check_export(
    file_format: FileFormat,
    *,
    prompt: bool,
    sh_degree: int | None,
    spz_version: int | None,
    per_frame: bool,
    selection: bool,
    without: bool,
) -> None:
    """Raises RunError when an option is given that this format does not know."""
    whole = file_format == "usdz" or (file_format == "usd" and not per_frame)
    for option, given, fits, fix in (
        ("--prompt", prompt, file_format in WITH_HIGHLIGHT, "use --format ply, gltf or usd"),
        ("--sh-degree", sh_degree is not None, file_format not in ("npz", "json"), "leave it out"),
        ("--spz-version", spz_version is not None, file_format == "spz", "use --format spz"),
        ("--per-frame", per_frame, not whole, "use --format usd"),
        ("--selection", selection, file_format != "json", _POSES),
        ("--without", without, file_format != "json", _POSES),
    ):
        if given and not fits:
            what = "has no place for a highlight" if option == "--prompt" else "does not know this option"
            raise RunError(f"{file_format} {what}", where=option, fix=fix)


def export_files(
    run: Run,
    folder: Path,
    frames: range,
    file_format: FileFormat,
    context: Context = QUIET,
    *,
    sh_degree: int | None = None,
    spz_version: Version | None = None,
    per_frame: bool = False,
    highlight: Highlight | None = None,
    keep: bool = False,
) -> list[Path]:
    """What the command `export` writes; its paths. See `export_frames`, `export_sequence`, `export_npz`, `poses`.

    Raises:
        RunError: as these, or it would replace what the run was made from (`outputs`).
    """
    check_output(run, folder, r"frame_\d{6}\.\w+|sequence\.usd[cz]|params\.npz|objects\.json")
    if file_format == "npz":
        context.reporter("export").check()
        return [export_npz(run, folder, frames)]
    if file_format == "json":
        context.reporter("export").check()
        return [export_poses(run, folder, frames)]
    options = ExportOptions(sh_degree, spz_version or DEFAULT_VERSION)
    if file_format == "usdz" or (file_format == "usd" and not per_frame):
        path = export_sequence(run, folder, frames, file_format, context, options=options, highlight=highlight)
        return [path]
    return export_frames(
        run,
        folder,
        frames,
        file_format,
        context,
        options=options,
        highlight=highlight,
        keep=keep,
    )


def export_frames(
    run: Run,
    folder: Path,
    frames: range,
    file_format: FrameFormat = "ply",
    context: Context = QUIET,
    *,
    options: ExportOptions | None = None,
    highlight: Highlight | None = None,
    keep: bool = False,
) -> list[Path]:
    """Write `frame_000000.ply` (.spz, .sog, .glb, .usdc), …, one for each frame that has Gaussians; return their paths.

    Args:
        run: static, moving and loose Gaussians are written together, in this order.
        folder: made if need be.
        frames: which, counted from 0.
        file_format: "ply" in the run's own axes; "spz", "gltf" and "usd" with +Y up, "sog" with -Y up, as these
            formats have it.
        highlight: gives [count] values 0..1 for a frame, written as `highlight` (gltf: `_HIGHLIGHT`).
        keep: whether files that are there stay, from a call before that was stopped.

    Raises:
        RunError: a frame is not there, `highlight` is given for a format that has no place for it, a Gaussian is too
            far out for the format, or a file cannot be written.
        Stopped: the stop signal is set; the files written so far are kept.
    """
    _check_highlight(file_format, highlight)
    reporter = context.reporter("export")
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for done, frame in enumerate(frames):
        reporter.step(done, len(frames))
        path = folder / f"frame_{frame:06d}{SUFFIXES[file_format]}"
        if not run.count(frame):
            continue
        if not (keep and path.exists()):
            splats = frame_splats(run, frame, highlight)
            _write_frame(path, splats, file_format, options or ExportOptions())
        paths.append(path)
    reporter.step(len(frames), len(frames))
    return paths


def export_sequence(
    run: Run,
    folder: Path,
    frames: range,
    file_format: SequenceFormat = "usd",
    context: Context = QUIET,
    *,
    options: ExportOptions | None = None,
    highlight: Highlight | None = None,
) -> Path:
    """Write all frames as one file (`SEQUENCE_FILES`) and return its path. A time code is a frame's number.

    Raises:
        RunError, Stopped: as `export_frames`; a file that is not finished leaves nothing.
    """
    reporter = context.reporter("export")
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / SEQUENCE_FILES[file_format]
    degree = (options or ExportOptions()).sh_degree
    turn, origin, objects = upright_turn(-run.up), _origin(run), read_objects(run)
    with usd_writer(path, fps=float(run.info.get("fps", 0.0)), turn=turn, origin=origin) as writer:
        if run.num_static:
            writer.add("Static", with_degree(as_splats(run.static()), degree))
        for done, frame in enumerate(frames):
            reporter.step(done, len(frames))
            parts = {"Dynamic": run.dynamic(frame)} if run.num_dynamic else {}
            if run.has_loose:
                parts["Loose"] = run.loose(frame)
            for name, gaussians in parts.items():
                writer.add(name, with_degree(as_splats(gaussians), degree), frame)
            if objects is not None:
                writer.add_objects(objects, frame)
            if highlight is not None:
                amount, start = highlight(frame), 0
                counts = {"Static": run.num_static} if run.num_static else {}
                for name, count in (counts | {name: len(part) for name, part in parts.items()}).items():
                    writer.add_highlight(name, amount[start : start + count], frame)
                    start += count
        reporter.step(len(frames), len(frames))
    return path


def export_npz(run: Run, folder: Path, frames: range) -> Path:
    """Write Dynamic3DGS's `params.npz` into a folder, made if need be, and return its path.

    Raises:
        RunError: see `export_dynamic3dgs`.
    """
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / "params.npz"
    export_dynamic3dgs(run, path, frames)
    return path


def what_is_left_out(run: Run, frames: range, file_format: str) -> list[str]:
    """Sentences on what of these frames a format has no place for."""
    said = []
    origin = _origin(run)
    if any(origin) and file_format not in WITH_ORIGIN:
        place = ", ".join(f"{value:g}" for value in origin)
        said.append(f"{file_format} has no place for the origin: its positions are counted from ({place})")
    empty = [frame for frame in frames if not run.count(frame)]
    if empty and file_format in get_args(FrameFormat):
        some = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
        said.append(f"{len(empty)} of {len(frames)} frames have no Gaussians, and no files: {some}")
    return said


def frame_splats(run: Run, frame: int, highlight: Highlight | None = None) -> Splats:
    """All Gaussians of a frame as files hold them, in the run's axes, with its up and origin."""
    extra = {} if highlight is None else {"highlight": np.asarray(highlight(frame), np.float32)}
    x, y, z = (float(value) for value in run.up)
    return replace(as_splats(run.frame(frame)), extra=extra, up=(x, y, z), origin=_origin(run))


def as_splats(gaussians: Gaussians) -> Splats:
    """Numpy Gaussians as what files hold."""
    return Splats(
        gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors, gaussians.sh_rest
    )


def with_degree(splats: Splats, degree: int | None) -> Splats:
    """With at most this degree of view dependence."""
    if degree is None or splats.sh_rest is None:
        return splats
    kept = min(COEFFICIENTS[degree], splats.sh_rest.shape[1])
    return replace(splats, sh_rest=splats.sh_rest[:, :kept] if kept else None)


def _write_frame(path: Path, splats: Splats, file_format: FrameFormat, options: ExportOptions) -> None:
    if file_format == "ply":
        write_file(path, *ply_parts(splats, sh_degree=options.sh_degree))
        return
    splats = with_degree(splats, options.sh_degree)
    if file_format == "spz":
        try:
            content = spz_bytes(splats, version=options.spz_version, where=str(path))
        except SplatFileError as error:
            raise RunError(error.what, where=error.where, fix=error.fix) from error
        write_file(path, content)
    elif file_format == "sog":
        write_sog(path, splats.turned(turn_between(splats.up, SOG_UP)))
    elif file_format == "gltf":
        write_glb(path, splats)
    else:
        turn = upright_turn(np.negative(splats.up))
        with usd_writer(path, fps=0.0, turn=turn, origin=splats.origin) as writer:
            writer.add("Static", splats)
            if "highlight" in splats.extra:
                writer.add_highlight("Static", splats.extra["highlight"])


def _check_highlight(file_format: str, highlight: Highlight | None) -> None:
    if highlight is not None and file_format not in WITH_HIGHLIGHT:
        raise RunError(
            f".{file_format} has no place for a highlight", where="--prompt", fix="use --format ply, gltf or usd"
        )


def _origin(run: Run) -> tuple[float, float, float]:
    x, y, z = run.info.get("origin", (0.0, 0.0, 0.0))
    return float(x), float(y), float(z)
