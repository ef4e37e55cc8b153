"""/metrics (for Prometheus) and /healthz over HTTP, when asked for: numbers, and no names of runs or clients."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from backend.service.errors import BackendError

log = logging.getLogger("legs4d.backend")

ANSWER_SECONDS = 2.0
"""In which a server that is well tells of itself."""
REQUEST_SECONDS = 5.0
"""That whoever connects has for its request."""
MAX_AT_ONCE = 8
CLOSE_SECONDS = 0.1
"""How often it is looked whether to close."""
BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0)
"""Seconds, of the latency histogram."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Snapshot:
    """What the server's threads tell of themselves.

    Attributes:
        clients: that said hello.
        connections: that stand, strangers' too.
        waiting: messages kept for clients that are slow.
        unanswered: requests.
        sent, received: bytes since the start.
        jobs: state → number, those that are over too.
        devices: name → whether a job runs on it.
    """

    clients: int
    connections: int
    waiting: int
    unanswered: int
    sent: int
    received: int
    jobs: dict[str, int]
    devices: dict[str, bool]


class Metrics:
    """The registry of one server, and the address where it is read.

    Args:
        address: "HOST:PORT".
        beyond_loopback: whether that may be an address that other machines reach.
        snapshot: asks the server's threads, from any other; raises TimeoutError, which tells who does not answer.

    Raises:
        BackendError: that is no address, is beyond loopback without leave, or is taken.
    """

    def __init__(self, address: str, beyond_loopback: bool, snapshot: Callable[[float], Snapshot]) -> None:
        self._snapshot = snapshot
        self.registry = CollectorRegistry()
        self._requests = Counter("legs4d_requests", "Answered requests", ("kind", "outcome"), registry=self.registry)
        self._seconds = Histogram(
            "legs4d_request_seconds", "From a request to its reply", ("kind",), registry=self.registry, buckets=BUCKETS
        )
        self.registry.register(_Collector(self))
        host, port = _checked_address(address, beyond_loopback)
        try:
            self._http = _HttpServer((host, port), self)
        except OSError as error:
            raise BackendError(
                f"cannot be listened on ({error.strerror})", where=f"metrics {address}", fix="choose another port"
            ) from error
        self.address = f"http://{address.rpartition(':')[0]}:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(CLOSE_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def answered(self, kind: str, outcome: str, seconds: float) -> None:
        """A request was answered: `outcome` "ok", an error's code, or "gone" when its client was. Any thread."""
        self._requests.labels(kind, outcome).inc()
        self._seconds.labels(kind).observe(seconds)

    def text(self) -> bytes:
        """What Prometheus reads. Raises TimeoutError when the server's threads do not answer."""
        return generate_latest(self.registry)

    def ask(self) -> Snapshot:
        """Raises TimeoutError, which says which thread does not answer."""
        return self._snapshot(ANSWER_SECONDS)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Collector:
    """Turns a snapshot, taken when somebody asks, into metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []  # or registering would take a snapshot of a server that does not run yet

    def collect(self) -> Iterator[Metric]:
        now = self._metrics.ask()
        for name, text, value in (
            ("clients", "Clients that said hello", now.clients),
            ("connections", "Connections that stand", now.connections),
            ("waiting_messages", "Messages kept for clients that are slow", now.waiting),
            ("unanswered_requests", "Requests that are worked on", now.unanswered),
            ("queued_jobs", "Jobs that wait for a device", now.jobs.get("queued", 0)),
            ("memory_bytes", "Resident memory of the server, without its jobs", resident_bytes()),
        ):
            yield GaugeMetricFamily(f"legs4d_{name}", text, value)
        jobs = GaugeMetricFamily("legs4d_jobs", "Jobs that are kept, by state", labels=["state"])
        for state, count in sorted(now.jobs.items()):
            jobs.add_metric([state], count)
        devices = GaugeMetricFamily("legs4d_device_busy", "1 while a job runs on it", labels=["device"])
        for name, busy in now.devices.items():
            devices.add_metric([name], busy)
        yield from (jobs, devices)
        yield CounterMetricFamily("legs4d_sent_bytes", "Bytes sent to clients", now.sent)
        yield CounterMetricFamily("legs4d_received_bytes", "Bytes received in whole messages", now.received)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], metrics: Metrics) -> None:
        self.metrics = metrics
        self._places = threading.BoundedSemaphore(MAX_AT_ONCE)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a reader of the metrics went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server: _HttpServer

    def do_GET(self) -> None:
        metrics = self.server.metrics
        path = self.path.partition("?")[0]
        try:
            if path == "/metrics":
                self._answer(200, metrics.text())
            elif path == "/healthz":
                metrics.ask()
                self._answer(200, b"ok\n")
            else:
                self._answer(404, b"there are /metrics and /healthz\n")
        except TimeoutError as error:
            self._answer(503, f"{error}\n".encode())

    def _answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "legs4d"

    def log_message(self, format: str, *values: Any) -> None:
        log.debug("metrics: " + format, *values)


def _checked_address(address: str, beyond_loopback: bool) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65_536:
        raise BackendError(f"{address[:60]!r} is no address", where="metrics", fix="write HOST:PORT, as 127.0.0.1:9404")
    try:
        loopback = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback
    except ValueError:
        raise BackendError(
            f"{host[:60]!r} is no address of an interface", where="metrics", fix="write numbers, as 127.0.0.1:9404"
        ) from None
    if not loopback and not beyond_loopback:
        raise BackendError(
            f"{host} can be reached from other machines, which would read the metrics without a key",
            where="metrics",
            fix="listen on 127.0.0.1, or allow it with --metrics-beyond-loopback",
        )
    return host, int(port)


def resident_bytes() -> int:
    """Memory of this process that is in use now; on systems other than Linux the most that it was."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
