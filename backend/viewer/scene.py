"""What the page shows of a run: splats of one frame, coloured by the prompt. Knows nothing of browsers.

A frame is read when it is shown and not kept (a frame is one read of a file that the system has at hand), so a page
needs the same memory for ten frames and for ten thousand; a prompt's answer is the only thing that grows with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.effects.highlight import fade, highlight
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import Grounding

VARIANCES = (2.5e-7, 6.0e4)
"""Least and greatest, squared scene units: browsers get them in half precision, which ends soon beyond."""


@dataclass(frozen=True)
class Splats:
    """N splats as browsers draw them.

    Attributes:
        centers: [N, 3] float32, scene units, the capture's axes.
        covariances: [N, 3, 3] float32, squared scene units.
        rgbs: [N, 3] float32 in 0..1.
        opacities: [N, 1] float32 in 0..1.
    """

    centers: NDArray[np.float32]
    covariances: NDArray[np.float32]
    rgbs: NDArray[np.float32]
    opacities: NDArray[np.float32]


class ShownRun:
    """A run with at most one prompt lit up.

    Args:
        run: with at least its first frame done.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.num_frames = run.num_frames
        self.fps = float(run.info.get("fps", 30.0))
        self.strength = 1.0
        """0..1, of the highlight."""
        self._static = run.static()
        self._grounding: Grounding | None = None
        self._amount = np.zeros(self.num_frames, np.float32)
        self.selected: Callable[[int], NDArray[np.bool_] | None] = lambda frame: None
        """[count] which Gaussians of a frame are selected; None where nothing is."""
        self.alone = False
        """Whether nothing but what is selected is shown."""

    @property
    def grounding(self) -> Grounding | None:
        """The answer that is lit up."""
        return self._grounding

    @property
    def up(self) -> tuple[float, float, float]:
        """Unit vector against gravity in the capture's axes."""
        x, y, z = (float(value) for value in self.run.up)
        return x, y, z

    @property
    def loses_view_dependence(self) -> bool:
        """Whether the run's colours depend on the view: viser's splats have one colour each (1.1.1)."""
        parts = (self._static, self.run.dynamic(0), self.run.loose(0))
        return any(part.sh_rest is not None for part in parts)

    def light_up(self, grounding: Grounding) -> None:
        """Highlight what an answer of this run names, where and while it holds."""
        holds = np.array([grounding.holds(frame) for frame in range(self.num_frames)])
        self._grounding, self._amount = grounding, fade(holds)

    def clear(self) -> None:
        """Show the run as it is."""
        self._grounding, self._amount = None, np.zeros(self.num_frames, np.float32)

    def amount(self, frame: int) -> float:
        """0..1, how much of the highlight there is in this frame; it fades in and out around an interval."""
        return float(self._amount[frame]) * self.strength

    def reached(self, frame: int) -> bool:
        """Whether this frame is there: a run may still be training."""
        if not self.run.has_frame(frame):
            self.run = Run.open(self.run.path)
        return self.run.has_frame(frame)

    def static(self) -> Splats:
        """The splats that do not move, without highlight."""
        return _splats(self._static, np.clip(self._static.rgb, 0, 1))

    def static_rgbs(self, frame: int) -> NDArray[np.float32]:
        """[N, 3] in 0..1, their colours in this frame: the same wherever `amount` is the same."""
        relevancy = None if self._grounding is None else self._grounding.static
        selected = self.selected(frame)
        return self._lit(self._static, relevancy, frame, None if selected is None else selected[: len(self._static)])

    def static_opacities(self, frame: int) -> NDArray[np.float32]:
        """[N, 1] in 0..1, with what is hidden at 0."""
        selected = self.selected(frame)
        keep = np.ones(len(self._static), bool) if selected is None or not self.alone else selected[: len(self._static)]
        return np.asarray((self._static.opacities * keep)[:, None], np.float32)

    def moving(self, frame: int) -> Splats:
        """The splats that are not the same in all frames, in this one: those that move, and those that it alone has.

        Raises RunError where the run has not got it.
        """
        gaussians = self.run.dynamic(frame)
        if self.run.has_loose:
            gaussians = concatenate(gaussians, self.run.loose(frame))
        relevancy = None if self._grounding is None else self._grounding.moving(frame)
        selected = self.selected(frame)
        part = None if selected is None else selected[len(self._static) :]
        colors = self._lit(gaussians, relevancy, frame, part)
        if part is not None and self.alone:
            gaussians = gaussians.replace(opacities=gaussians.opacities * part)
        return _splats(gaussians, colors)

    def _lit(
        self,
        gaussians: Gaussians,
        relevancy: NDArray[np.float32] | None,
        frame: int,
        selected: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        rgb = np.clip(gaussians.rgb, 0, 1)
        if selected is not None:
            return rgb if self.alone else highlight(rgb, selected.astype(np.float32), self.strength)
        if self._grounding is None or relevancy is None:
            return rgb
        # As in `grounding.masks.render_views`: above the prompt's threshold, and only while it holds.
        part = (relevancy >= self._grounding.threshold) & self._grounding.holds(frame)
        return highlight(rgb, part.astype(np.float32), self.amount(frame))


def covariances(quats: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, 3, 3] R diag(s²) Rᵀ of unit quaternions [N, 4] (wxyz) and standard deviations [N, 3]."""
    w, x, y, z = np.moveaxis(quats, -1, 0)
    rotation = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    low, high = np.sqrt(VARIANCES)
    half = rotation * np.clip(scales, low, high)[:, None, :]
    return np.asarray(half @ half.transpose(0, 2, 1), np.float32)


def _splats(gaussians: Gaussians, rgb: NDArray[np.float32]) -> Splats:
    return Splats(gaussians.means, covariances(gaussians.quats, gaussians.scales), rgb, gaussians.opacities[:, None])
