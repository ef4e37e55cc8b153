"""What a person points at on the page: the segment under the pointer, at any scale, kept in the run under a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.grounding.selecting import relevancy_in
from legs4d.portable.pointing import DEFAULT_SCALE
from legs4d.segment.choose import Chosen, at_click, for_prompt, weights_of, without
from legs4d.segment.pick import along_ray
from legs4d.segment.segments import Segments, read_segments, slots_of
from legs4d.segment.selecting import BELONGS, Mode, keep
from legs4d.segment.views import near_of, spread


@dataclass
class _Step:
    """One thing that was pointed at: what it fills, so that another scale asks nobody, or what a prompt found."""

    mode: Mode
    told: dict[str, Any]
    filled: NDArray[np.float32] | None
    chosen: Chosen


@dataclass
class Pointing:
    """What is selected on the page.

    Args:
        run: with segments.

    Raises:
        RunError: it has none.
    """

    run: Run
    scale: float = DEFAULT_SCALE
    _steps: list[_Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._segments: Segments = read_segments(self.run)

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """[G] 0..1 of what is selected; None where nothing is."""
        if not self._steps:
            return None
        most = np.zeros(self._segments.count, np.float32)
        for step in self._steps:
            own = weights_of(self._segments, step.chosen.segments)
            most = without(most, own) if step.mode == "subtract" else np.maximum(most, own)
        return most

    def at(self, frame: int) -> NDArray[np.bool_] | None:
        """[count] which Gaussians of a frame are selected; None where nothing is."""
        weights = self.weights
        return None if weights is None else np.asarray(weights[slots_of(self.run, frame)] >= BELONGS)

    def click(
        self, frame: int, origin: NDArray[np.floating], direction: NDArray[np.floating], focal: float, mode: Mode
    ) -> str:
        """Point along a ray; what that means, for a person.

        Args:
            origin, direction: [3], in the run's axes.
            focal: pixels, of what the person sees.

        Raises:
            Legs4dError: there is nothing, or it would leave nothing.
        """
        filled = spread(self.run, frame, along_ray(self.run.frame(frame), origin, direction, focal, near_of(self.run)))
        told = {
            "ray": [[round(float(v), 6) for v in origin], [round(float(v), 6) for v in direction]],
            "frame": frame,
        }
        self._take(_Step(mode, told, filled, at_click(self._segments, filled, self.scale, "the click")))
        return self.describe()

    def ask(self, prompt: str, mode: Mode) -> str:
        """Point by words; see `click`."""
        values, least = relevancy_in(self.run)(prompt)
        self._take(_Step(mode, {"prompt": prompt}, None, for_prompt(self._segments, values, least, prompt)))
        return self.describe()

    def rescale(self, scale: float) -> str:
        """Mean what was clicked at another scale; asks nothing of the Gaussians."""
        self.scale = scale
        for step in self._steps:
            if step.filled is not None:
                step.chosen = at_click(self._segments, step.filled, scale, "the click")
        return self.describe()

    def undo(self) -> None:
        """Take the last thing back."""
        if self._steps:
            self._steps.pop()

    def clear(self) -> None:
        """Select nothing."""
        self._steps.clear()

    def save(self, name: str) -> dict[str, Any]:
        """Keep it in the run; see `segment.selecting.keep`."""
        weights = self.weights
        if weights is None:
            raise Legs4dError("nothing is selected", where="save", fix="click on something first")
        steps = [{**step.told, "mode": step.mode, "segments": list(step.chosen.segments)} for step in self._steps]
        return keep(self.run, name.strip(), weights, {"scale": self.scale, "page": steps})

    def describe(self) -> str:
        """How much is selected."""
        weights = self.weights
        count = 0 if weights is None else int((weights >= BELONGS).sum())
        names = [self._segments.names[s] or str(s) for step in self._steps for s in step.chosen.segments]
        return f"{count} Gaussians, segment {', '.join(names)}" if names else "nothing is selected"

    def _take(self, step: _Step) -> None:
        first = step.mode == "new"
        before = [] if first else self._steps
        after = _Step("new" if not before else step.mode, step.told, step.filled, step.chosen)
        if not before and step.mode == "subtract":
            raise Legs4dError("there is nothing to take away from", where="the click", fix="click on something first")
        kept, self._steps = self._steps, [*before, after]
        weights = self.weights
        if weights is None or not (weights >= BELONGS).any():
            self._steps = kept
            raise Legs4dError("nothing would be left", where="the click", fix="take away less")
