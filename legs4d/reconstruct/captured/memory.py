"""Memory of the device between stages."""

from __future__ import annotations

import gc

import torch


def let_go(device: torch.device) -> None:
    """Give back what is no longer used of a device's memory; on the CPU nothing.

    Whoever captures a step of its own is known by it, and so is found by the collector alone; what a graph took is kept
    for nobody when that is gone.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
