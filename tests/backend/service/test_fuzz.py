"""The server against messages that nobody should send."""

from __future__ import annotations

from pathlib import Path

from tests.backend.conftest import ServerProcess
from tests.backend.fuzz import fuzz

MESSAGES = 4000
MAX_GROWTH = 24 * 2**20


def test_broken_messages_neither_stop_nor_grow_the_server(shared_server: ServerProcess) -> None:
    outside = Path("/tmp/new").exists()  # of another program, perhaps
    fuzz(shared_server.state_dir, "shot/run", 1000, seed=1)  # what grows once: threads, caches
    before = shared_server.memory()
    tally = fuzz(shared_server.state_dir, "shot/run", MESSAGES, seed=2)
    assert tally.answered >= MESSAGES * 0.9
    assert tally.oks > 100
    assert shared_server.memory() - before < MAX_GROWTH
    assert shared_server.process is not None and shared_server.process.poll() is None
    assert "defect" not in shared_server.log and "Traceback" not in shared_server.log
    assert Path("/tmp/new").exists() == outside
