"""Measures the backend over loopback: round trips idle and beside a stream, and streaming against plain ZeroMQ.

.venv/bin/python scripts/bench/server/wire.py [--gaussians 300000] [--frames 40] [--clients 50]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import zmq

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from backend import access, wire
from backend.service.config import ServerConfig
from backend.service.server import serve
from bench import figures
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run

RUN = "run"
ROUND_TRIPS = 1000
REPEATS = 5
"""Transfers of each sort, taken in turn; the best of each counts, so that other work on the machine matters less."""
WINDOW = 16

spawn = multiprocessing.get_context("spawn")


class Connection:
    """A client that does no more than the protocol asks of it."""

    def __init__(self, state_dir: Path) -> None:
        found = access.read_server_file(state_dir)
        assert found is not None
        self._token = found.token
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(found.endpoint)
        self._last = 0
        self.ask("hello", client="bench", version="1")

    def send(self, kind: str, **body: object) -> int:
        self._last += 1
        self.socket.send_multipart(wire.pack(wire.Message(kind, self._last, body, token=self._token)))
        return self._last

    def receive(self) -> wire.Message:
        return wire.unpack(self.socket.recv_multipart(copy=False))

    def ask(self, kind: str, **body: object) -> wire.Message:
        self.send(kind, **body)
        return self.receive()

    def stream(self, precision: str) -> int:
        """Bytes of all frames of the run, one credit for each."""
        request, received = self.send("frames", run=RUN, window=WINDOW, precision=precision), 0
        while (message := self.receive()).kind != "ok" or message.id != request:
            assert message.kind != "error", message.body
            if message.kind == "frame":
                received += sum(array.nbytes for array in message.arrays.values())
                self.send("credit", request=request, frames=1)
        return received


def make_run(folder: Path, count: int, frames: int) -> None:
    """`count` moving Gaussians; all frames are the same files."""
    rng = np.random.default_rng(0)
    flat = [rng.normal(size=(count, width)).astype(np.float32) for width in (3, 4, 3, 3)]
    moving = Gaussians(flat[0], flat[1], flat[2], np.ones(count, np.float32), flat[3], np.ones(count, np.bool_))
    run = Run.create(folder)
    run.write_geometry(moving.take([0]), moving, frames)
    for name in ("means", "quats", "colors"):
        array = folder / "run.zarr" / "dynamic" / name
        for frame in range(1, frames):
            os.link(array / "c.0.0.0", array / f"c.{frame}.0.0")


def run_server(root: Path, state_dir: Path) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 open as long as the process
    serve(ServerConfig(roots=[root], state_dir=state_dir))


def stream_until(state_dir: Path, started: Event, stop: Event) -> None:
    connection = Connection(state_dir)
    while not stop.is_set():
        connection.stream("float32")
        started.set()


def send_plain(port: int, count: int, frames: int, transfers: int) -> None:
    """The same parts from a ROUTER that does nothing else."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    socket.bind(f"tcp://127.0.0.1:{port}")
    arrays = [np.zeros((count, width), np.float32) for width in (3, 4, 3)]
    parts = wire.pack(wire.Message("frame", 1, {"frame": 0}, dict(zip("mqc", arrays, strict=True))))
    for _ in range(transfers):
        identity, _ = socket.recv_multipart()
        for _ in range(frames):
            socket.send_multipart([identity, *parts], copy=False)
    zmq.Context.instance().destroy(linger=-1)


def round_trips(connection: Connection) -> tuple[float, float]:
    """(median, 99th percentile) of a small request, in ms."""
    times = []
    for _ in range(ROUND_TRIPS):
        begin = time.perf_counter()
        connection.ask("aim", request=1, around=0)
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def rate(transfer: Callable[[], int]) -> float:
    """GB/s."""
    begin = time.perf_counter()
    received = transfer()
    return received / (time.perf_counter() - begin) / 1e9


def receive_plain(socket: zmq.Socket[bytes], frames: int) -> int:
    socket.send(b"go")
    return sum(len(part) for _ in range(frames) for part in socket.recv_multipart(copy=False)[1:])


def measure(folder: Path, gaussians: int, frames: int, clients: int) -> None:
    state_dir, root = folder / "state", folder / "root"
    make_run(root / RUN, gaussians, frames)
    server = spawn.Process(target=run_server, args=(root, state_dir))
    server.start()
    while access.read_server_file(state_dir) is None:
        time.sleep(0.05)
    connection = Connection(state_dir)
    others = [Connection(state_dir) for _ in range(clients - 1)]
    print(f"{gaussians} moving Gaussians, {frames} frames, {len(others) + 1} clients, {os.cpu_count()} cores,", end=" ")
    print(f"load {os.getloadavg()[0]:.1f} before")
    tell_round_trips("nothing else", connection, clients)
    started, stop = spawn.Event(), spawn.Event()
    streaming = spawn.Process(target=stream_until, args=(state_dir, started, stop))
    streaming.start()
    started.wait()
    tell_round_trips("beside a stream", connection, clients)
    stop.set()
    streaming.join()
    compare_rates(connection, gaussians, frames)
    server.terminate()
    server.join()


def tell_round_trips(beside: str, connection: Connection, clients: int) -> None:
    said = "median {:.2f} ms, p99 {:.2f} ms".format(*round_trips(connection))
    print(f"{f'round trip, {beside}:':32}{said}")
    figures.record("Server", f"small request, {clients} clients, {beside}", said, aim="2 ms median, 10 ms p99")


def compare_rates(connection: Connection, gaussians: int, frames: int) -> None:
    probe: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    port = probe.bind_to_random_port("tcp://127.0.0.1")
    probe.close(0)
    plain_sender = spawn.Process(target=send_plain, args=(port, gaussians, frames, REPEATS))
    plain_sender.start()
    plain_socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    plain_socket.connect(f"tcp://127.0.0.1:{port}")
    streamed, plain = [], []
    for _ in range(REPEATS):
        plain.append(rate(lambda: receive_plain(plain_socket, frames)))
        streamed.append(rate(lambda: connection.stream("float32")))
    halves = max(rate(lambda: connection.stream("float16")) for _ in range(2))
    integers = max(rate(lambda: connection.stream("uint16")) for _ in range(2))
    plain_sender.join()
    print(f"streaming, float32:             {max(streamed):.2f} GB/s")
    print(f"plain ZeroMQ, the same bytes:   {max(plain):.2f} GB/s")
    print(f"ratio:                          {max(streamed) / max(plain):.2f}")
    said = f"{max(streamed):.2f} GB/s; {max(streamed) / max(plain):.2f} of it"
    figures.record(
        "Server", f"frames, float32, {gaussians} Gaussians; of plain ZeroMQ", said, aim="1 GB/s or 0.6 of it"
    )
    frame_mb = gaussians * 10 * 2 / 1e6
    print(f"streaming, float16:             {halves:.2f} GB/s, {halves * 1e3 / frame_mb:.0f} frames/s")
    print(f"streaming, uint16:              {integers:.2f} GB/s, {integers * 1e3 / frame_mb:.0f} frames/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaussians", type=int, default=300_000)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--clients", type=int, default=50)
    options = figures.parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.gaussians, options.frames, options.clients)


if __name__ == "__main__":
    main()
