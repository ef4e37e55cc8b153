"""ONNX's operations in torch, on [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from legs4d.priors.graphs.graph import GraphError

Attributes = dict[str, Any]
_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}


def _conv(told: Attributes, given: list[Any]) -> torch.Tensor:
    values, kernel = given[:2]
    top, left, bottom, right = told.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        values, top, left = functional.pad(values, (left, right, top, bottom)), 0, 0
    bias = given[2] if len(given) > 2 else None
    return functional.conv2d(
        values, kernel, bias, told.get("strides", 1), (top, left), told.get("dilations", 1), told.get("group", 1)
    )


def _max_pool(told: Attributes, given: list[Any]) -> torch.Tensor:
    top, left, bottom, right = told.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise GraphError("pools with uneven borders, which is not known here")
    return functional.max_pool2d(
        given[0],
        told["kernel_shape"],
        told.get("strides", 1),
        (top, left),
        told.get("dilations", 1),
        bool(told.get("ceil_mode", 0)),
    )


def _slice(told: Attributes, given: list[Any]) -> torch.Tensor:
    values, starts, ends = given[0], given[1].tolist(), given[2].tolist()
    axes = given[3].tolist() if len(given) > 3 and given[3] is not None else list(range(len(starts)))
    steps = given[4].tolist() if len(given) > 4 and given[4] is not None else [1] * len(starts)
    places = [slice(None)] * values.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places[axis] = slice(start, end, step)
    return values[tuple(places)]


def _resize(told: Attributes, given: list[Any]) -> torch.Tensor:
    way, coordinates = told.get("mode", "nearest"), told.get("coordinate_transformation_mode", "half_pixel")
    if way != "linear" or coordinates not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise GraphError(f"resizes in the way {way}, {coordinates}, which is not known here")
    values = given[0]
    if len(given) > 3 and given[3] is not None:
        size = given[3].tolist()[2:]
    else:
        size = [int(side * scale) for side, scale in zip(values.shape[2:], given[2].tolist()[2:], strict=True)]
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=coordinates == "align_corners")


def _unsqueeze(told: Attributes, given: list[Any]) -> torch.Tensor:
    values = given[0]
    for axis in sorted(told["axes"] if "axes" in told else given[1].tolist()):
        values = values.unsqueeze(axis)
    return values


ONNX_OPERATIONS: dict[str, Callable[[Attributes, list[Any]], Any]] = {
    "Add": lambda told, given: given[0] + given[1],
    "Cast": lambda told, given: given[0].to(_TYPES[told["to"]]),
    "Concat": lambda told, given: torch.cat(given, told["axis"]),
    "Conv": _conv,
    "Gather": lambda told, given: given[0][(slice(None),) * told.get("axis", 0) + (given[1],)],
    "MaxPool": _max_pool,
    "Relu": lambda told, given: torch.relu(given[0]),
    "Resize": _resize,
    "Shape": lambda told, given: torch.tensor(given[0].shape),
    "Sigmoid": lambda told, given: torch.sigmoid(given[0]),
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
}
