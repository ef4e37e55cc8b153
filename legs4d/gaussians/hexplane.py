"""HexPlane deformation fields of other programs, evaluated: canonical Gaussians and a time → Gaussians.

Six planes (xy, xz, xt, yz, yt, zt) at several resolutions hold features; what a point and a time find in them goes
through a small network, whose heads add to position, log scale, rotation, and where asked to opacity logit and colour
(HexPlane: Cao and Johnson 2023; K-Planes: Fridovich-Keil et al. 2023; for Gaussians: 4DGaussians, Wu et al. 2024).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import torch

from legs4d.errors import DatasetError

PLANES = tuple(combinations(range(4), 2))
"""Axes (x, y, z, t) of each plane, in the order in which they are stored."""
HEADS = {"position": "pos_deform", "scales": "scales_deform", "rotations": "rotations_deform"}
HEADS |= {"opacity": "opacity_deform", "color": "color_deform", "sh": "shs_deform"}
"""Head → its name in checkpoints."""
DEFAULT_HEADS = ("position", "scales", "rotations")
"""What deforms unless its training was told otherwise; checkpoints hold the weights of all heads, trained or not."""
_BLOCK = 1 << 16
"""Points that are looked up at once."""

Linear = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class HexPlane:
    """A field that deforms.

    Attributes:
        box: [2, 3] the corners of the space that the planes cover, the one that is -1 first.
        planes: of each level the six planes, [1, C, second axis, first axis].
        trunk: linear layers with ReLU between them.
        heads: name in HEADS → linear layers, each after a ReLU.
        combine: whether a level's planes are multiplied, or all features laid end to end.
    """

    box: torch.Tensor
    planes: list[list[torch.Tensor]]
    trunk: list[Linear]
    heads: dict[str, list[Linear]]
    combine: Literal["product", "concatenate"]

    @property
    def time_resolution(self) -> int:
        """Entries along time in the planes."""
        return int(self.planes[0][2].shape[2])

    def features(self, points: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """[N, F] what points [N, 3] find at times [N, 1], which are taken as they are: planes cover -1..1 of them.

        Outside the box and that time the border's values count.
        """
        at = torch.cat([(points - self.box[0]) * (2 / (self.box[1] - self.box[0])) - 1, time], dim=1)
        levels = []
        for level in self.planes:
            # Not by a list of axes, whose copy to the device no graph could capture.
            found = [
                _look_up(plane, torch.stack([at[:, i], at[:, j]], dim=1))
                for plane, (i, j) in zip(level, PLANES, strict=True)
            ]
            levels.append(torch.stack(found).prod(dim=0) if self.combine == "product" else torch.cat(found, dim=1))
        return torch.cat(levels, dim=1)

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        """[N, W] after the trunk."""
        for number, (weight, bias) in enumerate(self.trunk):
            features = torch.nn.functional.linear(torch.relu(features) if number else features, weight, bias)
        return features

    def head(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        """[N, k] what a head adds."""
        for weight, bias in self.heads[name]:
            hidden = torch.nn.functional.linear(torch.relu(hidden), weight, bias)
        return torch.tanh(hidden) if name == "color" else hidden  # as 4DGen, the one that has this head, bounds it

    def offsets(
        self, points: torch.Tensor, time: float, heads: tuple[str, ...] = DEFAULT_HEADS
    ) -> dict[str, torch.Tensor]:
        """Head → [N, k] what is added at a time to the raw parameters of canonical Gaussians at `points` [N, 3]."""
        found: dict[str, list[torch.Tensor]] = {name: [] for name in heads}
        with torch.no_grad():
            for part in points.split(_BLOCK):
                hidden = self.hidden(self.features(part, part.new_full((len(part), 1), time)))
                for name in heads:
                    found[name].append(self.head(name, hidden))
        return {name: torch.cat(parts) for name, parts in found.items()}


def read_hexplane(state: Mapping[str, Any], where: str) -> HexPlane:
    """A field from the state dict of a checkpoint, of which nothing may be missing.

    Args:
        state: tensors by name, with or without the prefix of the network that holds them.
        where: for errors.

    Raises:
        DatasetError: it is no such field, or one with parts that are not evaluated.
    """
    tensors = {re.sub(r"^(module\.|deformation_net\.)*", "", name): value for name, value in state.items()}
    if "grid.aabb" not in tensors or not any(name.startswith("grid.grids.") for name in tensors):
        raise DatasetError("holds no HexPlane field", where=where, fix="name a folder that 4DGaussians trained")
    unknown = sorted(name for name in tensors if name.startswith(("static_mlp", "empty_voxel", "mlp_out", "grid_pe")))
    if unknown:
        raise DatasetError(f"has parts that are not evaluated ({unknown[0]})", where=where, fix="train it without them")
    levels = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("grid.grids."))
    try:
        planes = [[tensors[f"grid.grids.{level}.{plane}"].float() for plane in range(6)] for level in range(levels)]
    except KeyError as error:
        raise DatasetError(f"lacks {error.args[0]}", where=where, fix="copy the checkpoint again") from None
    trunk = _layers(tensors, "feature_out")
    heads = {name: layers for name, prefix in HEADS.items() if (layers := _layers(tensors, prefix))}
    channels = planes[0][0].shape[1]
    widths = {"product": levels * channels, "concatenate": 6 * levels * channels}
    fitting = [how for how, width in widths.items() if trunk and trunk[0][0].shape[1] == width]
    if not fitting or "position" not in heads:
        raise DatasetError("its network does not fit its planes", where=where, fix="copy the checkpoint again")
    combine: Literal["product", "concatenate"] = "product" if fitting[0] == "product" else "concatenate"
    return HexPlane(tensors["grid.aabb"].float(), planes, trunk, heads, combine)


def _layers(tensors: Mapping[str, torch.Tensor], prefix: str) -> list[Linear]:
    """The linear layers under a name, from input to output: numbered, or `fc2` before `fc1`."""
    names = [name for name in tensors if name.startswith(f"{prefix}.") and name.endswith(".weight")]
    order = sorted(names, key=lambda name: _place(name.split(".")[-2]))
    return [(tensors[name].float(), tensors[name.removesuffix("weight") + "bias"].float()) for name in order]


def _place(name: str) -> int:
    return int(name) if name.isdigit() else -int(re.sub(r"\D", "", name) or 0)


def _look_up(plane: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """[N, C] bilinear values of a plane [1, C, H, W] at [N, 2] (W's coordinate first) in -1..1, corners at the ends."""
    found = torch.nn.functional.grid_sample(plane, at[None, None], padding_mode="border", align_corners=True)
    return found[0, :, 0].T
