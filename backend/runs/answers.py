"""Prompts: what a query computes, in the form in which it travels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.bodies import AnswerBody
from backend.runs.library import Arrays, OpenRun
from legs4d.progress import Stopped

if TYPE_CHECKING:
    from legs4d.grounding import Grounding
    from legs4d.language.field import LanguageField

MAX_FIELDS = 4
"""Runs whose codec and encoder are kept ready."""


class Prompter:
    """Answers prompts, one at a time, in a thread of its own. The encoder's libraries are loaded with the first run."""

    def __init__(self) -> None:
        self._fields: OrderedDict[tuple[Any, ...], LanguageField] = OrderedDict()

    def answer(self, opened: OpenRun, prompt: str, wanted: Callable[[], bool]) -> Grounding:
        """When and where the prompt holds.

        Args:
            wanted: asked between frames; when False, nobody waits for the answer any more.

        Raises:
            PromptError: the prompt cannot be answered.
            RunError: the run has no language (yet).
            Stopped: the answer is no longer wanted.
        """
        from legs4d.grounding import query

        def check() -> None:
            if not wanted():
                raise Stopped("query")

        (grounding,) = query(opened.run, [prompt], field=self._field(opened), check=check)
        opened.check()
        return grounding

    def prepare(self, opened: OpenRun) -> None:
        """Load what the first prompt of this run would otherwise wait for: the encoder, about a second."""
        self._field(opened)

    def _field(self, opened: OpenRun) -> LanguageField:
        from legs4d.language.field import LanguageField

        key = (opened.run.path, opened.state)
        if key not in self._fields:
            self._fields[key] = LanguageField(opened.run)
            while len(self._fields) > MAX_FIELDS:
                self._fields.popitem(last=False)
        self._fields.move_to_end(key)
        return self._fields[key]


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
        "warnings": list(grounding.warnings),
    }


def answer_arrays(grounding: Grounding, *, per_gaussian: bool) -> Arrays:
    """Arrays of the `answer` event: the curve [T], and the static Gaussians' relevancy [N] if asked for."""
    arrays: Arrays = {"relevancy": np.asarray(grounding.relevancy, np.float32)}
    if per_gaussian:
        arrays["static"] = to_bytes(grounding.static)
    return arrays


def frame_arrays(opened: OpenRun, grounding: Grounding, frame: int) -> tuple[dict[str, Any], Arrays]:
    """Body and arrays of a `frame` event: relevancy of the moving Gaussians [M] and of those without identity."""
    relevancy = {"relevancy": to_bytes(grounding.dynamic(frame))}
    if opened.run.has_loose:
        relevancy["loose"] = to_bytes(grounding.loose(frame))
    opened.check()
    return {}, relevancy


def to_bytes(relevancy: NDArray[Any]) -> NDArray[np.uint8]:
    """0..1 as round(255·r)."""
    return np.rint(np.clip(relevancy, 0, 1) * 255).astype(np.uint8)
