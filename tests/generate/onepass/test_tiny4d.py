"""The weights that the package brings: what they make of a thing that no training showed them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM
from legs4d.generate.onepass.checkpoint import DEFAULT, Networks, find_files, open_networks
from legs4d.generate.onepass.network import TINY4D
from legs4d.generate.onepass.passes import NEAR, Moment, Passes, unit
from legs4d.generate.onepass.stage import cameras_of
from legs4d.raster import render
from tests.generate.onepass.small import lopsided, pictures

CPU = torch.device("cpu")
SHIFT = np.array([0.04, 0.03, 0], np.float32)
"""By which the thing moves from one moment to the next."""
ASIDE = (45.0, 120.0, 200.0, 300.0)
"""Azimuths that nothing is told of, degrees; 20° above."""


@cache
def own() -> Networks:
    return open_networks([], CPU)


def thing(frame: int) -> Gaussians:
    """Thick enough to be told from a plane."""
    found = lopsided()
    return found.replace(means=0.8 * found.means + frame * SHIFT, scales=1.2 * found.scales)


def truth(frame: int, elevation: float, azimuths: tuple[float, ...]) -> Tensor:
    """[C, S, S, 4]."""
    return unit(pictures(thing(frame), elevation, azimuths, TINY4D.size))


@pytest.fixture(scope="module")
def made() -> dict[str, list[Moment]]:
    """Two moments, from the video alone, from four views, and with two moments put between them."""
    passes = Passes(own(), cameras_of(None, 0.0), CPU)
    video = torch.cat([truth(frame, 0, (0,)) for frame in range(2)])
    sides = [truth(frame, 0, AZIMUTHS[1:]) for frame in range(2)]
    return {
        "one": passes.moments(video, None),
        "four": passes.moments(video, sides[0]),
        "between": passes.between(video, (sides[0], sides[1])),
    }


def psnr(moment: Moment, seen: Tensor, elevation: float, azimuths: tuple[float, ...]) -> float:
    """dB on white, of all pictures together."""
    drawn = render(moment.gaussians.torch(), L4GM.cameras(elevation, azimuths, TINY4D.size), near=NEAR)
    white = drawn.color + 1 - drawn.alpha[..., None]
    return float(-10 * torch.log10((white.clamp(0, 1) - seen[..., :3] - 1 + seen[..., 3:]).square().mean()))


def empty(seen: Tensor) -> float:
    """dB of a white picture."""
    return float(-10 * torch.log10((seen[..., :3] - seen[..., 3:]).square().mean()))


def test_they_are_the_default_and_small_enough_to_be_carried() -> None:
    assert find_files([]) == [DEFAULT] and DEFAULT.stat().st_size < 15e6
    assert own().variant is TINY4D and own().interp is own().recon
    assert sum(value.numel() for value in own().recon.parameters()) <= 7.4e6


def test_the_video_is_shown_again(made: dict[str, list[Moment]]) -> None:
    for frame in range(2):
        assert psnr(made["one"][frame], truth(frame, 0, (0,)), 0, (0,)) > 26


def test_sides_are_better_than_nothing_and_better_where_they_were_seen(made: dict[str, list[Moment]]) -> None:
    for frame in range(2):
        seen = truth(frame, 20, ASIDE)
        alone, four = (psnr(made[name][frame], seen, 20, ASIDE) for name in ("one", "four"))
        assert empty(seen) + 2 < alone < four


def test_what_lies_between_moves_on(made: dict[str, list[Moment]]) -> None:
    """A third of the way it is nearer to what is true there than to either end."""
    third = unit(pictures(thing(0).replace(means=thing(0).means + SHIFT / 3), 0, (0.0,), TINY4D.size))
    assert psnr(made["between"][0], third, 0, (0,)) > empty(third) + 6
    middle = [float(np.average(m.gaussians.means[:, 0], weights=m.gaussians.opacities)) for m in made["between"]]
    ends = [float(np.average(m.gaussians.means[:, 0], weights=m.gaussians.opacities)) for m in made["four"]]
    assert ends[0] < middle[0] < middle[1] < ends[1]
