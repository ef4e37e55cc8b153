"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folder_seconds import pytest_runtest_logreport, pytest_terminal_summary

__all__ = ["pytest_runtest_logreport", "pytest_terminal_summary"]


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests, and the processes that they start, out of the user's cache."""
    before = os.environ.get("LEGS4D_CACHE_DIR")
    os.environ["LEGS4D_CACHE_DIR"] = str(Path(tmp_path_factory.mktemp("cache")))
    yield
    if before is None:
        del os.environ["LEGS4D_CACHE_DIR"]
    else:
        os.environ["LEGS4D_CACHE_DIR"] = before
