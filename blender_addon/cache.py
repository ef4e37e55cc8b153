"""Frames and relevancies of imported runs on the local disk, memory-mapped, so that playback needs no backend.

A run's folder, `<cache root>/<run id>/`:

    manifest.json             what the run is (Description), written first
    static.block              constants of the points that do not move
    dynamic.block             constants of the points that move
    static.ranks, dynamic.ranks    how important each point is; worked out anew if absent
    frames/000012.block       what changes in frame 12
    prompts/<key>/answer.json prompt, intervals, relevancy over time
    prompts/<key>/static.block, 000012.block    relevancy per point

A block is its arrays, raw, one after another, in the order of its layout below. It appears by rename, so it is
complete or absent, and two Blenders may fill one cache at once: they write the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import importance

Array = np.ndarray[Any, Any]

FORMAT = 2
MANIFEST = "manifest.json"

Layout = tuple[tuple[str, int, str], ...]
"""Arrays of a block: (name, components per point, dtype)."""

STATIC: Layout = (
    ("means", 3, "float32"),
    ("quats", 4, "float32"),
    ("scales", 3, "float32"),
    ("colors", 3, "float32"),
    ("opacities", 1, "float32"),
)
DYNAMIC: Layout = (("scales", 3, "float32"), ("opacities", 1, "float32"), ("born", 1, "int32"), ("died", 1, "int32"))
FRAME: Layout = (("means", 3, "float32"), ("quats", 4, "int16"), ("colors", 3, "int16"))
"""Positions stay float32: half precision would move a point 5 m from the origin by millimetres from frame to frame.
The others are integers: ten times faster to convert than half precision, and finer."""
STEPS = {"quats": np.float32(1 / 32767), "colors": np.float32(8 / 32767)}
"""What an integer step of an array stands for. SH DC coefficients beyond ±8 are clipped: no screen shows them."""
RANKS: Layout = (("ranks", 1, "float32"),)
RELEVANCY: Layout = (("relevancy", 1, "uint8"),)
"""As it travels: 255 times the relevancy."""


class CacheError(Exception):
    """A cache is missing or damaged; the message is one sentence for the panel."""


@dataclass(frozen=True)
class Description:
    """What a cached run is.

    Attributes:
        run_id: folder name in the cache; another training of the same run has another.
        run: its name at the backend, relative to a root.
        revision: the backend's mark of the geometry that was cached.
        num_frames, num_static, num_dynamic: counts.
        fps: frames per second of the capture.
        pixel_angle: radians that a pixel of the capture's cameras saw; 0 if the run has no cameras.
    """

    run_id: str
    run: str
    revision: str
    num_frames: int
    num_static: int
    num_dynamic: int
    fps: float
    pixel_angle: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What the backend found for a prompt.

    Attributes:
        prompt: as typed.
        intervals: (start, end, peak, score) in capture frames, both ends included.
        curve: relevancy 0..1 of each capture frame.
        warnings: what the backend says of words that it did not understand as they are written, a sentence each.
    """

    prompt: str
    intervals: tuple[tuple[int, int, int, float], ...]
    curve: tuple[float, ...]
    warnings: tuple[str, ...] = ()


def run_id(run: str, revision: str) -> str:
    """The cache folder of a run: readable, and different for every revision."""
    readable = "".join(c if c.isalnum() or c in "-_" else "-" for c in run.strip("./"))[-40:] or "run"
    return f"{readable}-{hashlib.blake2b(f'{run} {revision}'.encode(), digest_size=6).hexdigest()}"


def prompt_key(prompt: str) -> str:
    """The folder name of a prompt: equal prompts, however spaced or capitalised, share one."""
    return hashlib.blake2b(normalised(prompt).encode(), digest_size=8).hexdigest()


def normalised(prompt: str) -> str:
    """The prompt in lower case with single spaces."""
    return " ".join(prompt.lower().split())


class RunCache:
    """One run's folder. Thread-safe: files appear whole, and nothing about them is held in memory."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path, self.description = path, description
        self._frames = path / "frames"
        self._prompts = path / "prompts"

    @classmethod
    def create(cls, root: Path, description: Description) -> RunCache:
        """The cache of this run under `root`, made if absent. CacheError if the folder cannot be written."""
        path = root / description.run_id
        try:
            (path / "frames").mkdir(parents=True, exist_ok=True)
            (path / "prompts").mkdir(exist_ok=True)
            _write_json(path / MANIFEST, {"format": FORMAT, **asdict(description)})
        except OSError as error:
            raise CacheError(f"The cache folder {path} cannot be written ({error.strerror})") from error
        return cls(path, description)

    @classmethod
    def open(cls, path: Path) -> RunCache:
        """The cache in this folder. CacheError if it is missing, of another format, or damaged."""
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            if manifest.pop("format") != FORMAT:
                raise CacheError(f"The cache {path} was written by another version; remove it and import again")
            return cls(path, Description(**manifest))
        except FileNotFoundError as error:
            raise CacheError(f"There is no cached run in {path}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CacheError(f"The cache {path} is damaged ({error}); remove it and import again") from error

    # Geometry

    def write_static(self, arrays: dict[str, Array]) -> None:
        """Store the constants of static points (layout STATIC)."""
        _write_block(self.path / "static.block", STATIC, self.description.num_static, arrays)

    def write_dynamic(self, arrays: dict[str, Array]) -> None:
        """Store the constants of dynamic points (layout DYNAMIC)."""
        _write_block(self.path / "dynamic.block", DYNAMIC, self.description.num_dynamic, arrays)

    def write_ranks(self) -> None:
        """Work out how important each point is and store it: on a thread that nobody waits for."""
        for role, points in self._roles().items():
            _write_block(self._ranks_file(role), RANKS, points, {"ranks": self.ranks(role)})

    def ranks(self, role: str) -> Array:
        """[N] or [M] float32, `importance.ranks` of the "STATIC" or "DYNAMIC" points."""
        if self._ranks_file(role).exists():
            return _map_block(self._ranks_file(role), RANKS, self._roles()[role])["ranks"]
        arrays = self.static() if role == "STATIC" else self.dynamic()
        return importance.ranks(arrays["scales"], arrays["opacities"])

    def write_frame(self, frame: int, arrays: dict[str, Array]) -> None:
        """Store what changes in one frame (layout FRAME)."""
        _write_block(self._frame_file(frame), FRAME, self.description.num_dynamic, arrays)

    def has_constants(self) -> bool:
        """Whether both constant blocks are here."""
        return (self.path / "static.block").exists() and (self.path / "dynamic.block").exists()

    def has_frame(self, frame: int) -> bool:
        """Whether this frame is here."""
        return self._frame_file(frame).exists()

    def missing_frames(self) -> list[int]:
        """The frames that are not here, in order."""
        here = _numbered(self._frames)
        return [frame for frame in range(self.description.num_frames) if frame not in here]

    def static(self) -> dict[str, Array]:
        """The constants of static points, memory-mapped."""
        return _map_block(self.path / "static.block", STATIC, self.description.num_static)

    def dynamic(self) -> dict[str, Array]:
        """The constants of dynamic points, memory-mapped."""
        return _map_block(self.path / "dynamic.block", DYNAMIC, self.description.num_dynamic)

    def frame(self, frame: int) -> dict[str, Array]:
        """One frame's arrays, memory-mapped; quats and colors as integer multiples of STEPS.

        Drop them after use, so that memory does not grow while looping.
        """
        return _map_block(self._frame_file(frame), FRAME, self.description.num_dynamic)

    # Prompts

    def write_answer(self, key: str, answer: Answer, static_relevancy: Array) -> None:
        """Store a prompt's answer and its relevancy [N] uint8 on static points."""
        folder = self._prompts / key
        folder.mkdir(parents=True, exist_ok=True)
        _write_block(folder / "static.block", RELEVANCY, self.description.num_static, {"relevancy": static_relevancy})
        _write_json(folder / "answer.json", asdict(answer))

    def write_relevancy(self, key: str, frame: int, relevancy: Array) -> None:
        """Store a prompt's relevancy [M] uint8 on dynamic points in one frame."""
        file = self._prompts / key / f"{frame:06d}.block"
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_block(file, RELEVANCY, self.description.num_dynamic, {"relevancy": relevancy})

    def answer(self, key: str) -> Answer | None:
        """What was found for this prompt; None if it was not asked or the file is damaged."""
        try:
            stored = json.loads((self._prompts / key / "answer.json").read_text())
            intervals = tuple((int(a), int(b), int(c), float(d)) for a, b, c, d in stored["intervals"])
            return Answer(stored["prompt"], intervals, tuple(stored["curve"]), tuple(stored.get("warnings", ())))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def has_relevancy(self, key: str, frame: int) -> bool:
        """Whether this frame of this prompt is here."""
        return (self._prompts / key / f"{frame:06d}.block").exists()

    def missing_relevancy(self, key: str) -> list[int]:
        """The frames of this prompt that are not here, in order."""
        here = _numbered(self._prompts / key)
        return [frame for frame in range(self.description.num_frames) if frame not in here]

    def static_relevancy(self, key: str) -> Array:
        """[N] uint8, 255 times the relevancy of static points, memory-mapped."""
        return _map_block(self._prompts / key / "static.block", RELEVANCY, self.description.num_static)["relevancy"]

    def relevancy(self, key: str, frame: int) -> Array:
        """[M] uint8, 255 times the relevancy of dynamic points in one frame, memory-mapped."""
        file = self._prompts / key / f"{frame:06d}.block"
        return _map_block(file, RELEVANCY, self.description.num_dynamic)["relevancy"]

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def remove(self) -> None:
        """Delete the folder; frames that are being shown keep their last state."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _roles(self) -> dict[str, int]:
        return {"STATIC": self.description.num_static, "DYNAMIC": self.description.num_dynamic}

    def _ranks_file(self, role: str) -> Path:
        return self.path / f"{role.lower()}.ranks"

    def _frame_file(self, frame: int) -> Path:
        return self._frames / f"{frame:06d}.block"


def _numbered(folder: Path) -> set[int]:
    """The frame numbers that have a block in this folder."""
    if not folder.is_dir():
        return set()
    return {int(name[:-6]) for name in os.listdir(folder) if name.endswith(".block") and name[:-6].isdigit()}


def _write_json(file: Path, content: dict[str, Any]) -> None:
    with _replacing(file) as stream:
        stream.write(json.dumps(content).encode())


def _write_block(file: Path, layout: Layout, points: int, arrays: dict[str, Array]) -> None:
    with _replacing(file) as stream:
        for name, width, dtype in layout:
            array = _encoded(name, arrays[name]) if dtype == "int16" else np.ascontiguousarray(arrays[name], dtype)
            if array.size != points * width:
                raise CacheError(f"{name} has {array.size} values, but {points} points need {points * width}")
            stream.write(array.data.cast("B") if array.size else b"")


def _encoded(name: str, values: Array) -> Array:
    """As multiples of the array's step."""
    scaled = np.multiply(values, 1 / STEPS[name], dtype=np.float32)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32767, 32767, out=scaled).astype(np.int16)


@contextlib.contextmanager
def _replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes `file` when the block ends without error."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _map_block(file: Path, layout: Layout, points: int) -> dict[str, Array]:
    expected = sum(width * points * np.dtype(dtype).itemsize for _, width, dtype in layout)
    try:
        size = file.stat().st_size
        raw = np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)
    except OSError as error:
        raise CacheError(f"{file} is not in the cache; fetch the run again") from error
    if size != expected:
        raise CacheError(f"{file} has {size} bytes instead of {expected}; remove the cache and fetch the run again")
    arrays, start = {}, 0
    for name, width, dtype in layout:
        end = start + width * points * np.dtype(dtype).itemsize
        array = raw[start:end].view(dtype)
        arrays[name] = array.reshape(points, width) if width > 1 else array
        start = end
    return arrays
