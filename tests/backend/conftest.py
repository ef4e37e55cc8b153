"""A real server process for every test that wants one, and runs for it to serve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from tests.backend.plain_client import PlainClient

REPOSITORY = Path(__file__).resolve().parents[2]
LEGS4D = (sys.executable, "-c", "from legs4d.cli import app; app()")
"""The command line, as a process of its own."""


@dataclass
class ServerProcess:
    """A server that can be stopped, killed and started again on the same roots and state."""

    roots: list[Path]
    state_dir: Path
    options: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    clients: list[PlainClient] = field(default_factory=list)

    @property
    def log(self) -> str:
        return (self.state_dir.parent / "server.log").read_text()

    def start(self) -> ServerProcess:
        self.state_dir.mkdir(exist_ok=True)
        stale = self.state_dir / "server.json"
        stale.unlink(missing_ok=True)
        options = [*(f"--root={root}" for root in self.roots), f"--state-dir={self.state_dir}", *self.options]
        with open(self.state_dir.parent / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [*LEGS4D, "serve", *options],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not stale.exists():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        return self

    def access(self) -> dict[str, Any]:
        """What the server tells this machine's clients."""
        found: dict[str, Any] = json.loads((self.state_dir / "server.json").read_text())
        return found

    def connect(self, *, say_hello: bool = True) -> PlainClient:
        client = PlainClient(self.state_dir, say_hello=say_hello)
        self.clients.append(client)
        return client

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def memory(self) -> int:
        """Resident bytes."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()


def legs4d(*arguments: object) -> Result:
    """The command line in this process: a new one takes a second to start."""
    from legs4d.cli import app

    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


@contextmanager
def serving(home: Path, *more: Path, options: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """A server of the folder `root` in `home`, and more roots, until the block ends."""
    (home / "root").mkdir(exist_ok=True)
    server = ServerProcess([home / "root", *more], home / "state", [*options])
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers of one's own (on `roots`, by default the folder `root`)."""
    started: list[ServerProcess] = []

    def start(*roots: Path, state: str = "state", options: Sequence[str] = ()) -> ServerProcess:
        if not roots:
            (tmp_path / "root").mkdir(exist_ok=True)
        server = ServerProcess(list(roots) or [tmp_path / "root"], tmp_path / state, list(options))
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for the tests of a module that leave it as it was; serves `shot/run` (9 frames) and others."""
    home = tmp_path_factory.mktemp("backend")
    write_small_run(home / "root" / "shot" / "run")
    with serving(home) as server:
        yield server


@pytest.fixture
def client(shared_server: ServerProcess) -> Iterator[PlainClient]:
    with shared_server.connect() as connected:
        yield connected


def write_small_run(
    folder: Path, num_frames: int = 9, num_static: int = 20, num_dynamic: int = 7, seed: int = 0
) -> Run:
    """A run of random Gaussians, complete, without cameras and language."""
    rng = np.random.default_rng(seed)
    run = Run.create(folder)
    run.set_info(fps=25.0, frame_numbers=list(range(40, 40 + num_frames)), dataset="nowhere", scale=1.0)
    run.begin_stage("first_frame", "a")
    moving = random_gaussians(rng, num_dynamic)
    died = np.full(num_dynamic, num_frames - 1, np.int32)
    died[-1:] = 1
    born = np.zeros(num_dynamic, np.int32)
    born[-1:] = 1
    run.write_geometry(random_gaussians(rng, num_static), moving, num_frames, born=born, died=died)
    run.finish_stage("first_frame")
    run.begin_stage("tracking", "b")
    for frame in range(1, num_frames):
        moved = random_gaussians(rng, num_dynamic)
        run.write_frame(frame, moved.means, moved.quats, moved.colors)
        run.frame_done("tracking", frame, 0.1)
    run.finish_stage("tracking")
    return run


def random_gaussians(rng: np.random.Generator, count: int) -> Gaussians:
    quats = rng.normal(size=(count, 4))
    return Gaussians(
        means=rng.normal(size=(count, 3)).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        scales=rng.uniform(0.01, 0.1, (count, 3)).astype(np.float32),
        opacities=rng.uniform(0.5, 1, count).astype(np.float32),
        colors=rng.normal(size=(count, 3)).astype(np.float32),
        is_foreground=rng.random(count) < 0.5,
    )
