"""What may be done to a dataset, in ways that know its structure."""

from __future__ import annotations

import json
import random
import re
import shutil
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STRANGE: list[Any] = [
    None, True, 0, -1, 1, 3, 2**31, 2**63, 0.5, -0.0, 1e308, 1e-300, "", "x", "0", "3.0", "\0", "é" * 40, "../../x",
    "/etc/passwd", "C:\\x", "." * 300, [], [[]], [None], {}, {"a": 1}, [0] * 9, [[1, 0, 0, 0]] * 4, [[0.0] * 3] * 3,
]  # fmt: skip
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16")


@dataclass
class Damage:
    """What was done to a dataset: in words, and what can no longer be told of what is read."""

    folder: Path
    done: list[str] = field(default_factory=list)
    poses: bool = False
    """Whether poses, or which is whose, were changed."""
    pictures: bool = False
    """Whether pictures no longer say whose they are."""
    times: bool = False
    """Whether moments were changed."""

    def path(self, dice: random.Random, pattern: str = "*", *, suffixes: tuple[str, ...] = ()) -> Path | None:
        found = sorted(p for p in self.folder.rglob(pattern) if p.is_file() and (not suffixes or p.suffix in suffixes))
        return dice.choice(found) if found else None

    def write(self, path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)  # it may be a link to the seed
        path.write_bytes(content)


Mutation = Callable[[random.Random, Damage], None]


def _edit(dice: random.Random, damage: Damage, change: Callable[[Any], str | None]) -> None:
    path = damage.path(dice, suffixes=(".json",))
    if path is None:
        return
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return
    said = change(content)
    if said:
        damage.done.append(f"{path.name}: {said}")
        damage.write(path, json.dumps(content).encode())


def _places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    here = [place] if place else []
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return here + [found for key, value in items for found in _places(value, (*place, key))]


def change_value(dice: random.Random, damage: Damage) -> None:
    """Replace, delete, or repeat something in a JSON file."""

    def change(content: Any) -> str | None:
        places = _places(content)
        if not places:
            return None
        place = dice.choice([p for p in places if len(p) <= dice.randint(1, 6)] or places)
        parent = content
        for key in place[:-1]:
            parent = parent[key]
        what = dice.choice(("replace", "delete", "repeat", "scale"))
        old = parent[place[-1]]
        if what == "delete":
            del parent[place[-1]]
        elif what == "repeat" and isinstance(parent, list):
            parent.insert(dice.randint(0, len(parent)), old)
        elif what == "scale" and isinstance(old, int | float) and not isinstance(old, bool):
            parent[place[-1]] = old * dice.choice((-1, 0.5, 1 + 1e-6, 2, 1e6))
        else:
            parent[place[-1]] = dice.choice(STRANGE)
        return f"{what} {'.'.join(map(str, place))}"

    _edit(dice, damage, change)
    damage.poses = damage.times = True


def shuffle_list(dice: random.Random, damage: Damage) -> None:
    """The frames of transforms.json, or the cameras of cameras.json, in another order: the same dataset."""

    def change(content: Any) -> str | None:
        for name in ("frames", "cameras"):
            if isinstance(content, dict) and isinstance(content.get(name), list):
                dice.shuffle(content[name])
                return f"shuffle {name}"
        return None

    _edit(dice, damage, change)


def write_as_windows(dice: random.Random, damage: Damage) -> None:
    def change(content: Any) -> str | None:
        for place in _places(content):
            parent = content
            for key in place[:-1]:
                parent = parent[key]
            value = parent[place[-1]]
            if isinstance(value, str) and "/" in value and ".." not in value:
                parent[place[-1]] = value.replace("/", "\\")
        return "backslashes"

    _edit(dice, damage, change)


def write_as_floats(dice: random.Random, damage: Damage) -> None:
    def change(content: Any) -> str | None:
        for name in ("w", "h"):
            if isinstance(content, dict) and isinstance(content.get(name), int):
                content[name] = dice.choice((float, str))(content[name])
        return "sizes as floats or text"

    _edit(dice, damage, change)


def jitter_times(dice: random.Random, damage: Damage) -> None:
    def change(content: Any) -> str | None:
        for frame in content.get("frames", []) if isinstance(content, dict) else []:
            if isinstance(frame, dict) and isinstance(frame.get("time"), float):
                frame["time"] += dice.uniform(0, 0.02)
        return "times that differ"

    _edit(dice, damage, change)


def move_far(dice: random.Random, damage: Damage) -> None:
    """Everything in map coordinates."""

    def change(content: Any) -> str | None:
        frames = content.get("frames") if isinstance(content, dict) else None
        for frame in frames if isinstance(frames, list) else []:
            matrix = frame.get("transform_matrix") if isinstance(frame, dict) else None
            if (
                isinstance(matrix, list)
                and len(matrix) == 4
                and all(isinstance(r, list) and len(r) == 4 for r in matrix)
            ):
                for row, shift in zip(matrix, (512345.5, 4812345.25, 130.0), strict=False):
                    if isinstance(row[3], float):
                        row[3] += shift
        return "map coordinates"

    _edit(dice, damage, change)
    damage.poses = True


def distort(dice: random.Random, damage: Damage) -> None:
    model = dice.choice(("OPENCV", "OPENCV_FISHEYE", "RADIAL", "FULL_OPENCV", "PINHOLE", "EQUIRECTANGULAR", "FOV", "x"))
    amount = dice.choice((0.0, 0.05, -0.1, 5.0, -50.0))

    def change(content: Any) -> str | None:
        if not isinstance(content, dict):
            return None
        if "frames" in content:
            content.update(camera_model=model, k1=amount)
        elif isinstance(content.get("cameras"), list):
            for camera in content["cameras"]:
                if isinstance(camera, dict):
                    camera.update(camera_model=model, distortion=[amount])
        else:
            content.update(camera_model=model, distortion=[[[amount]] * 5] * 3)
        return f"{model} {amount}"

    _edit(dice, damage, change)


def leave_behind(dice: random.Random, damage: Damage) -> None:
    """Files that systems leave behind."""
    folders = [damage.folder, *(p for p in sorted(damage.folder.rglob("*")) if p.is_dir())]
    for folder in dice.sample(folders, min(3, len(folders))):
        name = dice.choice(("._0000.png", "._cam00.mp4", ".DS_Store", "Thumbs.db", "desktop.ini", "._cam07"))
        (folder / name).write_bytes(b"\0\5\x16\7 no picture")
    damage.done.append("files left behind")


def rename(dice: random.Random, damage: Damage) -> None:
    """Another suffix's case, other zeros, another Unicode form."""
    path = damage.path(dice, suffixes=(".png", ".jpg", ".mp4"))
    if path is None:
        return
    how = dice.choice(("upper", "all upper", "zeros", "other", "accent"))
    if how == "zeros":
        target = path.with_name(re.sub(r"0+(\d)", r"\1", path.name))
    elif how == "other":
        target = path.with_name(dice.choice(("take_" + path.name, "x" + path.suffix, "-1" + path.suffix)))
    elif how == "accent":
        target = path.with_name(unicodedata.normalize("NFD", "é" + path.name))
    else:
        target = path.with_suffix(path.suffix.upper())
    if how == "all upper":
        for one in sorted(damage.folder.rglob(f"*{path.suffix}")):
            one.rename(one.with_suffix(one.suffix.upper()))
    elif not target.exists():
        path.rename(target)
    damage.done.append(f"{path.name} renamed ({how})")


def drop(dice: random.Random, damage: Damage) -> None:
    """A file, or a folder."""
    everything = sorted(damage.folder.rglob("*"))
    path = dice.choice(everything)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    damage.done.append(f"{path.relative_to(damage.folder)} deleted")


def cut_short(dice: random.Random, damage: Damage) -> None:
    path = damage.path(dice)
    if path is not None:
        content = path.read_bytes()
        damage.write(path, content[: dice.randint(0, len(content))])
        damage.done.append(f"{path.name} cut short")
        damage.poses = damage.pictures = True


def flip_bytes(dice: random.Random, damage: Damage) -> None:
    path = damage.path(dice)
    if path is None:
        return
    content = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 8)):
        if content:
            content[dice.randrange(len(content))] = dice.randrange(256)
    damage.write(path, bytes(content))
    damage.done.append(f"{path.name}: bytes flipped")
    damage.poses = damage.pictures = damage.times = True


def swap_content(dice: random.Random, damage: Damage) -> None:
    """One file with another's content."""
    first, second = damage.path(dice), damage.path(dice)
    if first is not None and second is not None and first != second:
        damage.write(first, second.read_bytes())
        damage.done.append(f"{first.name} holds {second.name}")
        damage.poses = damage.pictures = damage.times = True


def change_mode(dice: random.Random, damage: Damage) -> None:
    """A picture in another mode, depth, or size, or turned by its metadata and stored the other way."""
    path = damage.path(dice, suffixes=(".png", ".jpg"))
    if path is None:
        return
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, SyntaxError, ValueError):
        return
    how = dice.choice(("mode", "mode", "size", "exif", "sixteen"))
    path.unlink()
    if how == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    elif how == "size":
        width, height = dice.choice(((31, 24), (64, 48), (16, 12), (24, 32), (1, 1), (32, 24)))
        picture.convert("RGB").resize((width, height)).save(path)
    elif how == "sixteen":
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(path)
        damage.pictures = True
    else:
        mode = dice.choice(MODES)
        other = (
            picture.convert("L").convert(mode) if mode in ("I", "F", "I;16") else picture.convert("RGB").convert(mode)
        )
        try:
            other.save(path)
        except (OSError, KeyError):
            other.save(path, "TIFF")
        damage.pictures = True
    damage.done.append(f"{path.name}: {how}")


def change_table(dice: random.Random, damage: Damage) -> None:
    """A token of a text model, or a number of an array."""
    path = damage.path(dice, suffixes=(".txt", ".npy"))
    if path is None:
        return
    if path.suffix == ".npy":
        try:
            rows = np.load(path)
        except (OSError, ValueError):
            return
        how = dice.choice(("value", "row", "type", "column"))
        if how == "value" and rows.size:
            rows.flat[dice.randrange(rows.size)] = dice.choice((0.0, -1.0, np.nan, 1e30))
        elif how == "row":
            rows = rows[: dice.randint(0, len(rows))]
        elif how == "column" and rows.ndim == 2:
            rows = rows[:, : dice.randint(0, rows.shape[1])]
        else:
            kind = dice.choice(("f4", "i8", "S3", "c8"))
            with suppress(ValueError):  # text of an earlier change is no number
                rows = rows.astype(kind)
        path.unlink()
        np.save(path, rows)
    else:
        tokens = path.read_text(errors="replace").split(" ")
        place = dice.randrange(len(tokens))
        tokens[place] = dice.choice(("", "nan", "-1", "0", "1e309", "x", "99999999999999999999", "OPENCV", "\n"))
        damage.write(path, " ".join(tokens).encode())
    damage.done.append(f"{path.name} changed")
    damage.poses = True


MUTATIONS: list[Mutation] = [
    *(
        change_value,
        change_value,
        change_value,
        shuffle_list,
        write_as_windows,
        write_as_floats,
        jitter_times,
        move_far,
    ),
    *(distort, leave_behind, rename, rename, drop, drop, cut_short, flip_bytes, swap_content, change_mode, change_mode),
    *(change_table, change_table),
]
