"""Small arrays onto a device that is busy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def upload(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """`array` as a tensor on `device`; on CUDA without waiting for the work that is queued there.

    An ordinary copy from pageable memory waits for the queue to run empty: five of them in a step, and the device
    never has anything to do while Python prepares what comes next.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
