"""What rendered clips show, measured in their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.synthetic.cast import ENTITIES
from training.synthetic.constants import constant
from training.synthetic.pictures.scene import Pictures, Scene
from training.synthetic.schema import ACTIONS, BACKWARDS, CENTER, COLORS, FRAMES, Facts, Shown
from training.synthetic.skeleton import inverted
from training.synthetic.stage import UNSURE, Stage

STEP = 0.03
"""Of light, by which a pixel has to change to be seen to."""
ENOUGH_MOTION = 0.004
"""Share of a crop's pixels that change between two frames because of what an entity does, for that to be seen."""
COLOR_SHARE = 0.25
LITTLE, SOME, MUCH, NEARLY_ALL = 0.004, 0.015, 0.05, 0.7
"""Shares of a crop: below the first there is nothing to see, from the third on it is seen, wherever the rest is."""
GLIMPSE = 0.002
"""Share of a crop that has to be seen of what is thrown or held, for somebody to be seen to throw or hold it."""


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
    def of(cls, pictures: Pictures) -> Shows:
        codes = pictures.codes.flatten(2)
        some = slice(None, None, 2)  # of the rays, where these are enough
        values = pictures.values.flatten(3)[..., some]
        brightness = values.amax((1, 2, 3), keepdim=True).clamp(min=0.2)[:, 0]
        jumps = (values[:, 1:] - values[:, :-1]).abs().amax(2) > STEP * brightness
        owner = codes[..., some] >> 4
        few = codes[:, ::2, ::3]
        area, color, change = [], [], []
        for entity in range(ENTITIES):
            own = owner == entity
            area.append(own.sum(-1) / own.shape[-1])
            change.append((jumps & (own[:, 1:] | own[:, :-1])).sum(-1) / own.shape[-1])
            tally = torch.stack([(few == 16 * entity + index).sum((1, 2)) for index in range(len(COLORS))], dim=1)
            color.append(tally / tally.sum(1, keepdim=True).clamp(min=1))
        return cls(torch.stack(area, 2), torch.stack(color, 1), torch.stack(change, 2))

    @classmethod
    def cat(cls, parts: list[Shows]) -> Shows:
        """One after the other."""
        return cls(*(torch.cat([vars(part)[name] for part in parts]) for name in ("area", "color", "change")))


@dataclass(frozen=True)
class Evidence:
    """What facts are read from.

    Attributes:
        stage: who did what, B · K entities.
        shows: what is seen of them.
        inside: [B, T, K] share of each that is within the crop, hidden or not.
    """

    stage: Stage
    shows: Shows
    inside: Tensor


def facts(evidence: Evidence, at: int = CENTER) -> Facts:
    """What is true of clips at one of their frames."""
    stage, shows = evidence.stage, evidence.shows
    shape = (len(shows.area), ENTITIES)
    action = stage.action[:, :FRAMES].view(*shape, FRAMES)
    area, change = shows.area.transpose(1, 2), shows.change.transpose(1, 2)
    within = evidence.inside[:, at]
    now = action[..., at]
    near = slice(at - 1, at + 2)
    still, rests, wide, sudden = (_is(now, names) for names in (("still",), RESTING, WIDE, SUDDEN))
    same = action == now[..., None]
    lasts = same[..., near].all(-1) & (same.sum(-1) >= torch.where(still, 6, 4))
    seen = area > LITTLE
    followed = seen[..., near].all(-1) & (seen.sum(-1) >= torch.where(wide, 5, 4))
    followed = followed | (sudden & (seen.sum(-1) >= 3))
    changes = change > ENOUGH_MOTION
    moves = changes[..., at - 2 : at + 1].any(-1) | (sudden & changes.any(-1))
    clear = lasts & followed & (now != UNSURE) & (rests | (moves & (within >= 0.45)))
    glimpsed = (area[..., near] > GLIMPSE).all(-1)
    other = torch.arange(ENTITIES, device=now.device)
    other[:2] = other[:2].flip(0)  # the first two are those who have to do with each other
    clear &= ~_is(now, BETWEEN_TWO) | glimpsed[:, other]
    bit = 2 ** torch.arange(len(COLORS), device=now.device)
    return Facts(
        object=stage.object.view(shape),
        colors=((shows.color >= COLOR_SHARE) * bit).sum(-1),
        action=now.clamp(min=0),
        other=stage.other[:, at].view(shape),
        shown=_shown(area.mean(-1), within),
        clear=clear,
    )


def _shown(area: Tensor, within: Tensor) -> Tensor:
    """`Shown`, from mean shares of the crop and of the entity."""
    seen = ((area >= MUCH) & (within >= 0.25)) | ((area >= SOME) & (within >= 0.6))
    seen = seen & ((area < NEARLY_ALL) | (within >= 0.5))  # from too near, it could be anything
    return torch.where(seen, int(Shown.YES), torch.where(area > LITTLE, int(Shown.PARTLY), int(Shown.NO)))


RESTING = ("still", "hold", "held")
"""Actions that nothing needs to move for."""
WIDE = ("bounce", "swing", "orbit", "jump")
"""Actions that a glimpse does not tell from others."""
SUDDEN = ("appear", "disappear", "collide")
"""Actions of a few frames."""
BETWEEN_TWO = ("throw", "catch", "pick up", "put down", "hold", "carry", "kick", "held", "carried", "collide")
"""Actions that nobody sees who sees only one of the two."""
DIRECTED = (*BACKWARDS, *BACKWARDS.values())
"""Actions that are others when played backwards."""
ONE_WAY = ("walk", "run", "jump", "kick", "topple", "carry", "carried")
"""Actions that look wrong when played backwards."""


def reversed_facts(known: Facts) -> Facts:
    """Of clips played backwards; `known` is true of the frame that then is at `CENTER`."""
    names = {**{name: name for name in ACTIONS}, **BACKWARDS, **{after: before for before, after in BACKWARDS.items()}}
    table = constant([ACTIONS.index(names[name]) for name in ACTIONS], device=known.action.device)
    clear = known.clear & ~_is(known.action, ONE_WAY)
    return replace(known, action=table[known.action], clear=clear)


def _is(action: Tensor, names: tuple[str, ...]) -> Tensor:
    return torch.isin(action, constant([ACTIONS.index(name) for name in names], device=action.device))


def inside(scene: Scene, weights: Tensor) -> Tensor:
    """[B, T, K] share of an entity whose parts have their middle in the crop.

    Args:
        weights: [B, K, parts] how much of an entity each part makes up.
    """
    count, entities, parts = weights.shape
    inverse = scene.inverse[:, :, : entities * parts]
    middle = inverted(inverse)[..., 3]  # the place whose own coordinates are 0
    away = middle - scene.eye[:, None, None]
    axes = torch.linalg.inv(torch.stack([scene.forward, scene.right, -scene.up], dim=-1))
    depth, u, v = (away @ axes[:, None].transpose(-1, -2)).unbind(-1)
    low_u, high_u, low_v, high_v = scene.window[:, None, None].unbind(-1)
    u, v = u / depth, v / depth
    within = (
        (u > low_u.clamp(min=-1)) & (u < high_u.clamp(max=1)) & (v > low_v.clamp(min=-1)) & (v < high_v.clamp(max=1))
    )
    within = (within & (depth > 0)).view(count, -1, entities, parts)
    return (within * weights[:, None]).sum(-1) / weights[:, None].sum(-1).clamp(min=1e-9)
