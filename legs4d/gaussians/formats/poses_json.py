"""The objects of a run as JSON: what they are called, and where they are in every frame."""

from __future__ import annotations

import json
from pathlib import Path

from legs4d.errors import RunError
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.files import clear_write_errors, write_file
from legs4d.gaussians.store.run import Run

FORMAT, VERSION = "legs4d objects", 1
NAME = "objects.json"


def export_poses(run: Run, folder: Path, frames: range) -> Path:
    """Write `objects.json` into a folder, made if need be, and return its path.

    It holds format, version, fps (0: not known), times (seconds of the frames, null: not known), up, origin (what was
    taken off all positions), frames (numbers), and objects: id, name, and a value a frame of visible, translation (the
    run's axes and units), rotation (unit quaternion wxyz) and scale. A pose takes the object's own axes to the world.

    Raises:
        RunError: the run tells of no objects, or the file cannot be written.
    """
    objects = read_objects(run)
    if objects is None or not len(objects):
        fix = "train it with object masks, see `legs4d objects --help`"
        raise RunError("has no objects whose poses could be written", where=str(run.path), fix=fix)
    numbers = list(frames)
    pose = objects.pose[numbers].astype(float).round(7)
    times = run.info.get("times")
    told = {
        "format": FORMAT,
        "version": VERSION,
        "fps": float(run.info.get("fps", 0.0)),
        "times": None if times is None else [float(times[frame]) for frame in numbers],
        "up": [float(value) for value in run.up],
        "origin": [float(value) for value in run.info.get("origin") or (0.0, 0.0, 0.0)],
        "frames": numbers,
        "objects": [
            {
                "id": number,
                "name": objects.names[row],
                "visible": objects.visible[numbers, row].tolist(),
                "translation": pose[:, row, :3].tolist(),
                "rotation": pose[:, row, 3:].tolist(),
                "scale": objects.scale[numbers, row].astype(float).round(7).tolist(),
            }
            for row, number in enumerate(objects.ids)
        ],
    }
    path = folder / NAME
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode())
    return path
