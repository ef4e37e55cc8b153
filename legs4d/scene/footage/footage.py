"""What readers share: shots (who took a picture, from where, through which lens) become a `Sequence` of pinhole cameras
of one size, with pictures on demand and no more memory than a few frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.executor import default_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.checks import check_poses, check_scale
from legs4d.scene.content import Content
from legs4d.scene.footage.alpha import tells_by_alpha
from legs4d.scene.footage.canvas import Canvas
from legs4d.scene.footage.clock import seconds_of
from legs4d.scene.footage.depths import read_depth
from legs4d.scene.footage.masks import find_masks, mask_of
from legs4d.scene.footage.names import some
from legs4d.scene.footage.shots import Shot, Shots, is_scaled
from legs4d.scene.images import (
    ImageCache,
    as_bytes,
    as_unit,
    mask_size,
    read_labels,
    read_mask,
    read_picture,
    white_of,
)
from legs4d.scene.lens import Lens, check_lens
from legs4d.scene.sequence import Caption, InitialPoints, Split

Model = TypeVar("Model", bound=BaseModel)

FAR_FROM_ORIGIN = 30.0
"""Cameras further from the origin than this many times their own spread are recentred: in float32 the pixels of 4K
pictures would otherwise be off by a hundredth and more."""
ALL_KNOWN = 0.999
"""Share of a pixel that has to be known: the rest would colour it."""


class Footage:
    """A `Sequence` of shots.

    Pictures of distorted lenses are undistorted when they are read, and pictures of several sizes are brought to one
    (`Canvas`); cameras far from the origin are recentred in float64 (`origin`).

    Args:
        root: the dataset folder.
        settings: how it is read.
        shots: all of them.
        fps: frames per second.
        files: what was read beside the shots' files: cameras, videos, points.
        language: likewise of what matters to the lift alone.
        points: to start from, if any: positions [N, 3] float64, colours [N, 3] in 0..1, foreground [N].
        bounds: see `Sequence`.
        times: of each frame, ascending, in any unit: only how far they are apart counts, and half of them as far as
            `fps` says. By default frames follow each other evenly.
        notes: see `Sequence`.
        opaque: whether an alpha channel says where a picture is known, and not that nothing is there.
        one_place: whether all pictures may have been taken in one place.

    Raises:
        DatasetError: a camera, lens or picture is impossible, masks are incomplete, or there are too few cameras.
    """

    captions: dict[int, list[Caption]] | None = None

    def __init__(
        self,
        root: Path,
        settings: DatasetSettings,
        shots: Shots,
        fps: float,
        files: tuple[Path, ...],
        *,
        language: tuple[Path, ...] = (),
        points: tuple[NDArray[np.float64], NDArray[Any], NDArray[np.bool_]] | None = None,
        bounds: tuple[float, float] | None = None,
        times: Sequence[float] | None = None,
        notes: tuple[str, ...] = (),
        opaque: bool = False,
        one_place: bool = False,
    ) -> None:
        shots, of_masks = find_masks(root, shots)
        self.root, self.scale, self.fps = root, settings.scale, fps
        self._shots, self.reading = shots, settings
        self.num_frames = len(shots["train"])
        self.frame_numbers = tuple(range(self.num_frames))
        self.times = seconds_of(range(self.num_frames) if times is None else times, fps)
        every = list(_every(shots))
        _check_masks(every)
        self.content = _content(root, every, files, language)
        _check_cameras(shots, root, one_place)
        self.origin = _origin(np.array([shot.world_to_camera for shot in every]))
        self._canvas = Canvas.of(_sizes(every, root), str(root))
        check_scale(self.scale, self._canvas.width, self._canvas.height)
        self._tracks: dict[Split, list[Cameras]] = {split: [self._cameras(f) for f in s] for split, s in shots.items()}
        first = shots["train"][0]
        self._masked = _all_or_none([shot.mask for frame in shots["train"] for shot in frame], "mask", root)
        self._has_objects = _all_or_none([s.objects for frame in shots["train"] for s in frame], "object mask", root)
        if self._masked:
            _check_foreground(first)
        tells = (False, ()) if opaque or self._masked else tells_by_alpha(shots["train"])
        self.see_through, of_alpha = tells
        self._has_holes = opaque and any(shot.has_alpha for shot in every)
        self._has_depths = any(shot.depth is not None for shot in every)
        self.bounds = bounds
        self.initial_points = None if points is None else _shifted(points, self.origin)
        self.notes = (*notes, *of_masks, *of_alpha, *self._notes(every))
        self._cache = ImageCache()

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[Any]:
        """A picture as `read_picture` gives it, at full size; `camera` is a position. May be called by threads."""
        shot = self._shots[split][frame][camera]
        assert shot.picture is not None
        return read_picture(shot.picture, as_stored=shot.as_stored)

    def cameras(self, split: Split, frame: int) -> Cameras:
        """The cameras at the working size; none of them where the dataset has no test pictures of this frame."""
        if split not in self._tracks:
            return self._tracks["train"][0].take([]).scaled(self.scale)
        return self._tracks[split][frame].scaled(self.scale)

    def taken_at(self, split: Split, frame: int) -> NDArray[np.float64]:
        """[C] when the pictures of a frame were taken, in frames."""
        shots = self._shots[split][frame] if split in self._shots else []
        return np.array([frame if shot.moment is None else shot.moment for shot in shots], np.float64)

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        """[C, H, W, 3] RGB in 0..1; what is transparent is white, as NeRF's synthetic scenes are shown."""
        pictures = self._pictures(split, frame, cameras)
        if not self.see_through:
            return pictures
        return pictures[..., :3] * pictures[..., 3:] + (1 - pictures[..., 3:])

    def in_bytes(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        """[H, W, 3] what `images` says, in 255ths: as it is stored where it is stored so."""
        lens, rig = self._shots[split][frame][camera].lens, self.cameras(split, frame)
        if self.see_through or not self._canvas.keeps(lens, (rig.width, rig.height)):
            return as_bytes(self.images(split, frame, [camera])[0])
        part = self._canvas.cut(self._read(split, frame, camera)[..., :3], lens)
        return part if part.dtype == np.uint8 else as_bytes(as_unit(part))

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] share of each pixel that is foreground; None without masks, and for test cameras without alpha."""
        if self.see_through:
            return self._pictures(split, frame, cameras)[..., 3]
        if split != "train" or not self._masked:
            return None
        return self._stack("mask", split, frame, cameras, (), np.float32)

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        """[C, H, W] id of the object that covers most of each pixel; None for test cameras, or without object ids."""
        if split != "train" or not self._has_objects:
            return None
        return self._stack("objects", split, frame, cameras, (), np.uint8)

    def cut(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W, 4] colours in 0..1 and masks as alpha; None without mask files; held-out pictures all need one."""
        if not self._masked:
            return None
        held_out = self._shots["test"][frame] if split == "test" and "test" in self._shots else []
        if any(mask_of(self.root, shot) is None for shot in held_out):
            return None
        return self._stack("cut", split, frame, cameras, (4,), np.float32)

    def depths(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] measured camera z, scene units, 0 where it is not known; None where there are none, and for test
        cameras."""
        if split != "train" or not self._has_depths:
            return None
        return self._stack("depth", split, frame, cameras, (), np.float32)

    def known(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.bool_] | None:
        """[C, H, W] where pictures are known; None where they are everywhere."""
        if not self._has_holes:
            return None
        return self._stack("known", split, frame, cameras, (), np.bool_)

    def picture_names(self, split: Split, frame: int) -> tuple[str, ...]:
        """The names of the pictures' files; of a video's pictures their numbers."""
        shots = self._shots[split][frame] if split in self._shots else []
        number = f"{self.frame_numbers[frame]:06d}"
        return tuple(number if shot.picture is None else shot.picture.stem for shot in shots)

    def fingerprint(self, *, language: bool = False) -> str:
        """Hash of what is in the files of cameras, points, pictures and masks; see `Sequence`."""
        return self.content.fingerprint(language=language)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _cameras(self, shots: list[Shot]) -> Cameras:
        """The pinholes on the canvas, about the origin."""
        poses = np.array([shot.world_to_camera for shot in shots]).reshape(-1, 4, 4)
        poses[:, :3, 3] += poses[:, :3, :3] @ np.array(self.origin)
        intrinsics = np.array([self._canvas.intrinsics(shot.lens) for shot in shots]).reshape(-1, 3, 3)
        numbers = tuple(shot.number for shot in shots)
        size = self._canvas.width, self._canvas.height
        return Cameras(poses.astype(np.float32), intrinsics.astype(np.float32), *size, numbers)

    def _notes(self, every: list[Shot]) -> Iterator[str]:
        if len(self._canvas.boxes) > 1:
            sizes = some([f"{w}×{h}" for w, h in sorted(self._canvas.boxes)])
            width, height = self._canvas.width, self._canvas.height
            yield f"The pictures are of {sizes} pixels: their middle is read, at {width}×{height}."
        bent = sorted({shot.lens.model for shot in every if not shot.lens.is_pinhole})
        if bent:
            yield f"Lenses are distorted ({', '.join(bent)}): they are undone, and borders without picture cut off."
        if any(self.origin):
            x, y, z = self.origin
            place = f"({x:.10g}, {y:.10g}, {z:.10g})"
            yield f"The cameras are far from the origin: {place} is taken off, and put back on export."
        if any(shot.as_stored for shot in every):
            yield "Metadata turn the pictures, but cameras are calibrated for them as stored: so they are read."

    def _pictures(self, split: Split, frame: int, cameras: list[int] | None) -> NDArray[np.float32]:
        """[C, H, W, 3 or 4] in 0..1, at the working size."""
        return self._stack("picture", split, frame, cameras, (4 if self.see_through else 3,), np.float32)

    def _stack(
        self, kind: str, split: Split, frame: int, cameras: list[int] | None, channels: tuple[int, ...], dtype: type
    ) -> NDArray[Any]:
        rig = self.cameras(split, frame)
        wanted, size = range(len(rig)) if cameras is None else cameras, (rig.width, rig.height)
        stack: NDArray[Any] = np.empty((len(wanted), rig.height, rig.width, *channels), dtype)
        with ThreadPoolExecutor(default_threads(), thread_name_prefix="legs4d-picture") as readers:
            load, keys = partial(self._load, kind, split, frame), map(int, wanted)
            parts = readers.map(lambda c: self._cache.get((kind, split, frame, c), partial(load, c, size)), keys)
            for i, part in enumerate(parts):
                stack[i] = part
        return stack

    def _read(self, split: Split, frame: int, camera: int) -> NDArray[Any]:
        """`_picture`, of the size that its camera was calibrated for."""
        shot, picture = self._shots[split][frame][camera], self._picture(split, frame, camera)
        if picture.shape[1::-1] != shot.lens.size:
            raise DatasetError(
                f"camera {shot.number}, frame {frame} is {picture.shape[1]}×{picture.shape[0]} pixels, its camera "
                f"{shot.lens.width}×{shot.lens.height}",
                where=str(self.root),
                fix="all pictures must have the size that their cameras were calibrated for",
            )
        return picture

    def _load(self, kind: str, split: Split, frame: int, camera: int, size: tuple[int, int]) -> NDArray[Any]:
        shot = self._shots[split][frame][camera]
        if kind == "mask":
            assert shot.mask is not None
            return self._canvas.mask(_fitted(read_mask(shot.mask), shot.lens), shot.lens, size)
        if kind == "objects":
            assert shot.objects is not None
            return self._canvas.labels(_fitted(read_labels(shot.objects), shot.lens), shot.lens, size)
        if kind == "depth":
            if shot.depth is None:
                return np.zeros(size[::-1], np.float32)
            depth = read_depth(shot.depth)
            _check_shape(shot.depth, depth.shape[::-1], shot.lens.size, "depths")
            return self._canvas.depths(_fitted(depth, shot.lens), shot.lens, size)
        if kind == "known":
            picture = self._picture(split, frame, camera)
            if picture.shape[2] == 3:
                return np.ones(size[::-1], np.bool_)
            return self._canvas.mask(as_unit(picture[..., 3:])[..., 0] == 1, shot.lens, size) > ALL_KNOWN
        picture = self._read(split, frame, camera)
        if kind == "cut":
            mask_file = mask_of(self.root, shot)
            assert mask_file is not None
            mask = (_fitted(read_mask(mask_file), shot.lens) * white_of(picture)).astype(picture.dtype)
            return self._canvas.picture(np.concatenate([picture[..., :3], mask[..., None]], axis=-1), shot.lens, size)
        if not self.see_through:
            return self._canvas.picture(picture[..., :3], shot.lens, size)
        if picture.shape[2] == 3:
            opaque = np.full((*picture.shape[:2], 1), white_of(picture), picture.dtype)
            picture = np.concatenate([picture, opaque], axis=-1)
        return self._canvas.picture(picture, shot.lens, size)


def read_model(path: Path, model: type[Model], what: str, fix: str) -> Model:
    """A JSON file as a pydantic model. Raises DatasetError that it is missing, or no `what` as a field is wrong."""
    try:
        return model.model_validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except FileNotFoundError as error:
        raise DatasetError("is missing", where=str(path), fix=fix) from error
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})", where=str(path), fix="check the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = f"{place}: {first['msg']}" if place else first["msg"]
        raise DatasetError(f"is no {what} ({wrong})", where=str(path), fix=fix) from error


def _content(root: Path, shots: list[Shot], files: tuple[Path, ...], language: tuple[Path, ...]) -> Content:
    """All files that are read, each once, in an order that does not depend on how they are listed."""
    seen = {path for shot in shots for path in (shot.picture, shot.mask, shot.depth) if path is not None}
    objects = {shot.objects for shot in shots if shot.objects is not None}
    return Content(root, tuple(sorted(seen | {*files})), tuple(sorted(objects | {*language})))


def _every(shots: Shots) -> Iterator[Shot]:
    return (shot for frames in shots.values() for frame in frames for shot in frame)


def _check_cameras(shots: Shots, root: Path, one_place: bool) -> None:
    for lens, number in {shot.lens: shot.number for shot in _every(shots)}.items():
        check_lens(lens, f"{root}, camera {number}")
    for split, frames in shots.items():
        for frame, taken in enumerate(frames):
            names = [f"{root}, {split} camera {shot.number}, frame {frame}" for shot in taken]
            poses = np.array([shot.world_to_camera for shot in taken]).reshape(-1, 4, 4)
            check_poses(poses, np.array([shot.lens.intrinsics for shot in taken]).reshape(-1, 3, 3), names)
    places = [shot.world_to_camera.tobytes() for frame in shots["train"] for shot in frame]
    if len(set(places)) < 2 and not one_place:
        one = len(places) == 1
        what = "is 1 training picture" if one else f"are {len(places)} training pictures, all from one place"
        cure = "add pictures from other sides" + ("" if one else ", or give the film of a still camera to legs4d video")
        raise DatasetError(f"there {what}, which tells nothing of depth", where=str(root), fix=cure)


def _check_masks(every: list[Shot]) -> None:
    """Raise DatasetError when a mask or object mask has another shape than its picture, or of a PNG is cut short: of
    these Pillow reads all for their headers, so several are read at once."""
    found = [(path, shot.lens.size) for shot in every for path in (shot.mask, shot.objects) if path is not None]
    with ThreadPoolExecutor(default_threads(), thread_name_prefix="legs4d-mask") as readers:
        sizes = readers.map(mask_size, [path for path, _ in found])
        for (path, picture), size in zip(found, sizes, strict=True):
            _check_shape(path, size, picture, "masks")


def _check_shape(path: Path, size: tuple[int, ...], picture: tuple[int, int], what: str) -> None:
    """Raise DatasetError when a file beside a picture, of (width, height), has another shape."""
    width, height = size
    if not is_scaled((width, height), picture):
        raise DatasetError(
            f"is {width}×{height} pixels, its picture {picture[0]}×{picture[1]}",
            where=str(path),
            fix=f"{what} may be smaller or larger than their pictures, but not cut",
        )


def _fitted(values: NDArray[Any], lens: Lens) -> NDArray[Any]:
    """A mask or labels at the size of the pictures, each pixel as the nearest one is."""
    height, width = values.shape
    if (width, height) == lens.size:
        return values
    rows = ((np.arange(lens.height) + 0.5) * height / lens.height).astype(int)
    columns = ((np.arange(lens.width) + 0.5) * width / lens.width).astype(int)
    return values[rows[:, None], columns]


def _sizes(every: list[Shot], root: Path) -> list[tuple[int, int]]:
    """Of each camera's pictures; of a camera that moves, of those from each place."""
    sizes: dict[tuple[int, bytes], tuple[int, int]] = {}
    for shot in every:
        (w, h), place = shot.lens.size, (shot.number, shot.world_to_camera.tobytes())
        width, height = sizes.setdefault(place, shot.lens.size)
        if (w, h) != (width, height):
            raise DatasetError(
                f"camera {shot.number} has pictures of {width}×{height} and of {w}×{h} pixels",
                where=str(shot.picture or root),
                fix="cameras may have sizes of their own, but each one",
            )
    return list(sizes.values())


def _origin(world_to_camera: NDArray[np.float64]) -> tuple[float, float, float]:
    """What to take off the positions of these cameras [N, 4, 4]: 0, unless they are far from the origin."""
    centers = -np.einsum("nji,nj->ni", world_to_camera[:, :3, :3], world_to_camera[:, :3, 3])
    middle = centers.mean(axis=0)
    spread = float(np.linalg.norm(centers - middle, axis=1).max())
    if float(np.linalg.norm(middle)) <= FAR_FROM_ORIGIN * spread:
        return (0.0, 0.0, 0.0)
    # Whole units are exact in every format, if the scene is not smaller than they are.
    x, y, z = (np.round(middle) if spread > 1 else middle).tolist()
    return (x, y, z)


def _shifted(
    points: tuple[NDArray[np.float64], NDArray[Any], NDArray[np.bool_]], origin: tuple[float, float, float]
) -> InitialPoints:
    positions, colors, is_foreground = points
    moved = (positions - np.array(origin)).astype(np.float32)
    return InitialPoints(moved, colors.astype(np.float32), is_foreground)


def _all_or_none(files: list[Path | None], what: str, root: Path) -> bool:
    """Whether all training shots have such a file. Raises DatasetError when only some do."""
    given = sum(file is not None for file in files)
    if 0 < given < len(files):
        raise DatasetError(
            f"{given} of {len(files)} training pictures have {'an' if what[0] in 'aeiou' else 'a'} {what}",
            where=str(root),
            fix="give one for every training picture, or none",
        )
    return given > 0


def _check_foreground(shots: list[Shot]) -> None:
    masks = [shot.mask for shot in shots if shot.mask is not None]
    if not any(read_mask(mask).any() for mask in masks):
        raise DatasetError(
            "no mask of the first frame has any foreground",
            where=os.path.commonpath([mask.parent for mask in masks]),
            fix="what moves must be non-zero in the masks, from the first frame on",
        )
