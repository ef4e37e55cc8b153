"""What networks of optical flow have in common: they look at pictures of sizes that they take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from legs4d.errors import Legs4dError
from legs4d.priors.picture_crops import as_tensor


def looked_at(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    size_for: Callable[[int, int], tuple[int, int]],
    between: Callable[[torch.Tensor], torch.Tensor],
    device: torch.device,
    *,
    corners: bool,
) -> NDArray[np.float32]:
    """[H, W, 2] pixels from the first of two pictures [H, W, 3] (0..1) to the second.

    Args:
        size_for: (height, width) of pictures → those at which the network looks.
        between: [2, 3, rows, columns] 0..1 → its flow [1, 2, rows, columns].
        corners: whether the middles of corner pixels stay where they are when sizes change.

    Raises:
        Legs4dError: the pictures are of two sizes.
    """
    if first.shape != second.shape:
        what = f"pictures are {first.shape[:2]} and {second.shape[:2]}"
        raise Legs4dError(what, where="flow", fix="give two pictures of one size")
    height, width = first.shape[:2]
    rows, columns = size_for(height, width)
    pair = torch.cat([as_tensor(first, device), as_tensor(second, device)])
    pair = interpolate(pair, size=(rows, columns), mode="bilinear", align_corners=corners)
    found = interpolate(between(pair), size=(height, width), mode="bilinear", align_corners=corners)[0]
    scale = torch.tensor([width / columns, height / rows], device=device)
    return (found.permute(1, 2, 0) * scale).cpu().numpy()
