"""Prompts in, when and where out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import PromptError, RunError
from legs4d.gaussians.store import Run
from legs4d.grounding.curve import most_relevant
from legs4d.grounding.intervals import Interval, find_intervals, smooth, thresholds
from legs4d.grounding.relevancy import strength
from legs4d.language.features import Calibration
from legs4d.language.field import LanguageField
from legs4d.language.wording import is_name

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
    """

    prompt: str
    intervals: list[Interval]
    relevancy: NDArray[np.float32]
    threshold: float
    static: NDArray[np.float32]
    seconds: float
    _dynamic: NDArray[np.float16]

    def dynamic(self, frame: int) -> NDArray[np.float32]:
        """[M] in 0..1, relevancy of the Gaussians that move, in this frame."""
        return self._dynamic[frame].astype(np.float32)

    def frame(self, frame: int) -> NDArray[np.float32]:
        """[N + M] in 0..1, all Gaussians in this frame, static first."""
        return np.concatenate([self.static, self.dynamic(frame)])

    def holds(self, frame: int) -> bool:
        """Whether an interval has this frame."""
        return any(interval.start <= frame <= interval.end for interval in self.intervals)


def query(run: Run, prompts: list[str]) -> list[Grounding]:
    """Find when and where prompts hold. Several cost little more than one: the codes are read once.

    Args:
        run: with a finished lift.
        prompts: each of 1 to 1000 characters.

    Raises:
        PromptError: a prompt is empty or too long.
        RunError: the run has no language yet, or only of some frames.
    """
    start = time.perf_counter()
    for prompt in prompts:
        _check_prompt(prompt)
    if not prompts:
        return []
    _check_run(run)
    swept = _sweep(LanguageField(run), run, prompts)
    groundings = [_ground(prompt, swept, which) for which, prompt in enumerate(prompts)]
    seconds = time.perf_counter() - start
    return [Grounding(**values, seconds=seconds) for values in groundings]


@dataclass(frozen=True)
class _Swept:
    """One pass over the codes of T frames, for Q prompts; strengths before normalisation.

    Attributes:
        static: [Q, N], dynamic: [Q, T, M] float16.
        foreground: [Q, T] the curve of what is in the foreground, background: [Q, T] of the rest.
    """

    calibration: Calibration
    static: NDArray[np.float32]
    dynamic: NDArray[np.float16]
    foreground: NDArray[np.float32]
    background: NDArray[np.float32]


def _sweep(field: LanguageField, run: Run, prompts: list[str]) -> _Swept:
    phrases = field.embed(prompts)
    still = field.static(phrases)
    still_strength = strength(still.values)
    front = np.concatenate([run.static().is_foreground, run.dynamic(0).is_foreground])
    if not front.any():
        front[:] = True
    moving = np.empty((len(prompts), run.num_frames, run.num_dynamic), np.float16)
    curves = np.empty((2, len(prompts), run.num_frames), np.float32)
    for frame in range(run.num_frames):
        now = field.dynamic(frame, phrases)
        moving_strength = strength(now.values)
        moving[:, frame] = moving_strength.T
        weight = np.concatenate([still.confidence, now.confidence])
        for which in range(len(prompts)):
            values = np.concatenate([still_strength[:, which], moving_strength[:, which]])
            curves[0, which, frame] = most_relevant(values[front], weight[front])
            curves[1, which, frame] = most_relevant(values[~front], weight[~front], BACKGROUND_SHARE)
    return _Swept(field.calibration, still_strength.T.copy(), moving, curves[0], curves[1])


def _ground(prompt: str, swept: _Swept, which: int) -> dict[str, Any]:
    """All of a Grounding but its seconds."""
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
        "static": np.minimum(swept.static[which] / scale, 1),
        "_dynamic": np.minimum(swept.dynamic[which] / np.float16(scale), np.float16(1)),
    }


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise PromptError("the prompt is empty", where="prompt", fix="say in words what happens")
    if len(prompt) > MAX_PROMPT:
        raise PromptError(
            f"the prompt has {len(prompt)} characters, at most {MAX_PROMPT} are read", where="prompt", fix="shorten it"
        )


def _check_run(run: Run) -> None:
    stage = run.stages.get("lift")
    if stage is None or not stage.finished:
        done = len(stage.done_frames) if stage else 0
        raise RunError(
            f"has no language yet ({done} of {run.num_frames} frames are lifted)",
            where=str(run.path),
            fix="run the same `legs4d train` command again to resume, or `legs4d lift`",
        )
