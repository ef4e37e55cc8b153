"""A few of the kills of scripts/tools/kill_runs.py: nothing lost, nothing done twice, the same to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools.kill_runs import CASES

SCRIPT = Path(__file__).parents[2] / "scripts" / "tools" / "kill_runs.py"


def kill(kills: int, commands: str) -> None:
    """Kill commands that often each."""
    count = kills * len(commands.split(","))
    command = [sys.executable, str(SCRIPT), "--kills", str(count), "--seed", "1", "--commands", commands]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith(tuple(f"| {c}" for c in CASES))]
    assert [row[0].removeprefix("| ") for row in rows] == commands.split(",")
    assert all(row[1] == str(kills) and row[3:6] == ["0", "0", "0"] for row in rows)


def test_killed_anywhere_and_given_again_commands_lose_nothing() -> None:
    kill(1, "train,lift-again")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_anywhere_more_often() -> None:
    kill(4, ",".join(CASES))
