"""What the bodies of replies and events hold. The type checker holds the server to it, tests what it sends of them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

State = Literal["queued", "running", "cancelling", "pausing", "paused", "done", "failed", "cancelled"]
"""A job is over in the last three."""

Precision = Literal["float32", "float16", "uint16"]


class ErrorBody(TypedDict):
    code: str
    message: str
    """One sentence for a person: what is wrong, and where."""
    hint: str
    """What to do about it; may be empty."""
    differences: NotRequired[list[dict[str, Any]]]
    """With `differs`: {stage, key, was, now, text}, `text` as a person reads it: "dataset.scale: 0.25 → 0.5"."""


class StageBody(TypedDict):
    done: int
    """Frames finished."""
    finished: bool


class RunBody(TypedDict):
    """One entry of `runs`, and part of the reply to `open`."""

    name: str
    """Path relative to its root, '/' between folders."""
    frames: int
    static: int
    """Gaussians that never move (N)."""
    dynamic: int
    """Gaussians that move (M)."""
    loose: int
    """The most Gaussians without identity that a frame has (R)."""
    kind: str
    """"captured", "imported", "generated" or "animated"."""
    revision: str
    """Another one whenever the geometry is another; a run that was renamed, moved or copied has the one it had."""
    finished: bool
    """All geometry is there: every frame can be streamed."""
    language: bool
    """Prompts can be answered."""
    stages: dict[str, StageBody]


class ProblemBody(TypedDict):
    """A folder that looks like a run but cannot be opened."""

    name: str
    message: str


class IntervalBody(TypedDict):
    """When a prompt holds: frames `start` to `end`, both included, strongest at `peak`; `score` 0..1."""

    start: int
    end: int
    peak: int
    score: float


class AnswerBody(TypedDict):
    prompt: str
    intervals: list[IntervalBody]
    threshold: float
    """0..1: Gaussians with more relevancy than this take part."""
    seconds: float
    """What the query itself took on the server."""
    warnings: list[str]
    """Sentences about words of the prompt that are read otherwise than written, or not understood."""


class SegmentBody(TypedDict):
    """A thing that a run was taken apart into, or a part of one."""

    name: str
    """Empty where nobody named it."""
    parent: int
    """Number of the smallest segment that it is a part of; -1 for none."""
    scale: float
    """Twice the standard deviation of its places, scene units."""


class ThingsBody(TypedDict):
    revision: str
    segments: list[SegmentBody]
    selections: list[str]


class MeantBody(TypedDict):
    """Segments that a prompt means."""

    segments: list[int]
    scores: list[float]
    """Mean relevancy of each, 0..1."""
    answering: list[int]
    """All that answer well enough, nested ones too, the best first."""


class KeptBody(TypedDict):
    """A selection as it lies in the run now."""

    name: str
    gaussians: int
    """How many belong."""
    share: float
    """Of all, 0..1."""
    selections: list[str]
    """All that the run has."""


class JobBody(TypedDict):
    job: str
    """Its id."""
    kind: str
    state: State
    request: dict[str, Any]
    """The body it was submitted with."""
    priority: int
    """−100 … 100; the highest goes first, of equal ones the oldest."""
    device: str
    created: float
    """Seconds since 1970, as are `started` and `ended`."""
    started: float | None
    ended: float | None
    attempts: int
    """Worker processes started for it."""
    progress: ProgressBody | None
    error: ErrorBody | None
    result: dict[str, Any] | None


class ProgressBody(TypedDict):
    job: str
    state: State
    stage: str
    done: int
    total: int
    """`done` of `total` frames (or steps, in the first frame) of the stage."""
    loss: float | None
    seconds_left: float | None
    """Of this stage, estimated."""
    message: str
    """One line for a person; may be empty."""
