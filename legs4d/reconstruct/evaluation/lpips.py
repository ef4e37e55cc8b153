"""LPIPS, the learned distance of pictures (Zhang et al. 2018), AlexNet variant 0.1, from weights that the user has.

The weights are not shipped. Where the usual `lpips` package is installed, this writes them as one file:

    torch.save(lpips.LPIPS(net="alex").state_dict(), "lpips_alex.pth")
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch.nn.functional import conv2d, max_pool2d, relu

from legs4d.errors import Legs4dError, reason_of
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors

_LAYERS = (
    ("net.slice1.0", (64, 3, 11, 11), 4, 2),
    ("net.slice2.3", (192, 64, 5, 5), 1, 2),
    ("net.slice3.6", (384, 192, 3, 3), 1, 1),
    ("net.slice4.8", (256, 384, 3, 3), 1, 1),
    ("net.slice5.10", (256, 256, 3, 3), 1, 1),
)
"""Name, shape, stride and padding of AlexNet's convolutions; the first two outputs are pooled before the next one."""

_POOLED = 2
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""Of the colours in -1..1, for the network's input."""

SMALLEST_SIDE = 35
"""Pixels; smaller pictures leave the network nothing to pool."""


class Lpips:
    """The distance, 0 for equal pictures, from a file of weights.

    Args:
        path: .pth (a state dict; nothing else in it is unpickled) or .safetensors, see the module.
        device: where to compute.

    Raises:
        Legs4dError: the file is missing, unreadable, or not of this network.
    """

    def __init__(self, path: str | Path, device: torch.device) -> None:
        state = _read(Path(path))
        fix = 'write it by torch.save(lpips.LPIPS(net="alex").state_dict(), FILE)'
        self._convolutions, self._heads = [], []
        for number, (name, shape, _, _) in enumerate(_LAYERS):
            expected = {
                f"{name}.weight": shape,
                f"{name}.bias": shape[:1],
                f"lin{number}.model.1.weight": (1, shape[0], 1, 1),
            }
            for key, size in expected.items():
                if key not in state or tuple(state[key].shape) != size:
                    found = f"is {tuple(state[key].shape)}" if key in state else "is not there"
                    raise Legs4dError(f"{key} {found}, but must be {size}", where=str(path), fix=fix)
            weight, bias, head = (state[key].to(device, torch.float32) for key in expected)
            self._convolutions.append((weight, bias))
            self._heads.append(head)
        self._shift, self._scale = (torch.tensor(v, device=device)[:, None, None] for v in (_SHIFT, _SCALE))

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """[C] distances of two stacks of pictures [C, H, W, 3] in 0..1.

        Raises:
            Legs4dError: the pictures are too small.
        """
        if min(first.shape[1:3]) < SMALLEST_SIDE:
            raise Legs4dError(
                f"pictures of {first.shape[2]}×{first.shape[1]} are too small for LPIPS",
                where="--lpips",
                fix=f"train at a scale that leaves {SMALLEST_SIDE} pixels on each side",
            )
        with torch.no_grad():
            pairs = zip(self._features(first), self._features(second), self._heads, strict=True)
            return torch.stack([conv2d((a - b) ** 2, head).mean(dim=(1, 2, 3)) for a, b, head in pairs]).sum(dim=0)

    def _features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        values = ((2 * pictures.permute(0, 3, 1, 2) - 1) - self._shift) / self._scale
        found = []
        for number, ((weight, bias), (_, _, stride, padding)) in enumerate(
            zip(self._convolutions, _LAYERS, strict=True)
        ):
            values = relu(conv2d(values, weight, bias, stride, padding))
            found.append(values / (values.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
            if number < _POOLED:
                values = max_pool2d(values, 3, 2)
        return found


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = load_tensors(path)
    except FileNotFoundError as error:
        raise Legs4dError("there are no LPIPS weights", where=str(path), fix="name the file that holds them") from error
    except (OSError, SafetensorError, UnreadableTensorsError) as error:
        fix = "give LPIPS's AlexNet weights, as .safetensors or a file of torch.save that holds tensors alone"
        raise Legs4dError(f"cannot be read as weights ({reason_of(error)})", where=str(path), fix=fix) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Legs4dError("is no state dict", where=str(path), fix="save the state_dict(), not the module")
    return state
