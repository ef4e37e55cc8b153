"""How things and animals move: where they are and how they are turned for every action, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.cast import Times
from training.synthetic.constants import constant
from training.synthetic.dice import Dice
from training.synthetic.schema import CENTER, OBJECTS
from training.synthetic.skeleton import about_y, about_z, around
from training.synthetic.world.primitives import HINGE, Node

TAU = 2 * torch.pi
LEGS = (Node.THIGH_L, Node.SHIN_L, Node.THIGH_R, Node.SHIN_R)
WINGS = (Node.UPPER_ARM_L, Node.UPPER_ARM_R)
ROUND = tuple(OBJECTS.index(name) for name in ("cylinder", "ring", "wheel", "cup", "bottle", "plate"))
"""Things that roll on their side, about their own z axis."""
BIRD, CAR, PLANE, DOG, BALL, BOOK, TREE = (
    OBJECTS.index(name) for name in ("bird", "car", "plane", "dog", "ball", "book", "tree")
)


@dataclass
class Motion:
    """n things that do the same at T times.

    Attributes:
        object: [n] int64, into `OBJECTS`.
        size: [n, 1] longest side, metres.
        half: [n, 3] half extents as they stand, metres.
        now: [n, T] frames since the clip's timestep; the first eight are the clip's frames.
        since, progress: [n, T] as `people.Act`.
        length: [n, 1] frames that it lasts.
        place: [n, T, 3] of the thing's centre: x and y from where it is at the timestep, z above what it stands on.
        turn: [n, T, 3, 3]; heading: [n, 1] radians about z, applied after `turn`.
        scale: [n, T]; alpha: [n, T], how much of it is there.
        angle: [n, T, nodes] of joints, radians.
        active: [n, T] whether the action goes on.
        rope: [n, 1] how far above its centre it is hung up, metres; 0 where it is not.
        aloft: [n] bool, whether it is in the air, so that nothing stands below it.
    """

    object: Tensor
    size: Tensor
    half: Tensor
    now: Tensor
    since: Tensor
    progress: Tensor
    length: Tensor
    place: Tensor
    turn: Tensor
    heading: Tensor
    scale: Tensor
    alpha: Tensor
    angle: Tensor
    active: Tensor
    rope: Tensor
    aloft: Tensor
    dice: Dice

    @classmethod
    def resting(cls, dice: Dice, thing: Tensor, size: Tensor, half: Tensor, times: Times) -> Motion:
        """Things of sizes [n] that stand on the floor, their hinges shut or anyhow open."""
        zero = torch.zeros_like(times.since)
        count = len(zero)
        motion = cls(
            object=thing,
            size=size[:, None],
            half=half,
            **vars(times),
            place=torch.stack([zero, zero, half[:, 2:] + zero], dim=-1),
            turn=torch.eye(3, device=zero.device).repeat(*zero.shape, 1, 1),
            heading=dice.uniform(count, 1, high=TAU),
            scale=zero + 1,
            alpha=zero + 1,
            angle=zero[..., None].repeat(1, 1, len(Node)),
            active=(times.progress > 0) & (times.progress < 1),
            rope=torch.zeros_like(size)[:, None],
            aloft=torch.zeros_like(thing, dtype=torch.bool),
            dice=dice,
        )
        motion.angle[..., HINGE] = motion.draw(0, 2.0) * (motion.draw(0, 1) < 0.4)
        for wing in WINGS:  # folded
            motion.angle[..., wing] = torch.where((thing == BIRD)[:, None], -1.25, motion.angle[..., wing])
        return motion

    def some(self, who: Tensor) -> Motion:
        """A copy of those [m]."""
        values = {name: value[who] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Motion(**values, dice=self.dice)

    def put(self, who: Tensor, others: Motion) -> None:
        """Replaces what those [m] do."""
        for name in ("place", "turn", "heading", "scale", "alpha", "angle", "active", "rope", "aloft"):
            getattr(self, name)[who] = getattr(others, name)

    def draw(self, low: float, high: float) -> Tensor:
        """[n, 1]."""
        return self.dice.uniform(len(self.size), 1, low=low, high=high)

    def log_draw(self, low: float, high: float) -> Tensor:
        return self.dice.log_uniform(len(self.size), 1, low=low, high=high)

    def sign(self) -> Tensor:
        return self.dice.sign(len(self.size), 1)

    def lift(self, share: float) -> None:
        """This share of them is in the air, up to three times their size; bodies with wings flap them there."""
        up = self.dice.chance(len(self.size), share=share)
        self.aloft = self.aloft | up
        self.place[..., 2] += up[:, None] * self.size * self.draw(0.3, 3.0)

    def move(self, path: Tensor) -> None:
        """Along the heading's x axis by `path` [n, T], metres."""
        heading = self.heading
        self.place[..., 0] += heading.cos() * path
        self.place[..., 1] += heading.sin() * path

    def since_timestep(self) -> Tensor:
        """[n, T] frames of the action since the clip's timestep, of those in which the action goes on."""
        return self.since - self._at_timestep()

    def _at_timestep(self) -> Tensor:
        return self.since[:, CENTER, None]

    def flap(self) -> None:
        """Wings of birds."""
        phase = self.now / self.log_draw(2.5, 6) + self.draw(0, 1)
        swing = self.draw(0.5, 0.9) * torch.sin(TAU * phase) + 0.15
        bird = (self.object == BIRD)[:, None]
        for wing in WINGS:
            self.angle[..., wing] = torch.where(bird, swing, self.angle[..., wing])

    def tumble(self, share: float, low: float, high: float) -> None:
        """Turn about any axis, so many degrees a frame; things with a front only a little."""
        some = self.dice.chance(len(self.size), share=share) & ~_in(self.object, BIRD, PLANE, CAR, DOG)
        rate = self.log_draw(low, high) * torch.pi / 180 * self.sign() * some[:, None]
        axis = self.dice.direction(len(self.size))[:, None].expand(*self.since.shape, 3)
        self.turn = around(axis, rate * self.since_timestep()) @ self._askew(some)

    def _askew(self, some: Tensor) -> Tensor:
        """[n, 1, 3, 3] any orientation for some of them."""
        axis = self.dice.direction(len(self.size))[:, None]
        return around(axis, self.draw(0, 1.0) * some[:, None])

    def wheels(self, path: Tensor) -> None:
        """Of cars that have come as far as `path`."""
        turn = path / (0.1 * self.size) * (self.object == CAR)[:, None]
        for node in LEGS:
            self.angle[..., node] += turn


def _in(thing: Tensor, *which: int) -> Tensor:
    return torch.isin(thing, constant(which, device=thing.device))


def still(m: Motion) -> None:
    """Some things lie on their side."""
    lying = m.dice.chance(len(m.size), share=0.15) & ~_in(m.object, BIRD, CAR, DOG, OBJECTS.index("door"), TREE)
    m.turn = about_y(lying[:, None] * (torch.pi / 2) + 0 * m.since)
    m.place[..., 2] = torch.where(lying[:, None], m.half[:, :1], m.place[..., 2])


def fly(m: Motion) -> None:
    m.aloft[:] = True
    m.tumble(0.5, 2, 20)
    m.flap()
    t = m.since_timestep()
    speed = m.log_draw(0.06, 0.8) * m.size
    m.place[..., 2] += m.size * m.draw(0.4, 3.0)
    climb, pull = m.draw(-0.35, 0.35) * speed, m.draw(0.0, 0.06) * speed
    high = m.place[..., 2] + climb * t - pull * t * t
    m.place[..., 2] = torch.maximum(high, m.half[:, 2:])
    m.move(speed * t)


def fall(m: Motion) -> None:
    m.aloft[:] = True
    m.tumble(0.6, 2, 20)
    _drop(m, -1)


def rise(m: Motion) -> None:
    m.aloft[:] = True
    m.tumble(0.3, 2, 10)
    m.flap()
    _drop(m, 1)


def _drop(m: Motion, way: int) -> None:
    """Down (−1), ever faster, until it reaches the floor, or the same backwards."""
    t = m.since_timestep()
    speed = m.log_draw(0.08, 0.7) * m.size
    pull = speed * m.draw(0.0, 0.16) * way
    high = m.half[:, 2:] + speed * m.log_draw(0.8, 14)
    path = speed * way * t - pull * t * t * 0.5
    m.place[..., 2] = torch.maximum(high + path, m.half[:, 2:])
    m.active = m.active & (m.place[..., 2] > m.half[:, 2:] + 1e-4)
    aside = m.draw(0.0, 0.25) * speed * (m.draw(0, 1) < 0.4)
    m.move(aside * t)


def bounce(m: Motion) -> None:
    phase = (m.since / m.log_draw(4.5, 12) + m.draw(0, 1)) % 1
    m.place[..., 2] += m.size * m.log_draw(0.4, 2.5) * 4 * phase * (1 - phase)
    m.move(m.size * m.draw(0, 0.3) * (m.draw(0, 1) < 0.6) * m.since_timestep())
    m.aloft[:] = True


def roll(m: Motion) -> None:
    path = m.log_draw(0.06, 0.7) * m.size * m.since_timestep()
    turn_rolling(m, path)
    m.move(path)


def turn_rolling(m: Motion, path: Tensor) -> None:
    """Of what rolls along the heading by `path`."""
    car = (m.object == CAR)[:, None]
    lies = _in(m.object, *ROUND)[:, None]
    radius = torch.where(lies, torch.maximum(m.half[:, :1], m.half[:, 1:2]), m.half[:, 2:])
    turned = about_y(torch.where(car, 0.0, path / radius))
    side = torch.where(lies, torch.pi / 2, 0.0).expand_as(path)
    x_axis = constant([1.0, 0, 0], device=path.device).expand(*path.shape, 3)
    m.turn = turned @ around(x_axis, side) @ about_z(m.draw(0, TAU) * ~car + 0 * path)
    m.place[..., 2] = torch.where(lies, radius, m.place[..., 2])
    m.wheels(path)


def spin(m: Motion) -> None:
    m.lift(0.4)
    rate = m.sign() * m.log_draw(6, 40) * torch.pi / 180
    upright = m.dice.chance(len(m.size), share=0.65)[:, None] | ~m.aloft[:, None]
    up = constant([0.0, 0, 1], device=rate.device)
    axis = torch.where(upright, up, m.dice.direction(len(m.size)))[:, None].expand(*m.since.shape, 3)
    lies = _in(m.object, OBJECTS.index("wheel"), OBJECTS.index("ring"), OBJECTS.index("plate"))
    on_edge = lies & m.dice.chance(len(m.size), share=0.7)
    x_axis = constant([1.0, 0, 0], device=rate.device).expand(*m.since.shape, 3)
    tilt = around(x_axis, on_edge[:, None] * (torch.pi / 2) + 0 * m.since)
    m.place[..., 2] = torch.where(on_edge[:, None] & ~m.aloft[:, None], m.half[:, :1], m.place[..., 2])
    m.turn = around(axis, rate * m.since) @ tilt @ m._askew(m.aloft)


def slide(m: Motion) -> None:
    path = m.log_draw(0.06, 0.6) * m.size * m.since_timestep()
    m.move(path)
    backwards = m.draw(0, TAU) * ~_in(m.object, CAR, DOG, BIRD)[:, None]
    m.turn = about_z(backwards + 0 * path)


def swing(m: Motion) -> None:
    """To and fro on a rope; doors on their hinges, trees in the wind."""
    phase = torch.sin(TAU * (m.now / m.log_draw(6, 16) + m.draw(0, 1)))
    tree, door = (m.object == TREE)[:, None], (m.object == OBJECTS.index("door"))[:, None]
    hung = ~tree & ~door
    m.rope = m.size * m.log_draw(1.0, 3.5) * hung
    m.aloft = m.aloft | hung[:, 0]
    angle = torch.where(tree, m.draw(0.1, 0.3), m.draw(0.3, 0.9)) * phase
    m.angle[..., HINGE] = torch.where(door, 0.7 + m.draw(0.3, 0.6) * phase, m.angle[..., HINGE])
    angle = torch.where(door, 0.0, angle)
    m.turn = about_y(angle)
    arm = torch.where(hung, -m.rope, m.half[:, 2:])  # from the pivot to the centre
    up = torch.where(hung, m.size * m.log_draw(0.1, 1.5), 0.0)
    m.place[..., 2] += up + arm * (angle.cos() - 1)
    m.move(arm * angle.sin())


def shake(m: Motion) -> None:
    """Trembling: to and fro with every frame or two."""
    m.lift(0.2)
    n, times = m.since.shape
    beat = torch.sin(torch.pi * (m.now / m.log_draw(0.9, 2.2)) + m.draw(0, 6)) * m.active
    jitter = beat[..., None] * m.dice.uniform(n, times, 3, low=0.6, high=1.2) * m.dice.normal(n, 1, 3).sign()
    rooted = (m.object == TREE)[:, None]
    m.turn = around(m.dice.direction(n)[:, None].expand(n, times, 3), m.draw(0.07, 0.3) * jitter[..., 0] * ~rooted)
    m.turn = about_y(rooted * m.draw(0.04, 0.12) * jitter[..., 0]) @ m.turn
    amount = m.size * m.log_draw(0.025, 0.1)
    m.place[..., :2] += (amount * ~rooted)[..., None] * jitter[..., :2]
    m.place[..., 2] += (amount * 0.7 * ~rooted) * jitter[..., 2].abs()
    m.angle[..., HINGE] += 0.2 * jitter[..., 1] * (m.object == OBJECTS.index("door"))[:, None]


def grow(m: Motion) -> None:
    _scale(m, 1)


def shrink(m: Motion) -> None:
    _scale(m, -1)


def _scale(m: Motion, way: int) -> None:
    m.lift(0.35)
    m.scale = (way * m.log_draw(0.035, 0.2) * m.since_timestep()).exp()
    floor = ~m.aloft[:, None]
    m.place[..., 2] += floor * m.half[:, 2:] * (m.scale - 1)


def appear(m: Motion) -> None:
    _fade(m, 1)


def disappear(m: Motion) -> None:
    _fade(m, -1)


def _fade(m: Motion, way: int) -> None:
    """At once, or over a few frames."""
    at, takes = m.draw(-2.4, 1.6), m.draw(0.01, 3.0)
    share = ((m.now - at) / takes + 0.5).clamp(0, 1)
    m.alpha = share if way > 0 else 1 - share
    m.active = (m.now - at).abs() < 2.5


def topple(m: Motion) -> None:
    """Over an edge of its base, ever faster."""
    tilt = torch.pi / 2 * m.progress**2
    m.turn = about_y(tilt)
    x, z = m.half[:, :1], m.half[:, 2:]
    m.place[..., 2] = x * tilt.sin() + z * tilt.cos()
    m.move(x - x * tilt.cos() + z * tilt.sin())


def open_(m: Motion) -> None:
    _hinge(m, m.progress)


def close(m: Motion) -> None:
    _hinge(m, 1 - m.progress)


def _hinge(m: Motion, share: Tensor) -> None:
    book = (m.object == BOOK)[:, None]
    wide = torch.where(book, m.draw(1.6, 2.9), m.draw(1.0, 2.0))
    rate = m.log_draw(5, 30) * torch.pi / 180
    wide = torch.minimum(wide, rate * m.length)
    m.angle[..., HINGE] = wide * share
    standing = (book[:, 0] & m.dice.chance(len(m.size), share=0.4))[:, None]
    m.turn = around(constant([1.0, 0, 0], device=share.device).expand(*share.shape, 3), standing * 1.4 + 0 * share)
    m.place[..., 2] = torch.where(standing, m.half[:, 1:2], m.place[..., 2])


def walk(m: Motion) -> None:
    _trot(m, m.log_draw(7, 18), 0.45)


def run(m: Motion) -> None:
    _trot(m, m.log_draw(4.5, 8), 0.8)


def _trot(m: Motion, period: Tensor, swing: float) -> None:
    """Of dogs, and of birds, which bob."""
    phase = m.since / period + m.draw(0, 1)
    for leg, shift in zip(LEGS, (0.0, 0.5, 0.5, 0.0), strict=True):
        m.angle[..., leg] = swing * torch.sin(TAU * (phase + shift))
    speed = m.size * swing * m.draw(1.1, 1.6) / period
    m.place[..., 2] += 0.03 * m.size * torch.sin(2 * TAU * phase)
    m.angle[..., Node.HEAD] = 0.15 * torch.sin(TAU * phase)
    m.move(speed * m.since_timestep())


def jump(m: Motion) -> None:
    phase = (m.since / m.log_draw(6, 14) + m.draw(0, 1)) % 1
    air = ((phase - 0.25) / 0.75).clamp(0, 1)
    m.place[..., 2] += m.size * m.draw(0.35, 0.9) * 4 * air * (1 - air)
    m.turn = about_y(-0.6 * torch.cos(torch.pi * air) * (air > 0))
    for leg in LEGS:
        m.angle[..., leg] = 0.8 * torch.sin(TAU * air) * (1 if leg in LEGS[::2] else -1)
    m.move(m.size * m.draw(0, 0.09) * m.since_timestep())


def sit_down(m: Motion) -> None:
    _sit(m, m.progress)


def stand_up(m: Motion) -> None:
    _sit(m, 1 - m.progress)


def _sit(m: Motion, share: Tensor) -> None:
    """Of dogs: the hind part goes down."""
    down = share * share * (3 - 2 * share)
    m.turn = about_y(-0.65 * down)
    m.place[..., 2] -= 0.1 * m.size * down
    for leg in LEGS[::2]:
        m.angle[..., leg] = 0.65 * down
    for leg in LEGS[1::2]:
        m.angle[..., leg] = -0.9 * down


THINGS_DO: dict[str, Callable[[Motion], None]] = {
    **{"still": still, "fly": fly, "fall": fall, "rise": rise, "bounce": bounce, "roll": roll, "spin": spin},
    **{"slide": slide, "swing": swing, "shake": shake, "grow": grow, "shrink": shrink, "appear": appear},
    **{"disappear": disappear, "topple": topple, "open": open_, "close": close, "walk": walk, "run": run},
    **{"jump": jump, "sit down": sit_down, "stand up": stand_up},
}
"""What things do by themselves; see `scenes` for what takes two."""
