"""Clips that training draws from: the latest ones generated, kept on the device and each seen several times."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from training.synthetic.schema import CENTER, FRAMES, Clips, Facts


class Source(Protocol):
    """Makes clips, the same ones for the same number of the call."""

    calls: int
    """Made so far; set it to go on from there."""

    def clips(self, count: int) -> Clips: ...


CUT_SHORT = 0.1
"""Share of clips as they are at a video's beginning or end: what is missing there is made up for, as in
`language.pyramid`, by repeating the last frame."""


@dataclass
class Pool:
    """A ring of clips.

    Attributes:
        source: makes them.
        size: clips that are kept.
        chunk: clips made at a time; `size` is a multiple of it.
        first, every: which of the source's chunks are added, where several processes share them.
        made: chunks made so far.
    """

    source: Source
    size: int
    chunk: int
    first: int = 0
    every: int = 1
    made: int = 0

    def __post_init__(self) -> None:
        if self.size % self.chunk:
            raise ValueError(f"{self.size} clips are not a multiple of {self.chunk}")
        self._frames: Tensor | None = None
        self._facts: Facts | None = None

    @property
    def filled(self) -> int:
        """Clips that are there."""
        return min(self.made * self.chunk, self.size)

    def add(self) -> None:
        """Make a chunk, which takes the place of the oldest."""
        self.source.calls = self.first + self.every * self.made
        clips = self.source.clips(self.chunk)
        if self._frames is None or self._facts is None:
            self._frames = clips.frames.new_empty((self.size, *clips.frames.shape[1:]))
            self._facts = Facts(
                **{name: v.new_empty((self.size, *v.shape[1:])) for name, v in vars(clips.facts).items()}
            )
        first = self.made * self.chunk % self.size
        self._frames[first : first + self.chunk] = clips.frames
        for field in fields(Facts):
            getattr(self._facts, field.name)[first : first + self.chunk] = getattr(clips.facts, field.name)
        self.made += 1

    def refill(self, made: int) -> None:
        """As it was when `made` chunks had been made."""
        self.made = max(0, made - self.size // self.chunk)
        while self.made < made:
            self.add()

    def draw(self, count: int, random: torch.Generator) -> Clips:
        """Any of its clips, some mirrored, as nothing that captions say has a left or right, and some cut short."""
        assert self._frames is not None and self._facts is not None, "nothing was added yet"
        device = self._frames.device
        which = torch.randint(self.filled, (count,), generator=random, device=device)
        frames = self._frames[which]
        mirrored = torch.rand(count, generator=random, device=device) < 0.5
        frames = torch.where(mirrored[:, None, None, None, None], frames.flip(-1), frames)
        clip = torch.arange(count, device=device)[:, None]
        frames = frames[clip, windows(count, random, device)]
        return Clips(frames, Facts(**{name: value[which] for name, value in vars(self._facts).items()}))


def windows(count: int, random: torch.Generator, device: torch.device) -> Tensor:
    """[count, 8] which frame is shown when: in order, or, in `CUT_SHORT` of them, without up to 4 before the clip's
    timestep or all 3 after it."""
    share, where = torch.rand((2, count), generator=random, device=device)
    begins = torch.where(share < CUT_SHORT / 2, 1 + (where * CENTER).long(), 0)
    after = FRAMES - 1 - CENTER
    missing = torch.where(share > 1 - CUT_SHORT / 2, 1 + (where * after).long(), 0)
    order = begins[:, None] + torch.arange(FRAMES, device=device)
    return torch.minimum(order, (FRAMES - 1 - missing)[:, None])
