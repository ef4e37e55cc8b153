"""Streams of `frame` events: in the order the client needs them, and never more than it has room for."""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from backend.service.clients import Arrays, Call, Client
from backend.service.errors import BackendError
from backend.service.loop import Pool
from backend.wire import Buffer, Code, Kind

READ_AHEAD = 2
"""Frames of one stream that are being read, or wait to be sent in order."""
STALL_SECONDS = 600.0


class FrameOrder:
    """Which frame comes next: the nearest to the playhead, of two equally near ones the later; or in the order given.

    Args:
        frames: frames to send, without repetition.
        around: the playhead, or None to keep the order given.
    """

    def __init__(self, frames: list[int], around: int | None) -> None:
        self._around = around
        self._left = list(frames) if around is None else sorted(frames)
        if around is None:
            self._left.reverse()

    def __len__(self) -> int:
        return len(self._left)

    def aim(self, around: int) -> None:
        """Move the playhead."""
        if self._around is None:
            self._left.sort()
        self._around = around

    def take(self) -> int:
        """The next frame, which is then no longer left."""
        if self._around is None:
            return self._left.pop()
        after = bisect.bisect_left(self._left, self._around)
        if after == 0:
            return self._left.pop(0)
        if after == len(self._left):
            return self._left.pop()
        nearer_before = self._around - self._left[after - 1] < self._left[after] - self._around
        return self._left.pop(after - 1 if nearer_before else after)


class Stream:
    """One stream of a call. Lives in the socket's thread; only `read` runs in the pool's.

    Args:
        call: answered with `ended(frames sent)` when all are sent.
        order: what to send.
        read: what to add to the body of one frame, and its arrays; called in a thread of `pool`.
        window: the most frames without credit.
        ended: body of the `ok`.
        max_bytes_under_way: of all frames sent to the client that it has not taken in yet; a single one may be larger.
    """

    def __init__(
        self,
        call: Call,
        order: FrameOrder,
        read: Callable[[int], tuple[dict[str, Any], Arrays]],
        window: int,
        pool: Pool,
        ended: Callable[[int], dict[str, Any]],
        max_bytes_under_way: int,
    ) -> None:
        self.call, self._order, self._read, self._window = call, order, read, window
        self._pool, self._ended = pool, ended
        self._max_bytes_under_way = max_bytes_under_way
        self._reading: deque[_Slot] = deque()
        self._under_way: deque[int] = deque()
        self._sent = 0
        self._waiting_since = time.monotonic()
        call.at_end.append(self._release)

    @property
    def left(self) -> int:
        """Frames not sent yet."""
        return len(self._order) + len(self._reading)

    def aim(self, around: int) -> None:
        """Move the playhead; frames that are being read already still come first."""
        self._order.aim(around)

    def credit(self, frames: int) -> None:
        """The client took in this many frames. Raises BackendError when so many are not under way."""
        if frames > len(self._under_way):
            raise BackendError(f"credit for {frames} frames, but {len(self._under_way)} are under way", code=Code.BODY)
        for _ in range(frames):
            self.call.client.bytes_under_way -= self._under_way.popleft()
        self._waiting_since = time.monotonic()

    def pump(self) -> None:
        """Start reading what may be sent; end the call when all is sent."""
        if self.call.finished:
            return
        while len(self._order) and self._has_room():
            slot = _Slot(self._order.take())
            self._reading.append(slot)
            self._start(slot)
        if not len(self._order) and not self._reading:
            self.call.ok(self._ended(self._sent))

    def check_stall(self, now: float) -> None:
        """End the call when the client has not given credit for long."""
        if self._under_way and not self._reading and now - self._waiting_since > STALL_SECONDS:
            self.call.fail(
                BackendError(
                    f"no credit for {STALL_SECONDS:.0f} s, {self.left} frames were not sent",
                    fix="ask for them again",
                    code=Code.STALLED,
                )
            )

    def _has_room(self) -> bool:
        if len(self._reading) >= READ_AHEAD or len(self._reading) + len(self._under_way) >= self._window:
            return False
        return self.call.client.bytes_under_way < self._max_bytes_under_way or not (self._under_way or self._reading)

    def _start(self, slot: _Slot) -> None:
        def read() -> list[Buffer]:
            body, arrays = self._read(slot.frame)
            return self.call.pack(Kind.FRAME, {"frame": slot.frame, **body}, arrays)

        def done(parts: list[Buffer]) -> None:
            slot.parts = parts
            self._deliver()

        self._pool.submit(read, done, self.call.fail, wanted=lambda: not self.call.finished)

    def _deliver(self) -> None:
        """Send what is read, in order, then go on."""
        while not self.call.finished and self._reading and (parts := self._reading[0].parts) is not None:
            self._reading.popleft()
            self.call.send(parts)
            self._count(sum(len(part) for part in parts))
        self.pump()

    def _count(self, size: int) -> None:
        self._sent += 1
        if not self.call.finished:  # sending may have found the client gone
            self._under_way.append(size)
            self.call.client.bytes_under_way += size
            self._waiting_since = time.monotonic()

    def _release(self) -> None:
        self.call.client.bytes_under_way -= sum(self._under_way)
        self._under_way.clear()
        self._reading.clear()


class _Slot:
    __slots__ = ("frame", "parts")

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self.parts: list[Buffer] | None = None


class Streams:
    """All streams, by their call."""

    def __init__(self) -> None:
        self._by_call: dict[Call, Stream] = {}

    def add(self, stream: Stream) -> None:
        """Begin to send."""
        self._by_call[stream.call] = stream
        stream.call.at_end.append(lambda: self._remove(stream))
        stream.pump()

    def of(self, client: Client, request_id: int) -> Stream | None:
        """The stream of this request, None when it has ended (or is none)."""
        call = client.calls.get(request_id)
        return self._by_call.get(call) if call else None

    def credit(self, client: Client, request_id: int, frames: int) -> None:
        """See Stream.credit; all streams of the client may go on then, because they share its room."""
        if stream := self.of(client, request_id):
            stream.credit(frames)
            self._pump(client)

    def check_stalls(self) -> None:
        now = time.monotonic()
        for stream in list(self._by_call.values()):
            stream.check_stall(now)

    def _pump(self, client: Client) -> None:
        for call in list(client.calls.values()):
            if stream := self._by_call.get(call):
                stream.pump()

    def _remove(self, stream: Stream) -> None:
        del self._by_call[stream.call]
        if stream.call.client.calls:
            self._pump(stream.call.client)
