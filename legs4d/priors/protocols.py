"""What a helper of each role takes and gives: plain arrays, so that one implementation can stand for another.

Pictures are [H, W, 3] float32 RGB in 0..1, sRGB-encoded as captured. Pixel coordinates have their origin at the upper
left corner of the upper left pixel, whose centre is (0.5, 0.5); x goes right, y down. Boxes are (left, top, right,
bottom) in these coordinates. An implementation decides at its making where it computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Role = Literal[
    "masks",
    "boxes",
    "people",
    "flow",
    "matches",
    "depth",
    "views",
    "video",
    "between",
    "picture",
    "guidance",
    "perceptual",
]


@dataclass(frozen=True)
class NamedBoxes:
    """Things found in one picture, the surest first.

    Attributes:
        boxes: [N, 4] float32, pixels.
        scores: [N] float32, 0..1.
        names: N words.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class People:
    """People found in one picture, the surest first.

    Attributes:
        boxes: [N, 4] float32, pixels.
        scores: [N] float32, 0..1.
        points: [N, K, 2] float32, pixels: the joints in the order of `names`.
        point_scores: [N, K] float32, 0..1.
        names: K joints.
        world: [N, K, 3] float32, metres from the middle of the hips, x right, y down, z away from the camera; None
            where the implementation does not tell.
        masks: [N, H, W] float32, 0..1; None where it does not tell.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    points: NDArray[np.float32]
    point_scores: NDArray[np.float32]
    names: tuple[str, ...]
    world: NDArray[np.float32] | None = None
    masks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Pairs:
    """Points of one picture found again in another, the surest first.

    Attributes:
        first, second: [N, 2] float32, pixels of either picture.
        scores: [N] float32, 0..1.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)


class MasksPrior(Protocol):
    """Cuts out the thing in a box."""

    def masks(self, picture: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, H, W] share of each pixel that belongs to the main thing in each of the boxes [N, 4], 0..1."""
        ...


class BoxesPrior(Protocol):
    """Finds things and says what they are."""

    def boxes(self, picture: NDArray[np.float32]) -> NamedBoxes: ...


class WordsPrior(Protocol):
    """Finds what words mean."""

    def boxes_of(self, picture: NDArray[np.float32], words: tuple[str, ...]) -> NamedBoxes:
        """Everything that any of the words means ("a red ball"); its name is the words by which it was found."""
        ...


class PeoplePrior(Protocol):
    """Finds people and their joints."""

    def people(self, picture: NDArray[np.float32], boxes: NDArray[np.float32] | None = None) -> People:
        """The people in a picture; with boxes [N, 4], exactly the one in each, in that order."""
        ...


class FlowPrior(Protocol):
    """Says where pixels go."""

    def flow(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """[H, W, 2] (x, y) in pixels: the first picture's pixel p shows what the second's p + flow(p) shows."""
        ...


class MatchesPrior(Protocol):
    """Finds the same points in pictures of two cameras."""

    def matches(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> Pairs:
        """Pairs of points of two pictures [H, W, 3], which may be of two sizes."""
        ...

    def points(self, picture: NDArray[np.float32]) -> Any:
        """Points of a picture with what they look like, to be matched with those of several others by `match`."""
        ...

    def match(self, first: Any, second: Any) -> Pairs:
        """Pairs of what `points` found in two pictures."""
        ...


class DepthPrior(Protocol):
    """Says how far away things are, in one picture or alike over a video."""

    def disparity(self, pictures: NDArray[np.float32], masks: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """[T, H, W] ≥ 0 of pictures [T, H, W, 3]: 1 / depth, but for a scale and a shift that nobody knows.

        Args:
            masks: [T, H, W] share of what is to be seen, 0..1; learned ones do without, `inflation` cannot.
        """
        ...


class ViewsPrior(Protocol):
    """Invents what an object looks like from elsewhere."""

    def views(self, picture: NDArray[np.float32], cameras: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        """[C, S, S, 3] pictures on white of the object in a square picture on white.

        Args:
            cameras: [C, 3] elevation and azimuth in degrees, and distance, each relative to the picture's camera.
            seed: of the noise; the same seed gives the same pictures.
        """
        ...


class VideoPrior(Protocol):
    """Makes a picture move."""

    def video(self, picture: NDArray[np.float32], text: str, num_frames: int, seed: int) -> NDArray[np.float32]:
        """[T, H, W, 3] that begins with the picture; T is the nearest to `num_frames` that the model can make."""
        ...


class BetweenPrior(Protocol):
    """Makes what happens between two pictures."""

    def video_between(
        self, first: NDArray[np.float32], last: NDArray[np.float32], text: str, num_frames: int, seed: int
    ) -> NDArray[np.float32]:
        """[T, H, W, 3] that begins with the one and ends with the other; T as in `VideoPrior`."""
        ...


class PicturePrior(Protocol):
    """Makes a picture from words."""

    def picture(self, text: str, seed: int) -> NDArray[np.float32]:
        """[H, W, 3]."""
        ...


class GuidancePrior(Protocol):
    """Says how a rendering of an object should change to look like the object of a reference picture."""

    def pose(self, elevation: float, azimuth: float, distance: float) -> torch.Tensor:
        """[4] of a camera relative to the reference's: degrees, degrees, and units of the world."""
        ...

    def reference(self, picture: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
        """What is kept of the reference [S, S, 3] on white, for `loss`."""
        ...

    def loss(
        self, rendering: torch.Tensor, poses: torch.Tensor, reference: tuple[torch.Tensor, torch.Tensor], step: int
    ) -> torch.Tensor:
        """Whose gradient in the renderings [B, 3, H, W] is that of score distillation at a step of the noise."""
        ...


class PerceptualPrior(Protocol):
    """Says how different pictures look to a person."""

    def distance(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """0 for equal pictures of one size; around 0.7 for different ones."""
        ...
