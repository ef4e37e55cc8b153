"""RAFT, large (Teed and Deng 2020), run by torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.priors.flow.looking import looked_at
from legs4d.priors.published import library
from legs4d.priors.state_dicts import check_state, read_state

_FIX = "put torchvision's raft_large_C_T_SKHT_V2-ff5fadd5.pth, or the same as .safetensors, there"
_STEP, _LEAST = 8, 128
"""Both sides become multiples of the first, and no smaller than the second: the coarsest of four levels must remain."""


def _size_for(height: int, width: int) -> tuple[int, int]:
    grow = max(1.0, _LEAST / min(height, width))
    rows, columns = (max(_LEAST, round(side * grow / _STEP) * _STEP) for side in (height, width))
    return rows, columns


class Raft:
    """See `protocols.FlowPrior`.

    Args:
        path: torchvision's file of weights, or a folder that holds it.
        device: where to compute.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        models = library("torchvision.models.optical_flow", "flow")
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in (".pth", ".safetensors"))
            if len(files) != 1:
                raise Legs4dError(f"there are {len(files)} files of weights", where=str(path), fix=_FIX)
            path = files[0]
        self._model = models.raft_large(weights=None, progress=False)
        state = read_state(path, _FIX)
        expected = {name: tuple(value.shape) for name, value in self._model.state_dict().items()}
        check_state(state, expected, "RAFT", str(path), _FIX)
        self._model.load_state_dict(state)
        self._model.to(device).eval()
        self._device = device

    @torch.no_grad()
    def flow(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """[H, W, 2] pixels.

        Raises:
            Legs4dError: the pictures are of two sizes.
        """

        def between(pair: torch.Tensor) -> torch.Tensor:
            shown = pair * 2 - 1
            found: torch.Tensor = self._model(shown[:1], shown[1:])[-1]
            return found

        return looked_at(first, second, _size_for, between, self._device, corners=False)
