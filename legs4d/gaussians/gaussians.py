"""3D Gaussians at one instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.portable.values import SH_C0

if TYPE_CHECKING:
    import torch

__all__ = ["SH_C0", "Array", "Gaussians", "concatenate", "dc_from_rgb", "with_sh_rest"]

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
        sh_rest: [N, K, 3] float32 with K of 3, 8 or 15, the SH coefficients of degrees 1 to 3 (order and signs of Kerbl
            et al. 2023, see `gaussians.sh`), channels last; None where colours do not depend on the view.
    """

    means: Array
    quats: Array
    scales: Array
    opacities: Array
    colors: Array
    is_foreground: Array
    sh_rest: Array | None = None

    def __len__(self) -> int:
        return int(self.means.shape[0])

    @property
    def rgb(self) -> Array:
        """[N, 3] colours as RGB, not clamped, without what depends on the view."""
        return 0.5 + SH_C0 * self.colors

    def take(self, index: Array) -> Gaussians:
        """The Gaussians at these indices, or under this boolean mask."""
        return self._each(lambda values: values[index])

    def torch(self, device: str | torch.device = "cpu") -> Gaussians:
        """The same Gaussians as torch tensors on `device`."""
        import torch

        return self._each(lambda values: torch.as_tensor(values).to(device))

    def numpy(self) -> Gaussians:
        """The same Gaussians as numpy arrays."""
        return self._each(lambda values: values if isinstance(values, np.ndarray) else values.detach().cpu().numpy())

    def _each(self, change: Callable[[Array], Array]) -> Gaussians:
        """With every field that is there changed."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Gaussians(**{name: None if value is None else change(value) for name, value in values.items()})

    def replace(self, **changes: Array) -> Gaussians:
        """The same Gaussians with these fields exchanged."""
        return replace(self, **changes)


def concatenate(*parts: Gaussians) -> Gaussians:
    """All Gaussians of one or more sets (all numpy, or all torch of one device), in this order.

    Sets of different SH degrees get the highest; coefficients that one does not have are 0.
    """
    together = {
        f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(Gaussians) if f.name != "sh_rest"
    }
    degrees = [part.sh_rest.shape[1] for part in parts if part.sh_rest is not None]
    if not degrees:
        return Gaussians(**together)
    return Gaussians(**together, sh_rest=_joined([with_sh_rest(part, max(degrees)) for part in parts]))


def with_sh_rest(gaussians: Gaussians, count: int) -> Array:
    """[N, count, 3] SH coefficients beyond DC; those that are not there are 0."""
    like, known = gaussians.means, gaussians.sh_rest
    if known is not None and known.shape[1] == count:
        return known
    missing = count - (0 if known is None else known.shape[1])
    shape = (len(gaussians), missing, 3)
    zeros = np.zeros(shape, np.float32) if isinstance(like, np.ndarray) else like.new_zeros(shape)
    return zeros if known is None else _joined([known, zeros], 1)


def _joined(arrays: list[Array], axis: int = 0) -> Array:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, axis)
    import torch

    return torch.cat(arrays, axis)


def dc_from_rgb(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """SH DC coefficients of RGB colours in 0..1 (any shape)."""
    return ((rgb - 0.5) / SH_C0).astype(np.float32)
