"""What rendered clips show, measured in their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthetic.cast import ENTITIES
from synthetic.render import NO_COLOR, Pictures, Scene
from synthetic.schema import ACTIONS, CENTER, COLORS, FRAMES, Facts, Shown
from synthetic.stage import UNSURE, Stage

STEP = 0.03
"""Of light, by which a pixel has to change to be seen to."""
ENOUGH_MOTION = 0.004
"""Share of a crop's pixels that change between two frames because of what an entity does, for that to be seen."""
COLOR_SHARE = 0.25
LITTLE, SOME, MUCH, NEARLY_ALL = 0.004, 0.025, 0.05, 0.7
"""Shares of a crop: below the first there is nothing to see, from the third on it is seen, wherever the rest is."""


@dataclass(frozen=True)
class Shows:
    """Of B clips with `ENTITIES` each.

    Attributes:
        area: [B, T, K] share of the crop's pixels.
        color: [B, K, colours] share of its pixels that have a name.
        change: [B, T − 1, K] share of the crop's pixels that are its, before or after, and change.
    """

    area: Tensor
    color: Tensor
    change: Tensor

    @classmethod
    def of(cls, scene: Scene, pictures: Pictures) -> Shows:
        codes = pictures.codes.flatten(2).long()
        values = pictures.values.flatten(2, 3)
        owner, name = codes // 16, codes % 16
        brightness = values.amax((1, 2, 3), keepdim=True).clamp(min=0.2)
        jumps = (values[:, 1:] - values[:, :-1]).abs().amax(-1) > STEP * brightness[..., 0]
        area, color, change = [], [], []
        for entity in range(ENTITIES):
            own = owner == entity
            area.append(own.float().mean(-1))
            change.append((jumps & (own[:, 1:] | own[:, :-1])).float().mean(-1))
            counted = own & (name != NO_COLOR)
            marks = torch.where(counted, name, len(COLORS)).flatten(1)
            tally = torch.zeros(len(codes), len(COLORS) + 1, device=codes.device)
            tally.scatter_add_(1, marks, torch.ones_like(marks, dtype=tally.dtype))
            color.append(tally[:, :-1] / tally[:, :-1].sum(1, keepdim=True).clamp(min=1))
        return cls(torch.stack(area, 2), torch.stack(color, 1), torch.stack(change, 2))

    @classmethod
    def cat(cls, parts: list[Shows]) -> Shows:
        """One after the other."""
        return cls(*(torch.cat([vars(part)[name] for part in parts]) for name in ("area", "color", "change")))


def facts(stage: Stage, scene: Scene, shows: Shows, weights: Tensor) -> Facts:
    """What is true of the clips; `weights` [B, K, parts] is how much of an entity each part makes up."""
    count = len(shows.area)
    shape = (count, ENTITIES)
    action = stage.action[:, :FRAMES].view(*shape, FRAMES)
    now = action[..., CENTER]
    same = action == now[..., None]
    around = same[..., CENTER - 1 : CENTER + 2].all(-1)
    steady = torch.where(now == ACTIONS.index("still"), same.sum(-1) >= 6, same.sum(-1) >= 4)
    rests = torch.isin(
        now, torch.tensor([ACTIONS.index(name) for name in ("still", "hold", "held")], device=now.device)
    )
    change = shows.change.transpose(1, 2)
    moves = (change[..., CENTER - 2 : CENTER + 1].amax(-1) > ENOUGH_MOTION) | (
        torch.isin(now, _sudden(now.device)) & (change.amax(-1) > ENOUGH_MOTION)
    )
    inside = _inside(scene, weights)
    area = shows.area.mean(1)
    there_in = shows.area.transpose(1, 2) > LITTLE
    enough = torch.where(torch.isin(now, _wide(now.device)), 5, 4)
    followed = there_in[..., CENTER - 1 : CENTER + 2].all(-1) & (there_in.sum(-1) >= enough)
    followed = followed | (torch.isin(now, _sudden(now.device)) & (there_in.sum(-1) >= 3))
    seen = (area >= MUCH) & (inside >= 0.25) | (area >= SOME) & (inside >= 0.6)
    seen = seen & ((area < NEARLY_ALL) | (inside >= 0.5))  # from too near, it could be anything
    shown = torch.where(seen, int(Shown.YES), torch.where(area > LITTLE, int(Shown.PARTLY), int(Shown.NO)))
    clear = around & steady & followed & (now != UNSURE) & (rests | moves) & ((inside >= 0.45) | rests)
    bit = 2 ** torch.arange(len(COLORS), device=now.device)
    colors = ((shows.color >= COLOR_SHARE) * bit).sum(-1)
    there = stage.object.view(shape)
    return Facts(
        object=there,
        colors=colors,
        action=now.clamp(min=0),
        other=stage.other[:, CENTER].view(shape),
        shown=shown,
        clear=clear,
    )


def _wide(device: torch.device) -> Tensor:
    """Actions that a glimpse does not tell from others."""
    return torch.tensor([ACTIONS.index(name) for name in ("bounce", "swing", "orbit", "jump")], device=device)


def _sudden(device: torch.device) -> Tensor:
    return torch.tensor([ACTIONS.index(name) for name in ("appear", "disappear", "collide")], device=device)


def _inside(scene: Scene, weights: Tensor) -> Tensor:
    """[B, K] share of an entity whose parts have their middle in the crop, at the clip's timestep."""
    count, entities, parts = weights.shape
    inverse = scene.inverse[:, CENTER, : entities * parts]
    # The primitive's middle is where its own coordinates are 0.
    middle = -torch.linalg.solve(inverse[..., :3] + 1e-12 * torch.eye(3, device=weights.device), inverse[..., 3])
    away = middle - scene.eye[:, None]
    frame = torch.stack([scene.forward, scene.right, -scene.up], dim=-1)
    across = torch.linalg.solve(frame, away.transpose(1, 2))
    u, v = across[:, 1] / across[:, 0], across[:, 2] / across[:, 0]
    inside = (u.abs() < 1) & (v.abs() < 1) & (across[:, 0] > 0)
    inside = inside.view(count, entities, parts)
    return (inside * weights).sum(-1) / weights.sum(-1).clamp(min=1e-9)
