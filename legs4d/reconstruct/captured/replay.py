"""A step of an optimisation as a CUDA graph: captured once, and replayed from then on.

A step of a few hundred small operations takes Python ten times as long as the device; a graph is one call. What a step
looks at it reads from the device, row by row of a table that is made beforehand, so nothing has to be told to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch

from legs4d.raster.tiles import Room

WARM_UP = 3
"""Steps before the first is captured: kernels are compiled, and libraries set up, in these."""
WARM_AGAIN = 1
"""Steps before one is captured again, whose tensors have other sizes."""


class Rows:
    """A table on a device whose rows are read in turn.

    Attributes:
        next: [] int64, the row that is read next; whoever captured `read` in a graph goes on from there.
    """

    def __init__(self, table: torch.Tensor) -> None:
        """`table`: [S, W]; it stays the memory that is read."""
        self.table = table
        self.next = torch.zeros((), dtype=torch.int64, device=table.device)

    def begin(self, row: int) -> None:
        self.next.fill_(row)

    def read(self) -> torch.Tensor:
        """[W] the next row."""
        row = self.table.index_select(0, self.next[None])[0]
        self.next += 1
        return row


class Replay:
    """A step without arguments, done by a graph. On the CPU, which has none, it is done as it is.

    Tensors that the step reads or changes must stay where they are; whoever puts others in their place calls `forget`.
    """

    def __init__(
        self,
        step: Callable[[], None],
        room: Room | None = None,
        *,
        generators: Sequence[torch.Generator] = (),
        beside: Callable[[], Sequence[Replay]] = lambda: (),
    ) -> None:
        """
        Args:
            room: for tiles, which the step takes its size from; it is settled before a capture.
            generators: that the step draws from.
            beside: steps that are never replayed at once with this one, whose memory it may share.
        """
        self._step, self._room, self._generators, self._beside = step, room, generators, beside
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm_up = WARM_UP

    @property
    def graph(self) -> torch.cuda.CUDAGraph | None:
        return self._graph

    def forget(self) -> None:
        """Have the step captured anew before it is replayed again, and done once before that: what was not captured yet
        is not of these sizes either."""
        self._graph, self._warm_up = None, max(self._warm_up, WARM_AGAIN)

    def __call__(self) -> None:
        """One step."""
        if self._room is None:
            self._step()
        elif self._graph is None and self._warm_up:
            self._warm_up -= 1
            self._eagerly()
        else:
            if self._graph is None:
                self._graph = self._captured()
            self._graph.replay()

    def _eagerly(self) -> None:
        """On the stream that captures: what autograd remembers of leaf tensors includes their stream."""
        stream = _stream(torch.cuda.current_device())
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step()
        torch.cuda.current_stream().wait_stream(stream)

    def _captured(self) -> torch.cuda.CUDAGraph:
        assert self._room is not None
        self._room.settle()
        shared = next((other.graph for other in self._beside() if other.graph is not None), None)
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        pool, stream = None if shared is None else shared.pool(), _stream(torch.cuda.current_device())
        # Of this thread alone: another may be reading pictures onto the device.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._step()
        return graph


@cache
def _stream(device: int) -> torch.cuda.Stream:
    """That captures on a device: graphs that share memory have to share it."""
    return torch.cuda.Stream(device)
