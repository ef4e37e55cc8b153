"""Runs a graph in torch, on any device."""

from __future__ import annotations

from collections.abc import Callable
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


class Network:
    """A graph that can be called.

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
        self._forget: list[list[str]] = [[] for _ in graph.nodes]
        for name, number in last.items():
            if name and name not in kept:
                self._forget[number].append(name)

    @torch.no_grad()
    def __call__(self, *inputs: NDArray[Any] | torch.Tensor) -> list[torch.Tensor]:
        """The graph's outputs in its order, from as many inputs as it takes, in its order."""
        values: dict[str, Any] = dict(self._constants)
        for name, given in zip(self._graph.inputs, inputs, strict=True):
            values[name] = torch.as_tensor(given).to(self._device)
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
