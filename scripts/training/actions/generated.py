"""Tracks of the generator's clips: what `legs4d.motion` sees of a run, with what truly happens in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from legs4d.motion.recognise import Kind
from legs4d.motion.recognised import ACTIONS as KNOWN
from legs4d.motion.tracks import Tracks
from training.synthetic import cast as casting
from training.synthetic.cast import ENTITIES
from training.synthetic.dice import Dice
from training.synthetic.placing import place
from training.synthetic.schema import ACTIONS, FRAMES, OBJECTS
from training.synthetic.skeleton import compose
from training.synthetic.stage import NOTHING, Director, to_tensors
from training.synthetic.words.abilities import PEOPLE
from training.synthetic.world.primitives import HINGE

FPS = 12.0
"""Frames a second, for which the generator's speeds are drawn."""

NAMES = {
    **{name: name for name in ("fly", "fall", "rise", "bounce", "roll", "slide", "spin", "shake", "topple", "open")},
    **{name: name for name in ("close", "still", "held", "carried", "walk", "run", "jump", "hold", "carry", "throw")},
    **{"catch": "catch", "kick": "kick", "pick up": "lift", "put down": "set down"},
}
"""The generator's name of an action → that of `legs4d.motion`; others, motion knows nothing of."""

BEINGS = (*PEOPLE, "dog", "bird")


@dataclass(frozen=True)
class Clip:
    """Tracks and truth.

    Attributes:
        names: O, of `OBJECTS`.
        truth: [8, O] actions of the generator, "" where it has no name.
    """

    tracks: Tracks
    names: tuple[str, ...]
    truth: list[list[str]]

    def kind(self, row: int) -> Kind:
        """As a name says it."""
        return "being" if self.names[row] in BEINGS else "thing"


@torch.no_grad()
def clips(seed: int, count: int, only: tuple[str, ...] = ACTIONS) -> list[Clip]:
    """Clips whose chief entities do some of these actions."""
    dice, shapes = Dice(seed, torch.device("cpu")), to_tensors(torch.device("cpu"))
    stage = Director(dice, casting.draw(dice, count, held_out=False, only=only), shapes).perform()
    place(dice, stage)
    local, kind, node = (shapes[name][stage.variant] for name in ("local", "kind", "node"))
    nodes = compose(stage.root[:, :FRAMES, None], stage.nodes[:, :FRAMES])
    world = compose(nodes.gather(2, node[:, None, :, None, None].expand(-1, FRAMES, -1, 3, 4)), local[:, None])
    spots = _spots()
    points = (world[..., None, :, :3] @ spots[..., None])[..., 0] + world[..., None, :, 3]  # [N, T, parts, spots, 3]
    made = []

    def hinges(i: int) -> bool:
        """Whether a part of it opens: what does not is then like what stands around it."""
        return OBJECTS[int(stage.object[i])] == "door"

    for clip in range(count):
        some = [i for i in range(clip * ENTITIES, (clip + 1) * ENTITIES) if stage.object[i] != NOTHING]
        frame = [(node[i] != HINGE) & hinges(i) for i in some]
        tracks = [_flat(points[i][:, (kind[i] > 0) & ~fixed]) for i, fixed in zip(some, frame, strict=True)]
        scenery = [_flat(points[i][:, (kind[i] > 0) & fixed])[0] for i, fixed in zip(some, frame, strict=True)]
        visible = np.stack([stage.alpha[i, :FRAMES].numpy() > 0.5 for i in some], axis=1)
        names = tuple(OBJECTS[int(stage.object[i])] for i in some)
        truth = [[_name(int(stage.action[i, t])) for i in some] for t in range(FRAMES)]
        up = np.array([0.0, 0.0, 1.0])
        rows = tuple(range(len(some)))
        made.append(Clip(Tracks(rows, tuple(tracks), visible, FPS, up, 0.0, np.concatenate(scenery)), names, truth))
    return made


def _flat(points: torch.Tensor) -> np.ndarray:
    """[T, n, 3] of [T, parts, spots, 3]."""
    return points.reshape(FRAMES, -1, 3).double().numpy()


def _name(action: int) -> str:
    return "" if action < 0 else ACTIONS[action]


def _spots() -> torch.Tensor:
    """[n, 3] on a part of unit half extents: a grid on the faces of a cube, drawn in to what is round in it."""
    steps = np.linspace(-1, 1, 4)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    shell = grid[np.abs(grid).max(axis=1) > 0.99]
    return torch.from_numpy((0.8 * shell).astype(np.float32))


def known(action: str) -> str:
    """An action of the generator, or of `handed`, as `legs4d.motion` calls it; "" for what it does not know."""
    name = NAMES.get(action, action if action in KNOWN else "")
    assert not name or name in KNOWN
    return name
