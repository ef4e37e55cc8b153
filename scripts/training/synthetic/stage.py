"""Where everybody in generated clips is at every time: bodies, things, and things in hands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic import cast as casting
from training.synthetic.cast import HANDLED, HANDLING, NOTHING, Cast, Times
from training.synthetic.constants import constant, indices, is_one_of
from training.synthetic.dice import Dice
from training.synthetic.schema import ACTIONS, CENTER, OBJECTS
from training.synthetic.skeleton import about_y, about_z, affine, around, bodies, hinged, palms
from training.synthetic.words.abilities import PEOPLE
from training.synthetic.world.objects import HEIGHT, VARIANTS, library
from training.synthetic.world.people import PEOPLE_DO, Act
from training.synthetic.world.primitives import Node
from training.synthetic.world.things import BALL, THINGS_DO, Motion, turn_rolling

NATURAL = 1.75
"""Metres that a body's bones make."""
UNSURE = -1
"""Instead of an action: what it does then has no name."""

BEFORE = {"throw": "hold", "put down": "hold"}
"""What people do before an action, other than to stand still."""
AFTER = {"catch": "hold", "pick up": "hold"}
FADING = ("appear", "disappear")
"""What people do as things do."""


@dataclass
class Stage:
    """N entities (B clips, `ENTITIES` each) at T times: the clip's frames and the event, see `cast.Times`.

    Attributes:
        object: [N] int64, `NOTHING` where nobody is.
        variant: [N] int64 into the library.
        size: [N] metres along the longest side; half: [N, 3] half extents as it stands.
        root: [N, T, 3, 4] from the entity's own coordinates to the clip's, whose origin is below the chief one.
        nodes: [N, T, nodes, 3, 4] within the entity's own coordinates.
        alpha: [N, T].
        action, other: [N, T] int64 of each time; `UNSURE`, and `NOTHING`.
        rope: [N] metres up from the centre to where it hangs, 0 if it does not.
        aloft: [N] bool, whether nothing is below it.
        seated: [N] bool, whether somebody sits down or stands up.
        support: [N] metres, how high what they stand on is.
    """

    object: Tensor
    variant: Tensor
    size: Tensor
    half: Tensor
    root: Tensor
    nodes: Tensor
    alpha: Tensor
    action: Tensor
    other: Tensor
    rope: Tensor
    aloft: Tensor
    seated: Tensor
    support: Tensor


def to_tensors(device: torch.device) -> dict[str, Tensor]:
    """The arrays of `objects.Library`."""
    return {name: torch.from_numpy(value).to(device) for name, value in vars(library()).items()}


class Director:
    """Lets everybody of a cast do what they do."""

    def __init__(self, dice: Dice, cast: Cast, shapes: dict[str, Tensor]) -> None:
        """`shapes` are the library's arrays."""
        self._dice, self._shapes = dice, shapes
        objects = cast.object.flatten()
        self._action = cast.action.flatten()
        self._times = casting.times(dice, objects.clamp(min=0), self._action)
        self._first = torch.arange(0, len(objects), cast.object.shape[1], device=objects.device)
        chief = self._action[self._first]
        self._handling = cast.partner & _is(chief, ACTIONS, *HANDLING)
        self._handled = cast.partner & _is(chief, ACTIONS, *HANDLED)
        # Who holds and what is held, entity by entity.
        person, thing = self._first + self._handled.long(), self._first + self._handling.long()
        self._pair = self._handling | self._handled
        self._people, self._things = person[self._pair], thing[self._pair]
        self._stage = self._empty(cast)
        self._grip = torch.full((len(objects), 2), 0.5, device=objects.device)  # shares of hands in what they hold

    def perform(self) -> Stage:
        """All of them, around where they stand; see `placing` for how they are put into one room."""
        motion = self._motions()
        self._things_move(motion)
        self._people_act(motion)
        chief = self._action[self._first]
        self._orbit(torch.nonzero(chief == ACTIONS.index("orbit"))[:, 0])
        self._collide(torch.nonzero(chief == ACTIONS.index("collide"))[:, 0])
        self._hands()
        return self._stage

    def _empty(self, cast: Cast) -> Stage:
        objects = cast.object.flatten()
        count, device = len(objects), objects.device
        present = objects.clamp(min=0)
        variant = present * VARIANTS + self._dice.integers(count, high=VARIANTS)
        size = self._sizes(present)
        total = self._times.now.shape[1]
        eye = torch.eye(3, 4, device=device)
        flags = torch.zeros(count, dtype=torch.bool, device=device)
        return Stage(
            object=objects,
            variant=variant,
            size=size,
            half=self._shapes["half"][variant] * size[:, None],
            root=eye.repeat(count, total, 1, 1),
            nodes=eye.repeat(count, total, len(Node), 1, 1),
            alpha=torch.ones(count, total, device=device),
            action=torch.full((count, total), ACTIONS.index("still"), device=device),
            other=torch.full((count, total), NOTHING, device=device),
            rope=torch.zeros(count, device=device),
            aloft=flags,
            seated=flags.clone(),
            support=torch.zeros(count, device=device),
        )

    def _sizes(self, objects: Tensor) -> Tensor:
        """[N] metres: as things are, or, some of those that nobody handles, as large as what they are with."""
        dice = self._dice
        usual = constant([HEIGHT[name] for name in OBJECTS], device=objects.device)[objects]
        person = _is(objects, OBJECTS, *PEOPLE)
        size = usual * torch.where(
            person, dice.uniform(len(objects), low=0.9, high=1.1), dice.log_uniform(len(objects), low=0.7, high=1.45)
        )
        chief = size[self._first].repeat_interleave(casting.ENTITIES)
        toy = dice.chance(len(size), share=0.5)
        toy[self._first] = False
        toy[self._first[self._pair] + 1] = False
        size = torch.where(toy, chief * dice.log_uniform(len(size), low=0.45, high=2.0), size)
        size[self._things] = size[self._things].clamp(0.16, 0.75)
        return size

    def _motions(self) -> Motion:
        """What everybody does by themselves; of people, only whether they are there."""
        stage = self._stage
        motion = Motion.resting(self._dice, stage.object, stage.size, stage.half, self._times)
        person = is_one_of(stage.object, PEOPLE, OBJECTS)
        handled = torch.zeros_like(person)
        handled[self._things] = True
        alone = is_one_of(self._action, tuple(THINGS_DO), ACTIONS)
        action = torch.where(alone & ~handled, self._action, ACTIONS.index("still"))
        fades = is_one_of(action, FADING, ACTIONS)
        for name, who in _by_action(action, (stage.object != NOTHING) & (fades | ~person)).items():
            part = motion.some(who)
            THINGS_DO[name](part)
            motion.put(who, part)
        return motion

    def _things_move(self, motion: Motion) -> None:
        stage = self._stage
        everybody = torch.arange(len(stage.object), device=stage.object.device)
        self._set(everybody, motion)
        in_place = is_one_of(self._action, ("spin", "grow", "shrink"), ACTIONS)
        idle = torch.where(motion.aloft & ~in_place, UNSURE, ACTIONS.index("still"))
        alone = is_one_of(self._action, tuple(THINGS_DO), ACTIONS)[:, None]
        stage.action = torch.where(motion.active & alone, self._action[:, None], idle[:, None])

    def _people_act(self, motion: Motion) -> None:
        stage, times, dice = self._stage, self._times, self._dice
        who = torch.nonzero(is_one_of(stage.object, PEOPLE, OBJECTS))[:, 0]
        scale = stage.size[who] / NATURAL
        reach = torch.full_like(stage.size, 0.15)
        reach[self._people] = 0.8 * stage.half[self._things, :2].mean(1)
        bones, action = self._shapes["bones"][stage.variant[who]], self._action[who]
        act = Act.standing(bones, times.since[who], times.progress[who], reach[who] / scale, dice)
        for name, some in _by_action(action, torch.ones_like(action, dtype=torch.bool)).items():
            part = act.some(some)
            PEOPLE_DO[name](part)
            act.put(some, part)
        self._mirror(who, act)
        stage.nodes[who] = bodies(bones, act.pose)
        heading = dice.uniform(len(who), 1, high=2 * torch.pi)
        turn = about_z(heading + act.yaw) @ about_y(act.tip)
        path = (act.advance - act.advance[:, CENTER, None]) * scale[:, None]
        place = torch.stack([heading.cos() * path, heading.sin() * path, 0 * path], dim=-1)
        stage.root[who] = affine(turn * scale[:, None, None, None], place)
        stage.seated[who] = is_one_of(action, ("sit down", "stand up"), ACTIONS)
        stage.aloft[who] = False
        active = (act.progress > 0) & (act.progress < 1)
        active = torch.where(is_one_of(action, FADING, ACTIONS)[:, None], motion.active[who], active)
        before, after = (_renamed(action, names)[:, None] for names in (BEFORE, AFTER))
        idle = torch.where(act.progress <= 0, before, after)
        stage.action[who] = torch.where(active, action[:, None], idle)

    def _mirror(self, who: Tensor, act: Act) -> None:
        """Half of them use the other hand and foot; notes which hands hold."""
        mirrored = self._dice.chance(len(who), share=0.5)
        flip = constant([1.0, -1.0, 1.0], who.device)
        turned = mirrored[:, None, None, None]
        act.pose.hands = torch.where(turned, act.pose.hands.flip(2) * flip, act.pose.hands)
        act.pose.feet = torch.where(turned, act.pose.feet.flip(2) * flip, act.pose.feet)
        one = torch.stack([mirrored.float(), 1 - mirrored.float()], dim=1)
        self._grip[who] = torch.where(act.both[:, None], 0.5, one)

    def _resting(self, who: Tensor) -> Motion:
        stage = self._stage
        times = Times(**{name: value[who] for name, value in vars(self._times).items()})
        return Motion.resting(self._dice, stage.object[who], stage.size[who], stage.half[who], times)

    def _set(self, who: Tensor, motion: Motion) -> None:
        stage = self._stage
        turn = about_z(motion.heading) @ motion.turn
        scale = motion.scale * motion.size
        stage.root[who] = affine(turn * scale[..., None, None], motion.place)
        variant = stage.variant[who]
        stage.nodes[who] = hinged(self._shapes["pivot"][variant], self._shapes["axis"][variant], motion.angle)
        stage.alpha[who] = motion.alpha
        stage.rope[who] = motion.rope[:, 0]
        stage.aloft[who] = motion.aloft

    def _orbit(self, clips: Tensor) -> None:
        """The chief one circles around its partner, which stands still."""
        dice, stage = self._dice, self._stage
        chief = self._first[clips]
        around_it = chief + 1
        count = len(clips)
        if not count:
            return
        reach = (stage.size[chief] + stage.size[around_it])[:, None]
        radius = reach * dice.uniform(count, 1, low=0.55, high=1.1)
        rate = dice.sign(count, 1) * dice.log_uniform(count, 1, low=0.12, high=0.6)
        angle = dice.uniform(count, 1, high=6.28) + rate * self._times.now[chief]
        tilt = dice.uniform(count, 1, low=-0.5, high=0.5)
        high = stage.half[around_it, 2:] * dice.uniform(count, 1, low=0.7, high=2.0)
        low = stage.half[chief, 2:]
        x, y = radius * angle.cos(), radius * angle.sin()
        place = torch.stack([x, y, torch.maximum(high + tilt * y, low)], dim=-1)
        place = place - constant([1.0, 1, 0], device=place.device) * place[:, CENTER, None]
        stage.root[chief, :, :, 3] = place
        stage.aloft[chief] = True
        center = -torch.stack([x, y, 0 * x], dim=-1)[:, CENTER, None]
        stage.root[around_it, :, :2, 3] += center[..., :2]
        stage.action[chief] = ACTIONS.index("orbit")
        stage.other[chief] = stage.object[around_it, None]
        front = about_z(angle + torch.pi / 2 * rate.sign())
        stage.root[chief, :, :, :3] = front * stage.size[chief, None, None, None]

    def _collide(self, clips: Tensor) -> None:
        """The chief one hits its partner, which moves on."""
        dice, stage = self._dice, self._stage
        if not len(clips):
            return
        hits = self._first[clips]
        other = hits + 1
        count = len(clips)
        now = self._times.now[hits] - dice.uniform(count, 1, low=-1.2, high=0.8)  # since they meet
        meet = (stage.half[hits, :2].mean(1) + stage.half[other, :2].mean(1))[:, None]
        speed = stage.size[hits, None] * dice.log_uniform(count, 1, low=0.12, high=0.6)
        kept, given = dice.uniform(count, 1, low=-0.6, high=0.15), dice.uniform(count, 1, low=0.25, high=0.9)
        both = dice.chance(count, share=0.4)[:, None] * dice.uniform(count, 1, low=0.3, high=1.0)
        path = speed * torch.where(now < 0, now, kept * now)
        moved = meet + speed * torch.where(now < 0, -both * now, given * now)
        heading = dice.uniform(count, 1, high=6.28)
        high = (
            dice.chance(count, share=0.25)[:, None] * stage.size[hits, None] * dice.uniform(count, 1, low=0.3, high=2)
        )
        for who, along in ((hits, path), (other, moved)):
            motion = self._resting(who)
            turn_rolling(motion, along * (motion.object == BALL)[:, None])
            motion.turn = torch.where(
                (motion.object == BALL)[:, None, None, None], motion.turn, torch.eye(3, device=now.device)
            )
            motion.place[..., 2] = stage.half[who, 2:] + high
            motion.heading = heading
            motion.move(along)
            motion.aloft = high[:, 0] > 0
            self._set(who, motion)
            stage.action[who] = torch.where(now.abs() < 2.6, ACTIONS.index("collide"), UNSURE)
        stage.other[hits] = stage.object[other, None]
        stage.other[other] = stage.object[hits, None]

    def _hands(self) -> None:
        """Things are where the hands are that hold them, and where they fly, roll or stand otherwise."""
        people, things, stage, dice = self._people, self._things, self._stage, self._dice
        count = len(people)
        if not count:
            return
        motion = self._resting(things)
        motion.now = self._times.now[people]
        bones = self._shapes["bones"][stage.variant[people]]
        root = stage.root[people]
        hands = palms(stage.nodes[people], bones)
        hands = (hands * self._grip[people][:, None, :, None]).sum(2)
        hands = (root[..., :3] @ hands[..., None])[..., 0] + root[..., 3]
        front = torch.nn.functional.normalize(root[..., 0], dim=-1)
        alone = self._grip[people].amax(1)[:, None, None] > 0.9
        hands = hands + front * torch.where(alone, 0.5, 0.15) * motion.half[:, None, :2].mean(-1, keepdim=True)
        after = motion.now - motion.now[:, -1:]
        action = self._action[people]
        motion.place, motion.active = self._paths(motion, hands, after, front, action)
        heading = torch.atan2(front[:, :1, 1], front[:, :1, 0])
        rate = dice.log_uniform(count, 1, low=0.03, high=0.5) * dice.chance(count, share=0.6)[:, None]
        free = torch.where(_is(action, ACTIONS, "throw", "kick")[:, None], after.clamp(min=0), after.clamp(max=0))
        spins = _is(action, ACTIONS, "throw", "kick", "catch")[:, None]
        axis = dice.direction(count)[:, None].expand(*after.shape, 3)
        own = about_z(dice.uniform(count, 1, high=6.28) + 0 * after)
        motion.turn = around(axis, rate * free * spins) @ own
        motion.heading = heading
        motion.aloft[:] = True
        self._set(things, motion)
        self._label(people, things, after, action, motion)

    def _paths(
        self, motion: Motion, hands: Tensor, after: Tensor, front: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of handled things: places [n, T, 3], and whether they are still in the air [n, T]."""
        dice, people = self._dice, self._people
        count = len(people)
        event = hands[:, -1:].clone()
        low = motion.half[:, None, 2:]
        shin = self._stage.nodes[people][:, -1, [Node.SHIN_R, Node.SHIN_L]]
        root = self._stage.root[people, -1]
        foot = shin[..., 3] + 0.43 * shin[..., 2]
        foot = (root[:, None, :, :3] @ foot[..., None])[..., 0] + root[:, None, :, 3]
        forwards = (foot * front[:, -1:]).sum(-1)
        foot = torch.where((forwards[:, :1] > forwards[:, 1:]), foot[:, 0], foot[:, 1])[:, None]
        kicked = _is(action, ACTIONS, "kick")[:, None, None]
        event = torch.where(kicked, foot + front[:, -1:] * motion.half[:, None, :1], event)
        floor = torch.cat([event[..., :2], low], dim=-1)
        event = torch.where(kicked, floor, torch.maximum(event, torch.cat([event[..., :2], low], -1)))
        speed = dice.log_uniform(count, 1, low=0.06, high=0.45)
        climb = speed * dice.uniform(count, 1, low=-0.15, high=0.7)
        climb = torch.where(kicked[..., 0] & dice.chance(count, share=0.5)[:, None], 0.0, climb)
        pull = dice.uniform(count, 1, low=0.0, high=0.06) * speed
        time = after.abs()
        path = event + front[:, -1:] * (speed * time)[..., None]
        path[..., 2] += climb * time - pull * time * time
        flying = path[..., 2] > low[..., 0] + 1e-3
        path[..., 2] = torch.maximum(path[..., 2], low[..., 0])
        catches, throws, kicks, lifts, lowers = (
            _is(action, ACTIONS, name)[:, None] for name in ("catch", "throw", "kick", "pick up", "put down")
        )
        free = (catches & (after < 0)) | ((throws | kicks) & (after > 0))
        rests = (kicks & (after <= 0)) | (lifts & (after < 0)) | (lowers & (after > 0))
        place = torch.where(free[..., None], path, torch.where(rests[..., None], event, hands))
        return place, flying

    def _label(self, people: Tensor, things: Tensor, after: Tensor, action: Tensor, motion: Motion) -> None:
        stage = self._stage
        doing = stage.action[people]
        held, carried, fly, still = (ACTIONS.index(name) for name in ("held", "carried", "fly", "still"))
        in_hand = torch.where((action == ACTIONS.index("carry"))[:, None], carried, held)
        free = torch.where(motion.active, fly, UNSURE)
        catches, throws, kicks, lifts, lowers = (
            _is(action, ACTIONS, name)[:, None] for name in ("catch", "throw", "kick", "pick up", "put down")
        )
        label = in_hand
        label = torch.where((catches & (after < 0)) | (throws & (after > 0)) | (kicks & (after > 0)), free, label)
        rests = (kicks & (after <= 0)) | (lifts & (after < 0)) | (lowers & (after > 0))
        label = torch.where(rests, still, label)
        stage.action[things] = label
        gripped = (label == held) | (label == carried)
        stage.other[things] = torch.where(gripped, stage.object[people, None], NOTHING)
        busy = doing != still
        stage.other[people] = torch.where(busy, stage.object[things, None], NOTHING)


def _is(value: Tensor, of: tuple[str, ...], *names: str) -> Tensor:
    """bool, whether indices are one of those names."""
    return is_one_of(value, names, of)


def _by_action(action: Tensor, chosen: Tensor) -> dict[str, Tensor]:
    """Of every action that any of the chosen ones do [n], who does it."""
    key = torch.where(chosen, action, len(ACTIONS))
    counts = torch.bincount(key, minlength=len(ACTIONS) + 1).tolist()  # waits for the device, once
    groups = torch.argsort(key, stable=True).split(counts)
    return {name: who for name, who in zip(ACTIONS, groups, strict=False) if len(who)}


def _renamed(action: Tensor, names: dict[str, str]) -> Tensor:
    """What is done instead of each action, "still" where that is not said."""
    return indices([names.get(name, "still") for name in ACTIONS], ACTIONS, action.device)[action]
