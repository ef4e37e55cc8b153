"""How people move: a pose for every action, as a function of time, for many people at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from training.synthetic.constants import constant
from training.synthetic.dice import Dice
from training.synthetic.skeleton import Pose

TAU = 2 * torch.pi


@dataclass
class Act:
    """n people at T times.

    Attributes:
        bones: [n, 7], as `Model.bones`.
        since: [n, T] frames since the action began: 0 before it, its length after its end.
        progress: [n, T] share of it that is over, 0..1.
        reach: [n] half the width of what they hold, metres of their own.
        pose: how they stand, sit or bend.
        advance: [n, T] how far they have come, metres of their own.
        yaw, tip: [n, T] how far they have turned about themselves, and fallen over, radians.
        both: [n] bool, whether they use both hands for what they hold, or the right one.
    """

    bones: Tensor
    since: Tensor
    progress: Tensor
    reach: Tensor
    pose: Pose
    advance: Tensor
    yaw: Tensor
    tip: Tensor
    both: Tensor
    dice: Dice

    @classmethod
    def standing(cls, bones: Tensor, since: Tensor, progress: Tensor, reach: Tensor, dice: Dice) -> Act:
        """With their arms down."""
        zero = torch.zeros_like(since)
        nobody = zero[..., None]
        pose = Pose(nobody, zero, zero, nobody, nobody)
        both = dice.chance(len(since), share=0.7)
        act = cls(bones, since, progress, reach, pose, zero, zero.clone(), zero.clone(), both, dice)
        apart = act.draw(0.9, 1.8) * act.hips
        pose.feet = torch.stack([_stack(zero, side * apart + zero, zero + 0.05) for side in (1, -1)], dim=2)
        pose.pelvis = _stack(zero, zero, act.legs * 0.985 + zero)
        pose.hands = act.hanging()
        sway = 0.015 * torch.sin(TAU * (since / 40 + act.draw(0, 1)))
        pose.lean, pose.nod = sway + act.draw(-0.03, 0.06), zero + act.draw(-0.2, 0.3)
        return act

    def some(self, who: Tensor) -> Act:
        """A copy of those [m]."""
        values = {name: value[who] for name, value in vars(self).items() if isinstance(value, Tensor)}
        pose = Pose(**{name: value[who] for name, value in vars(self.pose).items()})
        return Act(**values, pose=pose, dice=self.dice)

    def put(self, who: Tensor, others: Act) -> None:
        """Replaces how those [m] stand and where they have come."""
        for name, value in vars(self.pose).items():
            value[who] = getattr(others.pose, name)
        self.advance[who], self.yaw[who], self.tip[who] = others.advance, others.yaw, others.tip

    @property
    def arms(self) -> Tensor:
        """[n, 1] lengths."""
        return self.bones[:, :2].sum(1, keepdim=True)

    @property
    def legs(self) -> Tensor:
        return self.bones[:, 2:4].sum(1, keepdim=True)

    @property
    def shoulders(self) -> Tensor:
        return self.bones[:, 5:6]

    @property
    def hips(self) -> Tensor:
        return self.bones[:, 6:7]

    def draw(self, low: float, high: float) -> Tensor:
        """[n, 1] numbers, one a person."""
        return self.dice.uniform(len(self.bones), 1, low=low, high=high)

    def hanging(self) -> Tensor:
        """[n, T, 2, 3] of hands that hang down."""
        zero = torch.zeros_like(self.since)
        out, front = self.draw(0.08, 0.3), self.draw(0.0, 0.2)
        sides = [_stack(front + zero, side * out + zero, -0.95 + zero) for side in (1, -1)]
        return self.arms[..., None, None] * torch.stack(sides, dim=2)

    def held(self, x: Tensor, z: Tensor) -> Tensor:
        """[n, T, 2, 3] of hands around something at a place in front of the chest, in arm's lengths.

        Both hands hold it, or the right one does and the other hangs.
        """
        zero = torch.zeros_like(self.since)
        x, z = (x + zero) * self.arms, (z + zero) * self.arms
        gap = self.reach[:, None] + zero
        two = [_stack(x, side * (gap - self.shoulders), z) for side in (1, -1)]
        one = [self.hanging()[:, :, 0], _stack(x, zero - 0.1 * self.arms, z)]
        both = self.both[:, None, None, None]
        return torch.where(both, torch.stack(two, dim=2), torch.stack(one, dim=2))


def _stack(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(x, y, z), dim=-1)


def ease(share: Tensor) -> Tensor:
    """0..1 smoothly."""
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)


def _between(progress: Tensor, *stages: tuple[float, Tensor]) -> Tensor:
    """[n, T, ...] values that pass smoothly through those of given times."""
    value = stages[0][1]
    for (start, _), (end, after) in pairwise(stages):
        share = ease((progress - start) / (end - start))
        value = value + share.view(*share.shape, *(1,) * (value.dim() - 2)) * (after - value)
    return value


def stand(act: Act) -> None:
    """Arms down, folded, or on the hips."""
    elsewhere = act.held(act.draw(0.2, 0.35), act.draw(-0.75, -0.3))
    posed = act.dice.chance(len(act.bones), share=0.25)[:, None, None, None] & act.both[:, None, None, None]
    act.pose.hands = torch.where(posed, elsewhere, act.pose.hands)


def _stride(act: Act, period: Tensor, stride: Tensor, lift: Tensor, swing: Tensor, bent: Tensor) -> None:
    """Steps: each foot stays on the ground for half of the period, while the body passes over it."""
    turn = act.since / period + act.draw(0, 1)
    act.advance = 2 * stride * act.legs * act.since / period
    for side, shift in ((0, 0.0), (1, 0.5)):
        phase = (turn + shift) % 1
        back = 0.5 - 2 * phase
        forth = -0.5 + ease(2 * phase - 1)
        in_air = phase > 0.5
        act.pose.feet[:, :, side, 0] = act.legs * stride * torch.where(in_air, forth, back)
        up = lift * act.legs * torch.where(in_air, torch.sin(torch.pi * (2 * phase - 1)), 0.0)
        act.pose.feet[:, :, side, 2] += up
        arm = swing * torch.cos(TAU * (turn + shift))
        act.pose.hands[:, :, side, 0] = act.arms * (0.1 - arm + 0.35 * bent)
        act.pose.hands[:, :, side, 2] = -act.arms * (0.95 - 0.25 * arm.abs() - 0.45 * bent)
    bob = torch.cos(2 * TAU * turn)
    act.pose.pelvis[..., 2] = act.legs * (0.965 - 0.05 * stride + 0.02 * bob - 0.06 * bent)


def walk(act: Act) -> None:
    period, stride = act.dice.log_uniform(len(act.bones), 1, low=8, high=24), act.draw(0.55, 0.85)
    _stride(act, period, stride, act.draw(0.08, 0.18), act.draw(0.2, 0.5), act.draw(0, 0.15))
    act.pose.lean = act.pose.lean + 0.03


def run(act: Act) -> None:
    period, stride = act.dice.log_uniform(len(act.bones), 1, low=5.5, high=11), act.draw(1.0, 1.4)
    _stride(act, period, stride, act.draw(0.35, 0.5), act.draw(0.45, 0.7), act.draw(0.8, 1.1))
    act.advance = act.advance * act.draw(1.1, 1.5)
    hop = torch.sin(2 * TAU * act.since / period) * 0.05
    act.pose.pelvis[..., 2] += hop + 0.02
    act.pose.lean = act.pose.lean + act.draw(0.15, 0.35)


def carry(act: Act) -> None:
    walk(act)
    hold(act)


def hold(act: Act) -> None:
    """In front, at the side, or overhead."""
    n = len(act.bones)
    kind = act.dice.integers(n, 1, high=6)
    x = torch.where(kind == 5, 0.15, torch.where(kind == 4, 0.1, act.draw(0.4, 0.75)))
    z = torch.where(kind == 5, 0.85, torch.where(kind == 4, -0.85, act.draw(-0.6, 0.15)))
    bob = 0.01 * torch.sin(TAU * (act.since / 12 + act.draw(0, 1)))
    act.pose.hands = act.held(x, z + bob)


def jump(act: Act) -> None:
    """One leap after another."""
    length = act.dice.log_uniform(len(act.bones), 1, low=7, high=16)
    phase = (act.since / length) % 1
    crouch = torch.sin(torch.pi * (phase / 0.3).clamp(0, 1)) + torch.sin(torch.pi * ((phase - 0.8) / 0.2).clamp(0, 1))
    air = ((phase - 0.3) / 0.5).clamp(0, 1)
    height = act.draw(0.25, 0.6) * act.legs * 4 * air * (1 - air)
    act.pose.pelvis[..., 2] += height - act.draw(0.2, 0.35) * act.legs * crouch
    tuck = act.draw(0.0, 0.4) * height
    act.pose.feet[..., 2] += (height + tuck)[..., None]
    act.advance = act.draw(0, 0.6) * (torch.floor(act.since / length) + air)
    act.pose.lean = act.pose.lean + 0.5 * crouch
    up = act.draw(-0.2, 1.0) * 4 * air * (1 - air)
    act.pose.hands[..., 2] += (act.arms * up)[..., None]
    act.pose.hands[..., 0] += (act.arms * 0.5 * up * (1 - up))[..., None]


def wave(act: Act) -> None:
    """With the left hand; `scenes` mirrors half of all people."""
    period = act.dice.log_uniform(len(act.bones), 1, low=3.5, high=9)
    swing = torch.sin(TAU * (act.since / period + act.draw(0, 1)))
    wide = act.draw(0.2, 0.45)
    y = act.draw(0.15, 0.4) + wide * swing
    z = act.draw(0.55, 0.85) - 0.25 * wide * swing.abs()
    act.pose.hands[:, :, 0] = act.arms[..., None] * _stack(act.draw(0.05, 0.35), y, z)
    both = act.dice.chance(len(act.bones), share=0.15)[:, None, None]
    other = act.arms[..., None] * _stack(act.draw(0.05, 0.35), -y, z)
    act.pose.hands[:, :, 1] = torch.where(both, other, act.pose.hands[:, :, 1])


def clap(act: Act) -> None:
    period = act.dice.log_uniform(len(act.bones), 1, low=3, high=7)
    apart = act.draw(0.2, 0.45) * (0.5 + 0.5 * torch.cos(TAU * (act.since / period + act.draw(0, 1))))
    x, z = act.draw(0.5, 0.75), act.draw(-0.45, 0.1)
    for side, sign in enumerate((1, -1)):
        y = sign * (act.arms * (0.06 + apart) - act.shoulders)
        act.pose.hands[:, :, side] = _stack(act.arms * x, y, act.arms * z)


RELEASE = 0.55
"""Share of a throw after which the thing flies; of a catch, before which it does; of a kick, when it is hit."""


def throw(act: Act) -> None:
    """Overhead, from the chest, or underarm: wind up, swing forwards, follow through."""
    kind = act.dice.integers(len(act.bones), 1, high=3)
    ready = act.held(act.draw(0.35, 0.6), act.draw(-0.5, -0.1))
    back_x = torch.where(kind == 0, act.draw(-0.5, -0.2), torch.where(kind == 1, 0.2, -0.35))
    back_z = torch.where(kind == 0, act.draw(0.4, 0.8), torch.where(kind == 1, -0.15, -0.8))
    back = act.held(back_x, back_z)
    out = act.held(act.draw(0.8, 0.95), torch.where(kind == 2, 0.1, act.draw(0.2, 0.5)))
    after = act.held(act.draw(0.5, 0.8), act.draw(-0.5, -0.1))
    wait = act.hanging()
    act.pose.hands = _between(
        act.progress, (0.0, ready), (0.33, back), (RELEASE + 0.07, out), (0.8, after), (1.0, wait)
    )
    swing = _between(act.progress, (0.0, 0 * act.progress), (0.33, -act.draw(0.1, 0.3)), (0.65, act.draw(0.15, 0.45)))
    act.pose.lean = act.pose.lean + swing * (1 - ease((act.progress - 0.75) / 0.25))
    step = act.draw(0.0, 0.5) * ease((act.progress - 0.2) / 0.35)
    act.pose.feet[:, :, 0, 0] += step
    act.pose.feet[:, :, 1, 0] -= 0.4 * step
    act.pose.pelvis[..., 0] += 0.4 * step
    act.pose.pelvis[..., 2] -= 0.1 * step


def catch(act: Act) -> None:
    """Reach for it, then draw it in."""
    wait, out = act.hanging(), act.held(act.draw(0.75, 0.92), act.draw(-0.2, 0.5))
    drawn = act.held(act.draw(0.35, 0.55), act.draw(-0.45, -0.1))
    act.pose.hands = _between(act.progress, (0.0, wait), (RELEASE - 0.1, out), (RELEASE + 0.05, out), (1.0, drawn))
    give = torch.sin(torch.pi * ((act.progress - 0.3) / 0.7).clamp(0, 1))
    act.pose.pelvis[..., 2] -= act.draw(0.02, 0.12) * give
    act.pose.lean = act.pose.lean + act.draw(-0.15, 0.15) * give


def _lift(act: Act, share: Tensor) -> None:
    """From upright with something in the hands (0) down to where it stands on the floor (1)."""
    down = ease(share)
    crouch = act.draw(0.15, 0.45)
    act.pose.pelvis[..., 2] -= act.legs * crouch * down
    act.pose.pelvis[..., 0] -= 0.25 * down
    lean = act.draw(1.0, 1.35) - 0.7 * crouch
    act.pose.lean = act.pose.lean + lean * down
    low = act.held(act.draw(0.35, 0.55), -0.83 + 0 * down)
    high = act.held(act.draw(0.4, 0.6), act.draw(-0.45, 0.0))
    act.pose.hands = high + down[..., None, None] * (low - high)


GRASP = 0.5
"""Share of picking up after which the thing is in the hands; of putting down, before which it is."""


def pick_up(act: Act) -> None:
    wait = act.hanging()
    _lift(act, 1 - (act.progress / GRASP - 1).abs())
    reach = ease(act.progress / (0.7 * GRASP))[..., None, None]
    act.pose.hands = wait + reach * (act.pose.hands - wait)


def put_down(act: Act) -> None:
    act.progress = 1 - act.progress
    pick_up(act)
    act.progress = 1 - act.progress


def kick(act: Act) -> None:
    p = act.progress
    leg = _between(
        p, (0.0, 0 * p), (0.35, -0.45 + 0 * p), (RELEASE, 0.6 + 0 * p), (0.75, act.draw(0.7, 0.9)), (1.0, 0 * p)
    )
    act.pose.feet[:, :, 1, 0] += act.legs * leg
    act.pose.feet[:, :, 1, 2] += act.legs * (leg.clamp(min=0) ** 2 * act.draw(0.3, 0.75) + 0.25 * leg.clamp(max=0) ** 2)
    act.pose.lean = act.pose.lean - 0.3 * leg.clamp(min=0)
    act.pose.hands[:, :, 0, 0] += act.arms * 0.5 * leg
    act.pose.hands[:, :, 1, 0] -= act.arms * 0.4 * leg
    act.pose.hands[:, :, :, 2] += (act.arms * 0.3 * leg.abs())[..., None]


def _seat(act: Act, share: Tensor) -> None:
    """From standing (0) to sitting (1)."""
    down = ease(share)
    act.pose.pelvis[..., 2] -= act.legs * SEAT * down
    act.pose.pelvis[..., 0] -= act.legs * 0.42 * down
    act.pose.lean = act.pose.lean + act.draw(0.4, 0.8) * torch.sin(torch.pi * share.clamp(0, 1)) ** 2
    lap = act.arms[..., None, None] * constant([0.55, 0.0, -0.75], device=down.device)
    act.pose.hands = act.pose.hands + down[..., None, None] * (lap - act.pose.hands)


SEAT = 0.48
"""How much lower somebody sits than stands, in lengths of their legs."""


def sit_down(act: Act) -> None:
    _seat(act, act.progress)


def stand_up(act: Act) -> None:
    _seat(act, 1 - act.progress)


def bow(act: Act) -> None:
    down = torch.sin(torch.pi * act.progress.clamp(0, 1)).clamp(min=0) ** 0.8
    act.pose.lean = act.pose.lean + act.draw(0.7, 1.4) * down
    act.pose.pelvis[..., 0] -= 0.15 * down
    act.pose.hands[..., 0] += (act.arms * act.draw(0.0, 0.5) * down)[..., None]


def spin(act: Act) -> None:
    act.yaw = act.dice.sign(len(act.bones), 1) * act.dice.log_uniform(len(act.bones), 1, low=0.15, high=0.6) * act.since
    wide = act.draw(0.0, 0.9)
    for side, sign in enumerate((1, -1)):
        spread = act.arms[..., None] * _stack(0.05 + 0 * act.since, sign * (0.2 + 0.75 * wide), -0.95 + wide)
        act.pose.hands[:, :, side] = spread


def fall(act: Act) -> None:
    """Over, like a plank, arms out."""
    act.tip = act.draw(1.35, 1.55) * act.progress**2 * act.dice.sign(len(act.bones), 1)
    act.pose.hands[..., 0] += (act.arms * act.draw(0.2, 0.8) * ease(2 * act.progress))[..., None]
    act.pose.hands[..., 2] += (act.arms * act.draw(0.2, 0.8) * ease(2 * act.progress))[..., None]


PEOPLE_DO: dict[str, Callable[[Act], None]] = {
    **{"still": stand, "appear": stand, "disappear": stand, "walk": walk, "run": run, "jump": jump, "wave": wave},
    **{"throw": throw, "catch": catch, "pick up": pick_up, "put down": put_down, "hold": hold, "carry": carry},
    **{"kick": kick, "sit down": sit_down, "stand up": stand_up, "bow": bow, "clap": clap, "spin": spin, "fall": fall},
}
