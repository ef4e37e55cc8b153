"""Where a prompt holds, as cameras see it: relevancy images, masks and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from legs4d.config import QuerySettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import Grounding, embed, open_field
from legs4d.grounding.relevancy import strength
from legs4d.language.embedding.features import Encoder
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
        relevancy: [C, H, W] float32 in 0..1, rendered per Gaussian and divided by alpha, or decoded per pixel.
        matte: [C, H, W] float32 in 0..1, share of the pixel that Gaussians above the prompt's threshold fill; 0 in
            frames outside its intervals. Decoded per pixel: 1 where the relevancy is above the threshold.
        alpha: [C, H, W] float32 in 0..1, how much of a pixel is filled.
    """

    color: NDArray[np.float32]
    relevancy: NDArray[np.float32]
    matte: NDArray[np.float32]
    alpha: NDArray[np.float32]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """[C, H, W] where the prompt holds."""
        return self.matte >= COVERED


class PixelDecoder:
    """The paper's way to a relevancy image, for comparison: codes are rendered, and each pixel's is compared with the
    prompt. It costs a rendering of all the codes' channels a frame, and says something of mixtures at outlines that
    neither side of them says.

    Args:
        run: with a finished lift.
        settings, encoder: those that the prompts were asked with.
    """

    def __init__(self, run: Run, settings: QuerySettings | None = None, encoder: Encoder | None = None) -> None:
        self._run, self._settings = run, settings or QuerySettings()
        self._field = open_field(run, self._settings, encoder)
        self._phrases: dict[str, NDArray[np.float32]] = {}

    def relevancy(
        self, grounding: Grounding, frame: int, codes: NDArray[np.float32], shown: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Relevancy [...] in 0..1 of pixels' codes [..., K], 0 where not `shown` [...]."""
        most = np.zeros(shown.size, np.float32)
        flat = codes.reshape(-1, codes.shape[-1])
        for leaf, gain in grounding.leaves(frame):
            values = self._field.relevancy(flat, shown.reshape(-1).astype(np.float32), self._embed(leaf.prompt)).values
            np.maximum(most, np.minimum(gain * strength(values[:, 0]) / leaf.scale, 1), out=most)
        return most.reshape(shown.shape)

    def codes(self, frame: int) -> NDArray[np.float32]:
        """[count, K] of all Gaussians in this frame."""
        both = self._run.static_codes()[0], self._run.moving_codes(frame)[0]
        return np.concatenate(both).astype(np.float32)

    def _embed(self, prompt: str) -> NDArray[np.float32]:
        if prompt not in self._phrases:
            self._phrases[prompt] = embed(self._field, [prompt], self._settings)
        return self._phrases[prompt]


def render_views(
    run: Run,
    grounding: Grounding,
    frame: int,
    cameras: Cameras,
    *,
    near: float,
    device: str | torch.device = "cpu",
    pixels: PixelDecoder | None = None,
    lit_as: int | None = None,
    shown: Gaussians | None = None,
) -> Views:
    """Render a frame with the prompt in it.

    Args:
        grounding: of this run.
        frame: counted from 0.
        cameras: C views, of any size.
        near: near plane, scene units.
        device: where to render; CPU and CUDA have an engine each.
        pixels: decode relevancy per pixel, as the paper does, in place of per Gaussian.
        lit_as: show those who take part in this frame in the matte, wherever they are in `frame`: what fades in and out
            beside an interval is what the interval is about. By default `frame`; per Gaussian only.
        shown: the Gaussians, if not as they are in `frame`: at a moment to which it is the nearest.

    Raises:
        RunError: the run has not got this frame.
    """
    gaussians = run.frame(frame) if shown is None else shown
    if pixels is None:
        part = grounding.part(frame, lit_as)
        shares = np.stack([grounding.frame(frame), part.astype(np.float32)], axis=1)
        color, values, _, alpha = _render(gaussians, cameras, shares, near, device)
        return Views(color, values[..., 0], values[..., 1], alpha)
    color, codes, opaque, alpha = _render(gaussians, cameras, pixels.codes(frame), near, device)
    relevancy = pixels.relevancy(grounding, frame, codes, opaque)
    matte = (relevancy >= grounding.threshold) & opaque & grounding.holds(frame)
    return Views(color, relevancy, matte.astype(np.float32), alpha)


def _render(
    gaussians: Gaussians, cameras: Cameras, features: NDArray[np.float32], near: float, device: str | torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """(color [C,H,W,3], features [C,H,W,F] divided by alpha, 0 where it is not opaque, opaque [C,H,W], alpha
    [C,H,W])."""
    import torch

    from legs4d.raster import render

    with torch.no_grad():
        rendered = render(gaussians.torch(device), cameras, torch.as_tensor(features, device=device), near=near)
    assert rendered.features is not None
    alpha = rendered.alpha[..., None]
    shown = torch.where(alpha >= OPAQUE, rendered.features / alpha.clamp(min=OPAQUE), 0)
    opaque = (rendered.alpha >= OPAQUE).cpu().numpy()
    return rendered.color.cpu().numpy(), shown.cpu().numpy(), opaque, rendered.alpha.cpu().numpy()


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """(x1, y1, x2, y2): first and last column and row, both included, of a mask [H, W]; None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
