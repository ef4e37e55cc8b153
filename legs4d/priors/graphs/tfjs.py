"""Reads TensorFlow.js graph models: a .json of nodes and a .bin of numbers, into TensorFlow's operations."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.graphs.graph import Graph, GraphError, Node, make_graph

_TYPES = {"DT_FLOAT": "float32", "DT_HALF": "float32", "DT_INT32": "int32", "DT_INT64": "int64", "DT_BOOL": "bool"}


def read_tfjs(model: bytes, weights: bytes) -> Graph:
    """The network in the two files of a graph model.

    Raises:
        GraphError: one is damaged, or they do not belong together.
    """
    try:
        told = json.loads(model)
        constants = _constants(told["weightsManifest"], weights)
        nodes, inputs = [], []
        for node in told["modelTopology"]["node"]:
            name, op = node["name"], node["op"]
            if op == "Placeholder":
                inputs.append(name)
            elif op == "Const":
                if name not in constants:
                    raise GraphError(f"has no numbers for {name!r}")
            else:
                # "^name" only says that another comes first; "name:0" is the first output, which we call by the name
                wanted = tuple(i.removesuffix(":0") for i in node.get("input", []) if not i.startswith("^"))
                attributes = {key: _attribute(value) for key, value in node.get("attr", {}).items()}
                nodes.append(Node(op, wanted, _outputs(name, op, attributes), attributes))
        outputs = [entry["name"].removesuffix(":0") for entry in told["signature"]["outputs"].values()]
    except GraphError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError("is damaged, or no graph model of TensorFlow.js") from error
    return make_graph("tf", inputs, sorted(outputs), nodes, constants)


def _outputs(name: str, op: str, attributes: dict[str, Any]) -> tuple[str, ...]:
    counts = {"TopKV2": 2, "Unpack": attributes.get("num", 1), "Split": attributes.get("num_split", 1)}
    counts["SplitV"] = attributes.get("num_split", 1)
    return (name, *(f"{name}:{i}" for i in range(1, counts.get(op, 1))))


def _constants(manifest: list[dict[str, Any]], data: bytes) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    at = 0
    for entry in (weight for group in manifest for weight in group["weights"]):
        packed = entry.get("quantization", {})
        if "scale" in packed:
            raise GraphError(f"keeps {entry['name']!r} in steps, which is not read")
        kind = np.dtype(packed.get("dtype", entry["dtype"]))
        count = math.prod(entry["shape"])
        if at + count * kind.itemsize > len(data):
            raise GraphError("has fewer numbers than its nodes need")
        found[entry["name"]] = np.frombuffer(data, kind, count, at).reshape(entry["shape"])
        at += count * kind.itemsize
    if at != len(data):
        raise GraphError("has more numbers than its nodes need")
    return found


def _attribute(value: dict[str, Any]) -> Any:
    """A number, text, or list, from {"i": "3"}, {"s": "U0FNRQ=="}, {"list": {"i": ["1", "2"]}}, …"""
    if "list" in value:
        return [_single(kind, one) for kind, values in value["list"].items() for one in values]
    return next((_single(kind, one) for kind, one in value.items()), None)


def _single(kind: str, value: Any) -> Any:
    if kind == "i":
        return int(value)
    if kind == "s":
        return base64.b64decode(value).decode()
    if kind == "type":
        return _TYPES.get(value, value) if isinstance(value, str) else value
    return value
