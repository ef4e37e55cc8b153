"""What clips for `tiny4d` show: a character, an animal, a vehicle, a group of shapes, a ball with buds, one thing or
person of the encoder's generator, or a creature of lumps that bends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic import cast as casting
from training.synthetic.cast import ENTITIES
from training.synthetic.dice import Dice
from training.synthetic.pictures import looks
from training.synthetic.pictures.scene import Pattern
from training.synthetic.schema import FRAMES
from training.synthetic.skeleton import about_y, about_z, affine, compose, inverted
from training.synthetic.stage import Director
from training.synthetic.world.primitives import PARTS, ROPE, Kind
from training.tiny4d.beings import bipeds, quadrupeds
from training.tiny4d.rig import TIMES, Rig
from training.tiny4d.wares import budding, groups, vehicles

STRIDE = 2
"""Of the generator's frames, between moments."""
DONE = (
    *("still", "spin", "shake", "bounce", "grow", "shrink", "topple", "open", "close", "roll", "walk", "run", "jump"),
    *("wave", "throw", "pick up", "kick", "sit down", "stand up", "bow", "clap"),
)
"""What its entities do: nothing that leaves, vanishes or hangs on a rope."""
STAYS = 0.6
"""Share of clips in which nothing travels."""
SIDE = 1.0
"""Longest side of all that a thing reaches, scene units: L4GM's."""
SORTS: tuple[tuple[Callable[[Dice, int], Rig], float, float], ...] = (
    (bipeds, 0.38, 0.15),
    (quadrupeds, 0.14, 0.12),
    (vehicles, 0.08, 0.08),
    (groups, 0.1, 0.1),
    (budding, 0.08, 0.1),
)
"""What is built for these clips alone: the share of each, and how often a colour of it is a pattern."""
LUMPY = 0.08
"""Share of creatures of lumps; the rest are the encoder's entities."""


@dataclass(frozen=True)
class Bodies:
    """B things at `TIMES` moments, z up, around the origin; `Scene` tells what the fields are.

    Attributes:
        kind: [B, P]; inverse: [B, T, P, 3, 4]; size: [B, P, 3]; frustum: [B, P, 2].
        pattern, frequency, grain: [B, P]; colors: [B, P, 3, 3].
    """

    kind: Tensor
    inverse: Tensor
    size: Tensor
    frustum: Tensor
    pattern: Tensor
    frequency: Tensor
    grain: Tensor
    colors: Tensor

    @classmethod
    def cat(cls, parts: list[Bodies]) -> Bodies:
        """One after the other; those of fewer primitives have some that are not there."""
        most = max(part.kind.shape[1] for part in parts)
        parts = [part._filled(most) for part in parts]
        return cls(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})

    def _filled(self, most: int) -> Bodies:
        """With `most` primitives: the last one again, as none."""

        def longer(values: Tensor, dim: int) -> Tensor:
            last = values.narrow(dim, values.shape[dim] - 1, 1)
            return torch.cat([values, *[last] * (most - values.shape[dim])], dim)

        made = {name: longer(values, 2 if name == "inverse" else 1) for name, values in vars(self).items()}
        made["kind"] = made["kind"].clone()
        made["kind"][:, self.kind.shape[1] :] = int(Kind.NONE)
        return Bodies(**made)


def bodies(dice: Dice, count: int, shapes: dict[str, Tensor]) -> Bodies:
    """`count` of them, in the order of `SORTS`, then creatures and entities.

    Args:
        shapes: the library's arrays, see `stage.to_tensors`.
    """
    shares = [share for _, share, _ in SORTS] + [LUMPY]
    ends = [round(count * sum(shares[: index + 1])) for index in range(len(shares))]
    counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    made = [
        _built(build(dice, some), patterned)
        for (build, _, patterned), some in zip(SORTS, counts, strict=False)
        if some > 0
    ]
    made += [some for some in (creatures(dice, counts[-1]), _entities(dice, count - ends[-1], shapes)) if some]
    return Bodies.cat(made)


def _built(rig: Rig, patterned: float) -> Bodies:
    parts = rig.parts
    pattern, frequency, grain, colors = rig.painted(patterned)
    return _normalised(
        torch.stack(parts.kind, 1),
        torch.stack(parts.world, 2),
        torch.stack(parts.size, 1),
        torch.stack(parts.frustum, 1),
        pattern,
        frequency,
        grain,
        colors,
    )


def _entities(dice: Dice, count: int, shapes: dict[str, Tensor]) -> Bodies | None:
    if count == 0:
        return None
    stage = Director(dice, casting.draw(dice, count, False, DONE), shapes).perform()
    held_out = torch.zeros(len(stage.object), dtype=torch.bool, device=dice.device)
    objects = stage.object.clamp(min=0)
    paint = looks.paint(dice, objects, looks.main_colors(dice, objects, held_out), ~held_out)
    chief = slice(0, None, ENTITIES)
    variant, rows = stage.variant[chief], torch.arange(count, device=dice.device)[:, None]
    moments = slice(FRAMES % STRIDE, FRAMES, STRIDE)
    root = stage.root[chief, moments].clone()
    stays = dice.chance(count, share=STAYS)
    root[..., 3] = torch.where(stays[:, None, None], root[:, :1, :, 3], root[..., 3])
    nodes = compose(root[:, :, None], stage.nodes[chief, moments])
    node = shapes["node"][variant][:, None, :, None, None].expand(-1, TIMES, -1, 3, 4)
    world = compose(nodes.gather(2, node), shapes["local"][variant][:, None])
    kind = shapes["kind"][variant].clone()
    kind[:, ROPE] = int(Kind.NONE)
    slot, metres = shapes["slot"][variant], root[:, 0, :, 0].norm(dim=-1)
    pattern = paint.pattern[chief][rows, slot]
    frequency = paint.frequency[chief][rows, slot]
    frequency = torch.where(pattern == Pattern.SECTORS, frequency, frequency / stage.size[chief, None])
    return _normalised(
        kind,
        world,
        shapes["size"][variant] * metres[:, None, None],
        shapes["frustum"][variant],
        pattern,
        frequency,
        paint.grain[chief][:, None].expand(-1, PARTS),
        paint.colors[chief][rows, slot],
    )


LIMBS, JOINTS = 5, 3
"""Limbs of a creature (two pairs and a tail or neck), and lumps of each; the rest of its lumps are its trunk."""
TRUNK = PARTS - LIMBS * JOINTS


def creatures(dice: Dice, count: int) -> Bodies | None:
    """Ellipsoids that run into each other, along limbs that swing and a trunk that sways; some swell and shrink."""
    if count == 0:
        return None
    device, turn = dice.device, 2 * torch.pi
    time = torch.arange(TIMES, device=device) / TIMES
    pace = dice.uniform(count, 1, low=0.4, high=1.1) * turn
    length = dice.uniform(count, 1, low=0.3, high=1.4)

    def wave(*shape: int, most: float) -> Tensor:
        """[B, T, *shape] sines of any size and phase."""
        ones = (1,) * len(shape)
        size = dice.uniform(count, 1, *shape) * most
        phase = dice.uniform(count, 1, *shape, high=turn)
        return size * torch.sin(pace.view(-1, 1, *ones) * time.view(1, -1, *ones) + phase)

    # The trunk lies along x; its lumps are off the middle line a little.
    along = torch.linspace(-0.5, 0.5, TRUNK, device=device) * length
    place = torch.stack([along, 0 * along, 0 * along], -1)[:, None].expand(-1, TIMES, -1, -1).clone()
    place[..., 1:] += wave(TRUNK, 2, most=0.12)
    thick = dice.uniform(count, 1, low=0.12, high=0.4)
    round_ = thick * dice.uniform(count, TRUNK, low=0.7, high=1.3)
    trunk_size = torch.stack([(length / TRUNK).expand_as(round_) * 0.8 + 0.4 * round_, round_, round_], -1)
    upright = torch.eye(3, device=device).expand(count, TIMES, TRUNK, 3, 3)
    frames, sizes = [affine(upright, place)], [trunk_size]

    # Pairs of limbs are each other's mirror at rest, and swing on their own; the last one goes on from the trunk's end.
    pair = torch.tensor([0, 0, 1, 1, 2], device=device)
    side = torch.tensor([1.0, -1, 1, -1, 0], device=device)
    start = torch.stack([dice.uniform(count, 3, low=-0.5, high=0.5), dice.uniform(count, 3, low=0.4, high=1.0)], -1)
    start[:, 2] = torch.tensor([0.5, 0.0], device=device)
    bone = (dice.uniform(count, 3, JOINTS, low=0.12, high=0.4) * dice.uniform(count, 3, 1, low=0.4, high=1.3))[:, pair]
    pitch = dice.uniform(count, 3, JOINTS, low=-0.7, high=0.7)
    pitch[:, :2, 0] += torch.pi / 2  # down
    spread = dice.uniform(count, 3, low=-0.1, high=0.9)[:, pair] * side
    pitch = pitch[:, pair][:, None] + wave(LIMBS, JOINTS, most=0.8)
    begin = torch.stack(
        [start[:, pair, 0] * length, side * start[:, pair, 1] * thick, torch.zeros_like(spread)], -1
    )  # [B, limbs, 3]
    width = (thick[:, :, None] * dice.uniform(count, 3, JOINTS, low=0.25, high=0.7))[:, pair]
    reached = begin[:, None].expand(-1, TIMES, -1, -1)
    heading = about_z(spread)[:, None].expand(-1, TIMES, -1, -1, -1)
    for joint in range(JOINTS):
        heading = heading @ about_y(pitch[..., joint] if joint == 0 else 0.7 * (pitch[..., joint] - pitch[..., 0] / 2))
        step = heading[..., 0] * bone[:, None, :, joint, None]
        frames.append(affine(heading, reached + 0.5 * step))
        across = width[..., joint]
        sizes.append(torch.stack([0.62 * bone[..., joint] + 0.3 * across, across, across], -1))
        reached = reached + step
    size = torch.cat(sizes, 1)  # [B, P, 3]
    swell = 1 + wave(PARTS, 1, most=0.35) * dice.chance(count, 1, 1, 1, share=0.4)
    local = affine(torch.diag_embed(size[:, None] * swell), torch.zeros(3, device=device))
    world = compose(torch.cat(frames, 2), local)
    # Some stand upright.
    standing = dice.chance(count, share=0.5)
    lean = about_y(torch.where(standing, -torch.pi / 2, 0.0) + dice.uniform(count, low=-0.3, high=0.3))
    world = compose(affine(lean, torch.zeros(3, device=device))[:, None, None], world)
    kind = torch.full((count, PARTS), int(Kind.ELLIPSOID), device=device)
    # Some have fewer limbs.
    for limb in range(LIMBS):
        lost = dice.chance(count, share=0.25)
        for joint in range(JOINTS):
            kind[lost, TRUNK + joint * LIMBS + limb] = int(Kind.NONE)
    palette = looks.named(dice, dice.integers(count, 4, high=11))
    whose = torch.where(dice.chance(count, PARTS, share=0.6), 0, dice.integers(count, PARTS, high=4))
    rows = torch.arange(count, device=device)[:, None]
    colors = torch.stack([palette[rows, (whose + shift) % 4] for shift in range(3)], 2)
    kinds = torch.tensor(
        [Pattern.PLAIN, Pattern.PLAIN, Pattern.STRIPES, Pattern.BANDS, Pattern.BLOBS, Pattern.HALVES, Pattern.CHECKS],
        device=device,
    )
    pattern = kinds[dice.integers(count, PARTS, high=len(kinds))]
    frequency = dice.log_uniform(count, PARTS, low=2.0, high=9.0)
    grain = dice.uniform(count, 1, high=0.12).expand(-1, PARTS)
    frustum = torch.zeros(count, PARTS, 2, device=device)
    return _normalised(kind, world, size, frustum, pattern, frequency, grain, colors)


def _normalised(
    kind: Tensor,
    world: Tensor,
    size: Tensor,
    frustum: Tensor,
    pattern: Tensor,
    frequency: Tensor,
    grain: Tensor,
    colors: Tensor,
) -> Bodies:
    """With the middle of all that is reached in the origin, and its longest side `SIDE`.

    Args:
        world: [B, T, P, 3, 4] from a primitive's own coordinates.
    """
    linear, middle = world[..., :3], world[..., 3]
    boxy = linear.abs().sum(-1)
    reach = torch.where((kind == Kind.ELLIPSOID)[:, None, :, None], linear.norm(dim=-1), boxy)
    there = (kind != Kind.NONE)[:, None, :, None]
    low = (middle - reach).masked_fill(~there, torch.inf).amin((1, 2))
    high = (middle + reach).masked_fill(~there, -torch.inf).amax((1, 2))
    share = SIDE / (high - low).amax(-1)
    world = world.clone()
    world[..., 3] -= ((low + high) / 2)[:, None, None]
    world = world * share[:, None, None, None, None]
    scale = share[:, None]
    flat = (pattern != Pattern.SECTORS).float()
    return Bodies(
        kind,
        inverted(world),
        size * scale[..., None],
        frustum,
        pattern,
        frequency * (1 / scale * flat + 1 - flat),
        grain,
        colors,
    )
