"""What speaks of a run's Gaussians, and the cameras that they were seen with."""

from __future__ import annotations

import shutil
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.arrays import (
    array_names,
    create_array,
    create_group,
    open_array,
    read_attributes,
    replace_group,
)
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors
from legs4d.gaussians.store.folder import RunFolder
from legs4d.portable.up import CAMERA_UP, find_up
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Split
from legs4d.scene.track import Track

ATTACHED = ("nodes", "light", "objects", "motion", "segments", "selections")
"""Groups that speak of these very Gaussians, and go with them."""


class RunAttached(RunFolder):
    """Groups, marks and cameras of a run; see `run.Run`."""

    def write_attached(self, name: str, arrays: dict[str, NDArray[Any]], attributes: dict[str, Any]) -> None:
        """Store a group that goes with these Gaussians, in place of what was there: `gaussians.objects` and others.

        Args:
            name: one of ATTACHED, or a group in it ("selections/ball").
            arrays: each is one chunk; attributes: JSON values.
        """
        _ = self._geometry
        parent = name.partition("/")[0]
        if parent not in ATTACHED:
            raise ValueError(f"{name!r} is none of {ATTACHED}")
        if "/" in name and not self._group(parent).is_dir():
            create_group(self._group(parent))
        replace_group(self._group(name), arrays, attributes)
        self._forget()

    def read_attached(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """(arrays, attributes) as given to `write_attached`; None where nothing was."""
        group = self._group(name)
        if not group.is_dir():
            return None
        return {array: open_array(group / array).read() for array in array_names(group)}, read_attributes(group)

    def attached_names(self, name: str) -> list[str]:
        """The groups in one of ATTACHED, sorted."""
        group = self._group(name)
        inside = group.iterdir() if group.is_dir() else ()
        return sorted(path.name for path in inside if path.is_dir() and not path.name.startswith(TEMPORARY_PREFIX))

    def delete_attached(self, name: str) -> None:
        """Delete what `write_attached` stored; nothing where nothing was."""
        if self._group(name).is_dir():
            with clear_write_errors(self._group(name)):
                shutil.rmtree(self._group(name))

    # -- marks of single Gaussians -----------------------------------------------------------------------------------

    def seen(self, frame: int) -> NDArray[np.float32] | None:
        """[count] 0..1 how much of each Gaussian of a frame training pixels showed, 0 where it is invented; None where
        the run does not tell."""
        return self._marks("seen", frame, 1)

    def object_ids(self, frame: int) -> NDArray[np.int16] | None:
        """[count] the object that each Gaussian of a frame belongs to, -1 for none; None where nothing tells."""
        return self._marks("object", frame, -1)

    def write_marks(self, name: Literal["seen", "object"], static: ArrayLike, dynamic: ArrayLike) -> None:
        """Store what `seen` (0..1) or `object_ids` (-1 for none) say of the Gaussians with ids: [N] and [M]."""
        kind = np.float16 if name == "seen" else np.int16
        for group, values in (("static", np.asarray(static, kind)), ("dynamic", np.asarray(dynamic, kind))):
            create_array(self._group(group) / name, values.shape, kind).write(values)
        self._forget()

    def _marks(self, name: str, frame: int, otherwise: int) -> NDArray[Any] | None:
        """[count] of an array that groups may have; `otherwise` in those that do not."""
        self._require_frame(frame)
        counts = {"static": self.num_static, "dynamic": self.num_dynamic, "loose": self._loose_count(frame)}
        if not any(self._has(group, name) for group in counts):
            return None
        kind = np.float32 if name == "seen" else np.int16
        parts = []
        for group, count in counts.items():
            if not self._has(group, name):
                parts.append(np.full(count, otherwise, kind))
            elif group == "loose":
                parts.append(self._loose(name, frame).astype(kind))
            else:
                parts.append(self._constant(f"{group}/{name}").astype(kind))
        return np.concatenate(parts)

    # -- cameras ---------------------------------------------------------------------------------------------------

    @property
    def has_cameras(self) -> bool:
        """Whether cameras are there; an imported run has none."""
        return self._group("cameras").is_dir()

    @property
    def has_test_cameras(self) -> bool:
        """Whether test cameras are among them."""
        return self.has_cameras and (self._group("cameras") / "test").is_dir()

    @property
    def up(self) -> NDArray[np.float64]:
        """[3] unit vector: the direction of the run's world that is up.

        What the run says (`info["up"]`); else what its cameras tell, as runs of before say only the mean of their
        downward axes, which leans; else that mean; else as 3DGS captures have it, -Y.
        """
        if "up" not in self.info and self.has_cameras:
            return find_up(self._constant("cameras/train/viewmats"))
        down = self.info.get("down", np.negative(CAMERA_UP))
        up = np.asarray(self.info.get("up", np.negative(down)), np.float64)
        return up / np.linalg.norm(up)

    def write_cameras(
        self, train: Cameras | Track, test: Cameras | Track | None, gain: ArrayLike, offset: ArrayLike
    ) -> None:
        """Store the cameras, or where they were if they move, and the colour `gain` and `offset` ([C,3]) of the
        training cameras of the first frame: image ≈ exp(gain) · render + offset."""
        arrays: dict[str, NDArray[Any]] = {
            "gain": np.asarray(gain, np.float32),
            "offset": np.asarray(offset, np.float32),
        }
        attributes: dict[str, Any] = {}
        for split, given in (("train", train), ("test", test)):
            if given is None:
                continue
            cameras = given.cameras if isinstance(given, Track) else given
            if isinstance(given, Track):
                arrays[f"{split}/frame"] = np.asarray(given.frames, np.int32)
                arrays[f"{split}/moment"] = np.asarray(given.moments, np.float64)
            arrays[f"{split}/viewmats"] = np.asarray(cameras.world_to_camera, np.float32)
            arrays[f"{split}/Ks"] = np.asarray(cameras.intrinsics, np.float32)
            arrays[f"{split}/ids"] = np.asarray(cameras.ids, np.int32)
            attributes[split] = {"width": cameras.width, "height": cameras.height}
        create_group(self._zarr)
        replace_group(self._group("cameras"), arrays, attributes)
        self._forget()

    def cameras(self, split: Split, frame: int = 0) -> Cameras:
        """The training or test cameras; of those that move, where they are in this frame, in which there may be none.

        Raises:
            RunError: the run has none of this split.
        """
        track = self.track(split)
        return self._cameras(split) if track is None else track.at(frame)

    def track(self, split: Split) -> Track | None:
        """Where training or test cameras that move were; None where they stand still.

        Raises:
            RunError: the run has none of this split.
        """
        cameras = self._cameras(split)
        if not (self._group("cameras") / split / "frame").is_dir():
            return None
        frames, moments = (self._constant(f"cameras/{split}/{name}").copy() for name in ("frame", "moment"))
        return Track(cameras, frames, moments)

    def _cameras(self, split: Split) -> Cameras:
        """All that are stored."""
        sizes = read_attributes(self._group("cameras")) if self.has_cameras else {}
        if split not in sizes:
            raise RunError(f"has no {split} cameras", where=str(self.path), fix="use the other split, or orbit")
        return Cameras(
            self._constant(f"cameras/{split}/viewmats").copy(),
            self._constant(f"cameras/{split}/Ks").copy(),
            sizes[split]["width"],
            sizes[split]["height"],
            tuple(int(i) for i in self._constant(f"cameras/{split}/ids")),
        )

    def gain(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """([C,3] gain, [C,3] offset) of the training cameras: image ≈ exp(gain) · render + offset."""
        return self._constant("cameras/gain").copy(), self._constant("cameras/offset").copy()
