"""Which pictures of several cameras were taken at one moment, by their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from legs4d.errors import DatasetError
from legs4d.scene.footage.names import in_order, natural_key


def common_frames(
    files: dict[str, dict[str, Path]], where: str
) -> tuple[list[str], dict[str, dict[str, Path]], dict[int, list[str]]]:
    """Names of the frames, in order; each camera's pictures by them; and, per frame, which pictures are missing.

    Frames are named alike in all cameras, but for zeros that lead numbers; or each camera's in its own way, and then
    the last number of a name is the frame's.

    Args:
        files: each camera's pictures, by their own names.

    Raises:
        DatasetError: names do not tell an order, or not which pictures belong together.
    """
    for camera, named in files.items():
        in_order(named, "frames", f"{where}, camera {camera!r}")
    keyed: dict[str, dict[Any, Path]] = {c: {natural_key(n): p for n, p in named.items()} for c, named in files.items()}
    names: dict[Any, str] = {natural_key(name): name for named in reversed(files.values()) for name in named}
    if len(files) > 1 and not set.intersection(*map(set, keyed.values())):
        keyed = {c: {_last_number(n): p for n, p in named.items()} for c, named in files.items()}
        names = {number: str(number) for named in keyed.values() for number in named}
        if -1 in names or any(len(keyed[camera]) < len(named) for camera, named in files.items()):
            raise DatasetError(
                "no frame has pictures of all cameras by one name",
                where=where,
                fix="name a frame's pictures alike in the folder of each camera",
            )
    in_order(names.values(), "frames", where)
    ordered = sorted(names)
    missing: dict[int, list[str]] = {}
    for frame, key in enumerate(ordered):
        for camera, named in keyed.items():
            if key not in named:
                missing.setdefault(frame, []).append(f"camera {camera!r} has no picture of frame {names[key]!r}")
    by_camera = {camera: {names[key]: path for key, path in named.items()} for camera, named in keyed.items()}
    return [names[key] for key in ordered], by_camera, missing


def _last_number(name: str) -> int:
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else -1
