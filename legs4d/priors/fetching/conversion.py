"""Weights as packages hold them → one .safetensors each. Nothing in them is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors
from legs4d.priors.fetching.pickled_arrays import flat, read_pickled_arrays
from legs4d.priors.graphs.graph import GraphError, save_graph
from legs4d.priors.graphs.onnx import read_onnx
from legs4d.priors.graphs.tfjs import read_tfjs
from legs4d.priors.graphs.tflite import read_tflite
from legs4d.priors.perceptual.layers import NETWORKS, convolution_key, head_key
from legs4d.priors.prior import Packaged

VERSION = 1
"""Of the converted files; one of another version is converted anew."""


def convert(weights: Packaged, members: list[bytes], path: Path, about: Mapping[str, str]) -> None:
    """Write what `members` hold as `path`, with `about` in its metadata.

    Raises:
        GraphError: one is damaged, or not what it should be.
    """
    if weights.conversion == "onnx":
        return save_graph(read_onnx(members[0]), path, about)
    if weights.conversion == "tflite":
        return save_graph(read_tflite(members[0]), path, about)
    if weights.conversion == "tfjs":
        return save_graph(read_tfjs(*members), path, about)
    if weights.conversion == "torch":
        arrays: dict[str, NDArray[Any]] = {}
        for prefix, data in zip(weights.prefixes, members, strict=True):
            arrays |= {prefix + name: value for name, value in _torch_arrays(data).items()}
    else:
        arrays = _lpips_arrays(weights.conversion.removeprefix("lpips-"), members[0])
    from safetensors.numpy import save_file

    save_file({name: np.asarray(value, order="C") for name, value in arrays.items()}, path, dict(about))
    return None


def _torch_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        path.write_bytes(data)
        try:
            state = load_tensors(path)
        except UnreadableTensorsError as error:
            raise GraphError(f"cannot be read as weights ({error})") from error
    if not isinstance(state, dict) or not state or not all(hasattr(value, "numpy") for value in state.values()):
        raise GraphError("is no state dict")
    return {name: value.numpy() for name, value in state.items()}


def _lpips_arrays(network: str, data: bytes) -> dict[str, NDArray[Any]]:
    """Flax keeps kernels as [H, W, in, out]; the names become those of the usual `lpips` package."""
    found = flat(read_pickled_arrays(data))
    layers = NETWORKS[network].layers
    base = {"alex": "AlexNet_0", "vgg": "VGG16_0"}[network]
    kept = {}
    try:
        for number, layer in enumerate(layers):
            kept[convolution_key(layer, "weight")] = found[f"{base}.Conv_{number}.kernel"].transpose(3, 2, 0, 1)
            kept[convolution_key(layer, "bias")] = found[f"{base}.Conv_{number}.bias"]
        for number in range(len(NETWORKS[network].taps)):
            kept[head_key(number)] = found[f"NetLinLayer_{number}.Conv_0.kernel"].transpose(3, 2, 0, 1)
    except KeyError as error:
        raise GraphError(f"has no {error.args[0]!r}") from error
    return kept
