"""Rendering Gaussians and its transpose: one interface, gsplat on CUDA and `csrc` on the CPU behind it.

Names are loaded when they are asked for: the closed-form lift on a CPU and whatever plans work need no torch, which
takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legs4d.raster.lift import lift_weights
    from legs4d.raster.rasterise import Render, render
    from legs4d.raster.screen import ScreenGradient

__all__ = ["Render", "ScreenGradient", "lift_weights", "render"]

_HOMES = {"Render": "rasterise", "ScreenGradient": "screen", "render": "rasterise", "lift_weights": "lift"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
