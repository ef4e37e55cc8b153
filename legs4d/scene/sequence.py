"""The one type every reader returns: synchronised images of calibrated cameras over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras
from legs4d.scene.content import Content

if TYPE_CHECKING:
    from legs4d.config import DatasetSettings

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Caption:
    """What an object does from frame `start` to frame `end`, both included, counted from 0."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class InitialPoints:
    """A point cloud to start from: positions [N, 3] float32, colours [N, 3] float32 in 0..1, foreground [N] bool."""

    positions: NDArray[np.float32]
    colors: NDArray[np.float32]
    is_foreground: NDArray[np.bool_]


class Sequence(Protocol):
    """Synchronised footage. Frames are counted from 0; arrays are at the size of `cameras(...)`.

    `images`, `masks` and `objects` take the positions (not ids) of the cameras wanted, all of them by default.
    """

    root: Path
    num_frames: int
    frame_numbers: tuple[int, ...]
    """The dataset's own number of each frame."""
    fps: float
    """Frames per second of the capture."""
    times: tuple[float, ...]
    """When each frame was taken: seconds from the first. Frames of footage that tells times may be apart unevenly."""
    captions: dict[int, list[Caption]] | None
    """Object id → what it does over time; None when the dataset has no captions."""
    initial_points: InitialPoints | None
    bounds: tuple[float, float] | None
    """Camera z of the nearest and the farthest that is filmed, scene units, where a dataset tells (LLFF's do)."""
    content: Content
    """The files that all of this is read from."""
    notes: tuple[str, ...]
    """What was read in another way than one might think, or not at all: a sentence each."""
    reading: DatasetSettings
    """How it was read; what was found for it, such as when videos were begun, stands there as if it had been said."""
    see_through: bool
    """Whether masks are the pictures' alpha: where they are 0 there is nothing at all, and pictures show white."""
    origin: tuple[float, float, float]
    """What was taken off all positions: footage in map coordinates would lose its digits in float32."""

    def cameras(self, split: Split, frame: int) -> Cameras: ...

    def taken_at(self, split: Split, frame: int) -> NDArray[np.float64]:
        """[C] when the pictures of a frame were taken, in frames: all at `frame`, but what a moving camera took for
        testing, which belongs to the frame nearest to its own time."""
        ...

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        """[C, H, W, 3] RGB in 0..1, sRGB-encoded as captured."""
        ...

    def in_bytes(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        """[H, W, 3] what `images` says of one camera, in 255ths, rounded."""
        ...

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] share of each pixel that is foreground, 0..1; None when the dataset has no masks."""
        ...

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        """[C, H, W] object id of every pixel; None when the dataset has none."""
        ...

    def cut(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W, 4] what masks leave of the pictures: colours, and masks as alpha; None where masks are not files.

        Cut out at full size: colours beside a mask do not mix into the pixels along its edge.
        """
        ...

    def depths(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] measured camera z, scene units, 0 where it is not known; None where there are none."""
        ...

    def known(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.bool_] | None:
        """[C, H, W] where pictures are known; None where they are everywhere."""
        ...

    def picture_names(self, split: Split, frame: int) -> tuple[str, ...]:
        """What each camera's picture is called, without folder and suffix; files beside pictures are named so."""
        ...

    def fingerprint(self, *, language: bool = False) -> str:
        """Hash of what is in the files that are read, wherever they lie and at whatever scale.

        Args:
            language: of captions and object masks too, which matter to the lift alone.
        """
        ...


def cameras_move(sequence: Sequence) -> bool:
    """Whether any camera stands elsewhere in a later frame than in the first, or there are more or fewer of them."""
    for split in ("train", "test"):
        first = sequence.cameras(split, 0)
        for frame in range(1, sequence.num_frames):
            now = sequence.cameras(split, frame)
            if not np.array_equal(now.world_to_camera, first.world_to_camera):
                return True
    return False
