"""Runs a graph in torch, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.graphs.graph import Graph, GraphError
from legs4d.priors.graphs.onnx_operations import ONNX_OPERATIONS
from legs4d.priors.graphs.tf_operations import TF_OPERATIONS

Operation = Callable[[dict[str, Any], list[Any]], Any]
"""(attributes, inputs) → a value, or a tuple of as many as the node has outputs. Inputs that are left out are None."""

_OPERATIONS: dict[str, dict[str, Operation]] = {"onnx": ONNX_OPERATIONS, "tf": TF_OPERATIONS}


WARM = 2
"""Runs before a capture, in which libraries choose their algorithms."""


@dataclass(frozen=True)
class _Captured:
    """A run on the GPU that can be repeated without Python: its inputs and outputs stay in their places."""

    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]
    graph: torch.cuda.CUDAGraph


class Network:
    """A graph that can be called, from several threads too.

    On CUDA, what a shape of inputs makes it do is captured once and then repeated: hundreds of small operations take
    longer to be asked for than to be done, and Python asks for one at a time.

    Args:
        graph: what is computed.
        device: where.

    Raises:
        GraphError: it has operations that are not known here.
    """

    def __init__(self, graph: Graph, device: torch.device) -> None:
        table = _OPERATIONS[graph.dialect]
        unknown = sorted({node.op for node in graph.nodes} - set(table))
        if unknown:
            raise GraphError(f"has operations that are not known here: {', '.join(unknown)}")
        self._graph, self._device = graph, device
        self._constants = {name: _constant(value, device) for name, value in graph.constants.items()}
        self._table = table
        last = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
        kept = {*graph.outputs, *graph.inputs, *self._constants}
        self._captured: dict[Any, _Captured | None] = {}
        self._lock = Lock()
        self._forget: list[list[str]] = [[] for _ in graph.nodes]
        for name, number in last.items():
            if name and name not in kept:
                self._forget[number].append(name)

    @torch.no_grad()
    def __call__(self, *inputs: NDArray[Any] | torch.Tensor) -> list[torch.Tensor]:
        """The graph's outputs in its order, from as many inputs as it takes, in its order."""
        given = [torch.as_tensor(value).to(self._device) for value in inputs]
        if self._device.type != "cuda":
            return self._run(given)
        kind = tuple((value.shape, value.dtype) for value in given)
        with self._lock:
            if kind not in self._captured:
                self._captured[kind] = self._capture(given)
            captured = self._captured[kind]
            if captured is not None:
                for place, value in zip(captured.inputs, given, strict=True):
                    place.copy_(value)
                captured.graph.replay()
                return [value.clone() for value in captured.outputs]
        return self._run(given)

    def _capture(self, given: list[torch.Tensor]) -> _Captured | None:
        """None where an operation has to wait for the GPU, which no capture holds: it is asked anew each time."""
        inputs = [value.clone() for value in given]
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self._run(inputs)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                outputs = self._run(inputs)
        except RuntimeError:
            return None
        return _Captured(inputs, outputs, graph)

    def _run(self, given: list[torch.Tensor]) -> list[torch.Tensor]:
        values: dict[str, Any] = dict(self._constants)
        values.update(zip(self._graph.inputs, given, strict=True))
        for node, forget in zip(self._graph.nodes, self._forget, strict=True):
            made = self._table[node.op](node.attributes, [values[name] if name else None for name in node.inputs])
            values.update(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False))
            for name in forget:
                values.pop(name, None)
        return [values[name] for name in self._graph.outputs]


def _constant(value: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Halves become floats; sizes, axes and indices stay where Python can read them without waiting for a GPU."""
    if np.issubdtype(value.dtype, np.floating):
        return torch.tensor(value.astype(np.float32), device=device)
    return torch.tensor(value)
