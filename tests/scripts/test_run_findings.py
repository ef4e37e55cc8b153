"""Findings are run, and those told that changed; of a made folder, as the real ones download packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/tools/run_findings.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "found"
    made.mkdir()
    (made / "same.sh").write_text("echo seen as before\n")
    (made / "other.sh").write_text("echo version 2 is mended; exit 1\n")
    return made


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), "--folder", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_changed_is_told_with_what_it_printed(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "CHANGED   other",
        "    version 2 is mended",
        "as found  same",
        "2 findings, 1 changed: other",
    ]


def test_chosen_findings_are_run_alone(folder: Path) -> None:
    done = run(folder, "same")
    assert (done.returncode, done.stdout) == (0, "as found  same\n1 findings, 0 changed\n")


def test_names_and_options_that_there_are_not_are_refused_before_anything_runs(folder: Path) -> None:
    for words in (("other", "absent"), ("--all",)):
        done = run(folder, *words)
        assert done.returncode == 2 and words[-1] in done.stderr and done.stdout == ""
