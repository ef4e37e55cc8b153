"""What each step of a fit does, decided beforehand: which pictures it looks at, on which backgrounds, how far it goes.

Nothing depends on what came before, so that a fit goes on at any step as if it had never stopped; and a captured graph
reads its step from the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.config.deform import DeformSettings
from legs4d.deform.fitting.canonical import NAMES


@dataclass(frozen=True)
class Schedule:
    """S steps with B pictures each.

    Attributes:
        pictures: [S, B] int64.
        backgrounds: [S, B, 3] float32 in 0..1.
        rates: [S, G] float32, step sizes: those of `canonical.NAMES`, of the deformation, of poses, and of tones.
    """

    pictures: NDArray[np.int64]
    backgrounds: NDArray[np.float32]
    rates: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pictures)

    def table(self) -> NDArray[np.float32]:
        """[S, B + 3 B + G] all of it in one row a step; positions are exact in float32 up to 16 million."""
        steps = len(self)
        return np.concatenate([self.pictures, self.backgrounds.reshape(steps, -1), self.rates], axis=1).astype(
            np.float32
        )


def plan(settings: DeformSettings, count: int, see_through: bool, extent: float) -> Schedule:
    """The schedule for `count` pictures of a scene of this extent (scene units, which scales the step of the means)."""
    steps, batch = settings.steps, min(settings.pictures_per_step, count)
    chance = np.random.default_rng(settings.seed)
    order = np.concatenate([chance.permutation(count) for _ in range(-(-steps * batch // count))])
    pictures = order[: steps * batch].reshape(steps, batch)
    backgrounds = np.zeros((steps, batch, 3), np.float32)
    if see_through:
        backgrounds = chance.random((steps, batch, 3), dtype=np.float32)
    done = np.arange(steps) / max(steps, 1)
    rates = settings.rates
    own: dict[str, Any] = {
        "means": rates.means * extent * settings.means_decay**done,
        "quats": rates.quats,
        "log_scales": rates.scales,
        "logit_opacities": rates.opacities * (done >= settings.opacities_held),
        "colors": rates.colors,
        "sh_rest": rates.colors / 20 * (done >= settings.sh_start),
    }
    # Gaussians settle last: all that is not the means falls by a factor too, but only in the end.
    settle = np.minimum(1, settings.settle ** ((done - 0.5) / 0.5))
    columns = [own[name] * (settle if name != "means" else 1) * np.ones(steps) for name in NAMES]
    late = np.minimum(1, settings.deformation_settle ** ((done - 0.5) / 0.5))
    bend = late * settings.deformation_rate * settings.deformation_decay**done * (done >= settings.deformation_start)
    pose = settings.pose_rate * settings.deformation_decay**done * np.ones(steps)
    tone = settings.tone_rate * settings.deformation_decay**done * np.ones(steps)
    return Schedule(pictures, backgrounds, np.stack([*columns, bend, pose, tone], axis=1).astype(np.float32))
