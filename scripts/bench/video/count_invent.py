"""What `legs4d video --invent` costs with a Zero123 of the published size, counted without its weights.

    scripts/bench/video/count_invent.py

Networks of the published shapes are laid out without memory (torch's meta device); parameters, and operations of one
step of 16 views with guidance (U-Net twice a view, the encoder forth and back), are counted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.priors import zero123_size
from bench.priors.zero123_size import CONTEXT, SIDE
from legs4d.video.objects.invent import InventSettings


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    own = InventSettings()
    with torch.device("meta"):
        unet, vae, clip = zero123_size.unet().half(), zero123_size.vae().half(), zero123_size.clip()
        noisy = torch.zeros(2 * own.views, 8, SIDE // 8, SIDE // 8, dtype=torch.half)
        context = torch.zeros(2 * own.views, 1, CONTEXT, dtype=torch.half)
        steps = torch.zeros(2 * own.views)
        shown = torch.zeros(own.views, 3, SIDE, SIDE, dtype=torch.half, requires_grad=True)
        counts = {}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            unet(noisy, steps, context)
        counts["U-Net"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            vae.encode(shown).latent_dist.mode().sum().backward()
        counts["encoder"] = counter.get_total_flops()
    size = zero123_size.parameters(unet, vae, clip)
    one = sum(counts.values())
    print(f"parameters: {size / 1e6:.0f} million, {2 * size / 2**30:.1f} GiB in half precision")
    print(", ".join(f"{name} {value / 1e12:.1f} Tflop" for name, value in counts.items()) + " a step")
    whole = own.steps * one
    print(f"{own.steps} steps: {whole / 1e15:.1f} Pflop an object; at 300 Tflop/s {whole / 3e14:.0f} s")


if __name__ == "__main__":
    main()
