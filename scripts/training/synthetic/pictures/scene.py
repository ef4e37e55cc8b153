"""What is rendered, and what comes of it: primitives with their surfaces, a camera, lights; light and who is seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

FAR = 1e6
SCENERY = 7
"""The entity that the room's primitives belong to; also the background's."""
NO_COLOR = 15
"""Instead of a named colour's number."""


class Pattern(IntEnum):
    """How a surface changes between its colours, in coordinates that move with it."""

    PLAIN = 0
    STRIPES = 1
    """Across its z axis."""
    BANDS = 2
    """Across its x axis."""
    CHECKS = 3
    SECTORS = 4
    """Around its z axis."""
    RINGS = 5
    """Around its z axis."""
    BLOBS = 6
    FACES = 7
    """Faces along x have the first colour, those along y the second, those along z the third."""
    HALVES = 8
    """Above and below."""
    PLANKS = 9


@dataclass(frozen=True)
class Scene:
    """B clips of T frames, P primitives each; metres, z up.

    Attributes:
        kind: [B, P] int64, `Kind`.
        entity: [B, P] int64, whose it is; `SCENERY` for nobody's.
        inverse: [B, T, P, 3, 4] from the world to the primitive's own coordinates.
        size: [B, P, 3] by which its own coordinates are multiplied for its pattern.
        frustum: [B, P, 2] upper radius and hollow share.
        pattern: [B, P] int64, `Pattern`.
        frequency: [B, P] of the pattern, periods per metre or per turn.
        colors: [B, P, 3, 3] the three colours, 0..1, in light's proportion.
        codes: [B, P, 3] int64, the names of these colours, `NO_COLOR` where they do not count.
        grain: [B, P] contrast of a fine pattern on top.
        alpha: [B, T, P] 0..1, share of it that is there.
        eye: [B, 3] where the camera is.
        forward, right, up: [B, 3]: the ray through (u, v) of a crop, −1..1 from left to right and from top to bottom,
            is forward + u·right − v·up.
        window: [B, 4] least and greatest u and v of the picture: crops are black outside.
        sun: [B, 3] unit, towards it; sun_color: [B, 3]; sky_color: [B, 3] of what comes from all around.
        horizon, zenith: [B, 3] colours of the background.
    """

    kind: Tensor
    entity: Tensor
    inverse: Tensor
    size: Tensor
    frustum: Tensor
    pattern: Tensor
    frequency: Tensor
    colors: Tensor
    codes: Tensor
    grain: Tensor
    alpha: Tensor
    eye: Tensor
    forward: Tensor
    right: Tensor
    up: Tensor
    window: Tensor
    sun: Tensor
    sun_color: Tensor
    sky_color: Tensor
    horizon: Tensor
    zenith: Tensor

    def __getitem__(self, clips: slice | Tensor) -> Scene:
        """Some of the clips."""
        return Scene(**{name: value[clips] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Pictures:
    """Attributes:
    values: [B, T, 3, S, S] light, 0 and more, before any camera's response; zero outside the picture.
    codes: [B, T, S, S] uint8: 16 · entity + named colour.
    """

    values: Tensor
    codes: Tensor
