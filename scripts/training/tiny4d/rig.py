"""Things out of primitives on joints that turn, many of one build at once: each with its own measures and colours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.synthetic.dice import Dice
from training.synthetic.pictures import looks
from training.synthetic.pictures.scene import Pattern
from training.synthetic.skeleton import affine, around, compose
from training.synthetic.world.primitives import Kind

TIMES = 4
"""Moments of a clip."""
TURN = 2 * math.pi
TONES = 7
"""Colours of a thing."""


@dataclass
class Parts:
    """What has been put together: lists by part, of B things.

    Attributes:
        kind: [B]; world: [B, T, 3, 4] from a primitive's own coordinates; size: [B, 3]; frustum: [B, 2].
        tone: [B] into the thing's colours.
    """

    kind: list[Tensor] = field(default_factory=list)
    world: list[Tensor] = field(default_factory=list)
    size: list[Tensor] = field(default_factory=list)
    frustum: list[Tensor] = field(default_factory=list)
    tone: list[Tensor] = field(default_factory=list)


class Rig:
    """B things of one build. Scene axes: x forwards, y to the left, z up; lengths are scaled at the end.

    Numbers that differ by thing are [B] tensors; plain floats are the same for all.
    """

    def __init__(self, dice: Dice, count: int) -> None:
        self.dice, self.count = dice, count
        self.parts = Parts()
        device = dice.device
        self.time = torch.arange(TIMES, device=device) / TIMES
        # From a tenth of a cycle between first and last moment to a whole one, which is what loops are cut into.
        self.cycle = torch.where(self.chance(0.4), 1.0, self.uniform(0.1, 1.0))
        self.phase = self.uniform(0, TURN) + TURN * self.cycle * self.time[:, None]  # [T, B]
        self.moves = ~self.chance(0.1)
        self.origin = affine(torch.eye(3, device=device).expand(count, TIMES, 3, 3), torch.zeros(3, device=device))

    # -- numbers -------------------------------------------------------------------------------------------------------

    def uniform(self, low: float, high: float) -> Tensor:
        return self.dice.uniform(self.count, low=low, high=high)

    def log_uniform(self, low: float, high: float) -> Tensor:
        return self.dice.log_uniform(self.count, low=low, high=high)

    def chance(self, share: float) -> Tensor:
        return self.dice.chance(self.count, share=share)

    def kinds(self, ball: float, box: float, frustum: float) -> Tensor:
        """[B] primitives, drawn by weight."""
        weights = torch.tensor([ball, box, frustum], device=self.dice.device).expand(self.count, -1)
        numbers = torch.tensor([Kind.ELLIPSOID, Kind.BOX, Kind.FRUSTUM], device=self.dice.device)
        return numbers[self.dice.choose(weights)]

    def wave(self, most: float | Tensor, shift: float | Tensor | None = None, times: int = 1) -> Tensor:
        """[B, T] a sine of the gait, `shift` later in radians (any, by default), `times` as fast."""
        shift = self.uniform(0, TURN) if shift is None else shift
        swing = torch.sin(times * self.phase + shift) * most * self.moves
        return swing.T

    # -- joints and parts ----------------------------------------------------------------------------------------------

    def joint(self, parent: Tensor, place: tuple[float | Tensor, ...], *turns: tuple[int, float | Tensor]) -> Tensor:
        """[B, T, 3, 4] a frame at a place of its parent's, turned about axes (0 x, 1 y, 2 z) one after the other.

        Args:
            turns: (axis, radians: float, [B] or [B, T]).
        """
        frame = compose(parent, affine(torch.eye(3, device=self.dice.device), self._point(place)[:, None]))
        for axis, angle in turns:
            vector = torch.zeros(3, device=self.dice.device)
            vector[axis] = 1.0
            angles = torch.as_tensor(angle, device=self.dice.device, dtype=torch.float32)
            angles = angles.view(-1, 1) if angles.ndim < 2 else angles
            angles = angles.expand(self.count, TIMES)
            turn = around(vector.expand(self.count, TIMES, 3), angles)
            frame = compose(frame, affine(turn, torch.zeros(3, device=self.dice.device)))
        return frame

    def part(
        self,
        frame: Tensor,
        kind: Tensor | Kind,
        center: tuple[float | Tensor, ...],
        size: tuple[float | Tensor, ...],
        tone: int | Tensor = 0,
        there: Tensor | None = None,
        top: float | Tensor = 1.0,
        swell: Tensor | None = None,
    ) -> None:
        """A primitive in a frame: where its middle is, half of how large it is.

        Args:
            there: [B] bool, whose it is; everybody's by default.
            top: upper radius of a frustum, a share of the lower one.
            swell: [B, T, 3] by which it grows and shrinks meanwhile.
        """
        half = self._point(size).clamp(min=1e-3)
        kinds = torch.as_tensor(kind, device=self.dice.device).expand(self.count).clone()
        if there is not None:
            kinds[~there] = int(Kind.NONE)
        stretch = half[:, None] if swell is None else half[:, None] * swell
        local = affine(torch.diag_embed(stretch.expand(-1, TIMES, -1)), self._point(center)[:, None])
        narrow = torch.as_tensor(top, device=self.dice.device, dtype=torch.float32).expand(self.count)
        self.parts.kind.append(kinds)
        self.parts.world.append(compose(frame, local))
        self.parts.size.append(half)
        self.parts.frustum.append(torch.stack([narrow, torch.zeros_like(narrow)], -1))
        self.parts.tone.append(torch.as_tensor(tone, device=self.dice.device).expand(self.count))

    def _point(self, values: tuple[float | Tensor, ...]) -> Tensor:
        """[B, 3]."""
        device = self.dice.device
        numbers = [torch.as_tensor(value, device=device, dtype=torch.float32).expand(self.count) for value in values]
        return torch.stack(numbers, -1)

    # -- the whole -----------------------------------------------------------------------------------------------------

    def colors(self) -> Tensor:
        """[B, TONES, 3] in light's proportion: of a few names, dull ones, or nearly one grey for all."""
        dice, count = self.dice, self.count
        bright = looks.named(dice, dice.integers(count, TONES, high=len(looks.RANGES)))
        dull = looks.unnamed(dice, count, TONES)
        tones = torch.where(dice.chance(count, TONES, 1, share=0.35), dull, bright)
        # Many things are of one colour and its shades, with little else.
        shades = tones[:, :1] * dice.uniform(count, TONES, 1, low=0.5, high=1.3)
        tones = torch.where(self.chance(0.35)[:, None, None] & dice.chance(count, TONES, 1, share=0.7), shades, tones)
        gray = dice.uniform(count, 1, 1, low=0.15) * dice.uniform(count, TONES, 1, low=0.75)
        plain = self.chance(0.2)[:, None, None] & dice.chance(count, TONES, 1, share=0.85)
        return torch.where(plain, gray, tones).clamp(0.01, 1.0)

    def painted(self, patterned: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pattern [B, P], frequency [B, P], grain [B, P] and colours [B, P, 3, 3] of all parts."""
        dice, count, parts = self.dice, self.count, len(self.parts.kind)
        palette, tone = self.colors(), torch.stack(self.parts.tone, 1)
        rows = torch.arange(count, device=dice.device)[:, None]
        others = palette[rows, dice.integers(count, parts, high=TONES)]
        first = palette[rows, tone]
        darker = first * dice.uniform(count, parts, 1, low=0.3, high=0.8)
        second = torch.where(dice.chance(count, 1, 1, share=0.5), others, darker)
        kinds = torch.tensor(
            [Pattern.STRIPES, Pattern.BANDS, Pattern.BLOBS, Pattern.BLOBS, Pattern.HALVES, Pattern.CHECKS],
            device=dice.device,
        )
        which = kinds[dice.integers(count, parts, high=len(kinds))]
        # What is of one tone is patterned alike.
        by_tone = dice.chance(count, TONES, share=patterned)[rows, tone] & dice.chance(count, parts, share=0.8)
        pattern = torch.where(by_tone, which, int(Pattern.PLAIN))
        frequency = dice.log_uniform(count, parts, low=1.5, high=9.0)
        grain = dice.uniform(count, 1, high=0.1).expand(-1, parts)
        return pattern, frequency, grain, torch.stack([first, second, darker], 2)
