"""Refinement of lifted codes: the closed form is one Jacobi step on the normal equations, this takes more.

Looked for are the codes whose rendering is what the pixels say. With W the compositing weights, B Z what is said
(Z: codes of the rows), m = B 1 how much a pixel says and α its opacity, the sum over pixels of m ‖W z - α (B Z) / m‖²
is least where Wᵀ m W z = Wᵀ α (B Z). The α makes the answer independent of the origin of the codes, which is arbitrary;
where α = m = 1 these are the normal equations WᵀW f = WᵀF of docs/conventions.md. They are solved by conjugate
gradients, preconditioned with Wᵀ m (the row sums of Wᵀ m W where α = 1), through rendering and its derivative: on
either engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.language.lift.pixels import PixelCodes
from legs4d.progress import go_on
from legs4d.raster import render
from legs4d.scene.camera import Cameras

PICTURE_FLOATS = 1 << 28
"""Of the pictures rendered at once: 1 GB."""

_TINY = 1e-30

Residual = Callable[[list[int], torch.Tensor, torch.Tensor], torch.Tensor]
"""(cameras, rendered codes [c, H, W, K], alpha [c, H, W]) → what is to be brought back to the Gaussians."""


def refine(
    gaussians: Gaussians,
    cameras: Cameras,
    pixels: PixelCodes,
    start: torch.Tensor,
    mass: torch.Tensor,
    steps: int,
    near: float,
    *,
    threads: int | None = None,
    check: Callable[[], None] = go_on,
) -> torch.Tensor:
    """Conjugate-gradient steps from the closed form towards the least squares over all pixels.

    Few steps are wanted: they mend what most pixels agree on, and many would fit the noise of Gaussians that few see.

    Args:
        gaussians: N, on the device of `pixels`.
        cameras: C views.
        pixels: what they say.
        start: [N, K] codes of the closed form.
        mass: Wᵀ B 1, [N]; where it is 0 the code stays 0.
        steps: each renders all cameras once, and brings as much back.
        near: scene units.
        check: called before each step; what it raises ends the work.

    Returns:
        [N, K].
    """

    def pull(codes: torch.Tensor, residual: Residual) -> torch.Tensor:
        """Wᵀ of a residual of the pictures that these codes make."""
        total = torch.zeros_like(codes)
        for some in _batches(cameras, codes.shape[1]):
            leaf = codes.detach().requires_grad_()
            picture = render(gaussians, cameras.take(some), leaf, near=near, threads=threads)
            assert picture.features is not None
            with torch.no_grad():
                back = residual(some, picture.features, picture.alpha)
            total += torch.autograd.grad(picture.features, leaf, back)[0]
        return total

    def missing(some: list[int], rendered: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        said, speaks = pixels.sums(some)
        return alpha[..., None] * said - speaks[..., None] * rendered

    def weighted(some: list[int], rendered: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return pixels.speaks(some)[..., None] * rendered

    scale = torch.where(mass > 0, 1 / mass.clamp(min=_TINY), 0)[:, None]
    codes, residual = start, pull(start, missing)
    step = direction = residual * scale
    # A column is a system of its own, with steps of its own length.
    length = (residual * step).sum(dim=0)
    for _ in range(steps):
        check()
        image = pull(direction, weighted)
        along = length / (direction * image).sum(dim=0).clamp(min=_TINY)
        codes = codes + along * direction
        residual = residual - along * image
        step = residual * scale
        before, length = length, (residual * step).sum(dim=0)
        direction = step + length / before.clamp(min=_TINY) * direction
    return codes * (mass > 0)[:, None]


def _batches(cameras: Cameras, width: int) -> Iterator[list[int]]:
    at_once = max(1, PICTURE_FLOATS // (cameras.width * cameras.height * width))
    for first in range(0, len(cameras), at_once):
        yield list(range(first, min(first + at_once, len(cameras))))
