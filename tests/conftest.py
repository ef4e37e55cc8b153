"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folder_seconds import pytest_runtest_logreport, pytest_terminal_summary

__all__ = ["pytest_runtest_logreport", "pytest_terminal_summary"]


def pytest_configure() -> None:
    """What a shell runs in its background ignores Ctrl-C, and so would the programs that tests start to stop them."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


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
