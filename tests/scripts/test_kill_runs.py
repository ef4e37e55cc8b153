"""A few of the kills of scripts/tools/kill_runs.py: nothing lost, nothing done twice, the same to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "tools" / "kill_runs.py"


def test_killed_anywhere_and_given_again_commands_lose_nothing() -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "6", "--seed", "1", "--commands", "train,train-again,lift-again"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| train", "| lift"))]
    assert [row.split(" | ")[1] for row in rows] == ["2", "2", "2"]
    assert all(row.split(" | ")[3:6] == ["0", "0", "0"] for row in rows)
