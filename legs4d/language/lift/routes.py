"""From what the pixels of one frame say to a code for every Gaussian: the routes that `LiftSettings` names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.config import LiftSettings
from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.language.embedding.features import FeatureMap
from legs4d.progress import go_on
from legs4d.raster.lift import has_cuda_kernels, lift_table
from legs4d.scene.camera import Cameras

if TYPE_CHECKING:
    import torch

    from legs4d.raster.cuda_lift import TiledPixelMap


EVERYTHING = slice(None)


@dataclass(frozen=True)
class Lifted:
    """Of N Gaussians.

    Attributes:
        codes: [N, K] float32, 0 where the weight is; from a GPU float16, if they were wanted as they are stored.
        weight: [N] float32, Wᵀ B 1: the pixels that a Gaussian fills and that say something.
    """

    codes: NDArray[np.floating]
    weight: NDArray[np.float32]


@dataclass
class FrameLift:
    """Lifts frames as the settings say.

    Attributes:
        near: near plane, scene units.
        device: "cpu" or "cuda". On the CPU the closed form needs no torch.
        threads: CPU threads, all by default.
        check: called between the steps of a long route; what it raises ends it.
    """

    settings: LiftSettings
    near: float
    device: str = "cpu"
    threads: int | None = None
    check: Callable[[], None] = go_on
    _tiled: tuple[Any, TiledPixelMap] | None = field(default=None, repr=False)
    _one_map: Lock = field(default_factory=Lock, repr=False)

    def __call__(
        self,
        gaussians: Gaussians,
        cameras: Cameras,
        features: FeatureMap,
        table: NDArray[np.float32],
        of: slice = EVERYTHING,
        *,
        as_stored: bool = False,
    ) -> Lifted:
        """Codes of N numpy Gaussians, from what C cameras' pixels say; `table` [R, K] holds the codes of its rows.

        Args:
            of: whose codes are wanted; the others are not brought back from a GPU.
            as_stored: whether a GPU is to round them to what is stored, which takes a CPU longer than the lift.
        """
        if not (self._is_long or self._has_kernel):
            return _mean(*(part[of] for part in self._sums_on_cpu(gaussians, cameras, features, table)))
        import torch

        with torch.no_grad():
            placed, codes = gaussians.torch(self.device), torch.as_tensor(table, device=self.device)
            sums, weight = self._sums(gaussians, placed, cameras, features, table)
        start = torch.where(weight[:, None] > 0, sums / weight[:, None].clamp(min=1e-30), 0)
        found = self._long_way(placed, cameras, features, codes, start, weight) if self._is_long else start
        wanted = found[of].half() if as_stored else found[of]
        return Lifted(wanted.cpu().numpy(), weight[of].cpu().numpy())

    @property
    def is_quick(self) -> bool:
        """Whether a frame takes so little that bringing it to the device and back takes as long."""
        return self._has_kernel and not self._is_long

    @property
    def _is_long(self) -> bool:
        return self.settings.method == "trained" or self.settings.refine > 0

    @property
    def _has_kernel(self) -> bool:
        return self.device == "cuda" and has_cuda_kernels()

    def _sums(
        self,
        gaussians: Gaussians,
        placed: Gaussians,
        cameras: Cameras,
        features: FeatureMap,
        table: NDArray[np.float32],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Wᵀ B Z and Wᵀ B 1, by the device's own kernel where there is one."""
        import torch

        if not self._has_kernel:
            sums, weight = self._sums_on_cpu(gaussians, cameras, features, table)
            return torch.as_tensor(sums, device=self.device), torch.as_tensor(weight, device=self.device)
        from legs4d.raster import cuda_lift

        with self._one_map:
            # A map that is the same object as the last frame's is in tiles already.
            if self._tiled is None or self._tiled[0] is not features.index:
                tiled = cuda_lift.tile_pixel_map(features.index, features.weight, len(table), self.device)
                self._tiled = features.index, tiled
            pixel_map = self._tiled[1]
        values = torch.as_tensor(table, device=self.device)
        return cuda_lift.lift_table(placed, cameras, pixel_map, values, self.near)

    def _sums_on_cpu(
        self, gaussians: Gaussians, cameras: Cameras, features: FeatureMap, table: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return lift_table(gaussians, cameras, features.index, features.weight, table, self.near, self.threads)

    def _long_way(
        self,
        gaussians: Gaussians,
        cameras: Cameras,
        features: FeatureMap,
        table: torch.Tensor,
        start: torch.Tensor,
        weight: torch.Tensor,
    ) -> torch.Tensor:
        from legs4d.language.lift.pixels import PixelCodes
        from legs4d.language.lift.refine import refine
        from legs4d.language.lift.trained import train_codes

        pixels = PixelCodes.of(features, table, self.device)
        settings, near, threads, check = self.settings, self.near, self.threads, self.check
        if settings.method == "trained":
            start = train_codes(
                gaussians, cameras, pixels, weight, settings.trained, near, threads=threads, check=check
            )
        if settings.refine:
            start = refine(
                gaussians, cameras, pixels, start, weight, settings.refine, near, threads=threads, check=check
            )
        return start


def lift_device(engine: str, settings: LiftSettings) -> str:
    """The device of an engine: "cpu", "cuda", or "auto" for CUDA where the route that is asked for can run there.

    Raises:
        Legs4dError: "cuda" was asked for where it cannot run.
    """
    needs_gsplat = settings.method == "trained" or settings.refine > 0
    missing = "" if has_cuda_kernels() else "csrc/cuda is not built, as there was no CUDA compiler"
    if needs_gsplat:
        missing = "" if find_spec("gsplat") is not None else "gsplat is not installed"
    if engine == "cpu" or (engine == "auto" and missing):
        return "cpu"
    if not missing:
        import torch

        missing = "" if torch.cuda.is_available() else "PyTorch finds no CUDA device"
    if missing and engine == "cuda":
        raise Legs4dError(missing, where="--engine cuda", fix="use --engine cpu, or install what is missing")
    return "cpu" if missing else "cuda"


def _mean(sums: NDArray[np.float32], weight: NDArray[np.float32]) -> Lifted:
    mean = np.divide(sums, weight[:, None], out=np.zeros_like(sums), where=weight[:, None] > 0)
    return Lifted(mean, weight)
