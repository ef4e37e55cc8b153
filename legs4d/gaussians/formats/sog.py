"""3D Gaussians as .sog (PlayCanvas's SOG, versions 1 and 2): 8-bit images and what turns their bytes into numbers.

One zip (`.sog`), or a `meta.json` with its images beside it. Pixel i of every image, row by row, is Gaussian i. Axes
are those of 3DGS's .ply (y down): PlayCanvas's own programs give .ply and .sog the same half turn about z before they
show them, whatever the format's page says of its axes.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.palette import codebook, nearest, palette
from legs4d.gaussians.formats.placing import usable
from legs4d.gaussians.store.files import write_file
from legs4d.portable.sh import COEFFICIENTS, degree_of
from legs4d.portable.splats import Splats

META = "meta.json"
UP = (0.0, -1.0, 0.0)
MOST = 100_000_000
"""Gaussians in a file, at most: what a WebP image's 16383² pixels hold, less what nobody has."""

_LARGEST_META = 4 << 20
_SPARE_PIXELS = 1 << 16
"""Pixels that an image may have beyond those used (writers round sizes up)."""
_ROW = 64
"""Palette entries side by side in the image of centroids."""
_LARGEST_PALETTE = 1 << 16
_DAMAGED = "export it again, or convert it to .ply with the program that made it"

_BEYOND_ZIPFILE = (NotImplementedError, RuntimeError, UnicodeDecodeError)
"""A compression that Python does not know, an encrypted member, a name that is said to be UTF-8 and is not."""

Bytes = NDArray[np.uint8]
Read = Callable[[str, int], bytes]
"""(file name, most bytes) → content."""


def read_sog(path: Path) -> Splats:
    """Read a `.sog` file, a `meta.json`, or a folder that holds one.

    Raises:
        DatasetError: it is damaged, of an unknown version, or says that it is larger than its images can be.
    """
    source = path / META if path.is_dir() else path
    try:
        if source.suffix.lower() != ".json":
            with zipfile.ZipFile(source) as archive:
                return _read(source, lambda name, most: _member(archive, name, most))
        return _read(source, lambda name, most: _beside(source, name, most))
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror or error})", where=str(source)) from error
    except (zipfile.BadZipFile, zlib.error, struct.error, *_BEYOND_ZIPFILE, EOFError) as error:
        raise DatasetError(f"is no readable .sog ({error})", where=str(source), fix=_DAMAGED) from error


def write_sog(path: Path, splats: Splats) -> None:
    """Write one .sog (version 2), in the order given, so that a Gaussian has one index in all frames.

    Args:
        path: the file, replaced if it exists.
        splats: N Gaussians, at least one, -Y up.

    Raises:
        RunError: the file cannot be written.
        DatasetError: there is no Gaussian.
    """
    if not len(splats):
        raise DatasetError("has no Gaussians", where=str(path), fix="export a frame that has some")
    files: dict[str, bytes] = {}
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": "legs4d"}, "count": len(splats)}

    def put(part: str, **images: Bytes) -> None:
        files.update({f"{name}.webp": _encode(pixels) for name, pixels in images.items()})
        meta[part]["files"] = [f"{name}.webp" for name in images]

    logs = np.sign(splats.means) * np.log1p(np.abs(splats.means.astype(np.float64)))
    lowest, highest = logs.min(axis=0), logs.max(axis=0)
    steps = np.rint((logs - lowest) / np.where(highest > lowest, highest - lowest, 1) * 65535).astype(np.uint16)
    meta["means"] = {"mins": lowest.tolist(), "maxs": highest.tolist()}
    put("means", means_l=_sheet((steps & 255).astype(np.uint8)), means_u=_sheet((steps >> 8).astype(np.uint8)))
    log_scales = np.log(np.maximum(splats.scales, 1e-12))
    values = codebook(log_scales)
    meta["scales"] = {"codebook": values.tolist()}
    put("scales", scales=_sheet(nearest(values, log_scales)))
    meta["quats"] = {}
    put("quats", quats=_sheet(_packed(splats.quats)))
    values = codebook(splats.colors)
    opacity = np.rint(np.clip(splats.opacities, 0, 1) * 255).astype(np.uint8)
    meta["sh0"] = {"codebook": values.tolist()}
    put("sh0", sh0=_sheet(np.concatenate([nearest(values, splats.colors), opacity[:, None]], axis=1)))
    if splats.sh_rest is not None and splats.sh_rest.shape[1]:
        count, width = len(splats), splats.sh_rest.shape[1]
        entries, labels = palette(splats.sh_rest.reshape(count, -1), _LARGEST_PALETTE)
        values = codebook(entries)
        rows = -(-len(entries) // _ROW)
        centroids = np.zeros((rows * _ROW, width, 3), np.uint8)
        centroids[: len(entries)] = nearest(values, entries).reshape(-1, width, 3)
        low_high = np.stack([labels & 255, labels >> 8, np.zeros_like(labels)], axis=1).astype(np.uint8)
        meta["shN"] = {"count": len(entries), "bands": degree_of(width), "codebook": values.tolist()}
        put("shN", shN_centroids=centroids.reshape(rows, _ROW * width, 3), shN_labels=_sheet(low_high))
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {META: json.dumps(meta).encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # a fixed date: the same Gaussians give the same file
    write_file(path, body.getbuffer())


def _read(source: Path, read: Read) -> Splats:
    try:
        meta = json.loads(read(META if source.suffix.lower() != ".json" else source.name, _LARGEST_META))
        version = meta.get("version", 1)
        if version not in (1, 2):
            raise DatasetError(
                f"is of SOG version {version!r}, this legs4d reads 1 and 2", where=str(source), fix="convert it to .ply"
            )
        count = int(meta["count"] if version == 2 else meta["means"]["shape"][0])
        if count <= 0:
            raise DatasetError("has no Gaussians", where=str(source), fix="choose another file")
        if count > MOST:
            raise DatasetError(f"says that it has {count} Gaussians, more than an image holds", where=str(source))
        values = _Values(source, read, meta, count, version)
        splats = Splats(
            means=values.means(),
            quats=_unpacked(values.pixels("quats", 0, 4)),
            scales=values.scales(),
            opacities=values.opacities(),
            colors=values.colors(),
            sh_rest=values.sh_rest(),
            up=UP,
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise DatasetError(f"is damaged: its {META} lacks what it needs ({error!r})", where=str(source)) from error
    return usable(splats, str(source))


class _Values:
    """A file's numbers, one kind at a time."""

    def __init__(self, source: Path, read: Read, meta: dict[str, Any], count: int, version: Literal[1, 2]) -> None:
        self.source, self.read, self.meta, self.count, self.version = source, read, meta, count, version
        self._sh0: Bytes | None = None

    def means(self) -> NDArray[np.float32]:
        low, high = self.pixels("means", 0, 3), self.pixels("means", 1, 3)
        logs = self._between("means", (low.astype(np.float32) + 256 * high.astype(np.float32)) / 65535)
        with np.errstate(over="ignore"):  # what is infinite then is dropped and counted
            return (np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32)

    def scales(self) -> NDArray[np.float32]:
        pixels = self.pixels("scales", 0, 3)
        logs = self._codes("scales")[pixels] if self.version == 2 else self._between("scales", pixels / 255)
        with np.errstate(over="ignore"):
            return np.exp(logs, dtype=np.float32)

    def opacities(self) -> NDArray[np.float32]:
        alpha = (self._base()[:, 3] / 255).astype(np.float32)
        if self.version == 2:
            return alpha
        low, high = (float(self.meta["sh0"][name][3]) for name in ("mins", "maxs"))
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-(low + (high - low) * alpha))), np.float32)

    def colors(self) -> NDArray[np.float32]:
        pixels = self._base()[:, :3]
        return self._codes("sh0")[pixels] if self.version == 2 else self._between("sh0", pixels / 255)

    def sh_rest(self) -> NDArray[np.float32] | None:
        part = self.meta.get("shN")
        if not part or (self.version == 2 and part["bands"] == 0):
            return None
        pixels = self._image("shN", 0, None)
        width = pixels.shape[1] // _ROW
        if width not in COEFFICIENTS[1:] or pixels.shape[1] % _ROW:
            raise DatasetError(f"has centroids {pixels.shape[1]} pixels wide", where=str(self.source), fix=_DAMAGED)
        entries = pixels[..., :3].reshape(-1, width, 3)
        if self.version == 2:
            if COEFFICIENTS[int(part["bands"])] != width:
                raise DatasetError(f"has {part['bands']} bands of {width} values", where=str(self.source), fix=_DAMAGED)
            entries = entries[: int(part["count"])]
            values = self._codes("shN")[entries]
        else:
            low, high = float(part["mins"]), float(part["maxs"])
            values = (low + (high - low) * (entries / np.float32(255))).astype(np.float32)
        labels = self.pixels("shN", 1, 3)[:, :2].astype(np.int32) @ np.array([1, 256])
        # A label beyond the palette means no view dependence, as in PlayCanvas's reader.
        values = np.concatenate([values, np.zeros((1, width, 3), np.float32)])
        return values[np.minimum(labels, len(values) - 1)]

    def pixels(self, part: str, index: int, channels: int) -> Bytes:
        """[N, channels] bytes of a part's image."""
        pixels = self._image(part, index, self.count)
        if pixels.shape[2] < channels:
            raise DatasetError(f"has no alpha channel in its {part}", where=str(self.source), fix=_DAMAGED)
        return pixels.reshape(-1, pixels.shape[2])[: self.count, :channels]

    def _base(self) -> Bytes:
        if self._sh0 is None:
            self._sh0 = self.pixels("sh0", 0, 4)
        return self._sh0

    def _codes(self, part: str) -> NDArray[np.float32]:
        """[256] numbers; a byte beyond those given is not a number, so that what has it is dropped."""
        given = np.asarray(self.meta[part]["codebook"], np.float32)
        if given.ndim != 1 or not 0 < len(given) <= 256:
            raise DatasetError(f"has a codebook of shape {given.shape}", where=f"{self.source}, {part}", fix=_DAMAGED)
        return np.concatenate([given, np.full(256 - len(given), np.nan, np.float32)])

    def _between(self, part: str, share: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        low, high = (np.asarray(self.meta[part][name], np.float64)[:3] for name in ("mins", "maxs"))
        return (low + (high - low) * share).astype(np.float32)

    def _image(self, part: str, index: int, count: int | None) -> Bytes:
        """[H, W, 3 or 4]. What its header says is compared with what is needed before any pixel is unpacked."""
        name = str(self.meta[part]["files"][index])
        needed = count if count is not None else _LARGEST_PALETTE * COEFFICIENTS[-1]
        content = self.read(name, 8 * needed + (1 << 20))
        where = f"{self.source}, {name}"
        try:
            with Image.open(io.BytesIO(content), formats=("WEBP", "PNG")) as image:
                width, height = image.size
                if width * height > 2 * needed + _SPARE_PIXELS or (count is not None and width * height < count):
                    what = f"is {width}×{height} pixels, for {needed} Gaussians"
                    raise DatasetError(what, where=where, fix=_DAMAGED)
                return np.asarray(image.convert("RGBA" if "A" in image.getbands() else "RGB"))
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(f"is no image that can be read ({error})", where=where, fix=_DAMAGED) from error


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise DatasetError(f"has no {name} in it", where=str(archive.filename), fix=_DAMAGED) from error
    with archive.open(info) as file:  # the size that the archive tells is not believed
        return _bounded(file.read(most + 1), most, f"{archive.filename}, {name}")


def _beside(source: Path, name: str, most: int) -> bytes:
    file = source.parent / name
    if Path(name).name != name or "\\" in name:
        raise DatasetError(f"names a file outside its folder ({name})", where=str(source), fix="put all files together")
    try:
        with open(file, "rb") as opened:
            return _bounded(opened.read(most + 1), most, str(file))
    except FileNotFoundError as error:
        raise DatasetError(f"has no {name} beside it", where=str(source), fix="copy all of its files") from error


def _bounded(content: bytes, most: int, where: str) -> bytes:
    if len(content) > most:
        raise DatasetError(f"is larger than {most} bytes, more than it can need", where=where, fix=_DAMAGED)
    return content


def _unpacked(pixels: Bytes) -> NDArray[np.float32]:
    """[N, 4] wxyz: alpha - 252 is the place of the largest, left out, the others are the colours; else no rotation."""
    others = (pixels[:, :3].astype(np.float32) / 255 * 2 - 1) / np.sqrt(np.float32(2))
    largest = np.sqrt(np.maximum(0, 1 - (others * others).sum(axis=1)))
    quats = np.empty((len(pixels), 4), np.float32)
    quats[:] = 1, 0, 0, 0
    for place in range(4):
        here = pixels[:, 3] == 252 + place
        quats[here, place] = largest[here]
        quats[np.ix_(here, [i for i in range(4) if i != place])] = others[here]
    return quats


def _packed(quats: NDArray[np.float32]) -> Bytes:
    """[N, 4] as `_unpacked` reads it."""
    largest = np.abs(quats).argmax(axis=1)
    rows = np.arange(len(quats))
    signed = quats * np.where(quats[rows, largest] < 0, -1, 1)[:, None]
    others = signed[np.arange(4) != largest[:, None]].reshape(-1, 3)
    bytes_ = np.rint((np.clip(others * np.sqrt(2), -1, 1) + 1) / 2 * 255)
    return np.concatenate([bytes_, 252 + largest[:, None]], axis=1).astype(np.uint8)


def _sheet(rows: Bytes) -> Bytes:
    """[H, W, C] image of [N, C], nearly square, W a multiple of 4; pixels beyond N are 0."""
    width = max(4, 4 * int(np.ceil(np.sqrt(len(rows)) / 4)))
    height = -(-len(rows) // width)
    sheet = np.zeros((height * width, rows.shape[1]), np.uint8)
    sheet[: len(rows)] = rows
    return sheet.reshape(height, width, -1)


def _encode(pixels: Bytes) -> bytes:
    body = io.BytesIO()
    # exact: else WebP changes the colours of pixels whose alpha is 0, which here are numbers
    Image.fromarray(pixels).save(body, "WEBP", lossless=True, exact=True, quality=50, method=3)
    return body.getvalue()
