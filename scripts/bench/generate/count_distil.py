"""What a step of score distillation of `legs4d object --method optimise` costs with a Zero123 of the published size.

    python scripts/bench/generate/count_distil.py [--time] [--engine cpu|cuda]

Its parts are laid out without memory (torch's meta device): parameters, operations, and what the encoder keeps for
the gradient are counted. With --time the same parts are filled with random weights, and steps of the command's own code
are timed on the device, with the memory that they need.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench import figures
from bench.priors import zero123_size
from bench.priors.zero123_size import CONTEXT, SIDE
from legs4d.generate.optimise.distil import Distillation
from legs4d.generate.optimise.road import How
from legs4d.priors.guidance.zero123 import POSE, Zero123
from legs4d.priors.published import library, precision
from legs4d.reconstruct.stages import choose_device

GIB, SUBJECT = 2**30, "Objects"
RATE = 300e12
"""Operations a second that half precision reaches on an H100 or H200 in such networks, by estimate."""


def count() -> None:
    """Of half precision, as on CUDA."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []
    with torch.device("meta"):
        unet, vae, clip = zero123_size.unet().half(), zero123_size.vae().half(), zero123_size.clip().half()
        own = {p.untyped_storage()._cdata for model in (unet, vae) for p in model.parameters()}
        for model in (unet, vae, clip):
            model.requires_grad_(False)
        with FlopCounterMode(display=False) as looking, torch.no_grad():
            clip(pixel_values=torch.zeros(1, 3, 224, 224, dtype=torch.half))
            vae.encode(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.half))
        with FlopCounterMode(display=False) as guessing, torch.no_grad():
            unet(
                torch.zeros(2, 8, SIDE // 8, SIDE // 8, dtype=torch.half),
                torch.zeros(2),
                torch.zeros(2, 1, CONTEXT, dtype=torch.half),
            )
        shown = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.half, requires_grad=True)
        with FlopCounterMode(display=False) as encoding:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                latents = vae.encode(shown).latent_dist.mode()
            latents.sum().backward()
    weights = zero123_size.parameters(unet, vae, clip) + (CONTEXT + POSE + 1) * CONTEXT
    memory = sum(size for storage, size in kept.items() if storage not in own)
    step = guessing.get_total_flops() + encoding.get_total_flops()
    how = How()
    steps = round(how.fine * how.distil)
    parts = (
        f"{weights / 1e6:.0f} million parameters, {2 * weights / GIB:.2f} GiB in half precision; "
        f"kept for the gradient {memory / GIB:.2f} GiB"
    )
    work = (
        f"{step / 1e12:.2f} Tflop (U-Net twice {guessing.get_total_flops() / 1e12:.2f}, encoder forth and back "
        f"{encoding.get_total_flops() / 1e12:.2f}); a new reference {looking.get_total_flops() / 1e12:.2f}"
    )
    whole = f"{steps} steps: {steps * step / 1e15:.2f} Pflop, {steps * step / RATE:.0f} s at {RATE / 1e12:.0f} Tflop/s"
    for what, told in (("parts", parts), ("a step", work), ("an object", whole)):
        print(f"{what}: {told}")
        figures.record(SUBJECT, f"distillation by a Zero123 of the published size, counted: {what}", told)


def timed(device: torch.device) -> None:
    """Of the command's own code, with random weights."""
    torch.manual_seed(0)
    library("diffusers", "guidance")  # it warns no more
    dtype = precision(device)
    made = (zero123_size.unet(), zero123_size.vae(), zero123_size.clip())
    unet, vae, clip = (model.to(device, dtype).eval() for model in made)
    weight = 0.01 * torch.randn(CONTEXT, CONTEXT + POSE, device=device, dtype=dtype)
    prior = Zero123.of(unet, vae, clip, (weight, torch.zeros_like(weight[:, 0])), device)
    frames = np.full((1, SIDE, SIDE, 4), 200, np.uint8)
    guidance = Distillation(prior, frames, device)
    color = torch.rand(1, SIDE, SIDE, 3, device=device).requires_grad_()
    chance, seconds = np.random.default_rng(0), []
    for step in range(12 if device.type == "cuda" else 2):
        began = time.perf_counter(), time.process_time()
        guidance.loss(color, 10.0, 40.0, 0, chance).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if step:  # the first one looks at the reference, and warms up
            seconds.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, busy = np.median(seconds, axis=0)
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / GIB
        told = f"{1000 * wall:.0f} ms a step, {memory:.1f} GiB"
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        told = f"{wall:.0f} s a step ({busy:.0f} of CPU), {memory:.1f} GiB in single precision"
    print(f"timed, random weights: {told}")
    figures.record(SUBJECT, f"distillation by a Zero123 of the published size, random weights, {device.type}", told)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--time", action="store_true", help="run it, too: 7 GiB on a CPU, 3 on a GPU")
    arguments.add_argument("--engine", default="auto")
    asked = figures.parse(arguments)
    count()
    if asked.time:
        timed(choose_device(asked.engine))


if __name__ == "__main__":
    main()
