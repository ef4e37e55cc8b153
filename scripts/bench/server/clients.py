"""Fifty clients that come and go for an hour, simulated in a minute or two: memory flat, nobody alive evicted.

    python scripts/bench/server/clients.py                 # 50 at a time, 3600 seconds at 40 times the speed
    python scripts/bench/server/clients.py --visits 500    # a short one

Clients stay for a while (in simulated minutes), ask what an idle Blender or a person at a terminal asks, and leave: in
order, or as a process that dies does, without a word. Three stay the whole time with a subscription each, as open
Blenders do; that none of them is ever forgotten is the point. The server may have 64 clients, so that those who left
and were kept would soon push others out. Prints one line a simulated five minutes, and at the end the figures.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

import zmq

from backend import wire
from backend.service.client import Client, find_server
from backend.wire import Kind, Message
from bench import figures
from tests.backend.conftest import write_small_run

STAY_SECONDS = 300.0
"""Simulated, of a visit in the mean: 50 clients at a time make 600 visits an hour."""
RESIDENTS = 3
WARM_SHARE = 0.2
"""Of the visits, after which memory has to be flat: threads, caches and pools are made by then."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50, help="at a time")
    parser.add_argument("--seconds", type=float, default=3600, help="simulated")
    parser.add_argument("--speed", type=float, default=40, help="simulated seconds a second")
    parser.add_argument("--visits", type=int, help="in place of --seconds, as fast as it goes")
    arguments = figures.parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number in range(5):
            write_small_run(home / "root" / f"run{number}", num_frames=4)
        with open(home / "log", "w") as log:
            command = [sys.executable, "-m", "legs4d", "serve", f"--root={home}/root", f"--state-dir={home}/state"]
            server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            while not (home / "state/server.json").exists():
                time.sleep(0.05)
            simulate(server.pid, home, arguments)
        finally:
            server.terminate()
            server.wait()


def simulate(pid: int, home: Path, arguments: argparse.Namespace) -> None:
    """Let clients come and go; raises AssertionError when one that lives was forgotten, or memory grew."""
    found, chance = find_server(home / "state"), random.Random(1)
    residents = [Client(found) for _ in range(RESIDENTS)]
    subscribed = [resident._send(Kind.SUBSCRIBE, {}) for resident in residents]
    clock = Clock(arguments.speed if arguments.visits is None else 0)
    leaving: list[tuple[float, int, Client]] = []
    visits, memory, began, told = 0, [], time.monotonic(), 0.0
    while clock.now < arguments.seconds if arguments.visits is None else visits < arguments.visits:
        if len(leaving) >= arguments.clients - RESIDENTS:
            when, _, client = heapq.heappop(leaving)
            clock.advance(when)
            ask_something(client, chance)  # it was idle for minutes, and is still known
            leave(client, chance)
        visits += 1
        client = Client(found)
        ask_something(client, chance)
        heapq.heappush(leaving, (clock.now + chance.expovariate(1 / STAY_SECONDS), visits, client))
        memory.append(resident_bytes(pid))
        if clock.now - told >= 300:
            told = clock.now
            print(f"{clock.now / 60:5.1f} min, {visits} visits, {memory[-1] / 2**20:.1f} MiB", flush=True)
    for _, _, client in leaving:
        client.close()
    deadline = time.monotonic() + 10
    while (left := residents[0].ask("status")["clients"]) > RESIDENTS and time.monotonic() < deadline:
        time.sleep(0.1)
    for resident, number in zip(residents, subscribed, strict=True):
        assert resident.ask("cancel", request=number)["cancelled"], "a client that stayed was forgotten"
        resident.close()
    warm = memory[int(WARM_SHARE * len(memory)) :]
    grown = max(warm[-len(warm) // 4 :]) - max(warm[: len(warm) // 4])
    log = (home / "log").read_text()
    evicted = log.count("idle longest")
    print(
        f"{visits} visits in {time.monotonic() - began:.0f} s ({clock.now / 60:.0f} simulated minutes), at most "
        f"{arguments.clients} at a time: {evicted} evicted, {left - RESIDENTS} not signed off; memory "
        f"{warm[0] / 2**20:.1f} to {warm[-1] / 2**20:.1f} MiB, last quarter over first {grown / 2**20:+.1f} MiB"
    )
    figures.record(
        "Server", f"{visits} visits of clients: memory, last quarter over first", grown / 2**20, "MiB", aim="4 MiB"
    )
    assert evicted == 0 and left == RESIDENTS, "clients that left were kept, or others evicted"
    assert grown < 4 * 2**20, "memory grew"


class Clock:
    """Simulated time, which waits for the real one at `speed` (0: it does not wait)."""

    def __init__(self, speed: float) -> None:
        self._speed, self._began = speed, time.monotonic()
        self.now = 0.0

    def advance(self, to: float) -> None:
        if self._speed:
            time.sleep(max(0.0, self._began + to / self._speed - time.monotonic()))
        self.now = max(self.now, to)


def ask_something(client: Client, chance: random.Random) -> None:
    """What an open Blender or a person at a terminal asks."""
    kind = chance.choice(("status", "runs", "jobs", "datasets", "open", "frames"))
    if kind == "frames":
        for event in client.events("frames", run="run1"):
            if event.kind == Kind.FRAME:
                client._send(Kind.CREDIT, {"request": event.id, "frames": 1})
    else:
        client.ask(kind, **({"run": f"run{chance.randrange(5)}"} if kind == "open" else {}))


def leave(client: Client, chance: random.Random) -> None:
    """In order, or in the middle of a question as a process that dies."""
    if chance.random() < 0.5:
        message = Message(Kind.RUNS, 1 << 40, {}, token=client._found.token)
        client._socket.send_multipart(wire.pack(message, wire.REQUEST_LIMITS), zmq.DONTWAIT)
    client.close()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
