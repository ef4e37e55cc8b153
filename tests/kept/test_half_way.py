"""Fits that were stopped half-way, and are gone on with by a version that has more settings, or with other settings."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from legs4d import pipeline
from legs4d.config import GeometrySettings
from legs4d.context import Context
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.progress import Progress, Stopped
from tests.deform.conftest import asked
from tests.deform.film import write_film

NEWER = "deform.nodes.weights_rate"
"""A setting that there was not always."""


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Path]:
    """A film, and a run of it that the version before that setting was stopped in."""
    film, out, stop = write_film(tmp_path / "film", frames=8, size=24), tmp_path / "run", threading.Event()

    def until(progress: Progress) -> None:
        if progress.stage == "deform" and progress.done > 0:
            stop.set()

    with pytest.raises(Stopped):
        pipeline.reconstruct(film, out, asked(), Context(engine="cpu", progress=until, stop=stop))
    content = json.loads((out / "run.json").read_text())
    made = content["made_from"]["deform"]
    assert made["settings"].pop(NEWER) == 0
    content["stages"]["deform"]["fingerprint"] = fingerprint = MadeFrom(**made).fingerprint
    write_file(out / "run.json", json.dumps(content).encode())
    with np.load(out / "fit.npz") as file:
        kept = {name: file[name] for name in file.files}
    np.savez(out / "fit.npz", **{**kept, "fingerprint": np.array(fingerprint)})
    return film, out


def gone_on(film: Path, out: Path, settings: GeometrySettings) -> tuple[int, list[str]]:
    """The step that the fit began at, and what was told."""
    first: list[int] = []
    said: list[str] = []

    def note(progress: Progress) -> None:
        if progress.stage == "deform":
            first.append(progress.done)

    pipeline.reconstruct(film, out, settings, Context(engine="cpu", progress=note, tell=said.append))
    assert Run.open(out).has_finished("deform")
    return first[0], said


def test_a_fit_goes_on_where_only_settings_at_their_defaults_are_new(stopped: tuple[Path, Path]) -> None:
    film, out = stopped
    step, said = gone_on(film, out, asked())
    assert step > 0 and not any("begins anew" in one for one in said)


def test_that_a_fit_begins_anew_is_said(stopped: tuple[Path, Path]) -> None:
    film, out = stopped
    nodes = asked().deform.nodes.model_copy(update={"weights_rate": 100.0})
    step, said = gone_on(film, out, asked(nodes=nodes))
    assert step == 0
    assert any(f"deform was begun otherwise ({NEWER}: 0.0 → 100.0)" in one and "begins anew" in one for one in said)
