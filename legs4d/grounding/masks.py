"""Where a prompt holds, as cameras see it: relevancy images, masks and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.store import Run
from legs4d.grounding.query import Grounding
from legs4d.scene.camera import Cameras

if TYPE_CHECKING:
    import torch

OPAQUE = 0.5
"""Alpha from which a pixel shows something at all."""

COVERED = 0.5
"""Share of what a pixel shows that has to take part for the pixel to be in the mask: the outline runs where the
Gaussians that take part and those that do not fill the pixel equally."""


@dataclass(frozen=True)
class Views:
    """C cameras' pictures of one frame, and of a prompt in it.

    Attributes:
        color: [C, H, W, 3] float32 RGB, not clamped, over black.
        relevancy: [C, H, W] float32 in 0..1, rendered per Gaussian and divided by alpha (CONTRACTS, "Features").
        matte: [C, H, W] float32 in 0..1, share of the pixel that Gaussians above the prompt's threshold fill; 0 in
            frames outside its intervals.
    """

    color: NDArray[np.float32]
    relevancy: NDArray[np.float32]
    matte: NDArray[np.float32]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """[C, H, W] where the prompt holds."""
        return self.matte >= COVERED


def render_views(
    run: Run, grounding: Grounding, frame: int, cameras: Cameras, *, near: float, device: str | torch.device = "cpu"
) -> Views:
    """Render a frame with the prompt in it.

    Args:
        grounding: of this run.
        frame: counted from 0.
        cameras: C views, of any size.
        near: near plane, scene units.
        device: where to render; CPU and CUDA have an engine each.

    Raises:
        RunError: the run has not got this frame.
    """
    import torch

    from legs4d.raster import render

    shares = np.stack([grounding.frame(frame), grounding.part(frame).astype(np.float32)], axis=1)
    features = torch.as_tensor(shares, device=device)
    rendered = render(run.frame(frame).torch(device), cameras, features, near=near)
    assert rendered.features is not None
    alpha = rendered.alpha[..., None]
    shown = torch.where(alpha >= OPAQUE, rendered.features / alpha.clamp(min=OPAQUE), 0).cpu().numpy()
    return Views(rendered.color.cpu().numpy(), shown[..., 0], shown[..., 1])


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """(x1, y1, x2, y2): first and last column and row, both included, of a mask [H, W]; None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
