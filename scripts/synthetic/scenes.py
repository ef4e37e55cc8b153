"""Training clips without end: draws casts, rooms, cameras and lights, renders crops, and says what they show."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthetic import cast as casting
from synthetic import crops, looks
from synthetic.abilities import PEOPLE
from synthetic.cast import ENTITIES, NOTHING
from synthetic.constants import constant
from synthetic.dice import Dice
from synthetic.facts import DIRECTED, Evidence, Shows, facts, inside, reversed_facts
from synthetic.holdout import HELD_OUT_ELEVATIONS, Split
from synthetic.objects import HINGE, PARTS, ROPE, Kind, Node, Slot
from synthetic.render import NO_COLOR, SCENERY, Pattern, Scene, render
from synthetic.rooms import FIRST_WALL, Pieces, rooms
from synthetic.schema import ACTIONS, CENTER, FRAMES, OBJECTS, Clips, Facts, Shown
from synthetic.skeleton import about_z, affine, compose, inverted
from synthetic.stage import Director, Stage, to_tensors

SAMPLES = 128
"""Rays along the side of a crop."""
AT_ONCE = {"cuda": 512 * SAMPLES**2, "cpu": 8 * SAMPLES**2}
"""Rays of a frame, in all clips that are rendered at a time."""
ELEVATIONS = (1.0, 62.0)
"""Degrees above the horizon."""
ASPECT = 4 / 3
EMPTY_SHARE = 0.11
"""Clips of rooms with nobody in them; others look past everybody."""


@dataclass(frozen=True)
class _Camera:
    eye: Tensor
    forward: Tensor
    right: Tensor
    up: Tensor
    window: Tensor
    width: Tensor
    share: Tensor


class Generator:
    """Draws clips; the same ones for the same seed, device and split, call by call. `calls` were made so far."""

    def __init__(self, seed: int, device: torch.device | str, split: str = "train", samples: int = SAMPLES) -> None:
        """
        Args:
            seed: of all that is drawn.
            device: where clips are made.
            split: one of `holdout.SPLITS`.
            samples: rays along a crop's side; fewer are faster and coarser.

        Raises:
            ValueError: there is no such split.
        """
        self.device = torch.device(device)
        self._split, self._seed, self.calls, self._samples = Split.of(split), seed, 0, samples
        self._shapes = to_tensors(self.device)

    @torch.no_grad()
    def clips(self, count: int, actions: tuple[str, ...] = ACTIONS) -> Clips:
        """`count` clips whose chief entities do some of these actions."""
        frames, evidence = self._make(count, actions)
        return Clips(frames, facts(evidence))

    @torch.no_grad()
    def there_and_back(self, count: int, actions: tuple[str, ...] = DIRECTED) -> tuple[Clips, Clips]:
        """Clips of actions that are others when played backwards, and the same ones played backwards.

        Of `count` clips, those whose chief entities, the first ones, show clearly what they do both ways.
        """
        frames, evidence = self._make(count, actions)
        forwards, backwards = facts(evidence), reversed_facts(facts(evidence, FRAMES - 1 - CENTER))
        kept = torch.ones(count, dtype=torch.bool, device=self.device)
        for each in (forwards, backwards):
            kept &= each.clear[:, 0] & (each.shown[:, 0] == Shown.YES)
        kept &= torch.isin(forwards.action[:, 0], _indices(DIRECTED, ACTIONS, self.device))
        there, back = (
            Facts(**{name: value[kept] for name, value in vars(each).items()}) for each in (forwards, backwards)
        )
        return Clips(frames[kept], there), Clips(frames[kept].flip(1), back)

    def _make(self, count: int, actions: tuple[str, ...]) -> tuple[Tensor, Evidence]:
        self.calls += 1
        dice = Dice(self._seed * 1_000_003 + self.calls, self.device)
        cast = casting.draw(dice, count, self._split.actions, actions)
        stage = Director(dice, cast, self._shapes).perform()
        place(dice, stage)
        camera = self._camera(dice, stage)
        scene, weights = self._scene(dice, stage, camera)
        size = crops.pixels(dice, camera.share)
        frames, shows = [], []
        at_once = max(1, AT_ONCE[self.device.type] // self._samples**2)
        for start in range(0, count, at_once):
            some = slice(start, start + at_once)
            part = scene[some]
            pictures = render(part, self._samples)
            frames.append(crops.develop(dice, pictures.values, size[some], part.window))
            shows.append(Shows.of(pictures))
        return torch.cat(frames), Evidence(stage, Shows.cat(shows), inside(scene, weights))

    def _camera(self, dice: Dice, stage: Stage) -> _Camera:
        """Somewhere around the chief one, so that a crop spans between an eighth of it and everything around it."""
        device = self.device
        first = torch.arange(0, len(stage.object), ENTITIES, device=device)
        count = len(first)
        target = _middles(stage)[:, CENTER].view(count, ENTITIES, 3)
        both = dice.uniform(count, 1, low=-0.2, high=0.8).clamp(min=0) * _paired(stage)[:, None]
        aim = target[:, 0] + both * (target[:, 1] - target[:, 0])
        share = crops.shares(dice, count)
        tangent = (dice.uniform(count, low=35.0, high=75.0) * torch.pi / 360).tan()
        half = share * tangent
        part = (-0.22 + 0.42 * dice.normal(count)).clamp(-2.0, 0.8).exp()
        part = part * torch.where(dice.chance(count, share=0.3), 0.55, 1.0)  # several in view
        part = part * torch.where(
            torch.isin(stage.action[first, CENTER], _indices(SWEEPING, ACTIONS, device)), 0.65, 1.0
        )
        width = stage.size[first] / part
        away = width / (2 * half)
        elevation = self._elevations(dice, count) * torch.pi / 180
        turn = dice.uniform(count, high=2 * torch.pi)
        front = stage.root[first, CENTER, :2, 0]
        facing = torch.atan2(front[:, 1], front[:, 0]) + dice.uniform(count, low=-1.2, high=1.2)
        turn = torch.where(stage.object[first] == OBJECTS.index("door"), facing, turn)
        back = torch.stack([elevation.cos() * turn.cos(), elevation.cos() * turn.sin(), elevation.sin()], dim=-1)
        eye = aim + away[:, None] * back
        # The picture is turned so that the target appears anywhere in it.
        right, up = _level(-back)
        inner = torch.where(dice.chance(count, share=0.8), 1 - share, 1.0)  # mostly, the crop is within the picture
        x = dice.uniform(count, low=-1.0, high=1.0) * tangent * (ASPECT - 1 + inner)
        y = dice.uniform(count, low=-1.0, high=1.0) * tangent * inner
        forward = torch.nn.functional.normalize(-back - x[:, None] * right - y[:, None] * up, dim=-1)
        right, up = _level(forward)
        roll = (0.04 * dice.normal(count))[:, None]
        right, up = roll.cos() * right + roll.sin() * up, roll.cos() * up - roll.sin() * right
        depth = (-back * forward).sum(-1)
        offset = (0.33 * dice.normal(count, 2)).clamp(-1.1, 1.1)
        offset = torch.where(dice.chance(count, 1, share=0.05), 2 * dice.normal(count, 2), offset)
        wide = ASPECT * tangent
        # Crops' middles are within the picture.
        middle_x = ((-back * right).sum(-1) / depth - offset[:, 0] * half).clamp(-wide, wide)
        middle_y = ((-back * up).sum(-1) / depth - offset[:, 1] * half).clamp(-tangent, tangent)
        window = torch.stack(
            [
                (-wide - middle_x) / half,
                (wide - middle_x) / half,
                (middle_y - tangent) / half,
                (middle_y + tangent) / half,
            ],
            1,
        )
        ahead = forward + middle_x[:, None] * right + middle_y[:, None] * up
        return _Camera(eye, ahead, half[:, None] * right, half[:, None] * up, window, width, share)

    def _elevations(self, dice: Dice, count: int) -> Tensor:
        """[B] degrees, inside or outside of the bands that are held out."""
        allowed = torch.arange(ELEVATIONS[0], ELEVATIONS[1], 0.25, device=self.device)
        banned = torch.zeros_like(allowed, dtype=torch.bool)
        for low, high in HELD_OUT_ELEVATIONS:
            banned |= (
                (allowed > low - 0.25) & (allowed < high)
                if not self._split.cameras
                else (allowed >= low) & (allowed <= high - 0.25)
            )
        likely = (banned == self._split.cameras).float() * (1.2 - allowed / 90)
        return allowed[dice.choose(likely.expand(count, -1))] + dice.uniform(count, high=0.25)

    def _scene(self, dice: Dice, stage: Stage, camera: _Camera) -> tuple[Scene, Tensor]:
        """What is rendered, and [B, K, PARTS] how much of an entity each of its parts makes up."""
        count = len(camera.width)
        shapes, variant = self._shapes, stage.variant
        node = shapes["node"][variant]
        local, size = _with_ropes(stage, shapes["local"][variant], shapes["size"][variant])
        frames = slice(0, FRAMES)
        nodes = compose(stage.root[:, frames, None], stage.nodes[:, frames])
        world = compose(nodes.gather(2, node[:, None, :, None, None].expand(-1, FRAMES, -1, 3, 4)), local[:, None])
        main = looks.main_colors(dice, stage.object.clamp(min=0), _held_out_colors(stage, self._split.colors))
        marked = torch.isin(stage.action[:, CENTER], _indices(TURNING, ACTIONS, self.device))
        paint = looks.paint(dice, stage.object.clamp(min=0), main, marked)
        slot = shapes["slot"][variant]
        slot[:, ROPE] = Slot.LEGS  # of any colour
        rows = torch.arange(len(variant), device=self.device)[:, None]
        metres = stage.root[:, CENTER, :, 0].norm(dim=-1)
        kind = torch.where((stage.object != NOTHING)[:, None], shapes["kind"][variant], int(Kind.NONE))
        kind[:, ROPE] = torch.where((stage.rope > 0) & (stage.object != NOTHING), int(Kind.FRUSTUM), int(Kind.NONE))
        kind = kind.view(count, -1).masked_fill(dice.chance(count, 1, share=EMPTY_SHARE), Kind.NONE)
        periods = paint.frequency[rows, slot]
        pattern = paint.pattern[rows, slot]
        light = looks.lights(dice, count)
        target = _middles(stage)[:, CENTER].view(count, ENTITIES, 3)[:, 0]
        room = rooms(dice, camera.eye, target, camera.width)
        _hang_doors(dice, room, stage, shapes)
        room = _with_props(dice, room, stage)
        pieces = room.kind.shape[1]
        room_world = inverted(room.world)[:, None].expand(-1, FRAMES, -1, -1, -1)
        entity = torch.arange(ENTITIES, device=self.device).repeat_interleave(PARTS).expand(count, -1)
        empty = torch.full((count, pieces, 3), NO_COLOR, device=self.device)
        inverse = inverted(world).view(count, ENTITIES, FRAMES, PARTS, 3, 4).transpose(1, 2).flatten(2, 3)
        alpha = stage.alpha[:, frames].view(count, ENTITIES, FRAMES).transpose(1, 2).repeat_interleave(PARTS, 2)
        per_metre = torch.where(pattern == Pattern.SECTORS, periods, periods / stage.size[:, None])
        whole = Scene(
            kind=torch.cat([kind, room.kind], 1),
            entity=torch.cat([entity, torch.full_like(room.kind, SCENERY)], 1),
            inverse=torch.cat([inverse, room_world], 2),
            size=torch.cat([(size * metres[:, None, None]).view(count, -1, 3), room.size], 1),
            frustum=torch.cat([shapes["frustum"][variant].view(count, -1, 2), room.frustum], 1),
            pattern=torch.cat([pattern.view(count, -1), room.pattern], 1),
            frequency=torch.cat([per_metre.view(count, -1), room.frequency], 1),
            colors=torch.cat([paint.colors[rows, slot].view(count, -1, 3, 3), room.colors], 1),
            codes=torch.cat([paint.codes[rows, slot].view(count, -1, 3), empty], 1),
            grain=torch.cat([paint.grain[:, None].expand(-1, PARTS).reshape(count, -1), room.grain], 1),
            alpha=torch.cat([alpha, torch.ones(count, FRAMES, pieces, device=self.device)], 2),
            **{name: getattr(camera, name) for name in ("eye", "forward", "right", "up", "window")},
            **vars(light),
        )
        area = (size[..., 0] * size[..., 1] + size[..., 1] * size[..., 2] + size[..., 0] * size[..., 2]).view(
            count, ENTITIES, PARTS
        )
        return whole, area * (kind.view(count, ENTITIES, PARTS) != Kind.NONE)


def _with_ropes(stage: Stage, local: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes whose last parts are the ropes that things hang on, which turn with them."""
    half = torch.zeros_like(stage.half)
    half[:, :2] = 0.012
    half[:, 2] = (0.5 * stage.rope / stage.size).clamp(min=1e-3)
    local, size = local.clone(), size.clone()
    local[:, ROPE, :, :3] = torch.diag_embed(half)
    local[:, ROPE, :, 3] = half * constant([0.0, 0.0, 1.0], device=half.device)
    size[:, ROPE] = half
    return local, size


SWEEPING = ("fly", "fall", "rise", "bounce", "swing", "orbit", "collide", "topple", "jump", "throw", "catch", "kick")
"""Actions that need room."""


TURNING = ("spin", "roll", "slide", "bounce", "fly")
"""Actions that are told apart by whether a thing turns."""


def _held_out_colors(stage: Stage, held_out: bool) -> Tensor:
    """[N] bool: of chief ones where the split wants that."""
    chosen = torch.zeros(len(stage.object), dtype=torch.bool, device=stage.object.device)
    chosen[::ENTITIES] = held_out
    return chosen


def _paired(stage: Stage) -> Tensor:
    """[B] whether the chief one has to do with another."""
    return (stage.other.view(-1, ENTITIES, stage.other.shape[1])[:, 0, CENTER] != NOTHING).float()


def _middles(stage: Stage) -> Tensor:
    """[N, T, 3] about where everybody's middle is."""
    person = stage.nodes[:, :, Node.TORSO, :, 3]
    middle = compose(stage.root, affine(torch.eye(3, device=person.device).expand(*person.shape, 3), person))[..., 3]
    return torch.where(is_person(stage)[:, None, None], middle, stage.root[..., 3])


def is_person(stage: Stage) -> Tensor:
    """[N] bool."""
    return torch.isin(stage.object, _indices(PEOPLE, OBJECTS, stage.object.device))


def _indices(names: tuple[str, ...], of: tuple[str, ...], device: torch.device) -> Tensor:
    return constant([of.index(name) for name in names], device=device)


def _level(forward: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 3] right and up of level cameras that look along unit vectors."""
    up = constant([0.0, 0.0, 1.0], device=forward.device).expand_as(forward)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    return right, torch.linalg.cross(right, forward)


def place(dice: Dice, stage: Stage) -> None:
    """Puts entities that have nothing to do with the chief one around it, not into each other, some on supports."""
    count = len(stage.object) // ENTITIES
    device = stage.object.device
    paired = _with_partner(stage).view(count, ENTITIES)
    size = stage.size.view(count, ENTITIES)
    high = dice.uniform(count, ENTITIES, low=0.0, high=1.0) * dice.chance(count, ENTITIES, share=0.3)
    shift = torch.zeros(count, ENTITIES, 3, device=device)
    turn = dice.uniform(count, 1, high=2 * torch.pi) + torch.arange(ENTITIES, device=device) * 2 * torch.pi / 3
    turn = turn + dice.uniform(count, ENTITIES, low=-0.7, high=0.7)
    reach = 0.5 * (size + size[:, :1]) * dice.uniform(count, ENTITIES, low=0.75, high=1.7)
    reach = reach + 0.5 * size[:, 1:2] * paired[:, 1:2]
    shift[..., 0], shift[..., 1] = reach * turn.cos(), reach * turn.sin()
    shift = shift * (~paired)[..., None]
    shift[:, 0] = 0
    stays = torch.isin(stage.action[:, CENTER], _indices(STAYING, ACTIONS, device)) & ~stage.aloft & ~stage.seated
    shift[..., 2] = high * size * ~paired * stays.view(count, ENTITIES)
    stage.support = shift[..., 2].flatten()
    stage.root[..., 3] += shift.view(-1, 1, 3)


STAYING = (
    *("still", "spin", "open", "close", "appear", "disappear", "shake", "grow", "shrink", "wave", "clap", "bow"),
    *("hold", "throw", "catch"),
)
"""Actions that can be done on a table or a pedestal."""


def _with_partner(stage: Stage) -> Tensor:
    """[N] bool, whether an entity and another have to do with each other at any time."""
    return (stage.other != NOTHING).any(1)


def _hang_doors(dice: Dice, room: Pieces, stage: Stage, shapes: dict[str, Tensor]) -> None:
    """Behind most doors that open towards the camera is a wall."""
    count = len(room.kind)
    first = torch.arange(0, len(stage.object), ENTITIES, device=stage.object.device)
    outwards = shapes["axis"][stage.variant[first], HINGE, 2] < 0
    there = (stage.object[first] == OBJECTS.index("door")) & outwards & dice.chance(count, share=0.8)
    root = stage.root[first, CENTER]
    front = torch.nn.functional.normalize(root[..., 0], dim=-1)
    half = stage.half[first]
    turn = torch.stack([torch.stack([-front[:, 1], front[:, 0], 0 * front[:, 0]], -1), -front, root[..., 2]], -1)
    turn[..., 2] = torch.nn.functional.normalize(turn[..., 2], dim=-1)
    size = torch.stack([40 * half[:, 2], 0.01 * half[:, 2], 10 * half[:, 2]], -1)
    middle = root[..., 3] - front * (0.04 * half[:, 2:] + 0.01 * half[:, 2:])
    room.place[:, FIRST_WALL] = torch.where(there[:, None], middle, room.place[:, FIRST_WALL])
    room.size[:, FIRST_WALL] = torch.where(there[:, None], size, room.size[:, FIRST_WALL])
    room.turn[:, FIRST_WALL] = torch.where(there[:, None, None], turn, room.turn[:, FIRST_WALL])
    room.kind[:, FIRST_WALL] = torch.where(there, int(Kind.BOX), room.kind[:, FIRST_WALL])
    room.kind[:, FIRST_WALL + 1 :] = room.kind[:, FIRST_WALL + 1 :].masked_fill(there[:, None], Kind.NONE)


def _with_props(dice: Dice, room: Pieces, stage: Stage) -> Pieces:
    """The room, and what things hang from or stand on, and what people sit on: one primitive for each entity."""
    count = len(room.kind)
    shape = (count, ENTITIES)
    first = stage.root[:, CENTER, :, 3].view(*shape, 3)
    present = stage.object.view(shape) != NOTHING
    low = stage.support.view(shape)
    stands = (low > 0) & present
    wide = stage.half[:, :2].amax(1).view(shape) * dice.uniform(*shape, low=0.8, high=1.8)
    size = torch.stack([wide, wide, low.clamp(min=0.02) / 2], dim=-1)
    place_ = torch.cat([first[..., :2], size[..., 2:]], dim=-1)
    # People's seats, where their hips will be.
    seat = constant([-0.4, 0.0, 0.15], device=size.device).expand(len(stage.object), 3)
    seat = (stage.root[:, CENTER, :, :3] @ seat[..., None])[..., 0] + stage.root[:, CENTER, :, 3]
    sits = stage.seated.view(shape) & present & dice.chance(*shape, share=0.8)
    scale = (stage.size / 1.75).view(*shape, 1)
    size = torch.where(sits[..., None], scale * constant([0.2, 0.2, 0.15], device=size.device), size)
    place_ = torch.where(sits[..., None], seat.view(*shape, 3), place_)
    kind = torch.where(dice.chance(*shape, share=0.6), int(Kind.BOX), int(Kind.FRUSTUM))
    kind = torch.where(stands | sits, kind, int(Kind.NONE))
    turn = about_z(torch.atan2(stage.root[:, CENTER, 1, 0], stage.root[:, CENTER, 0, 0])).view(*shape, 3, 3)
    return Pieces(
        kind=torch.cat([room.kind, kind], 1),
        turn=torch.cat([room.turn, turn], 1),
        place=torch.cat([room.place, place_], 1),
        size=torch.cat([room.size, size], 1),
        **{
            name: torch.cat([getattr(room, name), getattr(room, name)[:, -ENTITIES:]], 1)
            for name in ("frustum", "colors", "pattern", "frequency", "grain")
        },
    )
