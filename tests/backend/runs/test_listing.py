"""What listing many runs costs: each run.json is read once, and again only when it is another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.runs.library import Library
from backend.runs.paths import Roots
from legs4d.gaussians.store.arrays import StoredArray
from legs4d.gaussians.store.run import Run
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=3, width=48, height=32, num_train=2, num_test=1)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs whose run.json was read since, of two under `tmp_path`; no frame may be looked for."""
    for name in ("a", "b"):
        write_run(tmp_path / name, SCENE, language=False)
    names: list[str] = []
    original = Run.open

    def opening(path: Path) -> Run:
        names.append(Path(path).name)
        return original(path)

    def looking(self: StoredArray, frame: int) -> bool:
        raise AssertionError(f"looked for frame {frame} of {self.path}")

    monkeypatch.setattr(Run, "open", opening)
    monkeypatch.setattr(StoredArray, "has", looking)
    return names


def test_a_run_is_read_once_and_again_when_it_has_changed(tmp_path: Path, opened: list[str]):
    library = Library(Roots([tmp_path]))
    first = library.runs()
    assert opened == ["a", "b"] and [run["name"] for run in first[0]] == ["a", "b"]
    assert all(run["finished"] and run["frames"] == 3 for run in first[0])
    assert library.runs() == first and opened == ["a", "b"]

    changed = Run(tmp_path / "b", {"format": 1})
    changed.set_info(kind="imported")
    runs, _, _ = library.runs()
    assert opened == ["a", "b", "b"] and runs[1]["kind"] == "imported" and not runs[1]["finished"]


def test_a_run_that_is_gone_is_no_longer_told(tmp_path: Path, opened: list[str]):
    library = Library(Roots([tmp_path]))
    library.runs()
    (tmp_path / "a").rename(tmp_path / "c")
    assert [run["name"] for run in library.runs()[0]] == ["b", "c"]
    assert opened == ["a", "b", "c"]
