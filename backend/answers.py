"""Prompts: what a query computes, in the form in which it travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.library import Arrays, OpenRun
from backend.wire import AnswerBody

if TYPE_CHECKING:
    from legs4d.grounding import Grounding


def answer(opened: OpenRun, prompt: str) -> Grounding:
    """When and where the prompt holds. Raises PromptError, or RunError when the run has no language (yet)."""
    from legs4d.grounding import query  # loads the text encoder's libraries: the first prompt pays, not the start

    (grounding,) = query(opened.run, [prompt])
    opened.check()
    return grounding


def prepare(opened: OpenRun) -> None:
    """Load what the first prompt of this run would otherwise wait for: the encoder, about a second."""
    from legs4d.language.field import LanguageField

    LanguageField(opened.run)


def answer_body(grounding: Grounding) -> AnswerBody:
    """Body of the `answer` event."""
    return {
        "prompt": grounding.prompt,
        "intervals": [
            {"start": int(i.start), "end": int(i.end), "peak": int(i.peak), "score": float(i.score)}
            for i in grounding.intervals
        ],
        "threshold": float(grounding.threshold),
        "seconds": float(grounding.seconds),
    }


def answer_arrays(grounding: Grounding, *, per_gaussian: bool) -> Arrays:
    """Arrays of the `answer` event: the curve [T], and the static Gaussians' relevancy [N] if asked for."""
    arrays: Arrays = {"relevancy": np.asarray(grounding.relevancy, np.float32)}
    if per_gaussian:
        arrays["static"] = to_bytes(grounding.static)
    return arrays


def frame_arrays(opened: OpenRun, grounding: Grounding, frame: int) -> Arrays:
    """Arrays of a `frame` event: the moving Gaussians' relevancy [M] in this frame."""
    relevancy = grounding.dynamic(frame)
    opened.check()
    return {"relevancy": to_bytes(relevancy)}


def to_bytes(relevancy: NDArray[Any]) -> NDArray[np.uint8]:
    """0..1 as round(255·r)."""
    return np.rint(np.clip(relevancy, 0, 1) * 255).astype(np.uint8)
