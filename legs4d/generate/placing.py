"""From where a picture shows a thing whose shape is known: looked for all around it, then to a fraction of a pixel.

What follows a video moves until its first picture is met: a camera that is off by a few pixels bends or swells it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.lenses import FOURDGEN
from legs4d.generate.resizing import resized
from legs4d.progress import StageReporter
from legs4d.raster.rasterise import render
from legs4d.scene.camera import Cameras
from legs4d.scene.images import as_unit

SIDE = 56
"""Pixels of the pictures that are compared."""
AZIMUTHS, ELEVATIONS = 24, (-15.0, 0.0, 15.0, 35.0)
FINER = (8.0, 4.0, 2.0)
"""Degrees by which the best place is moved to all sides, one after the other."""
FITTED = 3
"""Times that the distance is put right for each place."""
SIDES = (SIDE, 2 * SIDE, 4 * SIDE)
"""Pixels of those by which the best place is put right, one after the other, as far as the picture has them."""
LOOKS = 12
"""Times that its derivatives are taken, at most, for each of these."""
NEARBY = 1e-3
"""By which each number is changed for a derivative: radians, shares of the distance, logarithm of the focal length."""
USUAL = 0.01
"""Weight that holds the focal length to what is usual, where a shape does not tell it from its distance."""
SOLID = 0.05
"""Opacity below which a Gaussian is no part of the shape."""
FEWEST = 4
"""Gaussians of a shape: fewer are no thing that turns and bends."""
LIKE = 0.55
"""Overlap of the silhouettes below which the picture shows something else."""
SMALL = 0.5
"""Of a picture's side: a thing that takes less is looked at in a part of the picture, as all of it has too few pixels
of the thing."""
ROOM = 1.25
"""Times the thing's longest side that this part is wide."""


@dataclass(frozen=True)
class Placed:
    """A picture's camera.

    Attributes:
        camera: one, for square pictures.
        overlap: of the silhouettes, 0..1; difference: of the colours, 0..1.
        elevation, azimuth: degrees, about the run's up: where the camera stands, seen from the thing's middle.
    """

    camera: Cameras
    overlap: float
    difference: float
    elevation: float
    azimuth: float

    def told(self) -> str:
        """For a person, in whole degrees."""
        high = round(self.elevation)
        return f"{abs(high)}° {'below' if high < 0 else 'above'}, {round(self.azimuth) % 360}° about"


def place(
    shape: Gaussians, up: NDArray[np.float64], picture: NDArray[np.uint8], where: str, reporter: StageReporter
) -> Placed:
    """The camera from which a shape (numpy) looks most like a picture [S, S, 4] (colours times alpha).

    Args:
        up: [3] unit, the direction that is up in the picture.

    Raises:
        Legs4dError: it looks like the picture from nowhere, or too little of it can be seen.
        Stopped: the reporter says so.
    """
    solid = shape.take(shape.opacities > SOLID).torch()
    if len(solid) < FEWEST:
        what = f"{len(solid)} Gaussians can be seen of the known object that it is to show, and {FEWEST} are the fewest"
        raise Legs4dError(what, where=where, fix="give by --views a run whose object is seen at its frame 0")
    part = _Part.of(picture)
    small = torch.from_numpy(resized(as_unit(part.of_picture(picture)), SIDE, SIDE))
    axes = _axes(up)
    means = solid.means.numpy().astype(np.float64)
    center = np.median(means, axis=0)
    # Large Gaussians in one place are as wide as they are, not as they lie apart.
    sizes = solid.scales.numpy().max(axis=1)
    extent = float(np.quantile(np.linalg.norm(means - center, axis=1), 0.95).clip(2 * np.median(sizes)))

    wanted = _box(small[..., 3].numpy())

    def look(elevation: float, azimuth: float) -> Placed:
        reporter.check()
        camera = FOURDGEN.cameras(elevation, azimuth, SIDE)
        turn = camera.world_to_camera[0, :3, :3].astype(np.float64) @ axes
        lens = part.lens(float(camera.intrinsics[0, 0, 0]) / SIDE, SIDE)
        shift = np.array([0.0, 0.0, 2 * extent * lens[0, 0] / (wanted[2] - wanted[0]).clip(1)])
        shift[:2] = (SIDE / 2 - lens[:2, 2]) / lens[0, 0] * shift[2]
        for _ in range(FITTED):
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = turn, shift - turn @ center
            camera = Cameras(pose[None].astype(np.float32), lens[None].astype(np.float32), SIDE, SIDE, (0,))
            with torch.no_grad():
                drawn = render(solid, camera, background=torch.ones(3), near=0.05 * shift[2])
            color, alpha = drawn.color[0].clamp(0, 1), drawn.alpha[0]
            found = _box(alpha.numpy())
            # As wide and as high as the picture's, and where that is.
            size = max(found[2:] - found[:2]) / max(wanted[2:] - wanted[:2])
            middle = (wanted[:2] + wanted[2:]) / 2 - lens[:2, 2]
            now = (found[:2] + found[2:]) / 2 - lens[:2, 2]
            shift = shift * size
            shift[:2] += (middle - now) / lens[0, 0] * shift[2]
        return Placed(camera, *_likeness(color, alpha, small), elevation, azimuth)

    def worth(found: Placed) -> float:
        return found.overlap - 2 * found.difference

    tried = []
    for number in range(AZIMUTHS):
        reporter.step(number, AZIMUTHS)
        tried += [look(elevation, number * 360 / AZIMUTHS) for elevation in ELEVATIONS]
    best = max(tried, key=worth)
    for step in FINER:
        near = [(best.elevation + e * step, best.azimuth + a * step) for e in (-1, 0, 1) for a in (-1, 0, 1)]
        best = max([best, *(look(e, a) for e, a in near if abs(e) < 85)], key=worth)
    reporter.step(AZIMUTHS, AZIMUTHS)
    if best.overlap < LIKE:
        what = (
            f"the video's first picture looks like it from nowhere (silhouettes overlap by {best.overlap:.2f} at best)"
        )
        raise Legs4dError(
            what, where=where, fix="give the run of the object that the video shows, upright as it is there"
        )
    return _put_right(best, solid, center, axes, picture, part, reporter)


def _put_right(
    best: Placed,
    solid: Gaussians,
    center: NDArray[np.float64],
    axes: NDArray[np.float64],
    picture: NDArray[np.uint8],
    part: _Part,
    reporter: StageReporter,
) -> Placed:
    """The place near the best one, and the focal length, by which pictures differ least: Levenberg and Marquardt."""
    start = best.camera.world_to_camera[0].astype(np.float64)
    turn, shift = start[:3, :3], start[:3, :3] @ center + start[:3, 3]
    focal = float(FOURDGEN.cameras(0, 0, 1).intrinsics[0, 0, 0])
    whole = _Part(0, 0, part.picture, part.picture)

    def camera(by: NDArray[np.float64], side: int, shown: _Part = part) -> Cameras:
        pose, lens = np.eye(4), shown.lens(focal * np.exp(by[6]), side)
        pose[:3, :3] = Rotation.from_rotvec(by[:3]).as_matrix() @ turn
        pose[:3, 3] = shift + by[3:6] * shift[2] - pose[:3, :3] @ center
        return Cameras(pose[None].astype(np.float32), lens[None].astype(np.float32), side, side, (0,))

    def drawn(by: NDArray[np.float64], side: int) -> torch.Tensor:
        reporter.check()
        with torch.no_grad():
            made = render(solid, camera(by, side), background=torch.zeros(3), near=0.05 * float(shift[2]))
        return torch.cat([made.color[0], made.alpha[0, ..., None]], dim=-1)

    def apart(by: NDArray[np.float64], truth: torch.Tensor) -> NDArray[np.float64]:
        off = (drawn(by, len(truth)) - truth).flatten().numpy().astype(np.float64) / len(truth)
        return np.append(off, USUAL * by[6])

    def slopes(by: NDArray[np.float64], truth: torch.Tensor) -> NDArray[np.float64]:
        here = apart(by, truth)
        return np.stack([apart(by + step, truth) - here for step in NEARBY * np.eye(7)], axis=1) / NEARBY

    by = np.zeros(7)
    for side in (side for side in SIDES if side <= part.side or side == SIDE):
        truth = torch.from_numpy(resized(as_unit(part.of_picture(picture)), side, side))
        by = least_squares(apart, by, slopes, method="lm", max_nfev=LOOKS, args=(truth,)).x
    made = drawn(by, len(truth))
    likeness = _likeness(made[..., :3] + 1 - made[..., 3:], made[..., 3], truth)
    found = camera(by, part.picture, whole)
    back = axes @ (found.centers[0] - center)
    back /= np.linalg.norm(back)
    elevation, azimuth = np.degrees(np.arcsin(back[1].clip(-1, 1))), np.degrees(np.arctan2(back[0], back[2]))
    return Placed(found, *likeness, float(elevation), float(azimuth % 360))


def _likeness(color: torch.Tensor, alpha: torch.Tensor, picture: torch.Tensor) -> tuple[float, float]:
    """(overlap of the silhouettes, difference of the colours where either is) of what is drawn on white [S, S, 3] and
    its alpha [S, S], and a picture [S, S, 4] (colours times alpha)."""
    one, other = alpha > 0.5, picture[..., 3] > 0.5
    overlap = (one & other).sum() / (one | other).sum().clamp(min=1)
    apart = (color - picture[..., :3] - 1 + picture[..., 3:]).abs().mean(dim=-1)
    return float(overlap), float(apart[one | other].mean())


@dataclass(frozen=True)
class _Part:
    """The square of a square picture in which a thing is looked at: all of it, unless the thing is small in it.

    Attributes:
        left, top, side: pixels of the picture.
        picture: its side, pixels.
    """

    left: int
    top: int
    side: int
    picture: int

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> _Part:
        """For a picture [S, S, 4] of the thing alone."""
        size, box = len(picture), _box(as_unit(picture)[..., 3])
        longest = float(max(box[2:] - box[:2]))
        if longest >= SMALL * size:
            return cls(0, 0, size, size)
        side = int(np.ceil(ROOM * longest))
        left, top = (int(v) for v in ((box[:2] + box[2:] - side) / 2).clip(0, size - side))
        return cls(left, top, side, size)

    def of_picture(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[side, side, 4] of a picture [S, S, 4]."""
        return picture[self.top : self.top + self.side, self.left : self.left + self.side]

    def lens(self, focal: float, side: int) -> NDArray[np.float64]:
        """[3, 3] intrinsics of this part as a picture of `side` pixels, of a focal length in sides of the picture."""
        scale, middle = side / self.side, self.picture / 2
        found = np.array([[0, 0, middle - self.left], [0, 0, middle - self.top], [0, 0, 1 / scale]]) * scale
        found[[0, 1], [0, 1]] = focal * self.picture * scale
        return found


def _axes(up: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] rows: right, up and front of the object, in the run's axes; front is +z where up is +y."""
    guess = np.array([0.0, 0, 1]) if abs(up[2]) < 0.9 else np.array([0.0, -1, 0])
    front = guess - up * (guess @ up)
    front /= np.linalg.norm(front)
    return np.stack([np.cross(up, front), up, front])


def _box(alpha: NDArray[np.float32]) -> NDArray[np.float64]:
    """[4] left, top, right, bottom of what is in a picture [S, S]; all of it where nothing is."""
    rows, columns = (np.flatnonzero((alpha > 0.5).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.array([0.0, 0.0, alpha.shape[1], alpha.shape[0]])
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
