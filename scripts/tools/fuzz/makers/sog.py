"""Files of .sog, versions 1 and 2, and spoiled in meta.json, images, members and the zip around them."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legs4d.gaussians.formats.sog import write_sog
from tools.fuzz.makers.dice import COUNTS, Dice, one_of_few

_COEFFICIENTS = (0, 3, 8, 15)
_AWKWARD: tuple[Any, ...] = (None, -1, 1.5, "x", [], {}, True, 1e308, float("nan"), *COUNTS)
BOMB = 8 << 20
"""Bytes of a member that unpacks to more than any may have."""


@one_of_few
def make(dice: Dice) -> bytes:
    """A valid file."""
    if dice.chance(0.4):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.sog"
            write_sog(path, dice.splats(dice.below(200) + 1, dice.one(_COEFFICIENTS)))
            return path.read_bytes()
    count, version, degree = dice.below(200) + 1, dice.one((1, 2)), dice.below(4)
    width = dice.below(20) + 1
    size = (-(-count // width), width)
    meta, files = _described(dice, count, version, degree, size)
    return _zipped({"meta.json": json.dumps(meta).encode(), **files}, dice.chance(0.3))


def _described(
    dice: Dice, count: int, version: int, degree: int, size: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    def codes() -> list[float]:
        return np.sort(dice.rng.uniform(-6, 1, 256)).tolist()

    def bounds(width: int) -> dict[str, Any]:
        low = dice.rng.uniform(-5, 0, width)
        return {"mins": low.tolist(), "maxs": (low + dice.rng.uniform(0, 5, width)).tolist()}

    def spread(width: int) -> dict[str, Any]:
        return {"codebook": codes()} if version == 2 else {"shape": [count, width], **bounds(width)}

    quats = dice.rng.integers(0, 256, (*size, 4), np.uint8)
    quats[..., 3] = 252 + quats[..., 3] % 4
    files = {name: _webp(dice.rng.integers(0, 256, (*size, 3), np.uint8)) for name in ("l", "u", "s")}
    files |= {"q": _webp(quats), "c": _webp(dice.rng.integers(0, 256, (*size, 4), np.uint8))}
    meta: dict[str, Any] = {
        "means": {"shape": [count, 3], **bounds(3), "files": ["l", "u"]},
        "scales": {**spread(3), "files": ["s"]},
        "quats": {"files": ["q"]},
        "sh0": {**spread(4), "files": ["c"]},
    }
    if version == 2:
        meta |= {"version": 2, "count": count}
    if degree:
        rows = dice.below(3) + 1
        files["p"] = _webp(dice.rng.integers(0, 256, (rows, 64 * _COEFFICIENTS[degree], 3), np.uint8))
        files["n"] = _webp(dice.rng.integers(0, 256, (*size, 3), np.uint8))
        meta["shN"] = {"files": ["p", "n"]}
        meta["shN"] |= {"count": 64 * rows, "bands": degree, "codebook": codes()} if version == 2 else {}
        meta["shN"] |= {"mins": -1.0, "maxs": 1.0} if version == 1 else {}
    return meta, files


def spoil(dice: Dice, content: bytes) -> bytes:
    """Anything in meta.json exchanged for something awkward, images of other sizes, kinds and bytes, members missing,
    bombs, or other bytes anywhere."""
    kind = dice.below(6)
    if kind == 0:
        return dice.spoiled(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = dice.one(list(files))
    if kind == 1:
        files["meta.json"] = json.dumps(with_something_else(dice, json.loads(files["meta.json"]))).encode()
    elif kind == 2:
        files[name] = dice.spoiled(files[name])
    elif kind == 3:
        del files[name]
    elif kind == 4:
        shape = (dice.below(100) + 1, dice.below(100) + 1, dice.one((3, 4)))
        files[name] = _webp(dice.rng.integers(0, 256, shape, np.uint8), dice.one(("WEBP", "PNG", "BMP")))
    else:
        files[name] = bytes(dice.one((10, 1 << 16, BOMB)))
    return _zipped(files, kind == 5 or dice.chance(0.3))


def declared(content: bytes) -> int:
    """Bytes of the arrays of as many Gaussians as meta.json and its largest image both allow."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            meta = json.loads(archive.read("meta.json"))
            pixels = max((_pixels(archive.read(n)) for n in archive.namelist() if n != "meta.json"), default=0)
        count = int(meta["count"] if "count" in meta else meta["means"]["shape"][0])
    except Exception:  # it tells nothing then
        return 0
    return min(max(count, 0), pixels) * 4 * 59


def with_something_else(dice: Dice, value: Any) -> Any:
    """A JSON value with one of its parts exchanged, missing or more."""
    if isinstance(value, dict) and value and dice.chance(0.9):
        key = dice.one(list(value))
        if dice.chance(0.1):
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: with_something_else(dice, value[key])}
    if isinstance(value, list) and value and dice.chance(0.8):
        at = dice.below(len(value))
        if dice.chance(0.1):
            return value[:at] + value[at + 1 :]
        return [*value[:at], with_something_else(dice, value[at]), *value[at + 1 :]]
    return dice.one(_AWKWARD)


def _pixels(content: bytes) -> int:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return int(image.size[0] * image.size[1])
    except Exception:  # no image
        return 0


def _webp(pixels: Any, kind: str = "WEBP") -> bytes:
    body = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    Image.fromarray(pixels).save(body, kind, **options)
    return body.getvalue()


def _zipped(files: dict[str, bytes], packed: bool) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    data = bytearray(body.getvalue())
    bomb = struct.pack("<I", BOMB)
    at = data.find(bomb)  # half of the bombs say that they are small
    if at >= 0 and data[-1] % 2 == 0:
        data[at : at + 4] = struct.pack("<I", 100)
    return bytes(data)
