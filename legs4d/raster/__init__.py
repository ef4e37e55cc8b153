"""Rendering Gaussians and its transpose: one interface, gsplat on CUDA and `csrc` on the CPU behind it."""

from legs4d.raster.lift import lift_weights
from legs4d.raster.render import Render, ScreenGradient, render

__all__ = ["Render", "ScreenGradient", "lift_weights", "render"]
