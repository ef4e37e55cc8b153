"""Results of Dynamic 3D Gaussians (Luiten et al. 2023): its `params.npz`, read into a run and written from one.

It holds, for T frames and N Gaussians that all move: `means3D` [T,N,3], `rgb_colors` [T,N,3] (plain RGB),
`unnorm_rotations` [T,N,4] (wxyz), and once for all frames `seg_colors` [N,3] ((1,0,0) in the foreground, (0,0,1)
behind), `logit_opacities` [N,1], `log_scales` [N,3], and `cam_m`, `cam_c` [C,3], the colour gain of each camera.
"""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, RunError, reason_of
from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.files import new_file
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.portable.values import SMALLEST_OPACITY, SMALLEST_SCALE
from legs4d.progress import StageReporter
from legs4d.scene.content import hash_file
from legs4d.scene.sequence import Sequence
from legs4d.scene.stage import Stage, find_stage

_KEYS = ("means3D", "rgb_colors", "seg_colors", "unnorm_rotations", "logit_opacities", "log_scales")
VERSION = 1
"""Of the import's code: raise it when the same file gives another run."""


def import_dynamic3dgs(
    source: Path,
    out: Path,
    context: Context = QUIET,
    *,
    fps: float = 30.0,
    sequence: Sequence | None = None,
    again: bool | str = False,
) -> Run:
    """Turn a `params.npz` into a run without static Gaussians; goes on where a stopped one ended.

    Args:
        source: the file; nothing in it is unpickled.
        out: folder of the run: new, empty, or one begun from the same file.
        again: whether a run of another file is made anew, see `again.working_on`.
        fps: frames per second of the capture (PanopticSports: 30); the footage's own, if that is given.
        sequence: the footage that it was trained on: gives the run its cameras. Without it, it has none.

    Raises:
        RunDiffers: the folder holds another run.
        RunError: the file cannot be read, its arrays do not fit together, or the run cannot be written.
        DatasetError: the footage has another number of frames, or its cameras see no common space.
        Stopped: `stop` was set; the frames that are done are kept.
    """
    params = read_params(source, origin=(0.0, 0.0, 0.0) if sequence is None else sequence.origin)
    stage = None if sequence is None else stage_of(sequence, len(params["means3D"]), source)
    made_from = imported(source)
    with working_on(out, lambda run: made_from, again=again) as run:
        write_params(run, params, source, fps, made_from, context.reporter("geometry"))
        if sequence is not None and stage is not None:
            take_cameras(run, sequence, stage, params)
    return Run.open(out)


def stage_of(sequence: Sequence, num_frames: int, source: Path) -> Stage:
    """The space that the footage of a result shows.

    Raises:
        DatasetError: the footage has another number of frames, or its cameras see no common space.
    """
    if sequence.num_frames != num_frames:
        raise DatasetError(
            f"has {sequence.num_frames} frames, {source} has {num_frames}",
            where=str(sequence.root),
            fix="give the footage that it was trained on",
        )
    return find_stage(sequence.cameras("train", 0))


def imported(source: Path) -> dict[str, MadeFrom]:
    """What the stages of an import are made from. Raises RunError when the file cannot be read."""
    try:
        content = hash_file(source)
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", where=str(source)) from error
    made_from = MadeFrom({}, VERSION, {"params.npz": content}, by="import of Dynamic3DGS")
    return {"first_frame": made_from, "tracking": made_from}


def write_params(
    run: Run,
    params: dict[str, NDArray[np.float32]],
    source: Path,
    fps: float,
    made_from: Mapping[str, MadeFrom],
    reporter: StageReporter,
) -> None:
    """Write what `read_params` read from `source` as a run's geometry; the caller holds its lock.

    Args:
        made_from: as `imported` has it.
    """
    means, colors, rotations = (params[k] for k in ("means3D", "rgb_colors", "unnorm_rotations"))
    with np.errstate(over="ignore"):  # an opacity of exactly 0 is a logit of -inf
        opacities = 1 / (1 + np.exp(-params["logit_opacities"].reshape(-1)))

    def at(frame: int) -> Gaussians:
        return Gaussians(
            means=means[frame],
            quats=rotations[frame] / np.linalg.norm(rotations[frame], axis=1, keepdims=True),
            scales=np.exp(params["log_scales"]),
            opacities=opacities,
            colors=dc_from_rgb(colors[frame]),
            is_foreground=params["seg_colors"][:, 0] > 0.5,
        )

    run.set_info(imported_from=str(source.resolve()), fps=fps, frame_numbers=list(range(len(means))))
    if not run.begin_stage("first_frame", made_from["first_frame"]).finished:
        run.write_geometry(at(0).take(slice(0)), at(0), len(means))
        run.finish_stage("first_frame")
    done = run.begin_stage("tracking", made_from["tracking"]).done_frames
    for frame in sorted(set(range(len(means))) - set(done)):
        reporter.step(frame, len(means))
        started = time.perf_counter()
        gaussians = at(frame)
        run.write_frame(frame, gaussians.means, gaussians.quats, gaussians.colors)
        run.frame_done("tracking", frame, time.perf_counter() - started)
    reporter.step(len(means), len(means))
    run.finish_stage("tracking")


def take_cameras(run: Run, sequence: Sequence, stage: Stage, params: dict[str, NDArray[np.float32]]) -> None:
    """Cameras and what else the footage tells; Dynamic3DGS keeps the colour gains by camera number."""
    train, test = sequence.cameras("train", 0), sequence.cameras("test", 0)
    gains = {}
    for name in ("cam_m", "cam_c"):
        known = params.get(name)
        fits = known is not None and known.shape[1:] == (3,) and max(train.ids) < len(known)
        gains[name] = known[list(train.ids)] if known is not None and fits else np.zeros((len(train), 3), np.float32)
    run.write_cameras(train, test if len(test) else None, gains["cam_m"], gains["cam_c"])
    run.set_info(
        fps=sequence.fps,
        frame_numbers=list(sequence.frame_numbers),
        near=stage.near,
        center=[float(x) for x in stage.center],
        radius=stage.radius,
        down=[float(x) for x in stage.down],
        origin=list(sequence.origin),
    )


def export_dynamic3dgs(run: Run, path: Path, frames: range | None = None) -> None:
    """Write a run, or some frames of it, as `params.npz`; static Gaussians are repeated in every frame.

    Raises:
        RunError: a frame is missing, a Gaussian is not alive all the time (which this format cannot say), or the file
            cannot be written.
    """
    frames = range(run.num_frames) if frames is None else frames
    if run.has_loose or run.changing:
        which = "Gaussians without identity" if run.has_loose else f"{' and '.join(run.changing)} that change in time"
        raise RunError(f"has {which}, which params.npz cannot say", where=str(run.path), fix="export ply")
    if (run.born > frames[0]).any() or (run.died < frames[-1]).any():
        raise RunError(
            "has Gaussians that appear or vanish, which params.npz cannot say", where=str(run.path), fix="export ply"
        )
    first = run.frame(frames[0])
    foreground = first.is_foreground.astype(np.float32)
    opacities = np.clip(first.opacities.astype(np.float64), SMALLEST_OPACITY, 1 - SMALLEST_OPACITY)
    constant = {
        "seg_colors": np.stack([foreground, np.zeros_like(foreground), 1 - foreground], axis=-1),
        "logit_opacities": np.log(opacities / (1 - opacities)).astype(np.float32)[:, None],
        "log_scales": np.log(np.maximum(first.scales, SMALLEST_SCALE)),
    }
    if run.has_cameras:
        constant["cam_m"], constant["cam_c"] = run.gain()
    origin = np.array(run.info.get("origin") or (0.0, 0.0, 0.0))

    def field_of(frame: int, field: str) -> NDArray[Any]:
        values = getattr(run.frame(frame), field)
        # Dynamic3DGS has no place for an origin; map coordinates need the digits of float64.
        return values.astype(np.float64) + origin if field == "means" and origin.any() else values

    # Frame by frame straight into the file: 150 frames of 300k Gaussians are 1.8 GB.
    with new_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, field, width in (("means3D", "means", 3), ("rgb_colors", "rgb", 3), ("unnorm_rotations", "quats", 4)):
            shape = (len(frames), run.num_gaussians, width)
            kind = "<f8" if field == "means" and origin.any() else "<f4"
            _write_array(archive, name, shape, (field_of(frame, field) for frame in frames), kind)
        for name, values in constant.items():
            _write_array(archive, name, values.shape, [values])


def read_params(
    source: Path, *, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> dict[str, NDArray[np.float32]]:
    """The arrays of a `params.npz` that a run is made from, as float32 and of shapes that fit together.

    Args:
        origin: taken off the means, in float64.

    Raises:
        RunError: the file cannot be read, lacks one, or holds one that does not fit or is not finite.
    """
    fix = "give the params.npz that Dynamic3DGS wrote"
    try:
        with np.load(source, allow_pickle=False) as archive:
            params = {key: np.asarray(archive[key]) for key in _KEYS}
            if any(origin):
                params["means3D"] = params["means3D"].astype(np.float64) - np.array(origin)
            params = {key: values.astype(np.float32) for key, values in params.items()}
            params |= {key: np.asarray(archive[key], np.float32) for key in ("cam_m", "cam_c") if key in archive}
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"cannot be read ({reason_of(error)})", where=str(source), fix=fix) from error
    count = len(params["log_scales"])
    frames = len(params["means3D"])
    expected = {
        **{key: (frames, count, 3) for key in ("means3D", "rgb_colors")},
        "unnorm_rotations": (frames, count, 4),
        **{key: (count, 3) for key in ("seg_colors", "log_scales")},
        "logit_opacities": (count, 1),
    }
    for key, shape in expected.items():
        if params[key].shape != shape:
            raise RunError(f"{key} is {params[key].shape}, expected {shape}", where=str(source), fix=fix)
        if np.isnan(params[key]).any():
            raise RunError(f"{key} has values that are no numbers", where=str(source), fix=fix)
    if not (count and frames):
        raise RunError(f"has {count} Gaussians in {frames} frames", where=str(source), fix=fix)
    return params


def _write_array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], parts: Iterable[NDArray[Any]], kind: str = "<f4"
) -> None:
    """Add an array to an .npz, given in parts along its first axis."""
    header: dict[str, Any] = {"descr": kind, "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        target: IO[bytes] = member
        np.lib.format.write_array_header_1_0(target, header)
        for part in parts:
            target.write(np.ascontiguousarray(part, kind).tobytes())
