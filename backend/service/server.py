"""The server: its socket, owned by one thread, and what every request goes through."""

from __future__ import annotations

import logging
import math
import os
import secrets
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import zmq

from backend import access, wire
from backend.compute.dispatcher import Compute
from backend.compute.requests import ComputeRequests
from backend.jobs.devices import Device, choose_devices, find_devices
from backend.jobs.kinds import JOB_KINDS
from backend.jobs.queue import Jobs
from backend.jobs.requests import JobRequests
from backend.jobs.subscriptions import Subscriptions
from backend.runs.library import Library
from backend.runs.paths import Roots
from backend.runs.requests import Handler, RunRequests
from backend.service import requests
from backend.service.clients import Call, Client, Clients
from backend.service.config import ServerConfig
from backend.service.errors import BackendError, error_body
from backend.service.keys import authorized
from backend.service.listener import Listener
from backend.service.logs import start_logging
from backend.service.loop import Loop
from backend.service.memory import keep_freed_memory
from backend.service.state import announce, hold_state
from backend.uploads.inbox import Inbox
from backend.uploads.requests import UploadRequests
from backend.wire import Code, Kind, Message, WireError
from legs4d import __version__
from legs4d.cluster import check_answers
from legs4d.errors import Legs4dError

if TYPE_CHECKING:
    from backend.service.metrics import Metrics, Snapshot

log = logging.getLogger("legs4d.backend")

MESSAGES_PER_TURN = 100
"""Received at most before results of the other threads are looked at."""
RETRY_SECONDS = 0.01
"""How often a full queue is tried again."""
CHECK_SECONDS = 1.0
"""How often it is looked for what nobody tells: stalled streams, revoked keys, old files."""
IO_THREADS = 2
"""Of ZeroMQ, so that small answers of half of the clients do not wait while another one's frame is copied."""
SWITCH_INTERVAL = 0.0005
"""Seconds until a computing thread must let the socket's thread have its turn (Python's default of 5 ms is longer than
a small request may take)."""


class Server:
    """A server that listens from now on, and answers while `run` runs.

    Args:
        config: where to listen, and limits.
        roots: folders that are served.
        state_dir: where jobs and their logs are kept; this process must hold it (`hold_state`).
        devices: what jobs may run on.

    Raises:
        BackendError: the port is taken, or the job list is damaged.
    """

    def __init__(self, config: ServerConfig, roots: Roots, state_dir: Path, devices: list[Device]) -> None:
        self._roots, self._devices, self._limits = roots, devices, config.limits
        self.token = secrets.token_hex(16)
        self._loop = Loop()
        self._subscriptions = Subscriptions()
        self._context = zmq.Context(IO_THREADS)
        self.listener = Listener(self._context, config, state_dir, partial(self._loop.post, self._sign_off))
        self._socket = self.listener.socket
        self._jobs = Jobs(
            state_dir,
            roots,
            devices,
            partial(self._loop.post, self._subscriptions.publish),
            cluster=config.cluster,
            store=config.store,
            max_queued=config.limits.jobs,
        )
        self._clients = Clients(self._socket, config.limits.clients, config.limits.requests)
        library = Library(roots)
        self._runs = RunRequests(library, self._loop, config.limits.stream_mib * 2**20)
        self._compute = Compute(state_dir, devices[0].name, self._loop)
        self._computed = ComputeRequests(library, self._compute, self._loop)
        self._uploads = UploadRequests(Inbox(roots.folders[0], config.limits), self._jobs, self._loop)
        self._handlers: dict[str, Handler] = {
            Kind.HELLO: self._hello,
            Kind.STATUS: self._status,
            **self._runs.handlers,
            **self._computed.handlers,
            **self._uploads.handlers,
            **JobRequests(self._jobs, self._subscriptions, self._loop).handlers,
        }
        self._stopping = False
        self._started = time.monotonic()
        self._received = 0
        self.metrics = self._make_metrics(config)
        self._jobs.start()

    def _make_metrics(self, config: ServerConfig) -> Metrics | None:
        if config.metrics is None:
            return None
        from backend.service.metrics import Metrics

        try:
            metrics = Metrics(config.metrics, config.metrics_beyond_loopback, self.snapshot)
        except BaseException:
            self.listener.close()
            raise
        self._clients.outlet.answered = metrics.answered
        return metrics

    def snapshot(self, seconds: float) -> Snapshot:
        """What this server's threads tell of themselves, asked from another one. Raises TimeoutError."""
        from backend.service.metrics import Snapshot

        told: dict[str, Any] = {}
        answers = {name: threading.Event() for name in ("jobs", "socket")}

        def tell(name: str, found: dict[str, Any]) -> None:
            told.update(found)
            answers[name].set()

        def tell_of_socket() -> None:
            outlet, guard = self._clients.outlet, self.listener.guard
            found = {
                "clients": len(self._clients),
                "connections": guard.connections,
                "waiting": self._clients.waiting,
                "unanswered": self._clients.unanswered,
                "sent": outlet.sent,
                "received": self._received,
            }
            tell("socket", found)

        def of_jobs() -> dict[str, Any]:
            devices = self._jobs.status()["devices"]
            return {"jobs": self._jobs.counts(), "devices": {d["name"]: d["job"] is not None for d in devices}}

        self._loop.post(tell_of_socket)
        self._jobs.ask(of_jobs, lambda found: tell("jobs", found), log.error, lambda done, found: done(found))
        for name, event in answers.items():
            if not event.wait(seconds):
                raise TimeoutError(f"the {name} thread has not answered for {seconds:g} s")
        return Snapshot(**told)

    def stop_on_signals(self) -> None:
        """Have SIGTERM and SIGINT end `run`. For the main thread, which must be the one that calls `run`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._loop.wake_on_signals()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(number).name)
        self._stopping = True

    def stop_at_end_of(self, stream: IO[bytes]) -> None:
        """Have `run` end when nobody can write into this any more. Reads it, so for a thread of its own."""
        while stream.read(4096):
            pass
        log.info("standard input was closed: stopping")
        self._loop.post(self._stop)

    def _stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """Serve until a signal says stop; then let jobs finish their step (they go on at the next start) and close."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._loop.fileno(), zmq.POLLIN)
        next_check = time.monotonic() + CHECK_SECONDS
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
                    self._uploads.check_sweep()
                    self._shut_out()
                    self._clients.sign_off_absent(self.listener.guard.is_open)
                    next_check = time.monotonic() + CHECK_SECONDS
        finally:
            self._close()

    def _close(self) -> None:
        if self.metrics:
            self.metrics.close()
        self._clients.end_all(BackendError("the server stops", fix="connect again later", code=Code.SHUTDOWN))
        self._runs.close()
        self._computed.close()
        self._uploads.close()
        self._compute.close()
        self._jobs.stop()
        self.listener.close()
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
                if parts and self.listener.knows(parts[0]):
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
            self.listener.guard.took(part)
            self._received += len(part)
            index += 1

    def _take(self, identity: bytes, parts: Sequence[zmq.Frame]) -> None:
        client = self._clients.get(identity)
        message_id, kind = 0, ""
        try:
            message = wire.unpack(parts, wire.REQUEST_LIMITS)
            message_id = message.id
            self._check(message)
            kind = message.kind
            body = requests.read_body(kind, dict(message.body))
            if message.arrays and kind != Kind.UPLOAD:
                raise BackendError(f"'{kind}' carries no arrays", fix="leave them out", code=Code.MALFORMED)
            if isinstance(body, requests.Hello):
                client = self._admit(identity, body, parts[0])
            if client is None:
                raise BackendError("this connection has not said hello", fix="send 'hello'", code=Code.HELLO_FIRST)
            call = self._clients.begin(client, message_id, kind)
            call.arrays = message.arrays
        except (WireError, Legs4dError) as error:
            self._refuse(identity, client, getattr(error, "request_id", message_id), kind, error)
            return
        try:
            self._handlers[kind](call, body)
        except Exception as error:
            call.fail(error)

    def _admit(self, identity: bytes, body: requests.Hello, frame: zmq.Frame) -> Client:
        self._sign_off()  # first who had this descriptor before, lest the new client be taken for it
        name = f"{body.client} {body.version}"
        return self._clients.admit(identity, name, *self.listener.who(frame), frame.get(zmq.SRCFD))

    def _shut_out(self) -> None:
        """End the conversation with whoever's key was revoked since."""
        gate = self.listener.gate
        if gate is not None:
            for descriptor in self._clients.shut_out(lambda key: gate.name_of(key) is not None):
                self.listener.guard.end(descriptor)

    def _sign_off(self) -> None:
        for descriptor in self.listener.guard.departed():
            self._clients.sign_off(descriptor)

    def _check(self, message: Message) -> None:
        """The token before all else: strangers learn nothing but that it is wrong."""
        if self.listener.gate is None and not access.same_token(message.token, self.token):
            raise BackendError(
                "the token is not this server's",
                fix=f"read it from {access.SERVER_FILE} in the state folder; it is new at every start",
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

    def _refuse(self, identity: bytes, client: Client | None, message_id: int, kind: str, error: Exception) -> None:
        reply = Message(Kind.ERROR, message_id, error_body(error))
        kind = kind if kind in self._handlers else "unknown"
        self._clients.outlet.answered(kind, reply.body["code"], 0.0)
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
                "kinds": list(JOB_KINDS),
                "upload": {"piece": wire.UPLOAD_BYTES, "largest": self._limits.upload_mib << 20},
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


def serve(config: ServerConfig, *, stop_with_stdin: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; what `legs4d serve` does.

    Args:
        stop_with_stdin: also stop when standard input closes: with the program that started this one.

    Raises:
        BackendError: a root is no folder, the port is taken, or another server uses this state folder.
    """
    start_logging(config.log, config.log_file, mib=config.log_mib, files=config.log_files)
    sys.setswitchinterval(SWITCH_INTERVAL)
    keep_freed_memory()
    folder = config.state_dir or access.state_dir()
    roots = Roots(config.roots or [Path.cwd()])
    if config.cluster:
        check_answers(config.cluster)
    devices = choose_devices(config.devices) if config.devices else find_devices()
    with hold_state(folder):
        server = Server(config, roots, folder, devices)
        server.stop_on_signals()
        if stop_with_stdin:
            threading.Thread(target=server.stop_at_end_of, args=(sys.stdin.buffer,), daemon=True).start()
        with announce(folder, server.listener.access, server.token) as file:
            _say_hello(server, config, roots, devices, file)
            server.run()
    log.info("stopped")


def _say_hello(server: Server, config: ServerConfig, roots: Roots, devices: list[Device], file: Path) -> None:
    listener = server.listener
    who = "this machine only" if not config.beyond_loopback else "other machines too, with keys"
    print(f"legs4d {__version__} listens on {listener.address} ({who})")
    lines = [("clients find it by", str(file))]
    if listener.gate:
        names = ", ".join(one.name for one in authorized(file.parent)) or "nobody yet: legs4d keys authorize"
        lines += [("its public key is", shlex.quote(listener.access.server_key)), ("it lets in", names)]
    lines += [("runs and datasets in" if i == 0 else "", str(root)) for i, root in enumerate(roots.folders)]
    lines += [("jobs run on" if i == 0 else "", f"{d.name} ({d.description})") for i, d in enumerate(devices)]
    if server.metrics:
        lines.append(("metrics at", f"{server.metrics.address}/metrics, /healthz"))
    if config.log_file:
        lines.append(("its log is", str(config.log_file)))
    if config.cluster:
        lines.append(("trainings use Ray at", config.cluster))
    for label, value in lines:
        print(f"  {label:20} {value}")
    print("Stop it with Ctrl+C; jobs that are not done go on at the next start.", flush=True)
