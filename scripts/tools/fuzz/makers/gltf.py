"""Files of .glb, and spoiled in their document, header and bytes."""

from __future__ import annotations

import json
import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from legs4d.gaussians.formats.gltf_writer import write_glb
from tools.fuzz.makers.dice import Dice, one_of_few
from tools.fuzz.makers.sog import with_something_else

_URIS = ("../x.bin", "/etc/passwd", "file:///etc/passwd", "data:,x", "data:;base64,AAAA", "x\0y", "a:b", "%2e%2e/x", "")


@one_of_few
def make(dice: Dice) -> bytes:
    """A valid file."""
    splats = dice.splats(dice.below(200) + 1, dice.one((0, 3, 8, 15)))
    if dice.chance(0.3):
        splats = replace(splats, origin=(4e5, 0.0, -5e6))
    if dice.chance(0.3):
        splats = replace(splats, extra={"weight": dice.rng.random(len(splats)).astype(np.float32)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.glb"
        write_glb(path, splats)
        content = path.read_bytes()
    document, body = _parts(content)
    if dice.chance(0.5):
        document["nodes"] = [{"children": [1], "scale": dice.rng.uniform(-2, 2, 3).tolist()}, *document["nodes"]]
        document["nodes"][0]["scale"] = [value or 1.0 for value in document["nodes"][0]["scale"]]
    if dice.chance(0.3):
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        accessor = document["accessors"][attributes["KHR_gaussian_splatting:ROTATION"]]
        view = document["bufferViews"][accessor["bufferView"]]
        xyzw = np.frombuffer(body, "<f4", 4 * len(splats), view["byteOffset"])
        whole = np.rint(xyzw * 32767).astype("<i2").tobytes()
        body = body[: view["byteOffset"]] + whole + body[view["byteOffset"] + len(whole) :]
        accessor |= {"componentType": 5122, "normalized": True}
    return _joined(document, body)


def spoil(dice: Dice, content: bytes) -> bytes:
    """Anything in the document exchanged for something awkward, buffers elsewhere, or other bytes anywhere."""
    kind = dice.below(4)
    if kind == 0:
        return dice.spoiled(content)
    document, body = _parts(content)
    if kind == 1:
        document["buffers"][0]["uri"] = dice.one(_URIS)
    elif kind == 2:
        return _joined(document, dice.spoiled(body))
    for _ in range(dice.below(3) + 1):
        document = with_something_else(dice, document)
        if not isinstance(document, dict):
            break
    return _joined(document, body)


def declared(content: bytes) -> int:
    """Bytes of the arrays, at most what all of the file's bytes can hold as bytes."""
    return 4 * len(content)


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + size]), content[28 + size :]


def _joined(document: Any, body: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    head = struct.pack("<5I", 0x46546C67, 2, 28 + len(text) + len(body), len(text), 0x4E4F534A)
    return head + text + struct.pack("<2I", len(body), 0x004E4942) + body
