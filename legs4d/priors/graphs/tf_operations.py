"""TensorFlow's operations in torch, on [N, H, W, C] (views of which are torch's channels-last tensors: no copies)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from legs4d.priors.graphs.graph import GraphError

Attributes = dict[str, Any]
Operation = Callable[[Attributes, list[Any]], Any]
_TYPES = {"float32": torch.float32, "int32": torch.int32, "int64": torch.int64, "bool": torch.bool}


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Pixels before and after: the output has ⌈size / stride⌉; an odd one goes after."""
    missing = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return missing // 2, missing - missing // 2


def _padded(
    values: torch.Tensor, told: Attributes, kernel: Sequence[int], dilations: Sequence[int], fill: float
) -> torch.Tensor:
    """[N, C, H, W] with what "SAME" adds."""
    if told["padding"] == "VALID":
        return values
    if told["padding"] != "SAME":
        raise GraphError(f"pads in the way {told['padding']}, which is not known here")
    rows = _same_padding(values.shape[2], kernel[0], told["strides"][1], dilations[0])
    columns = _same_padding(values.shape[3], kernel[1], told["strides"][2], dilations[1])
    return functional.pad(values, (*columns, *rows), value=fill) if any(rows + columns) else values


def _first(values: torch.Tensor) -> torch.Tensor:
    """Channels first."""
    return values.permute(0, 3, 1, 2)


def _last(values: torch.Tensor) -> torch.Tensor:
    return values.permute(0, 2, 3, 1)


def _conv(told: Attributes, given: list[Any], *, depthwise: bool = False) -> torch.Tensor:
    if told.get("data_format", "NHWC") != "NHWC":
        raise GraphError(f"keeps pictures as {told['data_format']}, which is not known here")
    values, kernel = _first(given[0]), given[1]
    height, width, channels, times = kernel.shape
    dilations = told.get("dilations", [1, 1, 1, 1])[1:3]
    values = _padded(values, told, (height, width), dilations, 0.0)
    if depthwise:
        kernel = kernel.permute(2, 3, 0, 1).reshape(channels * times, 1, height, width)
    else:
        kernel = kernel.permute(3, 2, 0, 1)
    groups = channels if depthwise else 1
    return _last(functional.conv2d(values, kernel, None, told["strides"][1:3], 0, dilations, groups))


def _fused(depthwise: bool) -> Operation:
    activations: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "Relu": torch.relu,
        "Relu6": lambda values: values.clamp(0, 6),
    }

    def run(told: Attributes, given: list[Any]) -> torch.Tensor:
        values = _conv(told, given, depthwise=depthwise)
        first, *others = told["fused_ops"]
        if first != "BiasAdd" or not set(others) <= set(activations):
            raise GraphError(f"has {', '.join(told['fused_ops'])} inside a convolution, which is not known here")
        values = values + given[2]
        for name in others:
            values = activations[name](values)
        return values

    return run


def _max_pool(told: Attributes, given: list[Any]) -> torch.Tensor:
    kernel = told["ksize"][1:3]
    values = _padded(_first(given[0]), told, kernel, (1, 1), float("-inf"))
    return _last(functional.max_pool2d(values, kernel, told["strides"][1:3]))


def _resize(told: Attributes, given: list[Any]) -> torch.Tensor:
    aligned, centred = told.get("align_corners", False), told.get("half_pixel_centers", False)
    if not (aligned or centred):
        raise GraphError("resizes by the corners of pixels, which is not known here")
    size = given[1].tolist()
    return _last(functional.interpolate(_first(given[0]), size=size, mode="bilinear", align_corners=aligned))


def _pad(told: Attributes, given: list[Any]) -> torch.Tensor:
    borders = [side for pair in reversed(given[1].tolist()) for side in pair]
    return functional.pad(given[0], borders, value=float(given[2]) if len(given) > 2 else 0.0)


def _strided_slice(told: Attributes, given: list[Any]) -> torch.Tensor:
    values = given[0]
    if told.get("ellipsis_mask"):
        raise GraphError("has an ellipsis in a slice, which is not known here")
    places: list[Any] = []
    begins, ends, steps = (part.tolist() for part in given[1:4])
    for number, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        bit = 1 << number
        if told.get("new_axis_mask", 0) & bit:
            places.append(None)
        elif told.get("shrink_axis_mask", 0) & bit:
            places.append(begin)
        else:
            open_begin, open_end = told.get("begin_mask", 0) & bit, told.get("end_mask", 0) & bit
            places.append(slice(None if open_begin else begin, None if open_end else end, step))
    return values[tuple(places)]


def _sparse_to_dense(told: Attributes, given: list[Any]) -> torch.Tensor:
    places, shape, values, fill = given
    made = torch.full(shape.tolist(), fill.item(), dtype=values.dtype, device=values.device)
    where = tuple(places.reshape(-1, len(shape)).T) if len(shape) > 1 or places.ndim > 1 else (places,)
    made[where] = values
    return made


def _split_v(told: Attributes, given: list[Any]) -> tuple[torch.Tensor, ...]:
    values, sizes, axis = given[0], given[1].tolist(), int(given[2])
    if -1 in sizes:
        sizes[sizes.index(-1)] = values.shape[axis] - sum(sizes) - 1
    return torch.split(values, sizes, axis)


def _reduced(how: Callable[..., Any]) -> Operation:
    def run(told: Attributes, given: list[Any]) -> torch.Tensor:
        axes = given[1].reshape(-1).tolist()
        return how(given[0], dim=axes, keepdim=bool(told.get("keep_dims", False)))

    return run


def _select(told: Attributes, given: list[Any]) -> torch.Tensor:
    choice, one, other = given
    while choice.ndim < one.ndim and choice.ndim:
        choice = choice.unsqueeze(-1)  # a vector chooses rows
    return torch.where(choice.to(one.device), one, other.to(one.device))


def _top_k(told: Attributes, given: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    values, places = torch.topk(given[0], int(given[1]), sorted=True)
    return values, places.to(torch.int32)


def _gather_nd(told: Attributes, given: list[Any]) -> torch.Tensor:
    places = given[1].to(given[0].device).long()
    return given[0][tuple(places.movedim(-1, 0))]


def _together(how: Callable[[Any, Any], Any]) -> Operation:
    """An operation on two values, of which sizes may lie on the CPU and the rest on a GPU."""

    def run(told: Attributes, given: list[Any]) -> torch.Tensor:
        one, other = given
        if one.device != other.device:
            if one.device.type == "cpu":
                one = one.to(other.device)
            else:
                other = other.to(one.device)
        return how(one, other)

    return run


def _stacked(told: Attributes, given: list[Any]) -> torch.Tensor:
    device = next((value.device for value in given if value.device.type != "cpu"), given[0].device)
    return torch.stack([value.to(device) for value in given], told.get("axis", 0))


def _joined(told: Attributes, given: list[Any]) -> torch.Tensor:
    *values, axis = given
    device = next((value.device for value in values if value.device.type != "cpu"), values[0].device)
    return torch.cat([value.to(device) for value in values], int(axis))


def _squeeze(told: Attributes, given: list[Any]) -> torch.Tensor:
    axes = told.get("squeeze_dims") or [i for i, side in enumerate(given[0].shape) if side == 1]
    return given[0].squeeze(tuple(axes))


def _arg_max(told: Attributes, given: list[Any]) -> torch.Tensor:
    return given[0].argmax(int(given[1])).to(_TYPES[told.get("output_type", "int64")])


TF_OPERATIONS: dict[str, Operation] = {
    "Abs": lambda told, given: given[0].abs(),
    "Add": _together(torch.add),
    "AddN": lambda told, given: sum(given[1:], given[0]),
    "AddV2": _together(torch.add),
    "ArgMax": _arg_max,
    "BiasAdd": lambda told, given: given[0] + given[1],
    "Cast": lambda told, given: given[0].to(_TYPES[told["DstT"]]),
    "ConcatV2": _joined,
    "Conv2D": _conv,
    "DepthwiseConv2dNative": lambda told, given: _conv(told, given, depthwise=True),
    "Equal": _together(torch.eq),
    "Exp": lambda told, given: given[0].exp(),
    "ExpandDims": lambda told, given: given[0].unsqueeze(int(given[1])),
    "Fill": lambda told, given: given[1].expand(given[0].tolist()),
    "FloorDiv": _together(lambda one, other: torch.div(one, other, rounding_mode="floor")),
    "FusedDepthwiseConv2dNative": _fused(True),
    "GatherNd": _gather_nd,
    "Greater": _together(torch.gt),
    "GreaterEqual": _together(torch.ge),
    "Identity": lambda told, given: given[0],
    "LeakyRelu": lambda told, given: functional.leaky_relu(given[0], told.get("alpha", 0.2)),
    "Less": _together(torch.lt),
    "LogicalAnd": _together(torch.logical_and),
    "Max": _reduced(torch.amax),
    "MaxPool": _max_pool,
    "Maximum": _together(torch.maximum),
    "Minimum": _together(torch.minimum),
    "Mul": _together(torch.mul),
    "Pack": _stacked,
    "Pad": _pad,
    "PadV2": _pad,
    "Range": lambda told, given: torch.arange(*(value.item() for value in given), dtype=given[0].dtype),
    "RealDiv": _together(torch.true_divide),
    "Reciprocal": lambda told, given: given[0].reciprocal(),
    "Relu": lambda told, given: torch.relu(given[0]),
    "Relu6": lambda told, given: given[0].clamp(0, 6),
    "Reshape": lambda told, given: given[0].reshape(given[1].tolist()),
    "ResizeBilinear": _resize,
    "Select": _select,
    "Shape": lambda told, given: torch.tensor(given[0].shape, dtype=torch.int32),
    "Sigmoid": lambda told, given: torch.sigmoid(given[0]),
    "Size": lambda told, given: torch.tensor(given[0].numel(), dtype=torch.int32),
    "SparseToDense": _sparse_to_dense,
    "Split": lambda told, given: torch.chunk(given[1], told["num_split"], int(given[0])),
    "SplitV": _split_v,
    "SquaredDifference": _together(lambda one, other: (one - other) ** 2),
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Sub": _together(torch.sub),
    "Sum": _reduced(torch.sum),
    "Tile": lambda told, given: given[0].tile(given[1].tolist()),
    "TopKV2": _top_k,
    "Transpose": lambda told, given: given[0].permute(given[1].tolist()),
    "Unpack": lambda told, given: torch.unbind(given[0], told.get("axis", 0)),
    "_FusedConv2D": _fused(False),
}
