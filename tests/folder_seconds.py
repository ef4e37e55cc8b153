"""Prints at the end of a test run how long each folder's tests took: hooks that the conftests import.

What tests share is counted where it was first made. Both environments' tests have it.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

_SECONDS: dict[str, float] = defaultdict(float)
"""Of each test file's folder, relative to pytest's."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _SECONDS[Path(report.nodeid.partition("::")[0]).parent.as_posix()] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if len(_SECONDS) == 0 or terminalreporter.config.option.collectonly:
        return
    root = terminalreporter.config.rootpath
    terminalreporter.section("seconds per folder")
    for folder, seconds in sorted(_SECONDS.items(), key=lambda item: -item[1]):
        name = (root / folder).name if folder == "." else folder
        terminalreporter.write_line(f"{seconds:8.1f}  {name}")
