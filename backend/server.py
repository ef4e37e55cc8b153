"""The server: its socket, owned by one thread, and what every request goes through."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import zmq

from backend import requests, wire
from backend.clients import Call, Client, Clients
from backend.compute import Compute
from backend.compute_requests import ComputeRequests
from backend.devices import Device, find_devices
from backend.errors import BackendError, error_body
from backend.job_requests import JobRequests
from backend.jobs import Jobs
from backend.library import Library
from backend.loop import Loop
from backend.paths import Roots
from backend.run_requests import Handler, RunRequests
from backend.state import announce, hold_state
from backend.subscriptions import Subscriptions
from backend.wire import Code, Kind, Message, WireError
from legs4d import __version__
from legs4d.errors import Legs4dError

log = logging.getLogger("legs4d.backend")

HOST = "127.0.0.1"
MESSAGES_PER_TURN = 100
"""Received at most before results of the other threads are looked at."""
RETRY_SECONDS = 0.01
"""How often a full queue is tried again."""
STALL_CHECK_SECONDS = 5.0
HEARTBEAT_MS = 10_000
LINGER_MS = 500
SWITCH_INTERVAL = 0.0005
"""Seconds until a computing thread must let the socket's thread have its turn (Python's default of 5 ms is longer than
a small request may take)."""


class Server:
    """A server that listens from now on, and answers while `run` runs.

    Args:
        roots: folders that are served.
        port: TCP port on the loopback interface, 0 for any free one.
        state_dir: where jobs and their logs are kept; this process must hold it (`hold_state`).
        devices: what jobs may run on.

    Raises:
        BackendError: the port is taken, or the job list is damaged.
    """

    def __init__(self, roots: Roots, port: int, state_dir: Path, devices: list[Device]) -> None:
        self._roots, self._devices = roots, devices
        self.token = secrets.token_hex(16)
        self._loop = Loop()
        self._subscriptions = Subscriptions()
        self._jobs = Jobs(state_dir, roots, devices, partial(self._loop.post, self._subscriptions.publish))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self.endpoint = _bind(self._socket, port)
        self._clients = Clients(self._socket)
        library = Library(roots)
        self._runs = RunRequests(library, self._loop)
        self._compute = Compute(state_dir, devices[0].name, self._loop)
        self._computed = ComputeRequests(library, self._compute, self._loop)
        self._handlers: dict[Kind, Handler] = {
            Kind.HELLO: self._hello,
            Kind.STATUS: self._status,
            **self._runs.handlers,
            **self._computed.handlers,
            **JobRequests(self._jobs, self._subscriptions, self._loop).handlers,
        }
        self._stopping = False
        self._started = time.monotonic()
        self._jobs.start()

    def stop_on_signals(self) -> None:
        """Have SIGTERM and SIGINT end `run`. For the main thread, which must be the one that calls `run`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._loop.wake_on_signals()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(number).name)
        self._stopping = True

    def run(self) -> None:
        """Serve until a signal says stop; then let jobs finish their step (they go on at the next start) and close."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._loop.fileno(), zmq.POLLIN)
        next_check = time.monotonic() + STALL_CHECK_SECONDS
        try:
            while not self._stopping:
                deadline = time.monotonic() + RETRY_SECONDS if self._clients.outlet.waiting else next_check
                poller.poll(max(0, math.ceil((deadline - time.monotonic()) * 1000)))
                self._receive_some()
                self._loop.run_posted()
                self._clients.outlet.flush()
                if time.monotonic() >= next_check:
                    self._runs.check_stalls()
                    self._compute.check_idle()
                    next_check = time.monotonic() + STALL_CHECK_SECONDS
        finally:
            self._close()

    def _close(self) -> None:
        self._clients.end_all(BackendError("the server stops", fix="connect again later", code=Code.SHUTDOWN))
        self._runs.close()
        self._computed.close()
        self._compute.close()
        self._jobs.stop()
        self._socket.close(LINGER_MS)
        self._context.term()
        signal.set_wakeup_fd(-1)
        self._loop.close()

    def _receive_some(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            try:
                identity = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            parts = list(self._rest_of_message())
            try:
                self._take(identity, parts)
            except Exception:  # whatever it is, it must not stop the server
                log.exception("defect while handling a message")

    def _rest_of_message(self) -> Iterator[zmq.Frame]:
        """Its parts, of which no more are kept than a message may have, and one to see that it has more."""
        index = 0
        while self._socket.getsockopt(zmq.RCVMORE):
            part = self._socket.recv(copy=False)
            if index <= wire.REQUEST_LIMITS.arrays + 1:
                yield part
            index += 1

    def _take(self, identity: bytes, parts: Sequence[zmq.Frame]) -> None:
        client = self._clients.get(identity)
        message_id = 0
        try:
            message = wire.unpack(parts, wire.REQUEST_LIMITS)
            message_id = message.id
            self._check(message)
            kind = Kind(message.kind)
            body = requests.read_body(kind, dict(message.body))
            if isinstance(body, requests.Hello):
                client = self._clients.admit(identity, f"{body.client} {body.version}")
            if client is None:
                raise BackendError("this connection has not said hello", fix="send 'hello'", code=Code.HELLO_FIRST)
            call = self._clients.begin(client, message_id, kind)
        except (WireError, Legs4dError) as error:
            self._refuse(identity, client, getattr(error, "request_id", message_id), error)
            return
        try:
            self._handlers[kind](call, body)
        except Exception as error:
            call.fail(error)

    def _check(self, message: Message) -> None:
        """The token before all else: strangers learn nothing but that it is wrong."""
        if not wire.same_token(message.token, self.token):
            raise BackendError(
                "the token is not this server's",
                fix=f"read it from {wire.SERVER_FILE} in the state folder; it is new at every start",
                code=Code.TOKEN,
            )
        if message.id == 0:
            raise BackendError("the request has no id", fix=f"number requests from 1 to {wire.MAX_ID}", code=Code.BODY)
        if message.kind not in self._handlers:
            raise BackendError(
                f"there is no request {message.kind[:60]!r}",
                fix=f"the requests are {', '.join(sorted(self._handlers))}",
                code=Code.UNKNOWN_KIND,
            )

    def _refuse(self, identity: bytes, client: Client | None, message_id: int, error: Exception) -> None:
        reply = Message(Kind.ERROR, message_id, error_body(error))
        if client is None:
            self._clients.outlet.send_to_stranger(identity, reply)
        else:
            self._clients.outlet.send(client, wire.pack(reply))

    def _hello(self, call: Call, body: requests.Hello) -> None:
        call.ok(
            {
                "server": "legs4d",
                "version": __version__,
                "protocol": wire.PROTOCOL_VERSION,
                "devices": [{"name": d.name, "description": d.description} for d in self._devices],
                "roots": [str(folder) for folder in self._roots.folders],
            }
        )

    def _status(self, call: Call, body: requests.Empty) -> None:
        about = {
            "version": __version__,
            "pid": os.getpid(),
            "seconds": time.monotonic() - self._started,
            "clients": len(self._clients),
            "roots": [str(folder) for folder in self._roots.folders],
        }
        self._jobs.ask(self._jobs.status, lambda status: call.ok({**about, **status}), call.fail, self._loop.post)


def serve(roots: Sequence[Path] = (), port: int = 0, state_dir: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; what `legs4d serve` does.

    Args:
        roots: folders whose runs and datasets clients may use, the current folder if none is given.
        port: TCP port on the loopback interface, 0 for any free one.
        state_dir: where the server file, jobs and logs are; `wire.state_dir()` if None.

    Raises:
        BackendError: a root is no folder, the port is taken, or another server uses this state folder.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    sys.setswitchinterval(SWITCH_INTERVAL)
    folder = state_dir or wire.state_dir()
    allowed = Roots(list(roots) or [Path.cwd()])
    devices = find_devices()
    with hold_state(folder):
        server = Server(allowed, port, folder, devices)
        server.stop_on_signals()
        with announce(folder, server.endpoint, server.token) as file:
            _say_hello(server, allowed, devices, file)
            server.run()
    log.info("stopped")


def _say_hello(server: Server, roots: Roots, devices: list[Device], file: Path) -> None:
    print(f"legs4d {__version__} listens on {server.endpoint} (this machine only)")
    print(f"  clients find it by  {file}")
    for index, root in enumerate(roots.folders):
        print(f"  {'runs and datasets in' if index == 0 else '':19} {root}")
    for index, device in enumerate(devices):
        print(f"  {'jobs run on' if index == 0 else '':19} {device.name} ({device.description})")
    print("Stop it with Ctrl+C; jobs that are not done go on at the next start.", flush=True)


def _bind(socket: zmq.Socket[bytes], port: int) -> str:
    """Loopback only. A message part over the limit closes its connection before it fills memory."""
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.REQUEST_LIMITS.part)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    try:
        socket.bind(f"tcp://{HOST}:{port or '*'}")
    except zmq.ZMQError as error:
        raise BackendError(
            f"cannot listen on port {port} ({error.strerror})", fix="choose another --port, or none for any free one"
        ) from error
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT)).rstrip("\0")
