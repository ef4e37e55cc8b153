"""A glTF 2.0 file's parts: its document, buffers, accessors as arrays, and meshes with the nodes that place them.

Everything that a number in the document points at is checked against what is there before it is read, so that a damaged
file ends in a sentence. Nothing outside the file's own folder is opened.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError

DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_LARGEST_DOCUMENT = 256 << 20
_DEEPEST = 1000
_DAMAGED = "export it again from the program that made it"

FloatArray = NDArray[np.float32]


class GltfFile:
    """An opened `.glb` or `.gltf`; buffers are mapped, not read.

    Attributes:
        document: the JSON part.

    Raises:
        DatasetError: it cannot be read, is damaged, or points outside its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        except OSError as error:
            raise DatasetError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
        self._binary: NDArray[np.uint8] | None = None
        is_binary = len(data) >= 4 and struct.unpack("<I", data[:4].tobytes())[0] == _MAGIC
        text = self._unpack(data) if is_binary else data
        if len(text) > _LARGEST_DOCUMENT:
            raise self.damaged(f"its document is of {len(text)} bytes")
        try:
            document = json.loads(text.tobytes())
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"is no glTF ({error})", where=str(path), fix=_DAMAGED) from error
        if not isinstance(document, dict) or not isinstance(document.get("asset"), dict):
            raise DatasetError("is no glTF (it has no asset)", where=str(path), fix="name a .glb or .gltf file")
        version = str(document["asset"].get("version", ""))
        if not version.startswith("2."):
            raise DatasetError(f"is of glTF version {version!r}", where=str(path), fix="export it as glTF 2.0")
        self.document: dict[str, Any] = document
        self._buffers: dict[int, NDArray[np.uint8]] = {}

    def damaged(self, what: str) -> DatasetError:
        """The error for something that cannot be in a valid file."""
        return DatasetError(f"is damaged: {what}", where=str(self.path), fix=_DAMAGED)

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """Entry `index` of the document's list `kind` ("nodes", "accessors", …)."""
        items = self.document.get(kind, [])
        found = items[index] if _is_index(index) and isinstance(items, list) and index < len(items) else None
        if not isinstance(found, dict):
            raise self.damaged(f"there is no {index!r} in its {kind}")
        return found

    def view(self, index: Any) -> tuple[NDArray[np.uint8], int]:
        """(bytes of a buffer view, its stride or 0)."""
        view = self.item("bufferViews", index)
        for name in view.get("extensions", {}):
            if "compression" in name:
                fix = "save it without compression (for instance by gltf-transform's command copy)"
                raise DatasetError(f"is packed by {name}, which is not read", where=str(self.path), fix=fix)
        start, length, stride = (self.number(view, name, 0) for name in ("byteOffset", "byteLength", "byteStride"))
        buffer = self._buffer(view.get("buffer"))
        if start + length > len(buffer):
            raise self.damaged(f"buffer view {index} ends at byte {start + length} of {len(buffer)}")
        return buffer[start : start + length], stride

    def accessor(self, index: Any) -> FloatArray:
        """[count, width] numbers: normalised integers as what they mean, sparse ones filled in."""
        accessor = self.item("accessors", index)
        kind, count = accessor.get("componentType"), self.number(accessor, "count", 0)
        width = WIDTHS.get(str(accessor.get("type")), 0)
        if kind not in DTYPES or not width:
            raise self.damaged(f"accessor {index} is of {accessor.get('type')!r}, {kind!r}")
        dtype = np.dtype(DTYPES[kind])
        if "bufferView" in accessor:
            start = self.number(accessor, "byteOffset", 0)
            values = self._rows(index, accessor["bufferView"], start, dtype, count, width)
        else:
            if count * width > self._bytes_declared():
                raise self.damaged(f"accessor {index} says {count} values, for which there are no bytes")
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = self._filled(index, values, accessor["sparse"])
        numbers = values.astype(np.float32)
        if accessor.get("normalized") and dtype.kind in "iu":
            numbers = np.maximum(numbers / np.float32(np.iinfo(dtype).max), np.float32(-1))
        return numbers

    def placed_meshes(self) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
        """(mesh, matrix [4, 4] from its axes to the scene's) of every node of the scene that has one."""
        nodes = self.document.get("nodes", [])
        if "scenes" in self.document:
            roots = self.item("scenes", self.document.get("scene", 0)).get("nodes", [])
        elif nodes:
            children = {child for node in nodes if isinstance(node, dict) for child in _list(node.get("children"))}
            roots = [index for index in range(len(nodes)) if index not in children]
        else:
            for mesh in range(len(self.document.get("meshes", []))):
                yield self.item("meshes", mesh), np.eye(4)
            return
        stack = [(index, np.eye(4), 0) for index in reversed(_list(roots))]
        visited = 0
        while stack:
            index, above, depth = stack.pop()
            node = self.item("nodes", index)
            visited += 1
            if depth > _DEEPEST or visited > len(nodes):
                raise self.damaged("its nodes contain each other")
            with np.errstate(over="ignore", invalid="ignore"):
                matrix = above @ self._matrix(node)
            if not np.isfinite(matrix).all():
                raise self.damaged("a node's place is not finite")
            if "mesh" in node:
                yield self.item("meshes", node["mesh"]), matrix
            stack += [(child, matrix, depth + 1) for child in reversed(_list(node.get("children")))]

    def number(self, owner: dict[str, Any], name: str, default: int) -> int:
        """A count or offset: an integer, not negative."""
        value = owner.get(name, default)
        if not _is_index(value):
            raise self.damaged(f"{name} is {value!r}")
        return int(value)

    def _unpack(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The document's bytes of a .glb; keeps its binary chunk."""
        if len(data) < 20:
            raise self.damaged(f"it has {len(data)} bytes")
        _, version, total, length, kind = struct.unpack("<5I", data[:20].tobytes())
        if version != 2:
            raise DatasetError(f"is of GLB version {version}", where=str(self.path), fix="export it as glTF 2.0")
        if total > len(data):
            raise self.damaged(f"it is cut short, at {len(data)} of {total} bytes")
        if kind != _JSON or 20 + length > total:
            raise self.damaged("its first chunk is no document")
        at = 20 + length
        if at + 8 <= total:
            size, kind = struct.unpack("<2I", data[at : at + 8].tobytes())
            if kind == _BIN:
                if at + 8 + size > total:
                    raise self.damaged("its binary chunk is cut short")
                self._binary = data[at + 8 : at + 8 + size]
        return data[20 : 20 + length]

    def _buffer(self, index: Any) -> NDArray[np.uint8]:
        buffer = self.item("buffers", index)
        if index not in self._buffers:
            uri = buffer.get("uri")
            if uri is None:
                if self._binary is None or index != 0:
                    raise self.damaged(f"buffer {index} is nowhere")
                found: NDArray[np.uint8] = self._binary
            elif isinstance(uri, str) and uri.startswith("data:"):
                found = self._decoded(uri)
            else:
                found = self._beside(str(uri))
            length = self.number(buffer, "byteLength", 0)
            if length > len(found):
                raise self.damaged(f"buffer {index} has {len(found)} of its {length} bytes")
            self._buffers[index] = found[:length]
        return self._buffers[index]

    def _decoded(self, uri: str) -> NDArray[np.uint8]:
        head, _, body = uri.partition(",")
        try:
            content = base64.b64decode(unquote(body), validate=True) if head.endswith(";base64") else None
        except (binascii.Error, ValueError):
            content = None
        if content is None:
            raise self.damaged("a buffer's data URI is no base64")
        return np.frombuffer(content, np.uint8)

    def _beside(self, uri: str) -> NDArray[np.uint8]:
        parts = urlsplit(uri)
        name = unquote(parts.path).replace("\\", "/")
        folder = self.path.parent.resolve()
        try:
            file = (folder / name).resolve()
            inside = not parts.scheme and not parts.netloc and not Path(name).is_absolute() and ":" not in name
            if not inside or not file.is_relative_to(folder):
                raise DatasetError(
                    f"points outside its folder ({uri[:100]})", where=str(self.path), fix="put its buffers beside it"
                )
            if not file.is_file():
                what = f"its buffer {name[:100]} is not beside it"
                raise DatasetError(what, where=str(self.path), fix="copy all of its files")
            return np.memmap(file, np.uint8, "r") if file.stat().st_size else np.empty(0, np.uint8)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise DatasetError(f"its buffer {name[:100]!r} cannot be read ({error})", where=str(self.path)) from error

    def _bytes_declared(self) -> int:
        buffers = _list(self.document.get("buffers"))
        present = sum(len(self._buffer(index)) for index in range(len(buffers)))
        return max(present, 1024)

    def _rows(self, index: Any, view: Any, start: int, dtype: np.dtype[Any], count: int, width: int) -> NDArray[Any]:
        found, stride = self.view(view)
        row = dtype.itemsize * width
        stride = stride or row
        if stride < row or (count and start + (count - 1) * stride + row > len(found)):
            raise self.damaged(f"accessor {index} reaches beyond buffer view {view}")
        if not count:
            return np.empty((0, width), dtype)
        if stride == row:
            return found[start : start + count * row].view(dtype).reshape(count, width)
        rows = np.lib.stride_tricks.as_strided(found[start:], (count, row), (stride, 1), writeable=False)
        return np.ascontiguousarray(rows).view(dtype).reshape(count, width)

    def _filled(self, index: Any, values: NDArray[Any], sparse: Any) -> NDArray[Any]:
        try:
            places, given = sparse["indices"], sparse["values"]
            count, kind = self.number(sparse, "count", 0), np.dtype(DTYPES[places["componentType"]])
            width = values.shape[1]
            at = self._rows(index, places["bufferView"], self.number(places, "byteOffset", 0), kind, count, 1)[:, 0]
            start = self.number(given, "byteOffset", 0)
            new = self._rows(index, given["bufferView"], start, values.dtype, count, width)
        except (KeyError, TypeError) as error:
            raise self.damaged(f"accessor {index} is sparse without {error}") from error
        if kind.kind != "u" or (count and int(at.max()) >= len(values)):
            raise self.damaged(f"accessor {index} fills in what is not there")
        filled = values.copy()
        filled[at] = new
        return filled

    def _matrix(self, node: dict[str, Any]) -> NDArray[np.float64]:
        """[4, 4] of a node: its matrix (column by column), or translation · rotation (xyzw) · scale."""
        try:
            if "matrix" in node:
                matrix = np.asarray(node["matrix"], np.float64).reshape(4, 4).T
            else:
                x, y, z, w = np.asarray(node.get("rotation", (0, 0, 0, 1)), np.float64)
                quat = np.array([x, y, z, w]) / (max(abs(value) for value in (x, y, z, w)) or 1)
                x, y, z, w = quat / (np.linalg.norm(quat) or 1)
                cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
                matrix = np.eye(4)
                matrix[:3, :3] = np.eye(3) + 2 * w * cross + 2 * cross @ cross
                matrix[:3, :3] *= np.asarray(node.get("scale", (1, 1, 1)), np.float64).reshape(3)
                matrix[:3, 3] = np.asarray(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
        except (TypeError, ValueError) as error:
            raise self.damaged(f"a node's place cannot be read ({error})") from error
        return matrix


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
