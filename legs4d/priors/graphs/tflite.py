"""Reads TensorFlow Lite files into TensorFlow's operations: the fields of schema.fbs that inference needs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.graphs.graph import Graph, GraphError, Node, make_graph

_TYPES: dict[int, Any] = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 9: np.int8}
_ACTIVATIONS = {1: "Relu", 3: "Relu6"}
_PADDINGS = {0: "SAME", 1: "VALID"}


def read_tflite(data: bytes) -> Graph:
    """The network in a .tflite file, its numbers floats (no steps).

    Raises:
        GraphError: it is damaged, no such file, or has operations that are not read.
    """
    if data[4:8] != b"TFL3":
        raise GraphError("is no TensorFlow Lite file")
    try:
        return _read(_Table(data, struct.unpack_from("<I", data)[0]))
    except (struct.error, IndexError, KeyError, ValueError) as error:
        if isinstance(error, GraphError):
            raise
        raise GraphError("is damaged") from error


@dataclass(frozen=True)
class _Table:
    """A table of FlatBuffers; fields go by their place in the schema."""

    data: bytes
    at: int

    def _field(self, place: int) -> int:
        """Where a field lies, 0 if it has its default."""
        table = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        entry = 4 + 2 * place
        if entry >= struct.unpack_from("<H", self.data, table)[0]:
            return 0
        offset = struct.unpack_from("<H", self.data, table + entry)[0]
        return self.at + offset if offset else 0

    def number(self, place: int, kind: str, default: int = 0) -> int:
        at = self._field(place)
        return struct.unpack_from("<" + kind, self.data, at)[0] if at else default

    def _start(self, place: int) -> tuple[int, int]:
        """Where a vector's entries begin, and how many they are."""
        at = self._field(place)
        if not at:
            return 0, 0
        at += struct.unpack_from("<I", self.data, at)[0]
        return at + 4, struct.unpack_from("<I", self.data, at)[0]

    def raw(self, place: int) -> bytes:
        at, size = self._start(place)
        if at + size > len(self.data):
            raise IndexError(at)
        return self.data[at : at + size]

    def integers(self, place: int) -> list[int]:
        at, count = self._start(place)
        return list(struct.unpack_from(f"<{count}i", self.data, at)) if count else []

    def tables(self, place: int) -> list[_Table]:
        at, count = self._start(place)
        places = (at + 4 * i for i in range(count))
        return [_Table(self.data, p + struct.unpack_from("<I", self.data, p)[0]) for p in places]

    def table(self, place: int) -> _Table:
        at = self._field(place)
        if not at:
            raise KeyError(place)
        return _Table(self.data, at + struct.unpack_from("<I", self.data, at)[0])


def _read(model: _Table) -> Graph:
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    buffers = model.tables(4)
    (subgraph,) = model.tables(2)
    constants: dict[str, NDArray[Any]] = {}
    for number, tensor in enumerate(subgraph.tables(0)):
        content = buffers[tensor.number(2, "I")].raw(0)
        if content:
            values = np.frombuffer(content, _TYPES[tensor.number(1, "b")])
            constants[str(number)] = values.reshape(tensor.integers(0))
    nodes = []
    for operator in subgraph.tables(3):
        code = codes[operator.number(0, "I")]
        if code not in _OPERATIONS:
            raise GraphError(f"has operation {code}, which is not read")
        inputs = tuple("" if i < 0 else str(i) for i in operator.integers(1))
        outputs = tuple(map(str, operator.integers(2)))
        if code == _DEQUANTIZE and inputs[0] in constants:
            constants[outputs[0]] = constants[inputs[0]]  # halves stay halves until they are used
        else:
            nodes += _OPERATIONS[code](operator, inputs, outputs)
    constants |= _kernels(nodes, constants)
    return make_graph("tf", map(str, subgraph.integers(1)), map(str, subgraph.integers(2)), nodes, constants)


def _kernels(nodes: list[Node], constants: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Kernels in TensorFlow's order: [out, H, W, in] becomes [H, W, in, out], [1, H, W, C·m] becomes [H, W, C, m]."""
    found = {}
    for node in nodes:
        if node.op in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = constants[node.inputs[1]]
            if node.op == "Conv2D":
                found[node.inputs[1]] = kernel.transpose(1, 2, 3, 0)
            else:
                times = node.attributes["multiplier"]
                found[node.inputs[1]] = kernel.reshape(*kernel.shape[1:3], kernel.shape[3] // times, times)
    return found


Read = Callable[[_Table, tuple[str, ...], tuple[str, ...]], list[Node]]


def _activated(node: Node, activation: int) -> list[Node]:
    """The node, followed by the activation that TensorFlow Lite has inside it."""
    if not activation:
        return [node]
    if activation not in _ACTIVATIONS:
        raise GraphError(f"has activation {activation}, which is not read")
    before = f"{node.outputs[0]}/before"
    first = Node(node.op, node.inputs, (before,), node.attributes)
    return [first, Node(_ACTIVATIONS[activation], (before,), node.outputs)]


def _convolution(operator: _Table, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Node]:
    told = operator.table(4)
    strides = [1, told.number(2, "i"), told.number(1, "i"), 1]
    dilations = [1, told.number(5, "i", 1), told.number(4, "i", 1), 1]
    attributes = {"strides": strides, "dilations": dilations, "padding": _PADDINGS[told.number(0, "b")]}
    return _with_bias("Conv2D", inputs, outputs, attributes, told.number(3, "b"))


def _depthwise(operator: _Table, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Node]:
    told = operator.table(4)
    attributes = {
        "strides": [1, told.number(2, "i"), told.number(1, "i"), 1],
        "dilations": [1, told.number(6, "i", 1), told.number(5, "i", 1), 1],
        "padding": _PADDINGS[told.number(0, "b")],
        "multiplier": told.number(3, "i", 1),
    }
    return _with_bias("DepthwiseConv2dNative", inputs, outputs, attributes, told.number(4, "b"))


def _with_bias(
    op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], attributes: dict[str, Any], activation: int
) -> list[Node]:
    if len(inputs) < 3 or not inputs[2]:
        return _activated(Node(op, inputs[:2], outputs, attributes), activation)
    before = f"{outputs[0]}/unbiased"
    added = _activated(Node("BiasAdd", (before, inputs[2]), outputs), activation)
    return [Node(op, inputs[:2], (before,), attributes), *added]


def _pool(operator: _Table, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Node]:
    told = operator.table(4)
    attributes = {
        "strides": [1, told.number(2, "i"), told.number(1, "i"), 1],
        "ksize": [1, told.number(4, "i"), told.number(3, "i"), 1],
        "padding": _PADDINGS[told.number(0, "b")],
    }
    return _activated(Node("MaxPool", inputs, outputs, attributes), told.number(5, "b"))


def _add(operator: _Table, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Node]:
    return _activated(Node("AddV2", inputs, outputs), operator.table(4).number(0, "b"))


def _resize(operator: _Table, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Node]:
    told = operator.table(4)
    attributes = {"align_corners": bool(told.number(2, "b")), "half_pixel_centers": bool(told.number(3, "b"))}
    return [Node("ResizeBilinear", inputs, outputs, attributes)]


def _plain(op: str) -> Read:
    return lambda operator, inputs, outputs: [Node(op, inputs, outputs)]


_DEQUANTIZE = 6
_OPERATIONS: dict[int, Read] = {
    0: _add,
    3: _convolution,
    4: _depthwise,
    _DEQUANTIZE: _plain("Identity"),
    14: _plain("Sigmoid"),
    17: _pool,
    22: _plain("Reshape"),
    23: _resize,
    34: _plain("Pad"),
}
"""Number of an operation in the schema → the nodes that it becomes."""
