"""A codec for a sequence, as the settings ask: fitted, trained, or read from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from legs4d.config import AutoencoderSettings, CodecSettings
from legs4d.errors import EncoderError
from legs4d.language.codec.autoencoder import AutoencoderCodec, autoencoder_of, read_autoencoder
from legs4d.language.codec.linear import ENERGY, MAX_DIM, Codec, fit_linear_codec
from legs4d.progress import go_on

if TYPE_CHECKING:
    import torch

PAPER_DIM = 128
"""Numbers of the paper's codes."""


def make_codec(
    settings: CodecSettings,
    rows: Iterable[NDArray[np.float32]],
    *,
    device: str = "cpu",
    check: Callable[[int, int], None] = go_on,
) -> Codec:
    """The codec that the settings name, for rows like these.

    Args:
        rows: arrays [R, D]; consumed once.
        device: where an autoencoder is trained.
        check: told (step, of how many) while one is trained; what it raises ends the training.

    Raises:
        EncoderError: the checkpoint cannot be used, or is of features of another width than the rows; or `dim` is asked
            of a checkpoint that has another.
    """
    if settings.name == "linear":
        if settings.weights is not None:
            raise EncoderError(
                "is a checkpoint, which the linear codec has not",
                where=settings.weights,
                fix="leave it out, or choose --codec autoencoder",
            )
        if settings.dim is None:
            return fit_linear_codec(rows, ENERGY, MAX_DIM)
        return fit_linear_codec(rows, energy=1.0, max_dim=settings.dim)
    every = np.concatenate([np.asarray(some, np.float32) for some in rows])
    if settings.weights is None:
        return train_autoencoder(every, settings.dim or PAPER_DIM, settings.autoencoder, device=device, check=check)
    codec = read_autoencoder(Path(settings.weights))
    for what, found, expected in (
        ("features", every.shape[1], codec.feature_dim),
        ("codes", settings.dim or codec.code_dim, codec.code_dim),
    ):
        if found != expected:
            raise EncoderError(
                f"is an autoencoder for {what} of {expected} numbers, here they have {found}",
                where=settings.weights,
                fix="give the checkpoint that was trained with this encoder, or leave it out to train one",
            )
    return codec


def train_autoencoder(
    rows: NDArray[np.float32],
    dim: int,
    settings: AutoencoderSettings,
    *,
    device: str = "cpu",
    check: Callable[[int, int], None] = go_on,
) -> AutoencoderCodec:
    """The paper's autoencoder, trained to give these rows [R, D] back."""
    import torch

    values = torch.as_tensor(rows, dtype=torch.float32, device=device)
    batch = min(settings.batch, max(2, len(values)))
    steps = max(settings.min_steps, settings.epochs * -(-len(values) // batch))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = _network(rows.shape[1], dim, settings.hidden).to(device)
        adam = torch.optim.Adam(network.parameters(), lr=settings.rate)
        waiting = torch.empty(0, dtype=torch.int64)
        for step in range(steps):
            check(step, steps)
            while len(waiting) < batch:  # an epoch after the other, each in another order
                waiting = torch.cat([waiting, torch.randperm(len(values))])
            chosen, waiting = values[waiting[:batch].to(device)], waiting[batch:]
            adam.zero_grad()
            _loss(network, chosen, settings.cosine_weight).backward()
            adam.step()
    return autoencoder_of(network.eval().cpu().state_dict())


def _network(width: int, dim: int, hidden: tuple[int, ...]) -> torch.nn.ModuleDict:
    """Layers named as in 4-LEGS's checkpoint: linear, batch normalisation and ReLU in turn, linear ones at the ends."""
    from torch import nn

    def half(widths: list[int]) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for before, after in pairwise(widths[1:]):
            layers += [nn.BatchNorm1d(before), nn.ReLU(), nn.Linear(before, after)]
        return nn.Sequential(*layers)

    widths = [width, *hidden, dim]
    return nn.ModuleDict({"encoder": half(widths), "decoder": half(widths[::-1])})


def _loss(network: torch.nn.ModuleDict, values: torch.Tensor, cosine_weight: float) -> torch.Tensor:
    from torch.nn.functional import cosine_similarity, mse_loss, normalize

    found = normalize(network["decoder"](normalize(network["encoder"](values), dim=-1)), dim=-1)
    return mse_loss(found, values) + cosine_weight * (1 - cosine_similarity(found, values, dim=-1).mean())
