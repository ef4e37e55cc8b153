"""What every reader of a splat file returns, whatever the format: N 3D Gaussians with activated values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sh import degree_of
from .sh import rotate as rotate_sh
from .turns import multiply, rotation_matrix

FloatArray = NDArray[np.float32]


class SplatFileError(ValueError):
    """A file cannot be read or written as splats.

    Args:
        what: what is wrong, with the value found and the value expected.
        where: the file (and the place in it).
        fix: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        sentence = f"{where}: {what}" if where else what
        super().__init__(f"{sentence}; {fix}." if fix else f"{sentence}.")


@dataclass(frozen=True)
class Splats:
    """N anisotropic 3D Gaussians as a file has them, in the file's own axes.

    Attributes:
        means: [N, 3] float32, the file's units.
        quats: [N, 4] float32, wxyz, unit.
        scales: [N, 3] float32, linear standard deviations, >= 0.
        opacities: [N] float32, 0..1.
        colors: [N, 3] float32, SH DC coefficients: RGB = 0.5 + 0.28209479 · colors, sRGB-encoded.
        sh_rest: [N, K, 3] float32, K in 3, 8, 15 (degrees 1 to 3), coefficient-major, channels last, 3DGS's order and
            sign; None where colours do not depend on the view.
        extra: other values per Gaussian, by the file's names: [N] or [N, …] arrays.
        dropped: how many Gaussians the file has beyond these, whose values were not finite.
        up: [3] the direction that is up by the format's own rule.
        origin: [3] float64 that was taken off the means, where they were too far out for float32.
        axes: the rule by which `up` was found, in words for a person.
        antialiased: trained with opacity compensation (Mip-Splatting), where the file tells.
        notes: sentences on what the file lacks and was made up, or has and was left out.
    """

    means: FloatArray
    quats: FloatArray
    scales: FloatArray
    opacities: FloatArray
    colors: FloatArray
    sh_rest: FloatArray | None = None
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)
    dropped: int = 0
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axes: str = ""
    antialiased: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """0 to 3."""
        return 0 if self.sh_rest is None else degree_of(self.sh_rest.shape[1])

    def take(self, index: NDArray[Any]) -> Splats:
        """The Gaussians at these indices, or under this boolean mask."""
        return replace(
            self,
            means=self.means[index],
            quats=self.quats[index],
            scales=self.scales[index],
            opacities=self.opacities[index],
            colors=self.colors[index],
            sh_rest=None if self.sh_rest is None else self.sh_rest[index],
            extra={name: values[index] for name, values in self.extra.items()},
        )

    def turned(self, quat: NDArray[np.floating]) -> Splats:
        """Rotated about the origin by a unit quaternion [4] wxyz, with their view dependence; `up` turns with them."""
        matrix = rotation_matrix(quat)
        return replace(
            self,
            means=(self.means @ matrix.T).astype(np.float32),
            quats=multiply(np.asarray(quat, np.float64), self.quats.astype(np.float64)).astype(np.float32),
            sh_rest=None if self.sh_rest is None else rotate_sh(self.sh_rest, matrix),
            up=_triple(matrix @ np.asarray(self.up, np.float64)),
        )


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return x, y, z
