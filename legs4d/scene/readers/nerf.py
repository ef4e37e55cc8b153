"""NeRF's layout: `transforms_train.json` and `transforms_test.json`, or `transforms.json` (instant-ngp, nerfstudio).

    {"camera_angle_x": 0.69,                                  or fl_x, fl_y, cx, cy, w, h; in a frame or for all
     "camera_model": "OPENCV", "k1": 0.1, …                   likewise; nerfstudio's and COLMAP's names
     "frames": [{"file_path": "./train/r_000", "mask_path": …, "time": 0.5, "transform_matrix": 4×4}, …]}

`transform_matrix` is camera to world, OpenGL (y up, z towards the viewer). Pictures of one `time` (D-NeRF) are one
frame, also where clocks differ by less than half a frame: a moving camera has one picture per frame, and a capture by
many cameras has many. Pictures from one pose are one camera's; where none has a time, their order is that of their
names. Masks (`mask_path`) or an alpha channel are the foreground. Test pictures are those of `transforms_test.json`, or
where there is none `transforms_val.json`, shown in the frame nearest to their time; with a single file those in
`test_filenames` or `val_filenames`, else those of the first of every eight cameras. Where `train_filenames` is given,
pictures in neither are not read, nor those in `val_filenames` where `test_filenames` has others. Points to start from:
`ply_file_path`, in the frame of the poses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import absent_tests, chosen_cameras, whole_frames
from legs4d.scene.footage.clock import moment_of
from legs4d.scene.footage.footage import Footage
from legs4d.scene.footage.names import PICTURES, find_inside
from legs4d.scene.footage.points import read_ply_points
from legs4d.scene.footage.rig import camera_names, frame_times, nearest_time, number_cameras, times_by_name
from legs4d.scene.footage.shots import Shot, Shots, file_shot, held_out
from legs4d.scene.footage.transforms_file import (
    FLIP,
    FrameFields,
    TransformsFile,
    is_left_out,
    lens_in,
    matrix_of,
    read_transforms,
    split_of,
    transforms_files,
    unused_fields,
)
from legs4d.scene.images import inspect_picture
from legs4d.scene.sequence import Split

FPS = 30.0
"""Frames per second where the file tells none: times are shares of the clip."""

SAME_MOMENT = 1e-3
"""Of a frame: pictures whose times differ by less were taken at one time."""


class NerfSequence(Footage):
    """A `Sequence` in NeRF's layout.

    Raises:
        DatasetError: a file is missing or says something else, a picture is missing or does not fit its lens, no time
            has two pictures, or a camera is impossible.
    """

    def __init__(self, root: Path, settings: DatasetSettings) -> None:
        names, notes = transforms_files(root)
        files = {name: read_transforms(root / name) for name in names}
        if not files[names[0]].frames:
            raise DatasetError("lists no pictures", where=str(root / names[0]), fix="list them in frames")
        every = [(name, file, frame) for name, file in files.items() for frame in file.frames]
        listed = [one for one in every if not is_left_out(*one[1:])]
        if len(listed) < len(every):
            how_many = f"{len(every) - len(listed)} of {len(every)} pictures are"
            trained = files[names[0]].train is not None
            why = "not in train_filenames, nor held out" if trained else "in val_filenames, and test_filenames judge"
            notes = (*notes, f"{how_many} {why}: they are not read.")
        if not listed:
            what = "none of the pictures in frames is in train_filenames"
            raise DatasetError(what, where=str(root / names[0]), fix="write each file_path alike in both")
        pictures = [_Picture(root, *one) for one in listed]
        taken = [p for p in pictures if p.is_there]
        if not taken:
            raise DatasetError("is missing", where=pictures[0].where, fix="copy the dataset again")
        shots, times, more = _sorted(pictures, root, settings)
        points, of_points = _points(root, names[0], files[names[0]].ply_file_path)
        given = [path for p in taken for path in (p.path, p.mask) if path is not None]
        given += [] if points is None else [points]
        super().__init__(
            root,
            settings,
            shots,
            files[names[0]].fps or FPS,
            (*(root / name for name in files), *given),
            points=None if points is None else read_ply_points(points),
            times=times,
            notes=(*notes, *more, *_of_masks(taken), *of_points, *unused_fields(files)),
        )


class _Picture:
    """One picture: its file and mask, time, pose (world to camera, OpenCV) and lens; its split, if the files tell."""

    def __init__(self, root: Path, name: str, file: TransformsFile, frame: FrameFields) -> None:
        self.where = f"{root / name}, {frame.file_path}"
        self.name, self.time, self.split = frame.file_path, frame.time, split_of(name, file, frame)
        self.path = find_inside(root, frame.file_path, self.where, suffixes=PICTURES)
        self.mask = None
        if frame.mask_path is not None:
            self.mask = find_inside(root, frame.mask_path, self.where, suffixes=PICTURES)
            if self.mask is None:
                raise DatasetError(f"its mask {frame.mask_path} is missing", where=self.where, fix="add it")
        matrix = matrix_of(frame.transform_matrix, self.where)
        if not abs(np.linalg.det(matrix)) >= 1e-12:
            raise DatasetError(
                "transform_matrix cannot be inverted", where=self.where, fix="write camera to world, 4×4"
            )
        self.world_to_camera: NDArray[np.float64] = np.linalg.inv(matrix @ FLIP).astype(np.float64)
        self.lens = None if self.path is None else lens_in(file, frame, inspect_picture(self.path).shown, self.where)

    @property
    def is_there(self) -> bool:
        return self.path is not None

    def shot(self, number: int, world_to_camera: NDArray[np.float64], moment: float | None) -> Shot:
        assert self.lens is not None
        mask = self.mask if self.split != "test" else None
        return file_shot(Shot(number, world_to_camera, self.lens, self.path, mask, moment=moment), self.where)


def _sorted(
    pictures: list[_Picture], root: Path, settings: DatasetSettings
) -> tuple[Shots, list[float], tuple[str, ...]]:
    """The chosen cameras' shots, by split and frame, the frames' times, and what to note."""
    numbers = number_cameras(pictures)
    times, notes = _times(pictures, numbers, root)
    training = [i for i, picture in enumerate(pictures) if picture.split != "test"]
    if not training:
        raise DatasetError("has no training pictures", where=str(root), fix="list some that are not in test_filenames")
    moments = frame_times([times[i] for i in training], [numbers[i] for i in training])
    frames = [nearest_time(moments, time) for time in times]
    table: list[dict[int, int]] = [{} for _ in moments]
    rank: dict[tuple[int, int], int] = {}
    # A camera with two pictures in a frame is no camera that stands still: each pose of a walk is a camera.
    for i, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
        place = number + rank.get((frame, number), 0) * len(pictures)
        rank[frame, number] = rank.get((frame, number), 0) + 1
        table[frame][place] = i
    still = _stands_still(table, pictures)
    notes = (*notes, *_without_absent(table, pictures, still))
    if not still:
        notes = (*notes, *_of_times([times[i] for i in training], [frames[i] for i in training]))
    elif len(moments) == 1 and len(training) > 1:
        timed = pictures[training[0]].time is not None
        what = f"All {len(training)} training pictures have one time" if timed else "No picture has a time"
        cure = "" if timed else " Where something does, write the time of each."
        notes = (*notes, f"{what}: nothing moves in what they show.{cure}")
    owners = sorted({number for row in table for number in row}) if still else []
    called = camera_names([[pictures[row[n]].name for row in table if n in row] for n in owners])
    if still:
        kept_cameras = {owners[i] for i in chosen_cameras(called, settings, str(root))}
    elif settings.cameras or settings.leave_out:
        raise DatasetError(
            "its cameras move, so that none can be told from another", where=str(root), fix="edit the list of frames"
        )
    else:
        kept_cameras = {number for row in table for number in row}
    missing: dict[int, list[str]] = {}
    in_training = {n for row in table for n, i in row.items() if pictures[i].split != "test"}
    needed = in_training & kept_cameras if still else set()
    for frame, row in enumerate(table):
        lost = [
            f"{pictures[row[n]].where}: is missing"
            for n in sorted(kept_cameras & set(row))
            if not pictures[row[n]].is_there
        ]
        lost += [
            f"camera {called[owners.index(n)][0]} has no picture of frame {frame}" for n in sorted(needed - set(row))
        ]
        if lost:
            missing[frame] = lost
    kept, left_out = whole_frames(len(table), missing, str(root))
    poses = _still_poses(table, pictures) if still else {}
    held = {owners[i] for i in held_out(len(owners))} & kept_cameras
    most_at_once = max(sum(pictures[i].split != "test" for i in row.values()) for row in table)
    found: Shots = {"train": [], "test": []}
    own_times = [moments[frame] for frame in kept]
    for place, frame in enumerate(kept):
        taken = sorted(set(table[frame]) & kept_cameras)
        if not held:
            held_here = {taken[i] for i in held_out(len(taken))}
        split_here: dict[Split, list[Shot]] = {"train": [], "test": []}
        for number in taken:
            picture = pictures[table[frame][number]]
            split = picture.split or ("test" if number in (held or held_here) else "train")
            moment = None
            if split == "test" and not still:
                at = moment_of(own_times, times[table[frame][number]])
                moment = None if abs(at - place) < SAME_MOMENT else at
            # What moves is one camera throughout, whatever its poses: the first, second, … of each frame.
            called_here = number if still else len(split_here[split]) + (most_at_once if split == "test" else 0)
            split_here[split].append(picture.shot(called_here, poses.get(number, picture.world_to_camera), moment))
        for split, several in split_here.items():
            found[split].append(several)
    if not any(found["test"]):
        del found["test"]
    return found, own_times, (*notes, *left_out)


def _without_absent(table: list[dict[int, int]], pictures: list[_Picture], still: bool) -> tuple[str, ...]:
    """Takes held-out pictures without files out of the table, and notes them: nothing is trained on them. Of a rig that
    stands still, whose frames all have the same cameras, only where none of them is there."""
    held = [picture for picture in pictures if picture.split == "test"]
    absent = [picture for picture in held if not picture.is_there]
    if not absent or (still and len(absent) < len(held)):
        return ()
    for row in table:
        for number in [n for n, i in row.items() if pictures[i].split == "test" and not pictures[i].is_there]:
            del row[number]
    return absent_tests([picture.name for picture in absent], len(held))


def _times(pictures: list[_Picture], numbers: list[int], root: Path) -> tuple[list[float], tuple[str, ...]]:
    """A time for each picture, in any unit, and what to note."""
    lacking = [picture for picture in pictures if picture.time is None]
    if not lacking:
        return [picture.time or 0.0 for picture in pictures], ()
    if len(lacking) < len(pictures):
        raise DatasetError(
            f"has no time, as {len(lacking)} of {len(pictures)} pictures, and the others have one",
            where=lacking[0].where,
            fix="give every picture a time, or none",
        )
    times = times_by_name(pictures, numbers, str(root))
    if any(times):
        return times, ("No picture has a time: those from one pose are taken in the order of their names.",)
    return times, ()


def _of_times(times: list[float], frames: list[int]) -> tuple[str, ...]:
    """Notes of a moving camera's training times that are other than one would write them."""
    notes = []
    if times != sorted(times):
        notes.append("Pictures are not listed in the order of their times: they are taken in that of the times.")
    if len(times) > len(set(times)) and (several := len(frames) - len(set(frames))):
        notes.append(
            f"{several} training picture{' has' if several == 1 else 's have'} a time that another one has: "
            "pictures of one time are one frame."
        )
    if times and not (min(times) >= 0 and max(times) <= 1):
        notes.append(
            f"Times go from {min(times):g} to {max(times):g}, not from 0 to 1: only how far they are apart counts."
        )
    return tuple(notes)


def _stands_still(table: list[dict[int, int]], pictures: list[_Picture]) -> bool:
    """Whether the same cameras take the pictures of every frame, but for a few that are missing."""
    if len(table) == 1:
        return True
    counts: dict[int, int] = {}
    for row in table:
        for number, i in row.items():
            if pictures[i].split != "test":
                counts[number] = counts.get(number, 0) + 1
    return bool(counts) and min(counts.values()) > len(table) / 2


def _still_poses(table: list[dict[int, int]], pictures: list[_Picture]) -> dict[int, NDArray[np.float64]]:
    """Each camera's pose, as its first picture has it: written frame by frame, poses differ in the last digits."""
    poses: dict[int, NDArray[np.float64]] = {}
    for row in table:
        for number, i in row.items():
            poses.setdefault(number, pictures[i].world_to_camera)
    return poses


def _points(root: Path, name: str, file_path: str | None) -> tuple[Path | None, tuple[str, ...]]:
    """The file of points to start from, if there is one; and a note where it is named and missing."""
    path = None if file_path is None else find_inside(root, file_path, str(root / name))
    return path, (f"{file_path}, ply_file_path in {name}, is missing.",) * (file_path is not None and path is None)


def _of_masks(pictures: list[_Picture]) -> tuple[str, ...]:
    """A note of what masks mean here: nerfstudio leaves what is black out of training."""
    used = any(picture.mask is not None for picture in pictures)
    return ("mask_path is taken for the foreground: white is what moves.",) if used else ()
