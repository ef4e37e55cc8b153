"""A few kills; `python -m tests.backend.faults` does a hundred, with trainings."""

from __future__ import annotations

from pathlib import Path

from tests.backend.faults import Faults


def test_killed_servers_and_workers_lose_nothing(tmp_path: Path) -> None:
    tally = Faults(tmp_path, seed=5, train_share=0.0).run(kills=4)
    assert min(tally.kills.values()) > 0 and sum(tally.jobs.values()) >= 3
