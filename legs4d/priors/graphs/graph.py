"""A network as data: operations in order, and the numbers they use. Reading one executes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError

Dialect = Literal["onnx", "tf"]
"""Whose operations: ONNX's, on [N, C, H, W], or TensorFlow's, on [N, H, W, C]."""

_KEY = "graph"
"""Of the file's metadata."""


class GraphError(ValueError):
    """A file is not the network that it should be; its text says why, without a path."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: its name in the graph's dialect.
        inputs, outputs: names of values; an input "" is left out.
        attributes: numbers, text, and lists of them.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        dialect: whose operations.
        inputs, outputs: names of the values that it takes and gives.
        nodes: each after those whose values it uses.
        constants: values by name.
    """

    dialect: Dialect
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]


def make_graph(
    dialect: Dialect,
    inputs: Iterable[str],
    outputs: Iterable[str],
    nodes: Iterable[Node],
    constants: Mapping[str, NDArray[Any]],
) -> Graph:
    """A graph of what its outputs need, in order.

    Raises:
        GraphError: a value is used that nothing makes, or it needs itself.
    """
    inputs, outputs = tuple(inputs), tuple(outputs)
    makers = {name: node for node in nodes for name in node.outputs}
    ordered: dict[int, Node] = {}
    begun: set[int] = set()
    stack = [(name, False) for name in reversed(outputs)]
    while stack:
        name, ready = stack.pop()
        if not name or (name not in makers and (name in inputs or name in constants)):
            continue
        node = makers.get(name)
        if node is None:
            raise GraphError(f"uses {name!r}, which nothing makes")
        if id(node) in ordered:
            continue
        if ready:
            ordered[id(node)] = node
            continue
        if id(node) in begun:
            raise GraphError(f"{name!r} needs itself")
        begun.add(id(node))
        stack.append((name, True))
        stack.extend((needed, False) for needed in reversed(node.inputs))
    used = {name for node in ordered.values() for name in node.inputs} | set(outputs)
    return Graph(dialect, inputs, outputs, tuple(ordered.values()), {n: v for n, v in constants.items() if n in used})


def save_graph(graph: Graph, path: Path, about: Mapping[str, str]) -> None:
    """Write a network as safetensors; `about` goes into the file's metadata."""
    from safetensors.numpy import save_file

    told = {**asdict(graph), "constants": sorted(graph.constants)}
    arrays = {name: np.asarray(value, order="C") for name, value in graph.constants.items()}
    save_file(arrays, path, {**about, _KEY: json.dumps(told)})


def load_graph(path: Path) -> Graph:
    """What `save_graph` wrote.

    Raises:
        Legs4dError: it is damaged or no such file.
    """
    from safetensors import SafetensorError, safe_open

    fix = "delete it and fetch it anew by `legs4d priors get`"
    try:
        with safe_open(path, "np") as file:
            told = json.loads((file.metadata() or {})[_KEY])
            constants = {name: file.get_tensor(name) for name in told["constants"]}
            nodes = [
                Node(n["op"], tuple(n["inputs"]), tuple(n["outputs"]), dict(n["attributes"])) for n in told["nodes"]
            ]
            return make_graph(told["dialect"], told["inputs"], told["outputs"], nodes, constants)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise Legs4dError("cannot be read as a network", where=str(path), fix=fix) from error
