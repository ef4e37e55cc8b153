"""Training clips without end: draws casts, rooms, cameras and lights, renders crops, and says what they show."""

from __future__ import annotations

import torch
from torch import Tensor

from training.synthetic import cast as casting
from training.synthetic.cast import ENTITIES, NOTHING
from training.synthetic.constants import constant, is_one_of
from training.synthetic.dice import Dice
from training.synthetic.facts import DIRECTED, Evidence, Shows, facts, inside, reversed_facts
from training.synthetic.pictures import crops, looks
from training.synthetic.pictures.cameras import Cameras, cameras, middles
from training.synthetic.pictures.render import render
from training.synthetic.pictures.scene import NO_COLOR, SCENERY, Pattern, Scene
from training.synthetic.placing import hang_doors, place, with_props
from training.synthetic.schema import ACTIONS, CENTER, FRAMES, Clips, Facts, Shown
from training.synthetic.skeleton import compose, inverted
from training.synthetic.stage import Director, Stage, to_tensors
from training.synthetic.words.holdout import Split
from training.synthetic.world.primitives import PARTS, ROPE, Kind, Slot
from training.synthetic.world.rooms import rooms

SAMPLES = 128
"""Rays along the side of a crop."""
AT_ONCE = {"cuda": 512 * SAMPLES**2, "cpu": 8 * SAMPLES**2}
"""Rays of a frame, in all clips that are rendered at a time."""
EMPTY_SHARE = 0.11
"""Clips of rooms with nobody in them; others look past everybody."""


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
        kept &= is_one_of(forwards.action[:, 0], DIRECTED, ACTIONS)
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
        camera = cameras(dice, stage, self._split.cameras)
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

    def _scene(self, dice: Dice, stage: Stage, camera: Cameras) -> tuple[Scene, Tensor]:
        """What is rendered, and [B, K, PARTS] how much of an entity each of its parts makes up."""
        count = len(camera.width)
        shapes, variant = self._shapes, stage.variant
        node = shapes["node"][variant]
        local, size = _with_ropes(stage, shapes["local"][variant], shapes["size"][variant])
        frames = slice(0, FRAMES)
        nodes = compose(stage.root[:, frames, None], stage.nodes[:, frames])
        world = compose(nodes.gather(2, node[:, None, :, None, None].expand(-1, FRAMES, -1, 3, 4)), local[:, None])
        main = looks.main_colors(dice, stage.object.clamp(min=0), _held_out_colors(stage, self._split.colors))
        marked = is_one_of(stage.action[:, CENTER], TURNING, ACTIONS)
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
        target = middles(stage)[:, CENTER].view(count, ENTITIES, 3)[:, 0]
        room = rooms(dice, camera.eye, target, camera.width)
        hang_doors(dice, room, stage, shapes)
        room = with_props(dice, room, stage)
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


TURNING = ("spin", "roll", "slide", "bounce", "fly")
"""Actions that are told apart by whether a thing turns."""


def _held_out_colors(stage: Stage, held_out: bool) -> Tensor:
    """[N] bool: of chief ones where the split wants that."""
    chosen = torch.zeros(len(stage.object), dtype=torch.bool, device=stage.object.device)
    chosen[::ENTITIES] = held_out
    return chosen
