"""A finished output folder of the original 4-LEGS, turned into a run.

    FOLDER/output/<any>/<sequence>/params.npz            geometry of Dynamic3DGS, all frames
    FOLDER/output/<any>/<sequence>/params_<t>.npz        legs_features [1,N,K], neighbor_indices [1,N,21]
    FOLDER/output/<any>/<sequence>/attn_<t>.pth          state dict of the attention over these neighbours
    FOLDER/ae/best_ckpt.pth                              the autoencoder, 768 numbers to K and back

What 4-LEGS shows is the attention's output, scaled to unit length and decoded. A run stores that output as codes, and
needs neither the neighbours nor the attention again. Nothing in these files is ever executed.
"""

from __future__ import annotations

import re
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import Legs4dError, RunError, reason_of
from legs4d.gaussians.dynamic3dgs import imported, read_params, stage_of, take_cameras, write_params
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.language.codec.autoencoder import AutoencoderCodec, read_autoencoder
from legs4d.language.codec.linear import Codec, LinearCodec, codec_from_arrays, fit_linear_codec
from legs4d.progress import StageReporter
from legs4d.scene.content import digest_of, hash_files
from legs4d.scene.sequence import Sequence

VERSION = 1
"""Of this import's code: raise it when the same folder gives another run."""

ENCODER = "viclip"
"""What 4-LEGS embeds clips and phrases with."""

_LINEAR = ("query", "key", "value", "fc_attn")
"""The attention's four linear layers, K to K."""

_CHUNK = 1 << 12
"""Gaussians attended to at once: 21 neighbours of 128 numbers each, as keys and as values, are 88 MB."""

_FIT_FRAMES, _FIT_GAUSSIANS = 8, 4096
"""Frames, and Gaussians of each, whose features a linear codec is fitted to."""

_FIX = "give the folder that 4-LEGS wrote, whole"


@dataclass(frozen=True)
class LegacyFolder:
    """Where a sequence's files are.

    Attributes:
        geometry: params.npz.
        features, attention: one file a frame, in order of time.
        autoencoder: its checkpoint.
    """

    geometry: Path
    features: list[Path]
    attention: list[Path]
    autoencoder: Path


def find_legacy(folder: str | Path, sequence: str, autoencoder: str | Path | None = None) -> LegacyFolder:
    """Find a sequence's files in a 4-LEGS folder.

    Args:
        sequence: its name, that of its folders.
        autoencoder: the checkpoint, where it is not FOLDER/ae/best_ckpt.pth.

    Raises:
        RunError: one is missing, or there are several to choose from.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError("is not a folder", where=str(root), fix=_FIX)
    places = {
        name: [path.parent for path in sorted(root.glob(f"output/*/{sequence}/{name}"))]
        for name in ("params.npz", "params_0.npz")
    }
    for name, found in places.items():
        if not found:
            known = sorted({path.parent.name for path in root.glob("output/*/*/params*.npz")})
            fix = f"name one of {', '.join(known)}" if known and sequence not in known else _FIX
            raise RunError(f"has no output/*/{sequence}/{name}", where=str(root), fix=fix)
        if len(found) > 1:
            raise RunError(
                f"has {name} in {', '.join(str(path.relative_to(root)) for path in found)}",
                where=str(root),
                fix="leave the one that is meant",
            )
    (geometry,), (language,) = places["params.npz"], places["params_0.npz"]
    return LegacyFolder(
        geometry / "params.npz",
        _numbered(language, "params", "npz"),
        _numbered(language, "attn", "pth"),
        Path(autoencoder) if autoencoder is not None else root / "ae" / "best_ckpt.pth",
    )


def import_4legs(
    folder: str | Path,
    sequence: str,
    out: str | Path,
    context: Context = QUIET,
    *,
    autoencoder: str | Path | None = None,
    fps: float = 30.0,
    footage: Sequence | None = None,
    linear: int | None = None,
    again: bool | str = False,
) -> Run:
    """Turn a sequence of a 4-LEGS folder into a run; goes on where a stopped or killed import ended.

    Frames keep their numbers. No Gaussian is static, as in Dynamic3DGS all may move. 4-LEGS stores no confidence; in
    its place is how large and opaque a Gaussian is, in the mean 1, which is what weighs it in a prompt's curve.

    Args:
        folder, sequence, autoencoder: see `find_legacy`.
        out: folder of the run: new, empty, or one begun by the same import.
        fps: frames per second of the capture (PanopticSports: 30); the footage's own, if that is given.
        footage: what it was trained on: gives the run its cameras. Without it, it has none.
        linear: numbers of a code, > 0. Features are then decoded once, here, and kept by a linear codec in place of the
            autoencoder: prompts are answered much sooner, as nothing is decoded for them, of features nearly the same.

        again: whether what was imported otherwise is made anew, see `again.working_on`.

    Raises:
        DatasetError: the footage has another number of frames, or its cameras see no common space.
        RunDiffers: the folder holds another run.
        RunError: a file is missing, truncated, holds more than arrays, or does not fit the others. The geometry, the
            autoencoder and the first frame are read before anything is written.
        EncoderError: the same of the autoencoder.
        Stopped: `stop` was set; the frames that are done are kept.
    """
    files = find_legacy(folder, sequence, autoencoder)
    codec = read_autoencoder(files.autoencoder)
    params = read_params(files.geometry)
    frames, count = params["means3D"].shape[:2]
    if len(files.features) != frames or len(files.attention) != frames:
        raise RunError(
            f"language has {min(len(files.features), len(files.attention))} frames, the geometry {frames}",
            where=str(files.features[0].parent),
            fix=_FIX,
        )
    _read_frame(files, 0, codec, count)
    stage = None if footage is None else stage_of(footage, frames, files.geometry)
    made_from = imported(files.geometry) | {"lift": _imported_language(files, linear, context)}
    with working_on(out, lambda run: made_from, again=again) as run:
        write_params(run, params, files.geometry, fps, made_from, context.reporter("geometry"))
        if footage is not None and stage is not None:
            take_cameras(run, footage, stage, params)
        _write_language(run, files, codec, linear, made_from["lift"], context.reporter("language"))
    return Run.open(out)


def _write_language(
    run: Run,
    files: LegacyFolder,
    codec: AutoencoderCodec,
    linear: int | None,
    made_from: MadeFrom,
    reporter: StageReporter,
) -> None:
    record = run.begin_stage("lift", made_from)
    if record.finished:
        return
    if record.done_frames:
        stored = codec_from_arrays(*run.codec())
    else:
        stored = codec if linear is None else _fit_linear(run, files, codec, linear, reporter)
        arrays, attributes = stored.to_arrays()
        run.write_codec(attributes["name"], arrays, attributes)
        run.set_info(encoder=ENCODER)
        run.write_static_codes(np.zeros((0, stored.code_dim)), np.zeros(0))
    for frame in sorted(set(range(run.num_frames)) - set(record.done_frames)):
        reporter.step(frame, run.num_frames)
        started = time.perf_counter()
        codes = attend(*_read_frame(files, frame, codec, run.num_gaussians))
        run.write_codes(frame, codes if linear is None else _recoded(codes, codec, stored), _size(run, frame))
        run.frame_done("lift", frame, time.perf_counter() - started)
    reporter.step(run.num_frames, run.num_frames)
    run.finish_stage("lift")


def _fit_linear(
    run: Run, files: LegacyFolder, codec: AutoencoderCodec, dim: int, reporter: StageReporter
) -> LinearCodec:
    """A linear codec of the decoded features, from some Gaussians of some frames."""

    def rows() -> Iterator[NDArray[np.float32]]:
        for frame in np.unique(np.linspace(0, run.num_frames - 1, _FIT_FRAMES).round().astype(int)).tolist():
            reporter.check()
            codes = attend(*_read_frame(files, frame, codec, run.num_gaussians))
            yield codec.decode(codes[:: -(-len(codes) // _FIT_GAUSSIANS)])

    return fit_linear_codec(rows(), energy=1.0, max_dim=dim)


def _recoded(codes: NDArray[np.float32], codec: AutoencoderCodec, stored: Codec) -> NDArray[np.float32]:
    """The codes [N, K] of `codec` as those of `stored`."""
    out = np.empty((len(codes), stored.code_dim), np.float32)
    for start in range(0, len(codes), _CHUNK):
        out[start : start + _CHUNK] = stored.encode(codec.decode(codes[start : start + _CHUNK]))
    return out


def attend(
    features: NDArray[np.float32], neighbours: NDArray[np.int64], layers: dict[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """4-LEGS's attention of each Gaussian over its neighbours, itself among them, scaled to unit length.

    With linear maps q, k, v, o: o(Σ softmax(⟨q(f), k(f_j)⟩ / √K) v(f_j)).

    Args:
        features: f, [N, K].
        neighbours: j, [N, J] indices of Gaussians.
        layers: `<name>.weight` [K, K] and `<name>.bias` [K] of "query", "key", "value" and "fc_attn".

    Returns:
        [N, K] float32.
    """
    query, key, value = (
        features @ layers[f"{name}.weight"].T + layers[f"{name}.bias"] for name in ("query", "key", "value")
    )
    out = np.empty_like(features)
    for start in range(0, len(features), _CHUNK):
        some = slice(start, start + _CHUNK)
        near = neighbours[some]
        score = np.einsum("nk,njk->nj", query[some], key[near]) / np.sqrt(np.float32(features.shape[1]))
        share = np.exp(score - score.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        out[some] = np.einsum("nj,njk->nk", share, value[near])
    out = out @ layers["fc_attn.weight"].T + layers["fc_attn.bias"]
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.float32(1e-12))


# -- files -------------------------------------------------------------------------------------------------------------


def _numbered(folder: Path, name: str, suffix: str) -> list[Path]:
    """<name>_0.<suffix>, <name>_1.<suffix>, … without a gap."""
    pattern = re.compile(rf"{name}_(\d+)\.{suffix}")
    numbers = sorted(int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name)))
    missing = sorted(set(range(numbers[-1] + 1 if numbers else 1)) - set(numbers))
    if missing:
        raise RunError(f"has no {name}_{missing[0]}.{suffix}", where=str(folder), fix=_FIX)
    return [folder / f"{name}_{number}.{suffix}" for number in numbers]


def _read_frame(
    files: LegacyFolder, frame: int, codec: AutoencoderCodec, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """What `attend` takes, of `count` Gaussians."""
    features, neighbours = _read_features(files.features[frame], codec)
    if len(features) != count:
        raise _misfit(files.features[frame], f"it has {len(features)} Gaussians, {files.geometry} has {count}")
    return features, neighbours, _read_attention(files.attention[frame], codec)


def _read_features(path: Path, codec: AutoencoderCodec) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(features [N, K] float32, neighbours [N, J]) of one frame, fit to be attended to."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            features, neighbours = np.asarray(archive["legs_features"]), np.asarray(archive["neighbor_indices"])
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"cannot be read ({reason_of(error)})", where=str(path), fix=_FIX) from error
    if features.shape[:1] == neighbours.shape[:1] == (1,):
        features, neighbours = features[0], neighbours[0]
    if features.ndim != 2 or features.shape[1] != codec.code_dim or features.dtype.kind != "f":
        raise _misfit(path, f"legs_features is {features.shape} {features.dtype}, expected [1, N, {codec.code_dim}]")
    if neighbours.ndim != 2 or len(neighbours) != len(features) or neighbours.dtype.kind not in "iu":
        raise _misfit(path, f"neighbor_indices is {neighbours.shape} {neighbours.dtype}, expected [1, N, 21] integers")
    if neighbours.size and not 0 <= neighbours.min() <= neighbours.max() < len(features):
        raise _misfit(path, f"neighbor_indices names Gaussians beyond the {len(features)} there are")
    if not np.isfinite(features).all():
        raise _misfit(path, "a feature is not finite")
    return features.astype(np.float32), neighbours.astype(np.int64)


def _read_attention(path: Path, codec: AutoencoderCodec) -> dict[str, NDArray[np.float32]]:
    """The attention's layers, as `attend` takes them."""
    try:
        state = load_tensors(path)
        layers = {
            f"{name}.{kind}": state[f"{name}.{kind}"].float().numpy() for name in _LINEAR for kind in ("weight", "bias")
        }
    except (UnreadableTensorsError, OSError) as error:
        raise RunError(f"is damaged or holds more than tensors ({error})", where=str(path), fix=_FIX) from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RunError(f"is no attention of 4-LEGS ({error!r})", where=str(path), fix=_FIX) from error
    width = codec.code_dim
    for key, values in layers.items():
        expected = (width, width) if key.endswith("weight") else (width,)
        if values.shape != expected:
            raise _misfit(path, f"{key} is {values.shape}, expected {expected}")
        if not np.isfinite(values).all():
            raise _misfit(path, f"{key} is not finite")
    return layers


def _size(run: Run, frame: int) -> NDArray[np.float32]:
    """[N] opacity times the area of the largest cross-section, in the mean 1."""
    gaussians = run.dynamic(frame)
    edges = np.sort(gaussians.scales, axis=1)
    size = gaussians.opacities * edges[:, 1] * edges[:, 2]
    return size / max(float(size.mean()), float(np.finfo(np.float32).tiny))


def _imported_language(files: LegacyFolder, linear: int | None, context: Context) -> MadeFrom:
    paths = (files.autoencoder, *files.features, *files.attention)
    hashes = hash_files(files.features[0].parent, paths, context)
    inputs = {"4-LEGS": digest_of({path.name: hashes[name] for path, name in zip(paths, hashes, strict=True)})}
    return MadeFrom({"import.linear": linear}, VERSION, inputs, by="import of 4-LEGS")


def _misfit(path: Path, why: str) -> Legs4dError:
    return RunError(f"does not fit ({why})", where=str(path), fix=_FIX)
