"""L4GM's cameras, which are LGM's: where they stand, and the rays of their pixels as the network is told them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from legs4d.generate.lenses import Lens
from legs4d.scene.camera import Cameras

L4GM = Lens(49.1, 1.5)
"""Field of view in degrees, and distance; near 0.5 and far 2.5 are where its objects lie between."""
AZIMUTHS = (0.0, 90.0, 180.0, 270.0)
"""Of the four views, degrees; the first is the video's."""


def place_of(elevation: float) -> float:
    """L4GM's own number for an elevation in degrees above the object: its cameras look from below where that is > 0."""
    return -elevation


def seen_from(cameras: Cameras) -> Cameras:
    """The same cameras in the world of the network, where the first one stands at (0, 0, distance), level."""
    level = np.diag([1.0, -1.0, -1.0, 1.0])
    level[2, 3] = np.linalg.norm(cameras.centers[0])
    back = np.linalg.inv(cameras.world_to_camera[0].astype(np.float64)) @ level
    poses = cameras.world_to_camera.astype(np.float64) @ back
    return Cameras(poses.astype(np.float32), cameras.intrinsics, cameras.width, cameras.height, cameras.ids)


def to_world(cameras: Cameras) -> NDArray[np.float64]:
    """[4, 4] from the network's world (see `seen_from`) to that of these cameras."""
    level = np.diag([1.0, -1.0, -1.0, 1.0])
    level[2, 3] = np.linalg.norm(cameras.centers[0])
    return np.asarray(np.linalg.inv(cameras.world_to_camera[0].astype(np.float64)) @ level)


def rays(cameras: Cameras) -> Tensor:
    """[C, 6, H, W] Plücker coordinates (o × d, d) of each pixel's ray, d of unit length (Xu et al. 2024, DMV3D)."""
    back = torch.linalg.inv(torch.from_numpy(cameras.world_to_camera).double())
    lens = torch.from_numpy(cameras.intrinsics).double()
    return rays_through(back, lens, cameras.height, cameras.width).float()


def rays_through(back: Tensor, lens: Tensor, height: int, width: int) -> Tensor:
    """[..., 6, height, width] the same of cameras to world [..., 4, 4] and intrinsics [..., 3, 3], on their device."""
    row, column = torch.meshgrid(
        torch.arange(height, dtype=back.dtype, device=back.device) + 0.5,
        torch.arange(width, dtype=back.dtype, device=back.device) + 0.5,
        indexing="ij",
    )
    x = (column - lens[..., 0, 2, None, None]) / lens[..., 0, 0, None, None]
    y = (row - lens[..., 1, 2, None, None]) / lens[..., 1, 1, None, None]
    x, y = (values.expand(*back.shape[:-2], height, width) for values in (x, y))
    along = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-3), dim=-3)
    along = torch.einsum("...ij,...jhw->...ihw", back[..., :3, :3], along)
    eye = back[..., :3, 3, None, None].expand_as(along)
    return torch.cat([torch.linalg.cross(eye, along, dim=-3), along], dim=-3)


def lens_of(size: int) -> Tensor:
    """[3, 3] float32 L4GM's intrinsics of a picture of size²."""
    return torch.from_numpy(L4GM.cameras(0, 0, size).intrinsics[0])


def around(size: int, elevation: float = 0.0, azimuths: ArrayLike = AZIMUTHS) -> Cameras:
    """Cameras of square pictures around an object, all at one elevation (degrees above it)."""
    return L4GM.cameras(elevation, azimuths, size)
