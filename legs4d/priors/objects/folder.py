"""The folder that the things found in footage are kept in: never inside the footage.

objects.json              what was found, how, and from what
objects/<cam>/<frame>.png  id of the thing in each pixel, 0 for none; names as the dataset's own object masks have
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.gaussians.store.files import new_file, write_file

FORMAT = 1
TABLE = "objects.json"


@dataclass(frozen=True)
class FoundObject:
    """One thing, as objects.json tells of it.

    Attributes:
        id: its number in the masks, from 1.
        name: what it is called.
        confidence: 0..1.
        frames: first and last in which it was placed, both included.
        cameras: how many saw it in a frame, on average.
        size: [2] width and height in units of the world.
        positions: frame → [3], the middle of it in the world.
    """

    id: int
    name: str
    confidence: float
    frames: tuple[int, int]
    cameras: float
    size: tuple[float, float]
    positions: dict[int, tuple[float, float, float]]


def default_folder(dataset: Path) -> Path:
    """Beside the dataset: DATASET.objects."""
    dataset = dataset.resolve()
    return dataset.with_name(f"{dataset.name}.objects")


def unfinished_folder(folder: Path) -> Path:
    """Where what is found grows until all of it is there."""
    return folder.with_name(f".{folder.name}.unfinished")


def mask_place(folder: Path, camera: int, frame_number: int) -> Path:
    """Where the masks of a camera (its own number) in a frame (the dataset's own number) are."""
    return folder / "objects" / str(camera) / f"{frame_number:06d}.png"


def write_mask(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write ids [H, W] as a PNG, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        Image.fromarray(labels).save(file, "PNG")


def write_table(folder: Path, objects: list[FoundObject], told: dict[str, Any]) -> None:
    """Write objects.json; `told` is what else it says."""
    rows = [
        {
            **{name: getattr(one, name) for name in ("id", "name", "confidence", "frames", "cameras", "size")},
            "positions": {str(frame): list(place) for frame, place in one.positions.items()},
        }
        for one in objects
    ]
    write_file(folder / TABLE, json.dumps({"format": FORMAT, "objects": rows, **told}, indent=1).encode())


def read_table(folder: Path) -> tuple[list[FoundObject], dict[str, Any]]:
    """The things in a folder, and what else its objects.json says.

    Raises:
        DatasetError: there is none, or it is damaged.
    """
    path = folder / TABLE
    fix = "find the things anew by `legs4d objects`"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise DatasetError(f"is of format {told['format']}", where=str(path), fix="update legs4d")
        objects = [
            FoundObject(
                int(row["id"]),
                str(row["name"]),
                float(row["confidence"]),
                (int(row["frames"][0]), int(row["frames"][1])),
                float(row["cameras"]),
                (float(row["size"][0]), float(row["size"][1])),
                {int(frame): (p[0], p[1], p[2]) for frame, p in row["positions"].items()},
            )
            for row in told["objects"]
        ]
    except FileNotFoundError as error:
        raise DatasetError("there is no objects.json", where=str(folder), fix=fix) from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DatasetError("cannot be read", where=str(path), fix=fix) from error
    return objects, {name: value for name, value in told.items() if name not in ("format", "objects")}
