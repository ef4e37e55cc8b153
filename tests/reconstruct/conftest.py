"""What the tests of reconstruction share."""

from __future__ import annotations

import pytest

from legs4d.progress import StageReporter


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that stop at a step wait for its report: a quick machine is done before the second one is due."""
    monkeypatch.setattr(StageReporter, "INTERVAL", 0.0)
