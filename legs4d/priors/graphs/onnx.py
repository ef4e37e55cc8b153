"""Reads ONNX files: the few fields of its messages that inference needs, by their numbers in onnx.proto."""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.graphs.graph import Graph, GraphError, Node, make_graph

_TYPES: dict[int, Any] = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16}
_TYPES[11] = np.float64
Fields = dict[int, list[Any]]
"""Field number → its values in order: int for a varint, bytes for all else."""


def read_onnx(data: bytes) -> Graph:
    """The network in an ONNX file; of its outputs the first, which is the one that counts in nets with side outputs.

    Raises:
        GraphError: it is damaged or no ONNX.
    """
    try:
        graph = _fields(_fields(data)[7][0])
        constants = dict(_tensor(_fields(one)) for one in graph[5])
        nodes = []
        for raw in graph[1]:
            node = _fields(raw)
            attributes = dict(_attribute(_fields(one)) for one in node[5])
            outputs = tuple(name.decode() for name in node[2])
            op = node[4][0].decode()
            if op == "Constant":
                constants[outputs[0]] = attributes["value"]
            else:
                nodes.append(Node(op, tuple(name.decode() for name in node[1]), outputs, attributes))
        inputs = [_fields(one)[1][0].decode() for one in graph[11]]
        outputs = tuple(_fields(one)[1][0].decode() for one in graph[12][:1])
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise GraphError("is damaged, or no ONNX") from error
    return make_graph("onnx", [name for name in inputs if name not in constants], outputs, nodes, constants)


def _fields(data: bytes) -> Fields:
    """A message of protocol buffers, taken apart."""
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            found[tag >> 3].append(value)
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(kind)
        if at + size > len(data):
            raise IndexError(at)
        found[tag >> 3].append(data[at : at + size])
        at += size
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError(shift)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _integers(values: list[Any]) -> list[int]:
    """A repeated integer field, packed or not."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_signed(number))
    return found


def _tensor(message: Fields) -> tuple[str, NDArray[Any]]:
    shape, kind = _integers(message[1]), _TYPES[message[2][0]]
    if message[9]:
        values = np.frombuffer(message[9][0], kind)
    elif message[4]:
        values = np.frombuffer(b"".join(message[4]), np.float32)
    else:
        values = np.array(_integers(message[5] or message[7]), kind)
    return message[8][0].decode() if message[8] else "", values.reshape(shape)


def _attribute(message: Fields) -> tuple[str, Any]:
    name, kind = message[1][0].decode(), message[20][0]
    value: Any
    if kind == 1:
        value = struct.unpack("<f", message[2][0])[0]
    elif kind == 2:
        value = _signed(message[3][0])
    elif kind == 3:
        value = message[4][0].decode()
    elif kind == 4:
        value = _tensor(_fields(message[5][0]))[1]
    elif kind == 6:
        value = np.frombuffer(b"".join(message[7]), np.float32).tolist()
    elif kind == 7:
        value = _integers(message[8])
    else:
        raise ValueError(kind)
    return name, value
