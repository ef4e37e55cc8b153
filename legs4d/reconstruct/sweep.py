"""Where the background is, seen from the middle of the stage: a plane sweep (Collins 1996) whose planes are spheres.

Along each direction the surface lies where the cameras agree. Single points look alike at many distances, and cameras
differ in exposure, so what is compared is detail (a picture less its own blur), and what is judged are patches. Walls
are smooth: stray radii are outvoted by their neighbours', and where too few cameras look, the nearest known one holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.spatial import cKDTree

from legs4d.executor import default_threads
from legs4d.progress import go_on
from legs4d.reconstruct.views import look_up
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

FACTORS = 0.85 * 1.015 ** np.arange(58)
"""Radii tried, in those of the cameras, which often stand along the walls: 0.85 to 2, as walls may be nearer, or a door
open."""

PRIOR = 0.5
"""Times the distance in the logarithm from the cameras' own radius: how much worse the agreement counts."""

PATCH = 0.06
"""Radians, standard deviation of the patches that are judged."""

NEIGHBOURS = 9
"""Directions that are averaged in each round of smoothing, the middle one among them."""

DETAIL = 0.05
"""Of the image height: what is wider than this is no detail."""

STRONGEST = 0.2
"""Detail counts up to this: a lamp's edge must not outweigh a wall."""

NOISE = 1e-5
"""Variance below which all agreement is the same."""

LONGEST_SUM = 129
"""Taps of a window that is summed directly."""

FEWEST_VIEWS = 3
TESTED = 0.6
"""Share of the radii at which so many views must see a direction, for one of them to be believed."""


def swept_shell(
    images: torch.Tensor,
    opened: torch.Tensor,
    cameras: Cameras,
    stage: Stage,
    floor: float,
    target: int,
    check: Callable[..., object] = go_on,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed shell round the stage with a floor, coloured from the images: positions and RGB, [target, 3] each.

    Args:
        images: [C, H, W, 3] in 0..1.
        opened: [C, H, W] bool, pixels that show the background.
        floor: how far below the centre (along `stage.down`) the floor lies, scene units.
        check: called every second or so of work on large pictures; what it raises ends it.
    """
    device = images.device
    directions = _fibonacci_sphere(target)
    near = cKDTree(directions.numpy()).query(directions.numpy(), k=min(NEIGHBOURS, target), workers=default_threads())[
        1
    ]
    neighbours = torch.as_tensor(near, device=device)
    rounds = max(1, round(PATCH**2 / (4 * math.pi / target)))
    rays = directions.to(device)
    sinking = rays @ torch.as_tensor(stage.down, device=device)
    # Distance to the floor along each direction; infinite upwards.
    to_floor = torch.where(sinking > 1e-3, floor / sinking.clamp(min=1e-3), torch.inf)
    center = torch.as_tensor(stage.center, device=device)

    def places(factor: torch.Tensor | float) -> torch.Tensor:
        distance = torch.minimum(factor * stage.radius * torch.ones_like(to_floor), to_floor)
        return center + distance[:, None] * rays

    seen = torch.cat([_details(images, opened, check), opened[..., None].to(images.dtype)], dim=-1)
    costs = []
    for factor in FACTORS:
        check()
        costs.append(_disagreement(seen, cameras, places(float(factor)), stage.near))
    cost = torch.stack(costs)
    cost = cost * (1 + PRIOR * torch.as_tensor(np.abs(np.log(FACTORS)), dtype=cost.dtype, device=device))[:, None]
    best = _best_factors(cost, directions.numpy(), neighbours, rounds, check)
    return places(best), _colors(torch.cat([images, seen[..., 3:]], dim=-1), cameras, places(best), stage.near)


def _disagreement(seen: torch.Tensor, cameras: Cameras, points: torch.Tensor, near: float) -> torch.Tensor:
    """[N] standard deviation over the views of what they show at each point; NaN where too few see it."""
    values, visible = look_up(seen, cameras, points, near)
    counted = (visible & (values[..., 3] > 0.5))[..., None]
    count = counted.sum(dim=0)
    mean = (values[..., :3] * counted).sum(dim=0) / count.clamp(min=1)
    variance = ((values[..., :3] - mean).square() * counted).sum(dim=(0, 2)) / (count[:, 0] - 1).clamp(min=1)
    return torch.where(count[:, 0] >= FEWEST_VIEWS, (variance + NOISE).sqrt(), torch.nan)


def _best_factors(
    cost: torch.Tensor,
    directions: NDArray[np.float32],
    neighbours: torch.Tensor,
    rounds: int,
    check: Callable[..., object],
) -> torch.Tensor:
    """[N] the factor of least cost [F, N] of each direction's patch, smoothed."""
    judged = (~cost.isnan()).to(cost.dtype)
    total = cost.nan_to_num(nan=0.0)
    for _ in range(rounds):
        check()
        total, judged = total[:, neighbours].mean(dim=-1), judged[:, neighbours].mean(dim=-1)
    cost = torch.where(judged > 0.5, total / judged.clamp(min=0.5), torch.inf)
    factors = torch.as_tensor(FACTORS, dtype=cost.dtype, device=cost.device)
    best = factors[cost.argmin(dim=0)]
    known = (cost.isfinite().to(cost.dtype).mean(dim=0) > TESTED).cpu().numpy()
    if not known.any():
        return torch.ones_like(best)
    nearest = np.flatnonzero(known)[cKDTree(directions[known]).query(directions, workers=default_threads())[1]]
    best = best[torch.as_tensor(nearest, device=cost.device)]
    for _ in range(max(1, rounds // 2)):
        best = best[neighbours].median(dim=-1).values
    for _ in range(max(1, rounds // 4)):
        best = best[neighbours].mean(dim=-1)
    return best


def _colors(seen: torch.Tensor, cameras: Cameras, points: torch.Tensor, near: float) -> torch.Tensor:
    """[N, 3] mean over the views of what they show at each point; grey where none sees it."""
    values, visible = look_up(seen, cameras, points, near)
    counted = (visible & (values[..., 3] > 0.5))[..., None]
    count = counted.sum(dim=0)
    return torch.where(count > 0, (values[..., :3] * counted).sum(dim=0) / count.clamp(min=1), 0.5)


def _details(images: torch.Tensor, opened: torch.Tensor, check: Callable[..., object]) -> torch.Tensor:
    """[C, H, W, 3] the open pixels less the mean of the open ones around them; 0 elsewhere."""
    weight = opened[..., None].to(images.dtype)
    wide = _blur(torch.cat([images * weight, weight], dim=-1), max(1.0, DETAIL * images.shape[1]), check)
    return ((images - wide[..., :3] / wide[..., 3:].clamp(min=1e-3)) * weight).clamp(-STRONGEST, STRONGEST)


def _blur(images: torch.Tensor, width: float, check: Callable[..., object]) -> torch.Tensor:
    """[C, H, W, D] under a Gaussian of this standard deviation in pixels, zero outside the image."""
    reach = int(3 * width)
    window = torch.exp(-((torch.arange(-reach, reach + 1, device=images.device) / width) ** 2) / 2).to(images.dtype)
    window /= window.sum()
    blurred = torch.empty_like(images)
    if images.is_cuda:
        for image, into in zip(images, blurred, strict=True):
            check()
            into.copy_(_by_matrices(image, window))
        return blurred
    along = _by_sums if len(window) <= LONGEST_SUM else _by_spectra
    for image, into in zip(images, blurred, strict=True):
        for channel in range(images.shape[3]):  # of 4K pictures each costs a second
            check()
            into[..., channel] = along(image[..., channel], window)
    return blurred


def _by_sums(plane: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """A plane [H, W] under the window along both axes."""
    reach = len(window) // 2
    plane = F.conv2d(plane[None, None], window.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(plane, window.view(1, 1, -1, 1), padding=(reach, 0))[0, 0]


def _by_spectra(plane: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """The same by the convolution theorem: where a window has hundreds of taps, sums take minutes."""
    (height, width), reach = plane.shape, len(window) // 2
    rows, columns = (next_fast_len(side + 2 * reach, real=True) for side in (height, width))
    spectrum = torch.fft.rfft2(plane, s=(rows, columns))
    spectrum *= torch.fft.fft(window, n=rows)[:, None] * torch.fft.rfft(window, n=columns)
    return torch.fft.irfft2(spectrum, s=(rows, columns))[reach : reach + height, reach : reach + width]


def _by_matrices(image: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """An image [H, W, D] under the window, as two products: on a GPU they take no time, and nothing is to be loaded for
    them, where the first convolution waits half a second for its library."""
    taps = torch.cat([window[len(window) // 2 :], window.new_zeros(1)])

    def along(side: int) -> torch.Tensor:
        place = torch.arange(side, device=window.device)
        return taps[(place[:, None] - place).abs().clamp(max=len(taps) - 1)]

    height, width, _ = image.shape
    return (along(height) @ image.permute(2, 0, 1) @ along(width)).permute(1, 2, 0)


def _fibonacci_sphere(count: int) -> torch.Tensor:
    """[count, 3] evenly spread unit vectors."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    polar, azimuth = torch.acos(1 - 2 * i / count), math.pi * (1 + 5**0.5) * i
    spread = [torch.cos(azimuth) * torch.sin(polar), torch.cos(polar), torch.sin(azimuth) * torch.sin(polar)]
    return torch.stack(spread, dim=-1).to(torch.float32)
