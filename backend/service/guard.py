"""Ends connections that pile up what libzmq does not bound: too many of them, or a message that never ends; and knows
which have ended.

libzmq bounds one part of a message and the number of whole messages that wait, but keeps an unfinished multipart
message of any length for whoever is connected, with or without a token. So this watches, per connection, how many
bytes the system received (TCP_INFO, on Linux) against how many reached us in whole messages. Elsewhere only the number
of connections is bounded; docs/threat-model.md says so.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator

import zmq
from zmq.utils.monitor import recv_monitor_message

log = logging.getLogger("legs4d.backend")

CHECK_MS = 100
MAX_UNREAD = 48 * 2**20
"""Bytes that one connection may have sent beyond its whole messages: those that wait (listener.WAITING_MESSAGES times
the longest message) are 32 MiB, the rest is an unfinished message."""
CONNECTIONS_PER_CLIENT = 2
SPARE_CONNECTIONS = 16
PART_OVERHEAD = 96
"""Bytes around a part at most: framing, encryption, its share of heartbeats."""
_BYTES_RECEIVED = struct.Struct("@128xQ")
"""Where struct tcp_info has tcpi_bytes_received (Linux 4.1 and later)."""


class Guard:
    """Watches the connections of one listening socket, from a thread of its own.

    Args:
        watched: not bound yet, so that no connection escapes.
        clients: how many clients the server serves; some connections more are let in.
        left: called in the guard's thread after connections have ended; `departed` says which.
    """

    def __init__(self, watched: zmq.Socket[bytes], clients: int, left: Callable[[], None] = lambda: None) -> None:
        self._watched, self._left = watched, left
        self._max_connections = CONNECTIONS_PER_CLIENT * clients + SPARE_CONNECTIONS
        self._open: set[int] = set()
        self._departed: deque[int] = deque()
        self._taken: defaultdict[int, int] = defaultdict(int)
        self._monitor = watched.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED)
        self._lock = threading.Lock()
        """Of the monitor, which two threads read."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)
        self._thread.start()

    def took(self, part: zmq.Frame) -> None:
        """A part of a whole message reached us. Called by the socket's thread."""
        self._taken[part.get(zmq.SRCFD)] += len(part) + PART_OVERHEAD

    def departed(self) -> Iterator[int]:
        """Descriptors of connections that have ended since the last call. Called by the socket's thread.

        libzmq tells of an end before it closes the descriptor, so before a new connection can have the same one: who
        calls this before it admits a new client cannot take that client for the one that left.
        """
        self._read_monitor()
        while self._departed:
            yield self._departed.popleft()

    def end(self, descriptor: int) -> None:
        """End a connection that stands."""
        if descriptor in self._open:
            _shut(descriptor)

    @property
    def connections(self) -> int:
        """How many stand."""
        return len(self._open)

    def is_open(self, descriptor: int) -> bool:
        """Whether a connection with this descriptor stands, as far as libzmq has told: it may tell a little late."""
        return descriptor in self._open

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        self._thread.join()
        self._watched.disable_monitor()
        self._monitor.close(0)

    def _watch(self) -> None:
        while not self._closing.wait(CHECK_MS / 1000):
            self._read_monitor()
            if self._departed:
                self._left()
            if sys.platform == "linux":
                for descriptor in list(self._open):
                    self._check(descriptor)

    def _read_monitor(self) -> None:
        with self._lock:
            while self._monitor.poll(0):
                message = recv_monitor_message(self._monitor)
                self._note(message["event"], message["value"])

    def _note(self, event: int, descriptor: int) -> None:
        if event != zmq.EVENT_ACCEPTED:
            self._open.discard(descriptor)
            self._departed.append(descriptor)
        elif len(self._open) >= self._max_connections:
            log.warning("a connection was refused: there are %d", len(self._open))
            _shut(descriptor)
        else:
            self._open.add(descriptor)
            self._taken[descriptor] = 0

    def _check(self, descriptor: int) -> None:
        received = _received(descriptor)
        if received is None:  # it has ended; the monitor is about to say so
            return
        taken = self._taken[descriptor] = min(self._taken[descriptor], received)
        if received - taken > MAX_UNREAD:
            log.warning("a connection was ended: %d MiB of an unfinished message", (received - taken) >> 20)
            _shut(descriptor)


def _received(descriptor: int) -> int | None:
    """Bytes that came over this TCP connection so far; None when it is none any more."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    except OSError as error:
        if error.errno in (errno.EBADF, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.ENOPROTOOPT, errno.ENOTCONN):
            return None
        raise
    return int(_BYTES_RECEIVED.unpack(information)[0]) if len(information) == _BYTES_RECEIVED.size else 0


def _shut(descriptor: int) -> None:
    """End the connection under libzmq, which then frees what it kept for it."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("the connection had ended")
