"""Tiny random twins of SDXL and Wan 2.2 whose decoders draw a square on white, whatever they are told.

What a random decoder draws is noise, in which no object is found. These draw a plain thing by what a convolution knows
of a picture's edge: taps that lie beyond it are 0. Everything before the decoder is as random as in any twin, and
gives the square its colours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.priors.test_made_pictures import diffusers, sdxl_twin, wan_twin

WHITE, DARK = 1.3, -0.4
"""What the decoders give at the edge and within, where 1 is white and -1 black: more is cut off, noise with it."""
NOISE = 0.1
"""Of what comes before the last layer, by which the square's colours differ."""


def drawing_sdxl(folder: Path) -> Path:
    """Its pictures are 64 pixels wide."""
    sdxl_twin(folder)
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
    with torch.no_grad():
        vae.decoder.conv_norm_out.weight.fill_(NOISE)
        vae.decoder.conv_norm_out.bias.fill_(1)
        _square(vae.decoder.conv_out, vae.decoder.conv_out.weight)
    vae.save_pretrained(folder / "vae")
    unet = folder / "unet/config.json"
    unet.write_text(json.dumps({**json.loads(unet.read_text()), "sample_size": 32}))
    return folder


def drawing_wan(folder: Path) -> Path:
    wan_twin(folder)
    vae = diffusers.AutoencoderKLWan.from_pretrained(folder / "vae")
    with torch.no_grad():
        # Its last norm brings what it is given to one length: something large and even becomes 1 in every channel.
        vae.decoder.up_blocks[-1].resnets[-1].conv2.bias.fill_(1 / NOISE)
        weight = vae.decoder.conv_out.weight
        weight.zero_()
        _square(vae.decoder.conv_out, weight[:, :, -1])  # of the moment itself: those before the first are 0 too
    vae.save_pretrained(folder / "vae")
    return folder


def _square(last: Any, weight: torch.Tensor) -> None:
    """Let a layer [out, in, 3, 3], given SiLU(1) in all channels, be `WHITE` at an edge (6 taps) and `DARK` within."""
    given = float(torch.nn.functional.silu(torch.tensor(1.0))) * weight.shape[1]
    tap = (WHITE - DARK) / 3 / given
    weight.fill_(-tap)
    last.bias.fill_(WHITE + 6 * tap * given)
