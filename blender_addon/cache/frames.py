"""Frames and relevancies of imported runs on the local disk, memory-mapped, so that playback needs no backend.

A run's folder, `<cache root>/<run id>/`:

    manifest.json             what the run is (Description), written first
    static.block              constants of the points that do not move
    dynamic.block             constants of the points that move
    static.ranks, dynamic.ranks    how important each point is; worked out anew if absent
    cameras.npz, nodes.npz    the cameras that filmed it, the control nodes that bend it, where the run has them
    frames/000012.block       what changes in frame 12 of the points that move
    frames/000012.loose       the points of frame 12 that no other frame knows; the file tells how many
    prompts/<key>/answer.json prompt, intervals, relevancy over time
    prompts/<key>/static.block, 000012.block, 000012.loose    relevancy per point

What a block is: `blocks`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import blocks, importance
from .blocks import STEPS, CacheError, Layout, sh_layout, with_sh

__all__ = ["STEPS", "Answer", "CacheError", "Description", "RunCache", "normalised", "prompt_key", "run_id"]

Array = np.ndarray[Any, Any]

FORMAT = 3
READABLE = (2, 3)
"""Caches of format 2 know no loose points, no view dependence, and one way that is up."""
MANIFEST = "manifest.json"

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
CHANGING: dict[str, Layout] = {"scales": (("scales", 3, "float32"),), "opacities": (("opacities", 1, "int16"),)}
SEEN: Layout = (("seen", 1, "uint8"),)
"""255 times how much of a point training pixels showed."""
RANKS: Layout = (("ranks", 1, "float32"),)
RELEVANCY: Layout = (("relevancy", 1, "uint8"),)
"""As it travels: 255 times the relevancy."""


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
        up: unit vector of the run's axes that points up.
        num_loose: the most points that a frame has that no other frame knows; 0 where there are none.
        sh: SH coefficients beyond degree 0, K; 0 where colours do not depend on the view.
        changing: which of "scales", "opacities", "sh_rest" of the points that move every frame has anew.
        has_seen: whether it is known how much of each point training pixels showed.
    """

    run_id: str
    run: str
    revision: str
    num_frames: int
    num_static: int
    num_dynamic: int
    fps: float
    pixel_angle: float = 0.0
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    num_loose: int = 0
    sh: int = 0
    changing: tuple[str, ...] = ()
    has_seen: bool = False

    @property
    def num_points(self) -> int:
        """The most that show at once."""
        return self.num_static + self.num_dynamic + self.num_loose

    @property
    def is_still(self) -> bool:
        """Whether no frame differs from another."""
        return not (self.num_dynamic or self.num_loose)

    @property
    def static_layout(self) -> Layout:
        """Constants of the points that do not move."""
        return (*STATIC, *sh_layout(self.sh), *(SEEN if self.has_seen else ()))

    @property
    def dynamic_layout(self) -> Layout:
        """Constants of the points that move."""
        sh = 0 if "sh_rest" in self.changing else self.sh
        return (*DYNAMIC, *sh_layout(sh), *(SEEN if self.has_seen else ()))

    @property
    def frame_layout(self) -> Layout:
        """What a frame has of the points that move."""
        changing = [CHANGING[name] for name in CHANGING if name in self.changing]
        sh = sh_layout(self.sh if "sh_rest" in self.changing else 0)
        return (*FRAME, *(entry for part in changing for entry in part), *sh)


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
            blocks.write_json(path / MANIFEST, {"format": FORMAT, **asdict(description)})
        except OSError as error:
            raise CacheError(f"The cache folder {path} cannot be written ({error.strerror})") from error
        return cls(path, description)

    @classmethod
    def open(cls, path: Path) -> RunCache:
        """The cache in this folder. CacheError if it is missing, of another format, or damaged."""
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            if manifest.pop("format") not in READABLE:
                raise CacheError(f"The cache {path} was written by another version; remove it and import again")
            for name in ("up", "changing"):
                if name in manifest:
                    manifest[name] = tuple(manifest[name])
            return cls(path, Description(**manifest))
        except FileNotFoundError as error:
            raise CacheError(f"There is no cached run in {path}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CacheError(f"The cache {path} is damaged ({error}); remove it and import again") from error

    # Geometry

    def write_static(self, arrays: dict[str, Array]) -> None:
        """Store the constants of static points: STATIC, and [N, K, 3] `sh_rest` and `seen` where the run has them."""
        its = self.description
        blocks.write(self.path / "static.block", its.static_layout, its.num_static, with_sh(arrays, its.sh))

    def write_dynamic(self, arrays: dict[str, Array]) -> None:
        """Store the constants of dynamic points: DYNAMIC, and [M, K, 3] `sh_rest` and `seen` where the run has them."""
        its = self.description
        blocks.write(self.path / "dynamic.block", its.dynamic_layout, its.num_dynamic, with_sh(arrays, its.sh))

    def write_ranks(self) -> None:
        """Work out how important each point is and store it: on a thread that nobody waits for."""
        for role, points in self._roles().items():
            blocks.write(self._ranks_file(role), RANKS, points, {"ranks": self.ranks(role)})

    def ranks(self, role: str) -> Array:
        """[N] or [M] float32, `importance.ranks` of the "STATIC" or "DYNAMIC" points."""
        if self._ranks_file(role).exists():
            return blocks.read(self._ranks_file(role), RANKS, self._roles()[role])["ranks"]
        arrays = self.static() if role == "STATIC" else self.dynamic()
        return importance.ranks(arrays["scales"], arrays["opacities"])

    def write_frame(self, frame: int, arrays: dict[str, Array]) -> None:
        """Store what changes in one frame: FRAME and what else is `changing`, and `loose_…` of its loose points."""
        its = self.description
        if its.num_loose:
            loose = {name.removeprefix("loose_"): a for name, a in arrays.items() if name.startswith("loose_")}
            self.write_loose(frame, loose)
        if its.num_dynamic or not its.num_loose:
            sh = its.sh if "sh_rest" in its.changing else 0
            blocks.write(self._frame_file(frame), its.frame_layout, its.num_dynamic, with_sh(arrays, sh))

    def write_loose(self, frame: int, arrays: dict[str, Array]) -> None:
        """Store a frame's own points: means, quats, scales, colors, opacities; sh_rest, seen where there are any."""
        rest, points = arrays.get("sh_rest"), len(arrays["means"])
        ranks = importance.ranks(arrays["scales"], arrays["opacities"])
        seen = arrays.get("seen", np.full(points, 255, np.uint8))
        counted = {**arrays, "ranks": ranks, "seen": seen}
        blocks.write_counted(self._loose_file(frame), counted, 0 if rest is None else rest.shape[1])

    def write_table(self, name: str, arrays: dict[str, Array]) -> None:
        """Store "cameras" or "nodes"; nothing where the run has none."""
        if arrays:
            with blocks.replacing(self.path / f"{name}.npz") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's stubs take keywords for its flag

    def table(self, name: str) -> dict[str, Array]:
        """What `write_table` was given; empty where the run has none, or was imported before they were kept."""
        try:
            with np.load(self.path / f"{name}.npz", allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CacheError(f"{self.path / name}.npz is damaged; remove the cache and fetch the run again") from error

    def has_constants(self) -> bool:
        """Whether both constant blocks are here."""
        return (self.path / "static.block").exists() and (self.path / "dynamic.block").exists()

    def has_frame(self, frame: int) -> bool:
        """Whether this frame is here."""
        its = self.description
        if its.num_loose and not self._loose_file(frame).exists():
            return False
        return self._frame_file(frame).exists() if its.num_dynamic else True

    def missing_frames(self) -> list[int]:
        """The frames that are not here, in order."""
        its, here = self.description, set(range(self.description.num_frames))
        for points, ending in ((its.num_dynamic, ".block"), (its.num_loose, ".loose")):
            here &= _numbered(self._frames, ending) if points else here
        return [frame for frame in range(its.num_frames) if frame not in here]

    def static(self) -> dict[str, Array]:
        """The constants of static points, memory-mapped."""
        return blocks.read(self.path / "static.block", self.description.static_layout, self.description.num_static)

    def dynamic(self) -> dict[str, Array]:
        """The constants of dynamic points, memory-mapped."""
        return blocks.read(self.path / "dynamic.block", self.description.dynamic_layout, self.description.num_dynamic)

    def frame(self, frame: int) -> dict[str, Array]:
        """What a frame has of the points that move, memory-mapped; what is no float as integer multiples of STEPS.

        Drop them after use, so that memory does not grow while looping.
        """
        return blocks.read(self._frame_file(frame), self.description.frame_layout, self.description.num_dynamic)

    def loose(self, frame: int) -> tuple[int, int, dict[str, Array]]:
        """(points, SH coefficients, arrays) of those of a frame that no other knows; as `frame`, and float32 `ranks`,
        uint8 `seen`."""
        return blocks.read_counted(self._loose_file(frame))

    # Prompts

    def write_answer(self, key: str, answer: Answer, static_relevancy: Array) -> None:
        """Store a prompt's answer and its relevancy [N] uint8 on static points."""
        folder = self._prompts / key
        folder.mkdir(parents=True, exist_ok=True)
        blocks.write(folder / "static.block", RELEVANCY, self.description.num_static, {"relevancy": static_relevancy})
        blocks.write_json(folder / "answer.json", asdict(answer))

    def write_relevancy(self, key: str, frame: int, relevancy: Array, loose: Array | None = None) -> None:
        """Store a prompt's relevancy uint8 in one frame: [M] on dynamic points, and on the frame's loose ones."""
        file = self._prompts / key / f"{frame:06d}.block"
        file.parent.mkdir(parents=True, exist_ok=True)
        if loose is not None:  # first: a frame is here when its block is
            blocks.write(file.with_suffix(".loose"), RELEVANCY, len(loose), {"relevancy": loose})
        blocks.write(file, RELEVANCY, self.description.num_dynamic, {"relevancy": relevancy})

    def prompt_keys(self) -> list[str]:
        """The keys of prompts that were asked, in order."""
        return sorted(file.parent.name for file in self._prompts.glob("*/answer.json"))

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
        if self.description.is_still:
            return []
        here = _numbered(self._prompts / key, ".block")
        return [frame for frame in range(self.description.num_frames) if frame not in here]

    def static_relevancy(self, key: str) -> Array:
        """[N] uint8, 255 times the relevancy of static points, memory-mapped."""
        return blocks.read(self._prompts / key / "static.block", RELEVANCY, self.description.num_static)["relevancy"]

    def relevancy(self, key: str, frame: int) -> Array:
        """[M] uint8, 255 times the relevancy of dynamic points in one frame, memory-mapped."""
        file = self._prompts / key / f"{frame:06d}.block"
        return blocks.read(file, RELEVANCY, self.description.num_dynamic)["relevancy"]

    def known_relevancy(self, key: str, frame: int) -> Array | None:
        """`relevancy`, or None where it is not here; read at once, which for so few bytes is quicker than a mapping."""
        file = f"{self._prompts}/{key}/{frame:06d}.block"
        try:
            with open(file, "rb", buffering=0) as stream:
                data = stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheError(
                f"{file} cannot be read ({error.strerror}); remove the cache and fetch the run again"
            ) from error
        if len(data) != self.description.num_dynamic:
            raise CacheError(
                f"{file} has {len(data)} bytes instead of {self.description.num_dynamic}; remove the cache "
                "and fetch the run again"
            )
        return np.frombuffer(data, np.uint8)

    def loose_relevancy(self, key: str, frame: int, points: int) -> Array:
        """[points] uint8, the same of a frame's loose points."""
        return blocks.read(self._prompts / key / f"{frame:06d}.loose", RELEVANCY, points)["relevancy"]

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

    def _loose_file(self, frame: int) -> Path:
        return self._frames / f"{frame:06d}.loose"


def _numbered(folder: Path, ending: str) -> set[int]:
    """The frame numbers that have a file of this ending in this folder."""
    if not folder.is_dir():
        return set()
    stems = (name.removesuffix(ending) for name in os.listdir(folder) if name.endswith(ending))
    return {int(stem) for stem in stems if stem.isdigit()}
