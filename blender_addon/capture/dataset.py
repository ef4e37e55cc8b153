"""Writes the native dataset layout (Dynamic3DGS's PanopticSports plus object masks and captions).

Every file appears by rename, complete or not at all. `train_meta.json` comes last: where it is, the capture is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sequence.rendering import RenderProblem

MARK = "capture.json"
"""What a capture was asked for; an unfinished one goes on only if it is asked for the same again."""

POINTS = "init_pt_cld.npz"


@dataclass(frozen=True)
class CaptionRow:
    """What an object (0: all that is not foreground) does from `start` to `end`, both included, frames from 0."""

    object_id: int
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Layout:
    """What a dataset folder will hold.

    Attributes:
        width, height: pixels.
        num_frames: images per camera.
        camera_ids: numbers of all cameras; `test_ids` those that are kept out of training.
        intrinsics: [C, 3, 3], in the order of `camera_ids`.
        world_to_camera: [T, C, 4, 4], of each frame, or T = 1 where all cameras stand still.
        captions: the table.
        fps: frames per second.
        suffix: of the images, ".png" or ".jpg".
    """

    width: int
    height: int
    num_frames: int
    camera_ids: tuple[int, ...]
    test_ids: tuple[int, ...]
    intrinsics: NDArray[np.float64]
    world_to_camera: NDArray[np.float64]
    captions: tuple[CaptionRow, ...]
    fps: float
    suffix: str = ".png"


class DatasetWriter:
    """A dataset folder in the making.

    Args:
        root: the folder; made if needed.
        layout: what it will hold.
        asked: everything that the pictures depend on, as JSON values.
        overwrite: delete a finished or different capture that is there.

    Raises:
        RenderProblem: the folder holds something else.
    """

    def __init__(self, root: Path, layout: Layout, asked: dict[str, Any], *, overwrite: bool = False) -> None:
        self.root, self.layout = root, layout
        wanted = json.loads(json.dumps(asked))
        found = _read_json(root / MARK)
        if not overwrite and found is None and root.is_dir() and any(root.iterdir()):
            raise RenderProblem(f"{root} is not empty and no capture; choose another folder.")
        if not overwrite and (root / "train_meta.json").exists():
            raise RenderProblem(f"{root} holds a finished capture; choose another folder or turn on Overwrite.")
        if overwrite or found != wanted:
            self._clear()
        root.mkdir(parents=True, exist_ok=True)
        _write_bytes(root / MARK, json.dumps(wanted, indent=1).encode())

    def _clear(self) -> None:
        """Removes what a capture writes, and nothing else."""
        for name in ("train_meta.json", "test_meta.json", "captions.json", POINTS, MARK):
            (self.root / name).unlink(missing_ok=True)
        for name in ("ims", "seg", "objects", "depth"):
            if (self.root / name).is_dir():
                shutil.rmtree(self.root / name)

    def image_path(self, camera_id: int, frame: int) -> Path:
        return self.root / "ims" / str(camera_id) / f"{frame:06d}{self.layout.suffix}"

    def depth_path(self, camera_id: int, frame: int) -> Path:
        return self.root / "depth" / str(camera_id) / f"{frame:06d}.npy"

    def _mask_path(self, kind: str, camera_id: int, frame: int) -> Path:
        return self.root / kind / str(camera_id) / f"{frame:06d}.png"

    def has(self, camera_id: int, frame: int) -> bool:
        """Whether this camera's picture of this frame is finished."""
        return self._mask_path("objects", camera_id, frame).exists()

    def store(
        self, camera_id: int, frame: int, image: Path, ids: NDArray[np.uint8], depth: NDArray[np.float32] | None
    ) -> None:
        """Takes over one rendered picture.

        Args:
            image: the rendered file, moved into the dataset.
            ids: [H, W] object of every pixel, first row on top.
            depth: [H, W] camera z in metres where it is wanted for the initial points.
        """
        target = self.image_path(camera_id, frame)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(image, target.with_name(target.name + ".part"))
        os.replace(target.with_name(target.name + ".part"), target)
        if depth is not None:
            path = self.depth_path(camera_id, frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path.with_suffix(".part"), "wb") as file:
                np.save(file, depth.astype(np.float32), allow_pickle=False)
            os.replace(path.with_suffix(".part"), path)
        _write_bytes(self._mask_path("seg", camera_id, frame), gray_png((ids > 0).astype(np.uint8) * 255))
        _write_bytes(self._mask_path("objects", camera_id, frame), gray_png(ids))

    def finish(self) -> None:
        """Writes the tables, the camera files last."""
        by_object: dict[str, list[dict[str, Any]]] = {}
        for row in self.layout.captions:
            entry = {"start": row.start, "end": row.end, "caption": row.text}
            by_object.setdefault(str(row.object_id), []).append(entry)
        comment = (
            "Who is where: objects/<cam>/<frame>.png holds the object id of every pixel. "
            "Each caption covers frames start..end, both included."
        )
        _write_json(self.root / "captions.json", {"comment": comment, "objects": by_object})
        if self.layout.test_ids:  # a file without cameras is none that readers know
            _write_json(self.root / "test_meta.json", self._meta(test=True))
        _write_json(self.root / "train_meta.json", self._meta(test=False))
        shutil.rmtree(self.root / "depth", ignore_errors=True)

    def _meta(self, *, test: bool) -> dict[str, Any]:
        layout = self.layout
        chosen = [i for i, number in enumerate(layout.camera_ids) if (number in layout.test_ids) == test]
        numbers = [layout.camera_ids[i] for i in chosen]
        frames = range(layout.num_frames)
        return {
            "w": layout.width,
            "h": layout.height,
            "fps": layout.fps,
            "k": [[layout.intrinsics[i].tolist() for i in chosen] for _ in frames],
            "w2c": [layout.world_to_camera[frame % len(layout.world_to_camera), chosen].tolist() for frame in frames],
            "cam_id": [numbers for _ in frames],
            "fn": [[f"{number}/{frame:06d}{layout.suffix}" for number in numbers] for frame in frames],
        }

    @property
    def has_initial_points(self) -> bool:
        """Whether `write_initial_points` is done."""
        return (self.root / POINTS).exists()

    def write_initial_points(self, points: NDArray, colors: NDArray, is_foreground: NDArray) -> None:
        """The first cloud as Dynamic3DGS has it: `data` [N, 7] = xyz, rgb in 0..1, 1 for foreground."""
        path = self.root / POINTS
        data = np.concatenate([points, colors, is_foreground[:, None]], axis=1).astype(np.float32)
        with open(path.with_suffix(".part"), "wb") as file:
            np.savez(file, data=data)
        os.replace(path.with_suffix(".part"), path)


def describe(layout: Layout) -> dict[str, Any]:
    """A layout as JSON values."""
    return json.loads(json.dumps(asdict(layout), default=lambda array: array.round(9).tolist()))


def gray_png(values: NDArray[np.uint8]) -> bytes:
    """An 8-bit grey PNG of [H, W] values, which are stored as they are (a colour-managed writer would change ids)."""
    height, width = values.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), values], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def _write_json(path: Path, value: Any) -> None:
    _write_bytes(path, json.dumps(value).encode())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RenderProblem(f"{path} is damaged ({error}); delete the folder or turn on Overwrite.") from error
