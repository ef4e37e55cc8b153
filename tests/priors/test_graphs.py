"""Networks read from files and run in torch give the numbers of the formats' own definitions."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import Legs4dError
from legs4d.priors.graphs.graph import Graph, GraphError, Node, load_graph, make_graph, save_graph
from legs4d.priors.graphs.network import Network
from legs4d.priors.graphs.onnx import read_onnx
from legs4d.priors.graphs.opened import open_network
from legs4d.priors.graphs.tf_operations import TF_OPERATIONS
from legs4d.priors.graphs.tfjs import read_tfjs
from legs4d.priors.graphs.tflite import read_tflite

CPU = torch.device("cpu")


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_tensor(name: str, values: np.ndarray) -> bytes:
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}[values.dtype]
    shape = b"".join(field(1, side) for side in values.shape)
    return shape + field(2, kind) + field(8, name.encode()) + field(9, values.tobytes())


def onnx_node(op: str, inputs: list[str], output: str, **ints: list[int] | int) -> bytes:
    told = b"".join(field(1, name.encode()) for name in inputs) + field(2, output.encode()) + field(4, op.encode())
    for name, value in ints.items():
        if isinstance(value, int):
            told += field(5, field(1, name.encode()) + field(3, value) + field(20, 2))
        else:
            told += field(5, field(1, name.encode()) + b"".join(field(8, i) for i in value) + field(20, 7))
    return told


def onnx_file(nodes: list[bytes], constants: dict[str, np.ndarray]) -> bytes:
    graph = b"".join(field(1, node) for node in nodes)
    graph += b"".join(field(5, onnx_tensor(name, value)) for name, value in constants.items())
    graph += field(11, field(1, b"in")) + field(12, field(1, b"out"))
    return field(1, 8) + field(7, graph)


def onnx_example() -> bytes:
    """3·in + 1, rectified, its larger rows first pooled by two."""
    kernel, bias = np.full((1, 1, 1, 1), 3, np.float32), np.ones(1, np.float32)
    nodes = [
        onnx_node("Conv", ["in", "kernel", "bias"], "a", kernel_shape=[1, 1], strides=[1, 1], pads=[0, 0, 0, 0]),
        onnx_node("Relu", ["a"], "b"),
        onnx_node("MaxPool", ["b"], "out", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    ]
    return onnx_file(nodes, {"kernel": kernel, "bias": bias})


def test_an_onnx_file_is_read_and_run() -> None:
    graph = read_onnx(onnx_example())
    assert (graph.inputs, graph.outputs, [node.op for node in graph.nodes]) == (
        ("in",),
        ("out",),
        ["Conv", "Relu", "MaxPool"],
    )
    values = np.array([[[[-1, 2, 0], [1, 0, -4], [5, -5, 3]]]], np.float32)
    (made,) = Network(graph, CPU)(values)
    np.testing.assert_array_equal(made.numpy(), [[[[7, 1], [16, 10]]]])


@pytest.mark.parametrize("cut", [3, 20, 60, 100])
def test_a_truncated_onnx_file_is_refused(cut: int) -> None:
    with pytest.raises(GraphError, match=r"damaged|nothing makes"):
        read_onnx(onnx_example()[:-cut])


def test_a_graph_comes_back_from_its_file_with_scalars_and_halves(tmp_path: Path) -> None:
    constants: dict[str, np.ndarray] = {"two": np.array(2, np.int64), "half": np.array([0.5], np.float16)}
    graph = make_graph("tf", ["in"], ["out"], [Node("Mul", ("in", "half"), ("out",), {"x": [1, "a"]})], constants)
    assert "two" not in graph.constants  # what no output needs is left out
    save_graph(graph, tmp_path / "x.safetensors", {"licence": "MIT"})
    read = load_graph(tmp_path / "x.safetensors")
    assert (read.dialect, read.inputs, read.outputs, read.nodes) == ("tf", ("in",), ("out",), graph.nodes)
    (made,) = Network(read, CPU)(np.array([3], np.float32))
    assert made.dtype == torch.float32 and made.item() == 1.5


def test_files_that_are_no_such_network(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(Legs4dError, match="cannot be read as a network"):
        load_graph(tmp_path / "x.safetensors")
    node = Node("Frobnicate", ("in",), ("out",))
    with pytest.raises(GraphError, match="not known here: Frobnicate"):
        Network(make_graph("tf", ["in"], ["out"], [node], {}), CPU)
    save_graph(make_graph("tf", ["in"], ["in"], [], {}), tmp_path / "y.safetensors", {})
    with pytest.raises(Legs4dError, match="takes 1 and gives 1 arrays, NanoDet's 1 and 6"):
        open_network(tmp_path / "y.safetensors", CPU, "NanoDet", 1, 6)


def test_graphs_that_make_no_sense() -> None:
    with pytest.raises(GraphError, match="uses 'lost', which nothing makes"):
        make_graph("tf", ["in"], ["out"], [Node("Add", ("in", "lost"), ("out",))], {})
    ring = [Node("Relu", ("b",), ("a",)), Node("Relu", ("a",), ("b",))]
    with pytest.raises(GraphError, match="needs itself"):
        make_graph("tf", [], ["a"], ring, {})


def test_nodes_are_put_in_order() -> None:
    nodes = [Node("AddV2", ("b", "a"), ("out",)), Node("Relu", ("a",), ("b",)), Node("Abs", ("in",), ("a",))]
    graph = make_graph("tf", ["in"], ["out"], nodes, {})
    assert [node.op for node in graph.nodes] == ["Abs", "Relu", "AddV2"]


def tfjs_example() -> tuple[bytes, bytes]:
    """One 3×3 sum over [1, 4, 4, 1] with stride 2 and "SAME" padding, as a graph model."""
    weights = [{"name": "kernel", "shape": [3, 3, 1, 1], "dtype": "float32", "quantization": {"dtype": "float16"}}]
    same = {"s": base64.b64encode(b"SAME").decode()}
    strides = {"list": {"i": ["1", "2", "2", "1"]}}
    nodes = [
        {"name": "in", "op": "Placeholder"},
        {"name": "kernel", "op": "Const"},
        {"name": "out", "op": "Conv2D", "input": ["in", "kernel"], "attr": {"padding": same, "strides": strides}},
    ]
    told = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["x.bin"], "weights": weights}],
        "signature": {"outputs": {"y": {"name": "out:0"}}},
    }
    return json.dumps(told).encode(), np.ones(9, np.float16).tobytes()


def test_a_tfjs_model_is_read_and_run() -> None:
    (made,) = Network(read_tfjs(*tfjs_example()), CPU)(np.ones((1, 4, 4, 1), np.float32))
    # TensorFlow puts an odd row of padding below and right: the last windows hold two rows and columns
    np.testing.assert_array_equal(made[0, :, :, 0].numpy(), [[9, 6], [6, 4]])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model, data: (model, data[:-2]), "fewer numbers"),
        (lambda model, data: (model, data + b"\0\0"), "more numbers"),
        (lambda model, data: (model[:50], data), "is damaged"),
        (lambda model, data: (model.replace(b'"float16"', b'"uint8", "scale": 1'), data), "keeps 'kernel' in steps"),
    ],
)
def test_a_tfjs_model_that_is_not_whole(change: Callable[[bytes, bytes], tuple[bytes, bytes]], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        read_tfjs(*change(*tfjs_example()))


def test_files_that_are_no_tflite() -> None:
    with pytest.raises(GraphError, match="no TensorFlow Lite file"):
        read_tflite(b"PK\3\4" * 10)
    with pytest.raises(GraphError, match="is damaged"):
        read_tflite(struct.pack("<I", 1 << 20) + b"TFL3" + bytes(40))


def run(op: str, *given: object, **attributes: object) -> np.ndarray:
    made = TF_OPERATIONS[op](attributes, [torch.as_tensor(value) for value in given])
    return np.asarray(made)


def test_slices_with_masks() -> None:
    values = np.arange(24).reshape(2, 3, 4)
    begin, end, step = [1, 9, 1, 0], [9, 9, 3, 9], [1, 1, 1, 2]
    made = run("StridedSlice", values, begin, end, step, new_axis_mask=2, shrink_axis_mask=1, end_mask=8)
    np.testing.assert_array_equal(made, values[1, None, 1:3, 0::2])


def test_numbers_scattered_into_a_vector() -> None:
    made = run("SparseToDense", np.array([[1], [3]]), np.array([5]), np.array([7.0, 8.0]), np.array(0.0))
    np.testing.assert_array_equal(made, [0, 7, 0, 8, 0])


def test_depthwise_kernels_and_padding() -> None:
    values = np.ones((1, 2, 2, 2), np.float32)
    kernel = np.array([1, 10], np.float32).reshape(1, 1, 2, 1)
    made = run("DepthwiseConv2dNative", values, kernel, padding="VALID", strides=[1, 1, 1, 1])
    np.testing.assert_array_equal(made[0, 0, 0], [1, 10])
    padded = run("Pad", np.ones((1, 1)), np.array([[1, 0], [0, 2]]))
    np.testing.assert_array_equal(padded, [[0, 0, 0], [1, 0, 0]])


def test_rows_picked_by_indices() -> None:
    values = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(run("GatherNd", values, np.array([[2, 0], [0, 1]])), [4, 1])


def test_a_graph_forgets_what_is_no_longer_used_but_not_its_outputs() -> None:
    nodes = (Node("Relu", ("in",), ("a",)), Node("Abs", ("a",), ("b",)))
    both = Network(Graph("tf", ("in",), ("a", "b"), nodes, {}), CPU)(np.array([-1.0, 2.0]))
    assert [value.tolist() for value in both] == [[0, 2], [0, 2]]
