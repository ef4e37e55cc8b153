"""Where a command's options become what its work is done with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from legs4d.cli.options import Engine
from legs4d.terminal import progress_display, say

if TYPE_CHECKING:
    from legs4d.context import Context


@contextmanager
def working(
    engine: Engine = Engine.auto,
    cluster: str | None = None,
    *,
    store: str | None = None,
    folders: Mapping[str, Path] | None = None,
    weights: Path | None = None,
    download: bool = False,
) -> Iterator[Context]:
    """The context of a command, whose progress is shown; `cluster`, `store` and `folders` as `cluster.executor_on`.

    Args:
        weights, download: of the encoder, see `context.EncoderFiles`.
    """
    from legs4d.cluster import executor_on
    from legs4d.context import Context, EncoderFiles

    files = EncoderFiles(weights, download) if weights or download else None
    with (
        progress_display() as show,
        executor_on(cluster, engine.value, store=store, folders=folders) as executor,
    ):
        yield Context(engine.value, executor, files, say, show)
