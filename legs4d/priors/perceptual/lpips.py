"""LPIPS 0.1, the learned distance of pictures (Zhang et al. 2018), on AlexNet or VGG16.

`legs4d priors get lpips-alex` fetches weights; a file of the usual `lpips` package's serves as well:

    torch.save(lpips.LPIPS(net="alex").state_dict(), "lpips_alex.pth")
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch.nn.functional import conv2d, max_pool2d, relu

from legs4d.errors import Legs4dError, reason_of
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors
from legs4d.priors.perceptual.layers import NETWORKS, LpipsNetwork, convolution_key, head_key

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""Of the colours in -1..1, for the networks' input."""


class Lpips:
    """The distance, 0 for equal pictures, from a file of weights.

    Args:
        path: .pth (a state dict; nothing else in it is unpickled) or .safetensors, see the module. Which of the two
            networks it is of is seen from what it holds.
        device: where to compute.

    Raises:
        Legs4dError: the file is missing, unreadable, or of neither network.
    """

    def __init__(self, path: str | Path, device: torch.device) -> None:
        state = _read(Path(path))
        self._network = NETWORKS["vgg" if "net.slice1.2.weight" in state else "alex"]
        _check(state, self._network, str(path))
        layers = self._network.layers
        self._convolutions = [
            tuple(state[convolution_key(layer, part)].to(device, torch.float32) for part in ("weight", "bias"))
            for layer in layers
        ]
        self._heads = [state[head_key(i)].to(device, torch.float32) for i in range(len(self._network.taps))]
        self._shift, self._scale = (torch.tensor(v, device=device)[:, None, None] for v in (_SHIFT, _SCALE))
        self._device = device

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """[C] distances of two stacks of pictures [C, H, W, 3] in 0..1, which gradients pass through.

        Raises:
            Legs4dError: the pictures are too small.
        """
        smallest = self._network.smallest
        if min(first.shape[1:3]) < smallest:
            raise Legs4dError(
                f"pictures of {first.shape[2]}×{first.shape[1]} are too small for LPIPS",
                where="--lpips",
                fix=f"train at a scale that leaves {smallest} pixels on each side",
            )
        pairs = zip(self._features(first), self._features(second), self._heads, strict=True)
        return torch.stack([conv2d((a - b) ** 2, head).mean(dim=(1, 2, 3)) for a, b, head in pairs]).sum(dim=0)

    @torch.no_grad()
    def distance(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """See `protocols.PerceptualPrior`."""
        one, other = (torch.from_numpy(picture).to(self._device)[None] for picture in (first, second))
        return float(self(one, other))

    def _features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        values = ((2 * pictures.permute(0, 3, 1, 2) - 1) - self._shift) / self._scale
        found = []
        for number, ((weight, bias), layer) in enumerate(zip(self._convolutions, self._network.layers, strict=True)):
            if layer.pooled:
                values = max_pool2d(values, *layer.pooled)
            values = relu(conv2d(values, weight, bias, layer.stride, layer.padding))
            if number in self._network.taps:
                # the square root of 0 has no gradient
                length = (values.square().sum(dim=1, keepdim=True) + 1e-20).sqrt()
                found.append(values / (length + 1e-10))
        return found


def open_lpips(which: str | Path, device: torch.device) -> Lpips:
    """The distance by the name of its network, whose weights lie among the priors, or by a file of weights.

    Raises:
        Legs4dError: see `Lpips`; the weights are not among the priors.
    """
    if str(which) not in NETWORKS:
        return Lpips(which, device)
    from legs4d.priors.cache import find_weights

    return Lpips(find_weights(f"lpips-{which}"), device)


def _check(state: dict[str, torch.Tensor], network: LpipsNetwork, where: str) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    for layer in network.layers:
        expected[convolution_key(layer, "weight")] = layer.shape
        expected[convolution_key(layer, "bias")] = layer.shape[:1]
    for number, tap in enumerate(network.taps):
        expected[head_key(number)] = (1, network.layers[tap].shape[0], 1, 1)
    name = next(name for name, one in NETWORKS.items() if one is network)
    fix = f'give those of `legs4d priors get lpips-{name}`, or the usual package\'s of LPIPS(net="{name}")'
    for key, size in expected.items():
        if key not in state or tuple(state[key].shape) != size:
            found = f"is {tuple(state[key].shape)}" if key in state else "is not there"
            raise Legs4dError(f"{key} {found}, but must be {size}", where=where, fix=fix)


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = load_tensors(path)
    except FileNotFoundError as error:
        fix = "name the file that holds them, or fetch them by `legs4d priors get lpips-alex`"
        raise Legs4dError("there are no LPIPS weights", where=str(path), fix=fix) from error
    except (OSError, SafetensorError, UnreadableTensorsError) as error:
        fix = "give LPIPS's AlexNet or VGG weights, as .safetensors or a file of torch.save that holds tensors alone"
        raise Legs4dError(f"cannot be read as weights ({reason_of(error)})", where=str(path), fix=fix) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Legs4dError("is no state dict", where=str(path), fix="save the state_dict(), not the module")
    return state
