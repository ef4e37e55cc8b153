"""Measures a server at work: memory beside a slow client, prompts while a job trains, how soon a job is cancelled.

.venv/bin/python scripts/bench/server/backend.py memory [--frames 10000]
.venv/bin/python scripts/bench/server/backend.py prompts RUN DATASET [--prompts 30]

RUN has language, DATASET is what a job trains on meanwhile (on the CPU); both are copied by link into a scratch root.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from backend import access
from backend.service.client import Client, find_server
from bench import figures
from bench.server.wire import Connection, make_run

WARM_UP = 0.1
"""Share of the frames before memory is looked at: buffers and threads come into being once."""
WORDS = ("red", "small", "flying", "wooden", "round", "falling", "bright", "heavy", "spinning", "open")


@contextmanager
def server(root: Path, state_dir: Path) -> Iterator[int]:
    """A server process; its id."""
    options = [f"--root={root}", f"--state-dir={state_dir}"]
    with open(os.devnull, "wb") as silent:
        process = subprocess.Popen(
            [sys.executable, "-m", "legs4d", "serve", *options],
            stdout=silent,
            stderr=silent,
            cwd=Path(__file__).parents[3],
        )
    try:
        while access.read_server_file(state_dir) is None:
            assert process.poll() is None, "the server did not start"
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def resident(pid: int) -> float:
    """MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_memory(folder: Path, frames: int) -> None:
    """A client that takes every frame late, and now and then none at all for a second."""
    make_run(folder / "root" / "run", 20_000, 50)
    with server(folder / "root", folder / "state") as pid:
        connection, taken, samples = Connection(folder / "state"), 0, []
        while taken < frames:
            request = connection.send("frames", run="run", window=8)
            while (message := connection.receive()).kind != "ok" or message.id != request:
                if message.kind != "frame":
                    continue
                taken += 1
                time.sleep(1.0 if taken % 1000 == 0 else 0.001)
                connection.send("credit", request=request, frames=1)
                if taken > WARM_UP * frames and taken % 100 == 0:
                    samples.append(resident(pid))
    middle = statistics.median(samples)
    print(f"{taken} frames of 0.8 MB to a slow client: {min(samples):.0f} to {max(samples):.0f} MiB resident, ", end="")
    print(f"{100 * (min(samples) / middle - 1):+.1f} % to {100 * (max(samples) / middle - 1):+.1f} % of its median")
    said = f"{min(samples):.0f} to {max(samples):.0f} MiB"
    figures.record("Server", f"memory over {taken} frames to a slow client", said, aim="± 5 %")


def ask_prompts(connection: Connection, count: int) -> tuple[float, float]:
    """(median, longest) until the answer is here, in ms; no prompt twice."""
    times = []
    for number in range(count):
        prompt = f"a {WORDS[number % 10]} thing, the {number + 2}th"
        begin = time.perf_counter()
        request = connection.send("query", run="run", prompt=prompt, per_gaussian=False)
        message = connection.receive()
        while message.id != request:
            message = connection.receive()
        assert message.kind == "answer", message.body
        times.append((time.perf_counter() - begin) * 1e3)
        time.sleep(0.1)
    return statistics.median(times), max(times)


def tell_prompts(beside: str, connection: Connection, count: int, aim: str = "") -> None:
    """Ask, print and record."""
    said = "median {:.0f} ms, longest {:.0f} ms".format(*ask_prompts(connection, count))
    print(f"prompt to answer, {beside}:    {said}")
    figures.record("Server", f"prompt to answer, {beside}", said, aim=aim)


def measure_prompts(folder: Path, run: Path, dataset: Path, count: int) -> None:
    root = folder / "root"
    root.mkdir()
    subprocess.run(["cp", "-rL", str(run), str(root / "run")], check=True)
    subprocess.run(["cp", "-rL", str(dataset), str(root / "dataset")], check=True)
    with server(root, folder / "state"):
        connection = Connection(folder / "state")
        connection.ask("open", run="run")
        ask_prompts(connection, 3)
        tell_prompts("nothing else", connection, count)
        with Client(find_server(folder / "state")) as client:
            settings = {"reconstruct": {"first_frame": {"steps": 100_000}}}
            job = client.ask("train", dataset="dataset", out="new", scale=0.25, device="cpu", settings=settings)["job"]
            while (client.ask("job", job=job)["progress"] or {}).get("done", 0) < 2:
                time.sleep(0.1)
            tell_prompts("a job trains", connection, count, aim="300 ms")
            begin = time.perf_counter()
            client.ask("cancel_job", job=job)
            while client.ask("job", job=job)["state"] != "cancelled":
                time.sleep(0.01)
            took = 1e3 * (time.perf_counter() - begin)
            print(f"a running job is cancelled in:     {took:.0f} ms")
            figures.record("Server", "a running job is cancelled", took, "ms", aim="1 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    memory = commands.add_parser("memory")
    memory.add_argument("--frames", type=int, default=10_000)
    prompts = commands.add_parser("prompts")
    prompts.add_argument("run", type=Path)
    prompts.add_argument("dataset", type=Path)
    prompts.add_argument("--prompts", type=int, default=30)
    options = figures.parse(parser)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        if options.command == "memory":
            measure_memory(Path(folder), options.frames)
        else:
            measure_prompts(Path(folder), options.run, options.dataset, options.prompts)


if __name__ == "__main__":
    main()
