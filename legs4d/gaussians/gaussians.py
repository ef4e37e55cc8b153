"""3D Gaussians at one instant."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

SH_C0 = 0.28209479177387814
"""Value of the zeroth real spherical harmonic: colour = 0.5 + SH_C0 · dc."""

Array = Any
"""A numpy array or a torch tensor: storing and querying use the first, rendering and training the second."""


@dataclass(frozen=True)
class Gaussians:
    """N anisotropic 3D Gaussians; all fields are numpy arrays, or all are torch tensors of one device.

    Attributes:
        means: [N, 3] float32, scene units.
        quats: [N, 4] float32, wxyz, unit.
        scales: [N, 3] float32, linear standard deviations in scene units, > 0.
        opacities: [N] float32, 0..1.
        colors: [N, 3] float32, SH DC coefficients; RGB = 0.5 + SH_C0 · colors, sRGB-encoded.
        is_foreground: [N] bool.
    """

    means: Array
    quats: Array
    scales: Array
    opacities: Array
    colors: Array
    is_foreground: Array

    def __len__(self) -> int:
        return int(self.means.shape[0])

    @property
    def rgb(self) -> Array:
        """[N, 3] colours as RGB, not clamped."""
        return 0.5 + SH_C0 * self.colors

    def take(self, index: Array) -> Gaussians:
        """The Gaussians at these indices, or under this boolean mask."""
        return Gaussians(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def torch(self, device: str | torch.device = "cpu") -> Gaussians:
        """The same Gaussians as torch tensors on `device`."""
        import torch

        return Gaussians(**{f.name: torch.as_tensor(getattr(self, f.name)).to(device) for f in fields(self)})

    def numpy(self) -> Gaussians:
        """The same Gaussians as numpy arrays."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Gaussians(**{k: v if isinstance(v, np.ndarray) else v.detach().cpu().numpy() for k, v in values.items()})

    def replace(self, **changes: Array) -> Gaussians:
        """The same Gaussians with these fields exchanged."""
        return replace(self, **changes)


def concatenate(first: Gaussians, second: Gaussians) -> Gaussians:
    """Both sets of numpy Gaussians, `first` first."""
    return Gaussians(
        **{f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(first)}
    )


def dc_from_rgb(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """SH DC coefficients of RGB colours in 0..1 (any shape)."""
    return ((rgb - 0.5) / SH_C0).astype(np.float32)
