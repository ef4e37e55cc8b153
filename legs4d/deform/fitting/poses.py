"""Small corrections of camera poses: what a picture shows is turned and shifted instead, as any engine can.

What all cameras would do together is no correction but another place of the world, so the mean of all is taken off:
held-out cameras, and the dataset's own axes, stay right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.fitting.adam import Moments, step_group
from legs4d.raster.states import States
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices
from legs4d.scene.camera import Cameras


@dataclass
class Poses:
    """Corrections of P poses that F pictures were taken from.

    Attributes:
        of: [F] int64 the pose of each picture: cameras that stand still have one, whenever they took a picture.
        values: [P, 6] a rotation vector and a shift, in `radius`; a leaf.
        center: [3] scene units, about which is turned; radius: scene units, of the shift.
    """

    of: torch.Tensor
    values: torch.Tensor
    center: torch.Tensor
    radius: float

    @classmethod
    def none(cls, of: NDArray[np.int64], center: NDArray[np.floating], radius: float, device: torch.device) -> Poses:
        """Nothing corrected yet."""
        values = torch.zeros(int(of.max()) + 1, 6, device=device).requires_grad_()
        place = torch.as_tensor(center, dtype=torch.float32, device=device)
        return cls(torch.as_tensor(of, device=device), values, place, radius)

    def __post_init__(self) -> None:
        self._moments = Moments.of(self.values.detach())

    def step(self, rate: float | torch.Tensor) -> None:
        """One step of Adam; clears the gradient."""
        step_group([self.values], [self._moments], rate)

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on."""
        m = self._moments
        return {"value": self.values.detach(), "first": m.first, "second": m.second, "steps": m.steps}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        with torch.no_grad():
            self.values.copy_(state["value"])
            for name in ("first", "second", "steps"):
                getattr(self._moments, name).copy_(state[name])

    def applied(self, states: States, which: torch.Tensor) -> States:
        """States b as the pictures `which` [B] show them; differentiable."""
        turns, matrices, shifts = self._parts(which)
        means = torch.einsum("bxy,bny->bnx", matrices, states.means) + shifts[:, None]
        quats = multiply(turns[:, None].expand_as(states.quats), states.quats)
        return replace(states, means=means, quats=quats)

    def _parts(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x ↦ R x + s of pictures: unit quaternions [B, 4], R [B, 3, 3], s [B, 3]."""
        own = self.values[self.of[which]] - self.values.mean(dim=0)
        half = own[:, :3] / 2
        # To second order: corrections are of a degree.
        turns = torch.cat([1 - half.square().sum(dim=1, keepdim=True) / 2, half], dim=1)
        turns = torch.nn.functional.normalize(turns, dim=-1)
        matrices = rotation_matrices(turns)
        shifts = self.center - matrices @ self.center + self.radius * own[:, 3:]
        return turns, matrices, shifts

    @torch.no_grad()
    def corrected(self, cameras: Cameras) -> Cameras:
        """The cameras of the F pictures, corrected; they see of the world what `applied` shows of the states."""
        _, matrices, shifts = self._parts(torch.arange(len(self.of), device=self.of.device))
        moves = np.tile(np.eye(4), (len(cameras), 1, 1))
        moves[:, :3, :3], moves[:, :3, 3] = matrices.cpu().numpy(), shifts.cpu().numpy()
        poses = cameras.world_to_camera.astype(np.float64) @ moves
        return replace(cameras, world_to_camera=poses.astype(np.float32))

    @torch.no_grad()
    def told(self) -> str:
        """A sentence on how far they went."""
        own = (self.values - self.values.mean(dim=0)).cpu().numpy()
        degrees = np.degrees(np.linalg.norm(own[:, :3], axis=1))
        shares = 100 * np.linalg.norm(own[:, 3:], axis=1)
        return (
            f"Poses were refined: {len(own)} of them turned by {np.median(degrees):.2f}° and shifted by "
            f"{np.median(shares):.2f} % of the distance to the middle (medians; at most {degrees.max():.2f}° and "
            f"{shares.max():.2f} %)."
        )


def poses_of(cameras: list[Cameras], still: bool) -> NDArray[np.int64]:
    """[F] the pose of each picture of frames with these cameras: cameras that stand still have one each."""
    if not still:
        return np.arange(sum(len(some) for some in cameras))
    return np.concatenate([np.arange(len(some)) for some in cameras])
