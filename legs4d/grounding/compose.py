"""Prompts put together, in the language of `expression`.

Prompts are taken for events. A composition says in which frames it holds, and shows those who take part then: of AND
and OR, whoever's event holds in the frame; of NOT, nobody. `a BEFORE b` are the frames of `a` that lie before a
beginning of `b` (the last one), `a AFTER b` those that lie after an end of `b` (the first one); they show `a`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from legs4d.config import QuerySettings
from legs4d.gaussians.store.run import Run
from legs4d.grounding.expression import Expression, Prompt, parse, prompts_of
from legs4d.grounding.intervals import Interval, Thresholds, find_intervals, peak_within
from legs4d.grounding.query import Grounding, query
from legs4d.language.embedding.features import Encoder


@dataclass(frozen=True)
class Member:
    """Who is shown in a composition.

    Attributes:
        grounding: of one prompt.
        frames: [T] bool, when it is shown.
        gain: ≥ 1, by which its relevancy is shown brighter, so that one threshold tells of all members who takes part.
    """

    grounding: Grounding
    frames: NDArray[np.bool_]
    gain: float = 1.0


@dataclass(frozen=True)
class Composition(Grounding):
    """A grounding made of others; the Gaussians' relevancy is that of the member to whom they are most relevant.

    `static` is the most over all members, whenever they are shown; `frame` and `part` leave out those who are not.
    """

    members: tuple[Member, ...]

    def moving(self, frame: int) -> NDArray[np.float32]:
        """In 0..1, relevancy of the Gaussians that are not static to the members shown in this frame."""
        return self._most(frame, lambda grounding: grounding.moving(frame), len(self._moving[frame]))

    def frame(self, frame: int) -> NDArray[np.float32]:
        """In 0..1, all Gaussians in this frame, in the order of `Run.frame`."""
        static = self._most(frame, lambda grounding: grounding.static, len(self.static))
        return np.concatenate([static, self.moving(frame)])

    def leaves(self, frame: int) -> list[tuple[Grounding, float]]:
        """The prompts shown in this frame, and by what factor their relevancy is shown brighter."""
        return [(member.grounding, member.gain) for member in self.members if member.frames[frame]]

    def _most(self, frame: int, of: Callable[[Grounding], NDArray[np.float32]], count: int) -> NDArray[np.float32]:
        most = np.zeros(count, np.float32)
        for grounding, gain in self.leaves(frame):
            np.maximum(most, np.minimum(gain * of(grounding), 1), out=most)
        return most


def compose(
    run: Run,
    expressions: Sequence[str],
    settings: QuerySettings | None = None,
    *,
    encoder: Encoder | None = None,
) -> list[Grounding]:
    """Ask for compositions of prompts; all their prompts are asked for together, each once.

    Args:
        expressions: in the syntax above; a single prompt is one too, and is answered as `query` does.
        settings, encoder: as `query`.

    Raises:
        PromptError: an expression that cannot be understood, or a prompt as in `query`.
        RunError, EncoderError: as `query`.
    """
    parsed = [parse(text) for text in expressions]
    prompts = list(dict.fromkeys(text for expression in parsed for text in prompts_of(expression)))
    answers = dict(zip(prompts, query(run, prompts, settings, encoder=encoder), strict=True))
    return [_composed(text, parse_tree, answers) for text, parse_tree in zip(expressions, parsed, strict=True)]


@dataclass(frozen=True)
class _Event:
    """Part of an expression, answered: [T] how much and whether it holds in each frame, and who is shown."""

    curve: NDArray[np.float32]
    holds: NDArray[np.bool_]
    members: tuple[Member, ...]


def _composed(text: str, expression: Expression, answers: dict[str, Grounding]) -> Grounding:
    if isinstance(expression, Prompt):
        return answers[expression.text]
    event = _answer(expression, answers)
    curve = np.where(event.holds, event.curve, 0)
    # Frames that hold are already decided: anything above 0 goes on, and what is too short is left out as ever.
    intervals = find_intervals(event.holds.astype(np.float32), Thresholds(0.5, 0.5))
    members = [m for m in event.members if m.frames.any()]
    threshold = max((m.grounding.threshold for m in members), default=1.0)
    some = next(iter(answers.values()))
    equal = tuple(replace(m, gain=threshold / m.grounding.threshold) for m in members)
    static = np.zeros_like(some.static)
    for member in equal:
        np.maximum(static, np.minimum(member.gain * member.grounding.static, 1), out=static)
    return Composition(
        prompt=text,
        intervals=[_scored(interval, curve) for interval in intervals],
        relevancy=event.curve,
        threshold=threshold,
        static=static,
        seconds=some.seconds,
        scale=1.0,
        warnings=tuple(dict.fromkeys(w for leaf in prompts_of(expression) for w in answers[leaf].warnings)),
        num_dynamic=some.num_dynamic,
        origins={what: by for leaf in prompts_of(expression) for what, by in answers[leaf].origins.items()},
        _moving=some._moving,
        members=equal,
    )


def _scored(interval: Interval, curve: NDArray[np.float32]) -> Interval:
    start, stop = interval.start, interval.end + 1
    return replace(interval, peak=peak_within(curve, start, stop), score=float(curve[start:stop].mean()))


def _answer(expression: Expression, answers: dict[str, Grounding]) -> _Event:
    if isinstance(expression, Prompt):
        found = answers[expression.text]
        holds = np.array([found.holds(frame) for frame in range(len(found.relevancy))])
        return _Event(found.relevancy, holds, (Member(found, holds),))
    first, *rest = (_answer(operand, answers) for operand in expression.operands)
    if expression.operator == "NOT":
        return _Event(1 - first.curve, ~first.holds, ())
    (second,) = rest
    if expression.operator == "OR":
        return _Event(
            np.maximum(first.curve, second.curve), first.holds | second.holds, (*first.members, *second.members)
        )
    if expression.operator == "AND":
        return _limited(
            _Event(np.minimum(first.curve, second.curve), first.holds, (*first.members, *second.members)), second.holds
        )
    return _limited(first, _beside(second.holds, expression.operator))


def _beside(holds: NDArray[np.bool_], operator: str) -> NDArray[np.bool_]:
    """[T] frames before the last beginning, or after the first end, of what holds; none if it never does."""
    frames = np.arange(len(holds))
    padded = np.concatenate([[False], holds, [False]])
    starts, ends = np.flatnonzero(~padded[:-1] & padded[1:]), np.flatnonzero(padded[:-1] & ~padded[1:]) - 1
    if not len(starts):
        return np.zeros(len(holds), bool)
    return frames < starts[-1] if operator == "BEFORE" else frames > ends[0]


def _limited(event: _Event, frames: NDArray[np.bool_]) -> _Event:
    """The event only in these frames [T]."""
    holds = event.holds & frames
    return _Event(
        np.where(frames, event.curve, 0).astype(np.float32),
        holds,
        tuple(replace(member, frames=member.frames & holds) for member in event.members),
    )
