"""Prompts in, when and where out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.config import QuerySettings
from legs4d.errors import PromptError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.grounding.curve import SHARE
from legs4d.grounding.intervals import Interval, find_intervals, smooth, thresholds
from legs4d.language.embedding.features import Calibration, TextEncoder
from legs4d.language.encoders import encoder_of
from legs4d.language.field import LanguageField
from legs4d.language.scoring import FrameStrengths
from legs4d.language.wording import is_name
from legs4d.progress import go_on

MAX_PROMPT = 1000
"""Characters. Encoders read some 250 words at most and ignore the rest, which would answer another question."""

BACKGROUND_SHARE = 0.5
"""Share of the background that has to fit a prompt for the prompt to be about it. Many of its Gaussians touch the
outlines of what passes before them and say a little of that; half of them never do."""


@dataclass(frozen=True)
class Grounding:
    """When and where a prompt holds in a run.

    Attributes:
        prompt: as asked.
        intervals: when, in order of time; empty when it does not happen.
        relevancy: [T] float32 in 0..1 over time, the most relevant moment at 1 where there is an interval.
        threshold: of the Gaussians' relevancy, 0..1: those above take part.
        static: [N] float32 in 0..1, relevancy of the Gaussians that do not move, the same in all frames.
        seconds: that the query took, all its prompts together.
        scale: strength (`relevancy.strength`) that is shown as relevancy 1.
        warnings: about words that the encoder reads otherwise than they are written, or not at all; a sentence each.
        num_dynamic: M, Gaussians that move and have an id.
        origins: of what the prompt says, where the answer comes from; see `LanguageField.origins`.
    """

    prompt: str
    intervals: list[Interval]
    relevancy: NDArray[np.float32]
    threshold: float
    static: NDArray[np.float32]
    seconds: float
    scale: float
    warnings: tuple[str, ...]
    num_dynamic: int
    origins: dict[str, str]
    _moving: FrameStrengths
    """Strengths of what is not static; scaled when asked for, as most frames are not."""

    def moving(self, frame: int) -> NDArray[np.float32]:
        """[M + loose ones] in 0..1, relevancy of the Gaussians that are not static, in this frame."""
        return np.minimum(self._moving[frame].astype(np.float32) / self.scale, 1)

    def dynamic(self, frame: int) -> NDArray[np.float32]:
        """[M] in 0..1, relevancy of the Gaussians that have an id and move, in this frame."""
        return self.moving(frame)[: self.num_dynamic]

    def loose(self, frame: int) -> NDArray[np.float32]:
        """In 0..1, relevancy of this frame's Gaussians without identity."""
        return self.moving(frame)[self.num_dynamic :]

    def frame(self, frame: int) -> NDArray[np.float32]:
        """In 0..1, all Gaussians in this frame, in the order of `Run.frame`."""
        return np.concatenate([self.static, self.moving(frame)])

    def holds(self, frame: int) -> bool:
        """Whether an interval has this frame."""
        return any(interval.start <= frame <= interval.end for interval in self.intervals)

    def nearest_held(self, frame: int) -> int:
        """This frame if an interval has it, else the nearest that one has; the same frame where there is none."""
        held = [min(max(frame, interval.start), interval.end) for interval in self.intervals]
        return min(held, key=lambda other: abs(other - frame), default=frame)

    def part(self, frame: int, held: int | None = None) -> NDArray[np.bool_]:
        """Which Gaussians of a frame, in the order of `Run.frame`, take part; none outside the intervals.

        Args:
            held: those that take part in this frame instead, wherever they are in `frame`; of what has no identity,
                what is relevant in `frame` itself.
        """
        held = frame if held is None else held
        relevancy = self.frame(frame)
        if not self.holds(held):
            return np.zeros(len(relevancy), bool)
        if held != frame:
            ids = len(self.static) + self.num_dynamic
            relevancy = np.concatenate([self.frame(held)[:ids], relevancy[ids:]])
        return relevancy >= self.threshold

    def leaves(self, frame: int) -> list[tuple[Grounding, float]]:
        """The prompts shown in this frame, and by what factor their relevancy is shown brighter: this one, by 1."""
        return [(self, 1.0)]


def query(
    run: Run,
    prompts: Sequence[str],
    settings: QuerySettings | None = None,
    *,
    encoder: TextEncoder | None = None,
    field: LanguageField | None = None,
    check: Callable[[], None] = go_on,
) -> list[Grounding]:
    """Find when and where prompts hold. Several cost little more than one: the codes are read once.

    Args:
        run: with a finished lift.
        prompts: each of 1 to 1000 characters.
        settings: canonical phrases, negative prompts, templates; by default the encoder's phrases and no more.
        encoder: what embeds the phrases; the one that the run was lifted with by default.
        field: the run's language, opened before (`open_field`, or on a GPU `language.resident`), instead of opening it.
        check: called between frames; what it raises ends the work.

    Raises:
        PromptError: a prompt, or a phrase of the settings, is empty, too long or no text, or none of its words is known
            to the encoder; or a template has no {}.
        RunError: the run has no language yet, or only of some frames.
        EncoderError: the encoder lacks its weights.
    """
    start = time.perf_counter()
    settings = settings or QuerySettings()
    _check_phrases(prompts, settings)
    if not prompts:
        return []
    _check_run(run)
    field = field or open_field(run, settings, encoder)
    swept = _sweep(field, run, embed(field, prompts, settings), check)
    groundings = [_ground(prompt, swept, which) for which, prompt in enumerate(prompts)]
    remarks = [_remarks(field, prompt, settings) for prompt in prompts]
    seconds = time.perf_counter() - start
    return [
        Grounding(**g, warnings=of, origins=field.origins(g["prompt"]), seconds=seconds)
        for g, of in zip(groundings, remarks, strict=True)
    ]


def open_field(run: Run, settings: QuerySettings, encoder: TextEncoder | None = None) -> LanguageField:
    """The run's language, against these canonical phrases and negative prompts.

    A negative prompt is one more canonical phrase: LERF's relevancy is how much better a prompt fits than the canonical
    phrase that fits best, so what fits the negative one better has a strength of 0.
    """
    if not (settings.canonical or settings.negative):
        return LanguageField(run, encoder=encoder)
    encoder = encoder or encoder_of(run)
    return LanguageField(
        run,
        encoder=encoder,
        canonical=(*(settings.canonical or encoder.calibration.canonical), *settings.negative),
    )


def embed(field: LanguageField, prompts: Sequence[str], settings: QuerySettings) -> NDArray[np.float32]:
    """[Q, D] unit vectors: each prompt's mean over the templates."""
    wordings = [template.replace("{}", prompt) for prompt in prompts for template in settings.templates]
    mean = field.embed(wordings).reshape(len(prompts), len(settings.templates), -1).mean(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


@dataclass(frozen=True)
class _Swept:
    """One pass over the codes of T frames, for Q prompts; strengths before normalisation.

    Attributes:
        static: [Q, N] float16; moving: of each prompt and frame what is not static.
        num_dynamic: M.
        foreground: [Q, T] the curve of what is in the foreground, background: [Q, T] of the rest.
    """

    calibration: Calibration
    static: NDArray[np.float16]
    moving: Sequence[FrameStrengths]
    num_dynamic: int
    foreground: NDArray[np.float32]
    background: NDArray[np.float32]


def _sweep(field: LanguageField, run: Run, phrases: NDArray[np.float32], check: Callable[[], None]) -> _Swept:
    still, moving = _foreground(run)
    swept = field.sweep(phrases, still, moving, (BACKGROUND_SHARE, SHARE), check)
    background, foreground = np.moveaxis(swept.curves, -1, 0)
    return _Swept(field.calibration, swept.static, swept.moving, run.num_dynamic, foreground, background)


def _foreground(run: Run) -> tuple[NDArray[np.bool_], Callable[[int], NDArray[np.bool_]]]:
    """Which static Gaussians are in the foreground, and which of the others in a frame; all where none is marked."""
    still, dynamic = run.static().is_foreground, run.dynamic(0).is_foreground
    if not (still.any() or dynamic.any() or run.loose(0).is_foreground.any()):
        return np.ones_like(still), lambda frame: np.ones(run.count(frame) - len(still), bool)
    if not run.has_loose:
        return still, lambda frame: dynamic
    return still, lambda frame: np.concatenate([dynamic, run.loose(frame).is_foreground])


def _ground(prompt: str, swept: _Swept, which: int) -> dict[str, Any]:
    """All of a Grounding but its warnings and seconds."""
    curves = smooth(swept.foreground[which]), smooth(swept.background[which])
    curve = max(curves, key=lambda c: float(c.max()))
    limits = thresholds(curve, swept.calibration, name=is_name(prompt))
    scale = max(float(curve.max()), swept.calibration.floor)
    intervals = find_intervals(curve / scale, limits.scaled(1 / scale)) if limits else []
    return {
        "prompt": prompt,
        "intervals": intervals,
        "relevancy": curve / scale,
        "threshold": (limits.leave if limits else swept.calibration.floor) * swept.calibration.belongs / scale,
        "scale": scale,
        "static": np.minimum(swept.static[which].astype(np.float32) / scale, 1),
        "num_dynamic": swept.num_dynamic,
        "_moving": swept.moving[which],
    }


def _remarks(field: LanguageField, prompt: str, settings: QuerySettings) -> tuple[str, ...]:
    """About the prompt, and about the phrases that it is compared with; each once."""
    phrases = (prompt, *settings.negative, *settings.canonical)
    return tuple(dict.fromkeys(remark for phrase in phrases for remark in field.remarks(phrase)))


def _check_phrases(prompts: Sequence[str], settings: QuerySettings) -> None:
    for prompt in prompts:
        _check_phrase(prompt, "prompt")
    for name in ("canonical", "negative", "templates"):
        for phrase in getattr(settings, name):
            _check_phrase(phrase, f"{name} phrase")
    for template in settings.templates:
        if "{}" not in template:
            raise PromptError(f"{template!r} has no {{}}", where="templates", fix="write {} where the prompt belongs")
    if not settings.templates:
        raise PromptError("there are none", where="templates", fix="leave at least the plain '{}'")


def _check_phrase(phrase: str, name: str) -> None:
    if not phrase.strip():
        raise PromptError(f"the {name} is empty", where="prompt", fix="say in words what happens")
    try:
        phrase.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"the {name} holds something that is no text, at character {error.start + 1}",
            where="prompt",
            fix="type it anew, in UTF-8",
        ) from error
    if len(phrase) > MAX_PROMPT:
        raise PromptError(
            f"the {name} has {len(phrase)} characters, at most {MAX_PROMPT} are read", where="prompt", fix="shorten it"
        )


def _check_run(run: Run) -> None:
    stage = run.stages.get("lift")
    if stage is None or not stage.finished:
        done = len(stage.done_frames) if stage else 0
        raise RunError(
            f"has no language yet ({done} of {run.num_frames} frames are lifted)",
            where=str(run.path),
            fix=run.language_cure,
        )
