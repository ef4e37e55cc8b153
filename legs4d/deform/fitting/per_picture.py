"""Small corrections of what a camera tells, one for each picture: of its pose, and of how it shows colour.

Both are fitted along with everything else, and kept near nothing. What all pictures would do together is no correction
but another world, so the mean of all is taken off: held-out pictures are as the mean of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.raster.states import States
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices
from legs4d.scene.camera import Cameras

KEPT = 0.01
"""Times the mean square of all gains and offsets, in the loss: what a picture does not tell of them stays nothing."""
WORTH_TELLING = 1.05
"""Of the brightest gain in the darkest."""


@dataclass
class PerPicture:
    """P corrections of six numbers, for F pictures.

    Attributes:
        of: [F] int64 which correction each picture has: cameras that stand still have one, whenever they took a
            picture.
        values: [P, 6] the corrections; a leaf.
    """

    of: torch.Tensor
    values: torch.Tensor

    def __post_init__(self) -> None:
        self._moments = Moments.of(self.values.detach())

    def centred(self) -> torch.Tensor:
        """[P, 6] less the mean of all; differentiable."""
        return self.values - self.values.mean(dim=0)

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


@dataclass
class Poses(PerPicture):
    """Corrections of poses, `values` a rotation vector and a shift in `radius`.

    What a picture shows is turned and shifted instead of its camera, as any engine can.

    Attributes:
        center: [3] scene units, about which is turned; radius: scene units, of the shift.
    """

    center: torch.Tensor
    radius: float

    @classmethod
    def none(cls, of: NDArray[np.int64], center: NDArray[np.floating], radius: float, device: torch.device) -> Poses:
        """Nothing corrected yet."""
        place = torch.as_tensor(center, dtype=torch.float32, device=device)
        return cls(torch.as_tensor(of, device=device), _nothing(of, device), place, radius)

    def applied(self, states: States, which: torch.Tensor) -> States:
        """States b as the pictures `which` [B] show them; differentiable."""
        turns, matrices, shifts = self._parts(which)
        means = torch.einsum("bxy,bny->bnx", matrices, states.means) + shifts[:, None]
        quats = multiply(turns[:, None].expand_as(states.quats), states.quats)
        return replace(states, means=means, quats=quats)

    def _parts(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x ↦ R x + s of pictures: unit quaternions [B, 4], R [B, 3, 3], s [B, 3]."""
        own = self.centred()[self.of[which]]
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
        own = self.centred().cpu().numpy()
        degrees = np.degrees(np.linalg.norm(own[:, :3], axis=1))
        shares = 100 * np.linalg.norm(own[:, 3:], axis=1)
        return (
            f"Poses were refined: {len(own)} of them turned by {np.median(degrees):.2f}° and shifted by "
            f"{np.median(shares):.2f} % of the distance to the middle (medians; at most {degrees.max():.2f}° and "
            f"{shares.max():.2f} %)."
        )


@dataclass
class Tones(PerPicture):
    """How pictures see colour, `values` gain and offset of channels: picture ≈ exp(gain) · what is filmed + offset.

    Cameras that set exposure and white balance by themselves show one colour differently from picture to picture. It
    is so of what is filmed, not of what lies behind it.
    """

    @classmethod
    def none(cls, of: NDArray[np.int64], device: torch.device) -> Tones:
        """All alike yet."""
        return cls(torch.as_tensor(of, device=device), _nothing(of, device))

    def applied(
        self, color: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor, which: torch.Tensor
    ) -> torch.Tensor:
        """Renderings [B, H, W, 3] with alpha [B, H, W] on backgrounds [B, 3] as the pictures `which` [B] show them."""
        gain, offset = self.centred()[self.of[which]][:, None, None].split(3, dim=-1)
        opaque = alpha[..., None]
        behind = (1 - opaque) * background[:, None, None]
        return torch.exp(gain) * (color - behind) + offset * opaque + behind

    def cost(self) -> torch.Tensor:
        """[] for the loss."""
        return KEPT * self.centred().square().mean()

    @torch.no_grad()
    def of_pictures(self) -> NDArray[np.float32]:
        """[F, 6] gain and offset of each picture."""
        return self.centred()[self.of].cpu().numpy()

    @torch.no_grad()
    def told(self) -> list[str]:
        """A sentence on how far pictures differ, if they do."""
        gains = np.exp(self.centred()[:, :3].mean(dim=1).cpu().numpy())
        if gains.max() < WORTH_TELLING * gains.min():
            return []
        which = f"{len(gains)} of them are {gains.min():.2f} to {gains.max():.2f} times as bright as all on average"
        return [f"Pictures differ in exposure, which was fitted: {which}."]


def _nothing(of: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    return torch.zeros(int(of.max()) + 1, 6, device=device).requires_grad_()


def whose(cameras: list[Cameras], still: bool) -> NDArray[np.int64]:
    """[F] the correction of each picture of frames with these cameras: cameras that stand still have one each."""
    if not still:
        return np.arange(sum(len(some) for some in cameras))
    return np.concatenate([np.arange(len(some)) for some in cameras])
