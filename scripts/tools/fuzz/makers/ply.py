"""Files of .ply, valid in every way that its grammar allows, and spoiled line by line."""

from __future__ import annotations

import re
import struct

import numpy as np

from tools.fuzz.makers.dice import COUNTS, Dice

TYPES = {
    "char": "b",
    "int8": "b",
    "uchar": "B",
    "uint8": "B",
    "short": "h",
    "ushort": "H",
    "int": "i",
    "int32": "i",
    "uint": "I",
    "float": "f",
    "float32": "f",
    "double": "d",
}
Column = tuple[str, str, str | None]
"""Name, type, and of a list the type of its length."""
_LENGTHS = ("uchar", "ushort", "int", "uint")


def make(dice: Dice) -> bytes:
    """A valid file."""
    if dice.chance(0.2):
        return _packed(dice)
    encoding = dice.one(("ascii", "binary_little_endian", "binary_big_endian"))
    count = dice.below(40) + 1
    names = ["x", "y", "z"]
    if dice.chance(0.8):
        rest = dice.one((0, 0, 9, 24, 45))
        names += ["f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"f_rest_{i}" for i in range(rest))]
        names += [f"scale_{i}" for i in range(dice.one((3, 3, 3, 2, 1, 0)))]
        names += [f"rot_{i}" for i in range(4)]
    else:
        names += ["red", "green", "blue", "alpha"][: dice.one((0, 3, 4))]
    names += [f"more_{i}" for i in range(dice.one((0, 0, 1, 3)))]
    if dice.chance(0.5):
        dice.rng.shuffle(names)
    usual = dice.one(("float", "float", "float32", "double"))
    vertex: list[Column] = [(name, usual if dice.chance(0.9) else dice.one(tuple(TYPES)), None) for name in names]
    if dice.chance(0.1):
        vertex.insert(dice.below(len(vertex)), ("seen", "short", dice.one(_LENGTHS)))
    elements: list[tuple[str, int, list[Column]]] = [("vertex", count, vertex)]
    for name in ("camera", "face")[: dice.one((0, 0, 1, 2))]:
        properties: list[Column] = [
            (f"p{i}", dice.one(tuple(TYPES)), dice.one((None, *_LENGTHS))) for i in range(dice.below(3) + 1)
        ]
        elements.insert(dice.below(len(elements) + 1), (name, dice.below(6), properties))
    lines = ["ply", f"format {encoding} 1.0", *(dice.one(_COMMENTS) for _ in range(dice.below(3)))]
    body = b""
    for name, rows, properties in elements:
        lines.append(f"element {name} {rows}")
        for label, kind, length in properties:
            lines.append(f"property list {length} {kind} {label}" if length else f"property {kind} {label}")
        body += b"".join(_row(dice, properties, encoding) for _ in range(rows))
    end = dice.one(("\n", "\n", "\r\n"))
    return (end.join([*lines, "end_header"]) + end).encode() + body


_COMMENTS = (
    "comment made by a die",
    "obj_info more",
    "comment Vertical Axis: z",
    "comment up 0 0 1",
    "comment up 1e999 nan x",
    "comment origin 500000 4000000 1e3",
    "comment origin inf 0 0",
    "comment",
)


def _row(dice: Dice, properties: list[Column], encoding: str) -> bytes:
    order = ">" if encoding == "binary_big_endian" else "<"
    words, packed = [], b""
    for _, kind, length in properties:
        items = dice.below(4) if length else 1
        values = [float(v) for v in dice.floats(items)]
        if TYPES[kind] not in "fd":
            values = [int(v) % 100 if np.isfinite(v) else 0 for v in values]
        if length:
            words.append(str(items))
            packed += struct.pack(order + TYPES[length], items)
        words += [repr(v) for v in values]
        packed += struct.pack(f"{order}{items}{TYPES[kind]}", *values)
    return " ".join(words).encode() + b"\n" if encoding == "ascii" else packed


def _packed(dice: Dice) -> bytes:
    """A chunked "compressed" file."""
    count = dice.one((1, 40, 256, 257, 600))
    chunks = -(-count // 256)
    bounds = [f"{end}_{axis}" for end in ("min", "max") for axis in ("x", "y", "z", "scale_x", "scale_y", "scale_z")]
    bounds += [f"{end}_{axis}" for end in ("min", "max") for axis in "rgb"] if dice.chance(0.5) else []
    rest = dice.one((0, 0, 9, 24, 45))
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in bounds]
    lines += [f"element vertex {count}"]
    lines += [f"property uint packed_{name}" for name in ("position", "rotation", "scale", "color")]
    if rest:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(rest))]
    body = dice.floats(chunks, len(bounds)).tobytes() + dice.rng.bytes(16 * count) + dice.rng.bytes(rest * count)
    return "\n".join([*lines, "end_header\n"]).encode() + body


def spoil(dice: Dice, content: bytes) -> bytes:
    """Another header for the same rows, or other bytes anywhere."""
    if dice.chance(0.3):
        return dice.spoiled(content)
    head, mark, body = content.partition(b"end_header")
    lines = head.decode("latin-1").split("\n")
    for _ in range(dice.below(2) + 1):
        at = dice.below(len(lines))
        kind = dice.below(7)
        if kind == 0:
            lines.pop(at)
        elif kind == 1:
            lines.insert(at, dice.one(lines))
        elif kind == 2:
            wanted = [i for i, line in enumerate(lines) if line.startswith("element")]
            at = dice.one(wanted) if wanted else at
            lines[at] = re.sub(r"\d+\s*$", str(dice.one(COUNTS)), lines[at])
        elif kind == 3:
            lines[at] = re.sub(r"property \w+", f"property {dice.one((*TYPES, 'list uchar int', 'half'))}", lines[at])
        elif kind == 4:
            lines[at] = re.sub(
                r"f_rest_\d+|scale_\d|rot_\d|x$", dice.one(("y", "f_rest_7", "f_rest_71", "")), lines[at]
            )
        elif kind == 5:
            lines[at] = re.sub(r"ascii|binary_\w+", dice.one(("ascii", "binary_big_endian", "binary")), lines[at])
        else:
            lines.insert(at, dice.rng.bytes(dice.below(20)).decode("latin-1"))
        if not lines:
            break
    data = "\n".join(lines).encode("latin-1") + mark + body
    return dice.spoiled(data) if dice.chance(0.2) else data


def declared(content: bytes) -> int:
    """Bytes of the arrays that the header's vertices need."""
    counts = [int(found) for found in re.findall(rb"element\s+vertex\s+(\d{1,12})\b", content)]
    return max(counts, default=0) * (56 + 4 * len(re.findall(rb"f_rest_", content)) + 8 * content.count(b"property"))
