"""Lenses: COLMAP's camera models, and the pinhole that a picture taken through one is turned into.

The model says what a lens does, not its coefficients: a fisheye whose coefficients are all 0 is still a fisheye, and a
radial lens whose coefficients are 0 is a pinhole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.images import ImageCache

if TYPE_CHECKING:
    import pycolmap

COEFFICIENTS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "SIMPLE_DIVISION": ("k",),
    "DIVISION": ("k",),
    "FOV": ("omega",),
    "EUCM": ("alpha", "beta"),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "THIN_PRISM_FISHEYE": ("k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
    "RAD_TAN_THIN_PRISM_FISHEYE": ("k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1", "s0", "s1", "s2", "s3"),
}
"""COLMAP's models and the names of their coefficients, in its order, after focal length and principal point."""

OPENCV_ORDER = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")

ONE_FOCAL = {name for name in COEFFICIENTS if name.startswith("SIMPLE_")} | {"RADIAL", "RADIAL_FISHEYE"}
"""Models with one focal length for both axes."""

PINHOLES = {"SIMPLE_PINHOLE", "PINHOLE"}

PERSPECTIVE = {"SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "SIMPLE_DIVISION", "DIVISION", "FOV", "EUCM"}
"""Models that are pinholes when their coefficients are 0; of EUCM's, alpha alone decides."""

WIDEST = np.tan(np.radians(60))
"""What a pinhole made from a wide lens sees to each side of its axis: beyond 60°, few pixels of the lens would fill
most of the picture."""

LARGEST_ZOOM = 16.0
"""A lens whose picture must be enlarged more than this to be rid of its borders is no lens."""

MOST_SKEW = 1e-3
"""Of the focal length: a skew that moves no pixel by more than its noise."""

MAP_BYTES = 512 << 20
"""Room for tables that say where each pixel of an undistorted picture comes from: 32 lenses at 1920×1080."""

_BORDER, _STEPS = 24, 24
"""Points on each side of a picture's border, and steps from its middle to them, at which a zoom is tried."""


@dataclass(frozen=True)
class Lens:
    """A calibrated lens.

    Attributes:
        model: one of `COEFFICIENTS`.
        width, height: pixels of the pictures it was calibrated for.
        focal: (fx, fy), pixels.
        center: (cx, cy), pixels; pixel (0, 0) has its centre at (0.5, 0.5).
        coefficients: as `COEFFICIENTS` names them.
    """

    model: str
    width: int
    height: int
    focal: tuple[float, float]
    center: tuple[float, float]
    coefficients: tuple[float, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of its pictures."""
        return self.width, self.height

    @property
    def is_pinhole(self) -> bool:
        """Whether straight lines are straight in its pictures."""
        bending = self.coefficients[:1] if self.model == "EUCM" else self.coefficients
        return self.model in PINHOLES or (self.model in PERSPECTIVE and not any(bending))

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """[3, 3] of the pinhole that its pictures are turned into, of the same size: focal lengths times `zoom`."""
        zoom = 1.0 if self.is_pinhole else _zoom(self)
        (fx, fy), (cx, cy) = self.focal, self.center
        return np.array([[fx * zoom, 0, cx], [0, fy * zoom, cy], [0, 0, 1]])

    def resized(self, width: int, height: int) -> Lens:
        """For the same pictures at another size."""
        x, y = width / self.width, height / self.height
        focal, center = (self.focal[0] * x, self.focal[1] * y), (self.center[0] * x, self.center[1] * y)
        if self.model in ONE_FOCAL:
            focal = (focal[0], focal[0])
        return Lens(self.model, width, height, focal, center, self.coefficients)

    def project(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N, 2] pixels of rays [N, 3] in camera axes (x right, y down, z forward); not finite where it sees nothing.

        Raises:
            DatasetError: the lens is distorted and pycolmap is not installed, or does not know the model.
        """
        if self.is_pinhole:
            return rays[:, :2] / rays[:, 2:] * self.focal + self.center
        return np.asarray(_colmap_camera(self).img_from_cam(np.ascontiguousarray(rays)))

    def undistort(self, picture: NDArray[Any], *, nearest: bool = False) -> NDArray[Any]:
        """[H, W, ...] as a pinhole of `intrinsics` would have taken it: same size and type, every pixel seen.

        Args:
            picture: uint8, uint16 or float32, of this lens's size.
            nearest: take the nearest pixel, as masks and labels need; else cubic interpolation.

        Raises:
            DatasetError: OpenCV is not installed.
        """
        if self.is_pinhole:
            return picture
        try:
            import cv2
        except ImportError as error:
            raise DatasetError(
                f"the lens is distorted ({self.model}), and undoing it needs OpenCV, which is not installed",
                where="cameras",
                fix="pip install opencv-python-headless",
            ) from error
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_CUBIC
        places = _MAPS.get(self, lambda: _places(self))
        turned = cv2.remap(np.ascontiguousarray(picture), places, np.empty(0), how, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(turned)


def lens_of(
    model: str,
    width: int,
    height: int,
    focal: tuple[float, float],
    center: tuple[float, float],
    values: Mapping[str, float],
    where: str,
) -> Lens:
    """A lens from coefficients by name, such as k1 or p1; those not given are 0 (EUCM's beta: 1).

    Args:
        model: COLMAP's name; "OPENCV" with k3 to k6 is taken for FULL_OPENCV, as OpenCV does.

    Raises:
        DatasetError: the model is unknown or a panorama, or has coefficients that it cannot have.
    """
    if model in ("EQUIRECTANGULAR", "SPHERICAL", "LATLONG"):
        raise DatasetError(
            f"is a panorama ({model}), which no pinhole sees",
            where=where,
            fix="split it into perspective pictures with poses of their own (FFmpeg's filter v360 makes them)",
        )
    if min(width, height) <= 0:
        raise DatasetError(f"is of {width}×{height} pixels", where=where, fix="calibrate it again")
    given = {name: value for name, value in values.items() if value != 0}
    if model in ("OPENCV", "RADIAL", "SIMPLE_RADIAL") and set(given) - set(COEFFICIENTS[model]):
        model = "FULL_OPENCV"
    if model not in COEFFICIENTS:
        known = ", ".join(COEFFICIENTS)
        raise DatasetError(f"has a camera of model {model!r}", where=where, fix=f"models that are read: {known}")
    names = COEFFICIENTS[model]
    odd = sorted(set(given) - set(names))
    if odd:
        raise DatasetError(
            f"is of model {model}, which has no {odd[0]}, and says {odd[0]} = {given[odd[0]]:g}",
            where=where,
            fix=f"name the model that was calibrated, or leave {odd[0]} out",
        )
    coefficients = tuple(float(values.get(name, 1.0 if name == "beta" else 0.0)) for name in names)
    return Lens(model, width, height, focal, center, coefficients)


def lens_of_matrix(
    model: str | None, width: int, height: int, k: NDArray[np.floating], values: Sequence[float], where: str
) -> Lens:
    """A lens from its matrix [3, 3] and its coefficients in order.

    Args:
        model: COLMAP's name; None: a pinhole, or with coefficients one of OpenCV's lenses (k1, k2, p1, p2, k3 to k6).

    Raises:
        DatasetError: as `lens_of`; or there are more coefficients than the model has, or the matrix has a skew, which
            no renderer here has.
    """
    name = model or ("OPENCV" if len(values) else "PINHOLE")
    order = OPENCV_ORDER if name in ("OPENCV", "FULL_OPENCV") else COEFFICIENTS.get(name, ())
    if any(values[len(order) :]):
        raise DatasetError(
            f"has {len(values)} coefficients of distortion, a lens of model {name} {len(order)}",
            where=where,
            fix='name the "camera_model" that was calibrated',
        )
    if abs(k[0, 1]) > MOST_SKEW * abs(k[0, 0]) or abs(k[2, 2] - 1) > 1e-3:
        raise DatasetError(
            f"the intrinsics have a skew of {k[0, 1]:g} and end in {k[2, 2]:g}",
            where=where,
            fix="write [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], pixels",
        )
    focal, center = (float(k[0, 0]), float(k[1, 1])), (float(k[0, 2]), float(k[1, 2]))
    return lens_of(name, width, height, focal, center, dict(zip(order, values, strict=False)), where)


def check_lens(lens: Lens, where: str) -> None:
    """Raise DatasetError when a lens is impossible, or cannot be undone here."""
    numbers = [*lens.focal, *lens.center, *lens.coefficients]
    if not np.isfinite(numbers).all():
        raise DatasetError("the lens has a value that is not a finite number", where=where, fix="calibrate it again")
    if min(lens.focal) <= 0:
        raise DatasetError(
            f"the focal lengths are {lens.focal[0]:g} and {lens.focal[1]:g} pixels, but must be above 0",
            where=where,
            fix="leave this camera out, or calibrate it again",
        )
    if not lens.is_pinhole:
        try:
            _zoom(lens)
        except DatasetError as error:
            raise DatasetError(error.what, where=where, fix=error.fix) from error


_MAPS = ImageCache(MAP_BYTES)


def _places(lens: Lens) -> NDArray[np.float32]:
    """[H, W, 2] where each pixel of the undistorted picture lies in the distorted one, as OpenCV counts pixels."""
    k = lens.intrinsics
    x, y = (np.arange(lens.width) + 0.5 - k[0, 2]) / k[0, 0], (np.arange(lens.height) + 0.5 - k[1, 2]) / k[1, 1]
    places = np.empty((lens.height, lens.width, 2), np.float32)
    ray = np.ones((lens.width, 3))
    ray[:, 0] = x
    for row, value in enumerate(y):  # a row at a time: the whole as float64 is 50 MB at 1920×1080
        ray[:, 1] = value
        places[row] = lens.project(ray) - 0.5
    return places


@lru_cache(maxsize=1024)
def _zoom(lens: Lens) -> float:
    """The least factor of the focal lengths with which every pixel of the pinhole's picture is seen by the lens."""
    (fx, fy), (cx, cy), (w, h) = lens.focal, lens.center, (lens.width, lens.height)
    if not (0 < cx < w and 0 < cy < h):
        raise DatasetError(
            f"the principal point ({cx:g}, {cy:g}) of a distorted lens lies outside its picture of {w}×{h} pixels",
            fix="undistort the pictures before they are cropped",
        )
    x, y = np.linspace(0, w, _BORDER), np.linspace(0, h, _BORDER)
    sides = [np.stack([x, np.full_like(x, at)], -1) for at in (0, h)]
    sides += [np.stack([np.full_like(y, at), y], -1) for at in (0, w)]
    border = (np.concatenate(sides) - (cx, cy)) / (fx, fy)
    steps = np.linspace(0, 1, _STEPS + 1)[1:, None, None]

    def fits(zoom: float) -> bool:
        across = steps * border / zoom
        rays = np.concatenate([across, np.ones((*across.shape[:2], 1))], axis=-1)
        pixels = lens.project(rays.reshape(-1, 3)).reshape(across.shape)
        inside = (pixels >= 0).all() and (pixels[..., 0] <= w).all() and (pixels[..., 1] <= h).all()
        # Polynomials turn back beyond what they were fitted to: there they would show the middle once more.
        away = np.linalg.norm(pixels - (cx, cy), axis=-1)
        return bool(np.isfinite(pixels).all() and inside and (np.diff(away, axis=0) > 0).all())

    low, high = float(np.abs(border).max() / WIDEST), LARGEST_ZOOM
    if low >= high or not fits(high):
        raise DatasetError(
            f"the lens of model {lens.model} shows no pinhole's picture (coefficients "
            f"{', '.join(f'{value:g}' for value in lens.coefficients)})",
            fix="calibrate it again",
        )
    if fits(low):
        return low
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _colmap_camera(lens: Lens) -> pycolmap.Camera:
    try:
        import pycolmap
    except ImportError as error:
        raise DatasetError(
            f"the lens is distorted ({lens.model}), and undoing it needs pycolmap, which is not installed",
            where="cameras",
            fix="pip install pycolmap",
        ) from error
    if lens.model not in pycolmap.CameraModelId.__members__:
        raise DatasetError(
            f"pycolmap {pycolmap.__version__} does not know the camera model {lens.model}",
            where="cameras",
            fix="pip install --upgrade pycolmap",
        )
    focal = lens.focal[:1] if lens.model in ONE_FOCAL else lens.focal
    parameters = [*focal, *lens.center, *lens.coefficients]
    return pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=parameters)
