"""What long work is done with and who is told of it: one object, made at the edge and handed through.

The command line makes it from its options, a job's worker from the job; what lies between passes it on as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from legs4d.executor import IN_ORDER, Executor
from legs4d.progress import OnProgress, StageReporter, StopSignal


@dataclass(frozen=True)
class EncoderFiles:
    """What a person said about an encoder's files.

    Attributes:
        weights: file of weights; None looks in the encoder's environment variable and in `weights_folder()`.
        download: fetch them from the hub where they are not there.
        text: folder that `save_text` wrote; phrases then need no weights.
    """

    weights: Path | None = None
    download: bool = False
    text: Path | None = None


Tell = Callable[[str], None]
"""Called with a sentence for a person."""


def tell_nobody(sentence: str) -> None:
    """Hears a sentence for a person, and does nothing with it."""


@dataclass(frozen=True)
class Context:
    """With what, and for whom, work is done.

    Attributes:
        engine: "cpu", "cuda", or "auto" for CUDA where it can run.
        executor: who does what can be done frame by frame; see `cluster`.
        files: where an encoder's weights are; None where nothing was said of them.
        tell: told, a sentence each, of what is kept though the code has changed, of pictures that are large, and so on.
        progress: told of every stage several times a second.
        stop: looked at in every step; what is finished when it is set is kept, and `Stopped` raised.
    """

    engine: str = "auto"
    executor: Executor = IN_ORDER
    files: EncoderFiles | None = None
    tell: Tell = tell_nobody
    progress: OnProgress | None = None
    stop: StopSignal | None = None

    def reporter(self, stage: str) -> StageReporter:
        """Who tells of a stage's steps."""
        return StageReporter(stage, self.progress, self.stop)


QUIET = Context()
"""In this process, on what is there; nobody is told, and nobody stops it."""
